"""Trees that start, or cannot: programs, settings of processes, ways of being ready."""

import json
import os
import signal
import socket
import sys
import threading

from supervisor import Child, Supervisor, link

HERE = os.path.dirname(os.path.abspath(__file__))
PAUSE = threading.Event()


def live() -> None:
    """Do nothing until stopped."""
    while True:
        signal.pause()


# --- what a process is given ------------------------------------------------------------------


def status_of(field: str) -> str:
    """Read a field of /proc/self/status."""
    with open("/proc/self/status") as status:
        return next(line for line in status if line.startswith(field)).split(":", 1)[1].strip()


def describe() -> None:
    """Print what this process was given, and live."""
    umask = os.umask(0)
    os.umask(umask)
    facts = {
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
        "blocked": int(status_of("SigBlk"), 16),
        "ignored": int(status_of("SigIgn"), 16),
        "uid": status_of("Uid").split(),
        "gid": status_of("Gid").split(),
        "groups": status_of("Groups").split(),
        "privileges": status_of("NoNewPrivs"),
        "umask": umask,
        "cwd": os.getcwd(),
        "nice": os.nice(0),
        "session": os.getsid(0) == os.getpid(),
        "env": {name: os.environ.get(name) for name in ("A", "B", "HOME", "USER", "PATH")},
        "stdin": os.readlink("/proc/self/fd/0"),
        "nofile": __import__("resource").getrlimit(7),
        "declared": sorted((link.current() or sys).__dict__["context"].fds),
    }
    print(json.dumps(facts), flush=True)
    live()


SHELL = """
umask; grep -E 'SigBlk|SigIgn|^Uid|NoNewPrivs' /proc/self/status; ls /proc/$$/fd
echo end; exec sleep 1000
"""


def fail_at_import() -> None:
    """Never called."""


settings = Supervisor(
    "settings",
    [
        Child("plain", describe),
        Child(
            "custom", describe,
            umask=0o027, nice=3, cwd="/", env={"A": "1", "B": None}, rlimits={"nofile": 200},
        ),
        Child("fresh", describe, preload=False),
        Child("nobody", describe, user="nobody", cwd="/"),
        Child("program", command=["sh", "-c", SHELL]),
        Child("program-nobody", command=["sh", "-c", SHELL], user="nobody", cwd="/"),
    ],
)  # fmt: skip

# --- programs that cannot be executed ---------------------------------------------------------


def programs() -> Supervisor:
    """Make a tree with the program named on the command line."""
    first = Child("first", live)
    env = {f"LONG{n}": "x" * 100_000 for n in range(40)} if sys.argv[2:] == ["long"] else {}
    return Supervisor("programs", [first, Child("program", command=[sys.argv[1]], env=env)])


# --- being ready ------------------------------------------------------------------------------


def listen_late() -> None:
    """Accept connections after a while."""
    PAUSE.wait(0.2)
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))):
        print("listening", flush=True)
        live()


def notify_late() -> None:
    """Say so after a while, as systemd's services do."""
    PAUSE.wait(0.2)
    print("notifying", flush=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"STATUS=warm\nREADY=1\n", os.environ["NOTIFY_SOCKET"])
    live()


def ready_late() -> None:
    """Say so after a while, on the link."""
    PAUSE.wait(0.2)
    print("saying", flush=True)
    link.ready()
    live()


async def work_async() -> None:
    """Live as a coroutine, and clean up."""
    import asyncio

    try:
        print("working", flush=True)
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)


def live_carefully() -> None:
    """Live as a function, and clean up."""
    try:
        print("working", flush=True)
        live()
    finally:
        print("cleaned up", flush=True)


NOTIFY = """
import os, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
print("told", flush=True)
import signal; signal.pause()
"""


def readiness() -> Supervisor:
    """Make a tree of children that get ready in all the ways there are."""
    port = sys.argv[1]
    return Supervisor(
        "readiness",
        [
            Child("tcp", listen_late, ready=f"tcp:{port}", env={"PORT": port}),
            Child("notify", notify_late, ready="notify"),
            Child("link", ready_late, ready="notify"),
            Child("program", command=[sys.executable, "-c", NOTIFY], ready="notify"),
            Child("exec", command=["sleep", "1000"]),
            Child("async", work_async),
            Child("last", live_carefully, count=2),
        ],
    )


# --- ending -----------------------------------------------------------------------------------


def crash() -> None:
    """Fail at once."""
    raise SystemExit(5)


def hang_at_start() -> None:
    """Never be ready."""
    PAUSE.wait()


gives_up = Supervisor("gives-up", [Child("steady", live), Child("crash", crash)])
late = Supervisor(
    "late",
    [
        Child("first", live),
        Child("late", hang_at_start, ready="notify", start_timeout=0.3),
        Child("never", live),
    ],
)
quiet = Supervisor("quiet", [Child("steady", live, count=2)])


def tell_size() -> None:
    """Print how much environment this process was given."""
    size = sum(len(value) for name, value in os.environ.items() if name.startswith("LONG"))
    os.write(1, b"given %d\n" % size)  # in one piece
    live()


LONG = {f"LONG{n}": "x" * 100_000 for n in range(3)}
large = Supervisor(
    "large",
    [
        Child("one", tell_size, env=LONG),
        Supervisor("inner", [Child("two", tell_size, env=LONG), Child("three", live, env=LONG)]),
    ],
)
