"""The records of a worker's own multiprocessing children, while those are being killed.

Each test runs a worker in a fresh interpreter: its standard error is a pipe that the test reads.
"""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]

PRELUDE = """
import logging, multiprocessing, os, resource, signal, socket, sys, threading, time
from supervisor.logs.setup import configure, prepare, share_on_fork, write_as
prepare()
share_on_fork()
configure("INFO")
write_as("shop/a.0", 1)
from workers.log import log
mp = multiprocessing.get_context("fork")
library = logging.getLogger("library")
"""


def run_worker(program: str, seconds: float = 30.0) -> tuple[list[dict[str, Any]], str]:
    """Run a worker to its end; returns its records and what else it wrote to stderr."""
    worker = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    timer = threading.Timer(seconds, worker.kill)
    timer.start()
    try:
        assert worker.stderr is not None
        with worker.stderr:
            lines = worker.stderr.read().splitlines()
        code = worker.wait()
    finally:
        timer.cancel()
    records = [msgspec.json.decode(line[1:]) for line in lines if line.startswith(b"\x1e")]
    raw = b"\n".join(line for line in lines if not line.startswith(b"\x1e")).decode()
    assert code == 0, (code, raw)
    return records, raw


KILLS = """
def survive():
    for number in range(30_000):
        library.info("survivor %d", number) if number % 2 else log.info(f"survivor {number}")
def talk():
    while True:
        library.warning("victim " + "x" * 500)
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
survivor = mp.Process(target=survive)
survivor.start()
before = None
for kill in range(50):
    victims = [mp.Process(target=talk) for _ in range(2)]
    for victim in victims:
        victim.start()
    victims[0].join(0.01)
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
    if kill == 5:
        before = rss()
grown = rss() - before
survivor.join()
began = time.monotonic()
logging.shutdown()
log.info("end", grown=grown, closing=time.monotonic() - began, exitcode=survivor.exitcode)
"""


def test_killed_writers_silence_nobody() -> None:
    """100 children are SIGKILLed while they log: the survivor loses no record, none is torn."""
    records, raw = run_worker(KILLS)
    numbers = [r["event"] for r in records if r["event"].startswith("survivor")]
    assert numbers == [f"survivor {number}" for number in range(30_000)]
    assert raw == ""
    end = records[-1]
    assert end["event"] == "end"
    assert end["exitcode"] == 0
    assert end["grown"] < 16 << 20
    assert end["closing"] < 1.0
    assert any(record["event"].startswith("victim") for record in records)


def test_records_say_which_process_wrote_them() -> None:
    """A child's records carry its pid and name; the worker's own do not need to."""
    records, _ = run_worker("""
def work():
    log.info("structlog")
    library.error("logging")
child = mp.Process(target=work, name="helper")
child.start(); child.join(); logging.shutdown()
log.info("worker", child=child.pid)
""")
    structlog, library, worker = records
    assert structlog["pid"] == library["pid"] == worker["child"]
    assert library["process"] == "helper"
    assert "pid" not in worker


def test_a_child_that_ends_at_once_loses_nothing() -> None:
    """os._exit right after the last record: nothing waits in the child, so nothing is lost."""
    records, _ = run_worker("""
def work():
    for number in range(1000):
        library.info("%d", number)
    os._exit(0)
for _ in range(3):
    child = mp.Process(target=work)
    child.start(); child.join()
logging.shutdown()
""")
    assert len(records) == 3000


def test_a_full_socket_makes_a_child_wait_and_then_drop_with_a_count() -> None:
    """While the worker takes nothing, a child waits for its patience, drops, counts, goes on."""
    records, _ = run_worker("""
from supervisor.logs import multiprocess
multiprocess.PATIENCE = 1
multiprocess.install("logs", type(logging.getLogger().handlers[0]))
handler = logging.getLogger().handlers[0]
handler.start = lambda: None                  # the worker is stuck: nobody receives
ready, go = mp.Pipe()
def work():
    number = 0
    while not handler.dropped:
        number += 1
        library.info("%d", number)
    ready.send(number)
    ready.recv()
    library.info("last %d", number + 1)
child = mp.Process(target=work)
child.start()
number = go.recv()
type(handler).start(handler)                  # and now it goes on
go.send(None)
child.join(); logging.shutdown()
log.info("end", number=number)
""")
    (last,) = [record for record in records if record["event"].startswith("last")]
    end = records[-1]
    assert len(records) - 2 + last["dropped_before"] == end["number"]
    assert last["dropped_before"] == 1


def test_children_outlive_the_worker_and_still_log() -> None:
    """When the worker is gone, its child writes to the standard error that it inherited."""
    records, _ = run_worker("""
import select, warnings
warnings.simplefilter("ignore")               # from 3.12 on: of a fork beside threads
worker = os.pidfd_open(os.getpid())
if os.fork():
    os._exit(0)
select.select([worker], [], [], 10)
log.info("by structlog")
library.info("orphan")
os._exit(0)
""")
    assert [record["event"] for record in records] == ["by structlog", "orphan"]


def test_a_handler_that_raises_does_not_end_the_thread() -> None:
    """A sub-handler that raises in the worker loses that record only, and it is said once."""
    records, _ = run_worker("""
from supervisor.logs import multiprocess
class Picky(logging.Handler):
    def handle(self, record):
        if "bad" in record.getMessage():
            raise RuntimeError("no thanks")
        log.info("handled", text=record.getMessage(), by=record.process)
picky = logging.getLogger("picky")
picky.propagate = False
picky.addHandler(Picky())
multiprocess.install("picky", Picky, picky)
def work():
    for text in ("one", "bad", "bad", "two", "x" * 100_000):
        picky.info(text)
    try:
        1 / 0
    except ZeroDivisionError:
        picky.exception("three")
child = mp.Process(target=work)
child.start(); child.join()
handler = picky.handlers[0]
handler.close()
handler.close()
log.info("end", failed=handler.failed, pid=child.pid)
""")
    handled = [r for r in records if r["event"] == "handled"]
    assert [r["text"][:5] for r in handled] == ["one", "two", "xxxxx", "three"]
    assert len(handled[2]["text"]) < 13_000
    assert {r["by"] for r in handled} == {records[-1]["pid"]}
    assert [r["event"] for r in records].count("a log handler raised") == 1
    assert records[-1]["failed"] == 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_of_other_start_methods_are_raw(method: str, tmp_path: Path) -> None:
    """A fresh interpreter knows nothing of the worker's log: what it writes arrives as text."""
    (tmp_path / "helper_of_worker.py").write_text(
        "import logging\ndef work(): logging.getLogger('x').warning('raw text')\n"
    )
    records, raw = run_worker(f"""
sys.path.insert(0, {str(tmp_path)!r})
import helper_of_worker
if __name__ == "__main__":
    child = multiprocessing.get_context({method!r}).Process(target=helper_of_worker.work)
    child.start(); child.join(); logging.shutdown()
    log.info("end", exitcode=child.exitcode)
""")
    assert records[-1]["exitcode"] == 0
    assert "raw text" in raw


def test_a_worker_that_forks_nothing_pays_nothing() -> None:
    """No thread, no descriptor and no import of multiprocessing-logging before the first fork."""
    records, _ = run_worker("""
threads, fds = threading.active_count(), len(os.listdir("/proc/self/fd"))
log.info("before", threads=threads, loaded="multiprocessing_logging" in sys.modules, fds=fds)
""")
    assert (records[0]["threads"], records[0]["loaded"], records[0]["fds"]) == (1, False, 4)
