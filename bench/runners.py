"""What is measured: the floors, ours, and hand-written loops; each a process that runs workers."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bench.reports import Reports
from supervisor.process.family import PR_SET_PDEATHSIG, prctl

FLOOR = """
import os, sys
import bench.app as app
import supervisor.process.template, workers   # what ours has loaded when it forks
count = int(os.environ["COUNT"])
def fork():
    pid = os.fork()
    if pid == 0:
        app.worker()
    return pid
for _ in range(count):
    fork()
while True:
    os.wait()
    fork()
"""

RELAY = """
import os, socket, time
import bench.app as app
import supervisor.process.template, workers   # what ours has loaded when it forks
pair = lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
parent, decides = pair()
if os.fork() == 0:
    parent.close()
    spares = []
    while True:
        word, fds, _, _ = socket.recv_fds(decides, 1, 1)
        if not word:
            os._exit(0)
        if fds:
            spares.append(socket.socket(fileno=fds[0]))
        else:
            spares.pop(0).send(b"!")   # a process has ended: this one is the next
decides.close()
def fork():
    ours, theirs = pair()
    if os.fork() == 0:
        parent.close(), ours.close()
        if theirs.recv(1):
            app.worker()
        os._exit(0)
    socket.send_fds(parent, [b"+"], [ours.fileno()])
fork()
parent.send(b"-")
while True:
    time.sleep(0.02)
    fork()
    os.wait()
    parent.send(b"-")
"""

MULTIPROCESSING = """
import multiprocessing, os, bench.app as app
if __name__ == "__main__":
    context = multiprocessing.get_context(os.environ["METHOD"])
    while True:
        process = context.Process(target=app.worker)
        process.start()
        process.join()
"""


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own; at the end, or at ours, end all of it."""
    us = os.getpid()

    def end_with_us() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != us:
            os._exit(1)

    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_us,  # noqa: PLW1509 - no threads here; a killed bench leaves nothing
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):  # whatever a peer left behind
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def ours(reports: Reports, count: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run our supervisor over `count` workers, in a runtime directory of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        command = [sys.executable, "-m", "supervisor.cli.main", "run", "bench.app:tree"]
        environment = reports.environment(COUNT=count, SUPERVISOR_RUNTIME_DIR=directory)
        with running([*command, "--no-health", *options], environment) as process:
            process.directory = directory  # type: ignore[attr-defined]
            yield process


def floor(reports: Reports, count: int) -> contextlib.AbstractContextManager[object]:
    """Run the bare loop: one preloaded process that forks, waits, and forks again."""
    command = [sys.executable, "-c", FLOOR]
    return running(command, reports.environment(COUNT=count))


def relay(reports: Reports) -> contextlib.AbstractContextManager[object]:
    """Run the least that a spare takes: who reaps it tells who decides, who tells the spare."""
    return running([sys.executable, "-c", RELAY], reports.environment(COUNT=1))


def multiprocessing(reports: Reports, method: str) -> contextlib.AbstractContextManager[object]:
    """Run a hand-written loop over multiprocessing.Process."""
    directory = tempfile.mkdtemp(prefix="bench-")
    script = os.path.join(directory, "loop.py")
    with open(script, "w") as file:
        file.write(MULTIPROCESSING)
    environment = reports.environment(COUNT=1, METHOD=method, PYTHONPATH=os.getcwd())
    return running([sys.executable, script], environment)
