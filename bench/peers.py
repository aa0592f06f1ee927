"""The peers of the restart table: supervisord, circus and gunicorn, each over the same worker."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import runners
from bench.reports import Reports

PACKAGES = ["supervisor==4.3.0", "circus", "gunicorn"]
#: Peers that take about a second for each restart.
SLOW = {"supervisord"}

WORKER = """
import os, struct, time
now = time.monotonic_ns()
fd = os.open(os.environ["FIFO"], os.O_WRONLY)
os.write(fd, struct.pack("<qq", os.getpid(), now))
os.close(fd)
"""
FOREVER = "import signal\nwhile True:\n    signal.pause()\n"
WSGI = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={directory}/pid
[program:worker]
command={python} -S {directory}/worker.py
startsecs=0
startretries=1000000
"""
CIRCUS = """
[circus]
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub
check_delay = 0.1
[watcher:worker]
cmd = {python} -S {directory}/worker.py
copy_env = True
max_retry = -1
"""


def contestants() -> dict[str, Callable[[Reports], contextlib.AbstractContextManager[object]]]:
    """Install the peers, and return how each is run."""
    binaries = install()
    return {
        "gunicorn": lambda reports: _gunicorn(reports, binaries),
        "circus": lambda reports: _configured(reports, binaries, "circusd", CIRCUS, []),
        "supervisord": lambda reports: _configured(
            reports, binaries, "supervisord", SUPERVISORD, ["-c"]
        ),
    }


def install() -> Path:
    """Install the peers in an environment of their own; returns where their programs are."""
    home = Path(tempfile.gettempdir()) / f"bench-peers-{os.getuid()}"
    if not (home / "bin" / "gunicorn").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run(
            [home / "bin" / "pip", "install", "-q", *PACKAGES, "setuptools<81"], check=True
        )
    return home / "bin"


def _configured(
    reports: Reports, binaries: Path, program: str, template: str, flags: list[str]
) -> contextlib.AbstractContextManager[object]:
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    (directory / "worker.py").write_text(WORKER + FOREVER)
    config = directory / "config.ini"
    config.write_text(template.format(directory=directory, python=sys.executable))
    return runners.running([str(binaries / program), *flags, str(config)], reports.environment())


def _gunicorn(reports: Reports, binaries: Path) -> contextlib.AbstractContextManager[object]:
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    (directory / "measured.py").write_text(WORKER + WSGI)
    command = [binaries / "gunicorn", "-w", "1", "-b", f"unix:{directory}/socket", "measured:app"]
    environment = reports.environment(PYTHONPATH=directory)
    return runners.running([str(part) for part in command], environment)
