"""What the processes of the template's tests do: functions for `supervisor.process.launch.Entry`.

Each says what a test waits for as a line on standard output, and most then wait to be ended.
"""

import ctypes
import json
import locale
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

Fds = dict[str, int]


def say(*words: object) -> None:
    """Print a line at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def forever() -> None:
    """Wait to be killed."""
    while True:
        signal.pause()


def say_pid(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Say the pid, and return."""
    say(os.getpid())


def print_euro(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Print what ASCII and Latin-1 have no letters for."""
    print("caf\u00e9 \u20ac")


def colour(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Say what the environment says, and return."""
    say(os.environ["COLOUR"])


def wait(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Say the pid, and wait."""
    say(os.getpid())
    forever()


def end(_link: object, argument: bytes, _fds: Fds) -> None:
    """End in the way that the argument says."""
    how, _, number = argument.decode().partition(" ")
    match how:
        case "exit":
            sys.exit(int(number))
        case "text":
            sys.exit("a reason")
        case "_exit":
            os._exit(int(number))
        case "signal":
            os.kill(os.getpid(), int(number))
            forever()
        case "raise":
            raise LookupError("no such thing")
        case "segv":
            ctypes.string_at(0)


def escape(_link: object, argument: bytes, _fds: Fds) -> None:
    """Leave children behind: in the group, in a session of their own, daemonised, holding stdout.

    With the argument b"die" it then ends; else it waits.
    """
    ready, told = os.pipe()
    for how in ("group", "session", "daemon", "bare"):
        if os.fork() == 0:
            if how != "group":
                os.setsid()
            if how in ("daemon", "bare") and os.fork():
                os._exit(0)
            if how == "bare":  # nothing is left of what it was: no descriptors, no environment
                os.dup2(told, 100)
                os.closerange(0, 100)
                os.dup2(100, 1)
                script = "import os, signal; os.write(1, b'%d ' % os.getpid()); signal.pause()"
                os.execve(sys.executable, [sys.executable, "-c", script], {})
            os.write(told, b"%d " % os.getpid())
            forever()
    pids = b""
    while pids.count(b" ") < 4:
        pids += os.read(ready, 100)
    say(pids.decode())
    if argument != b"die":
        forever()


def breed(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Leave a daemon behind that forks a successor and ends, again and again."""
    if os.fork() == 0:
        os.setsid()
        say(os.getpid())
        for _ in range(10_000):
            if os.fork():
                os._exit(0)
        os._exit(0)
    os.wait()


def descriptors(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Say which descriptors are open, with what they are."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # that of the listing itself
            pass
    say(json.dumps(found))


def conditions(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Say under which conditions it runs."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    umask = os.umask(0)
    handled = {
        name: status[name].strip() for name in ("SigBlk", "SigPnd", "ShdPnd")
    }  # SigIgn and SigCgt: of the few that Python and faulthandler themselves have
    ignored = int(status["SigIgn"], 16)
    say(
        json.dumps(
            {
                **handled,
                "ignored": [n for n in range(1, 65) if ignored >> (n - 1) & 1],
                "umask": umask,
                "nice": os.nice(0),
                "cwd": os.getcwd(),
                "sid": os.getsid(0),
                "pgid": os.getpgid(0),
                "pid": os.getpid(),
                "oom": int(Path("/proc/self/oom_score_adj").read_text()),
                "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
                "cpus": sorted(os.sched_getaffinity(0)),
                "env": {name: os.environ.get(name) for name in ("ADDED", "REMOVED", "HOME")},
                "utf8": [
                    sys.flags.utf8_mode,
                    sys.getfilesystemencoding(),
                    locale.getpreferredencoding(False),
                    *((stream.encoding, stream.errors) for stream in (sys.stdout, sys.stderr)),
                ],
                "random": random.random(),
            }
        )
    )


def identity(_link: object, _argument: bytes, fds: Fds) -> None:
    """Say who it is, and whether it could become root again; wait."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    try:
        os.setuid(0)
        again = True
    except PermissionError:
        again = False
    names = ("Uid", "Gid", "Groups", "NoNewPrivs", "CapEff")
    said = {name: status[name].split() for name in names}
    own = sorted(os.listdir("/proc/self/fd"))
    say(json.dumps({**said, "again": again, "home": os.environ["HOME"], "fds": len(own)}))
    forever()


def deadlock(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Lock a lock twice in the main thread, with another thread alive."""
    threading.Thread(target=threading.Event().wait, daemon=True, name="helper").start()
    say("locked")
    _lock_twice()


def _lock_twice() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def hold_the_gil(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Sit in C code that does not give the GIL back."""
    pause = ctypes.PyDLL(None).sleep
    say("holding")
    for _ in range(1000):
        pause(1)  # a signal handler interrupts it


def hold_stdout(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Start a program in a session of its own that keeps stdout, forget its pid, and end."""
    helper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    say(helper.pid)
    helper.returncode = 0


def clean_up(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Return with an exit hook, a thread at work and unflushed output."""
    import atexit

    started = threading.Event()
    go_on = threading.Event()

    def work() -> None:
        started.set()
        go_on.wait()
        print("thread done")

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    atexit.register(print, "hook")
    print("returning")
    go_on.set()


def with_multiprocessing(_link: object, _argument: bytes, _fds: Fds) -> None:
    """Return while a child of multiprocessing still has work to do."""
    import multiprocessing

    multiprocessing.get_context("fork").Process(target=_work_a_while).start()


def _work_a_while() -> None:
    signal.sigtimedwait([signal.SIGUSR1], 0.3)  # its parent has returned by then
    say("child done")
