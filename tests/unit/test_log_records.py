"""Records as they are written: whatever is in them, and wherever they go."""

import fcntl
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.logs.record import MAX_RECORD, RecordStream, encode, record_writer

ROOT = Path(__file__).resolve().parents[2]


def decode(line: bytes) -> dict[str, Any]:
    """Take a record apart."""
    assert line.startswith(b"\x1e")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return msgspec.json.decode(line[1:], type=dict[str, Any])


class Hostile:
    """An object whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def cycle() -> list[Any]:
    """Make a list that contains itself."""
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (object, "<class 'object'>"),
        ("\ud800", "\\ud800"),
        (Hostile(), "<Hostile: its repr raised RuntimeError>"),
        (cycle(), "[[...]]"),
        pytest.param(10**5000, "<a very large number>", id="huge"),
        (float("nan"), None),
    ],
)
def test_any_value_can_be_logged(value: object, shown: object) -> None:
    """What is no JSON is written as something that is; logging it never raises."""
    assert decode(encode({"event": "x", "value": value}))["value"] == shown


@pytest.mark.parametrize("character", ["x", "\0", "\U0001f600", "\x7f"])
def test_a_record_is_never_longer_than_the_pump_takes(character: str) -> None:
    """Long texts are cut, with a mark, so that the record stays one."""
    fields = {f"field{n}": character * 100_000 for n in range(50)}
    line = encode({"event": character * 1_000_000, **fields})
    assert len(line) <= MAX_RECORD + 1
    assert decode(line)["cut"] is True


def test_of_a_traceback_the_end_is_kept() -> None:
    """The last line of a traceback says what happened."""
    assert decode(encode({"traceback": "x" * 100_000 + "ValueError"}))["traceback"].endswith(
        "ValueError"
    )


def test_a_supervisor_never_waits_for_its_log() -> None:
    """With a full pipe, records are dropped; the next one that fits says how many."""
    read, write = os.pipe()
    log = record_writer(write, "root")
    for number in range(20_000):
        log(logging.INFO, "x" * 100, number=number)
    os.set_blocking(read, False)
    seen = drain(read)
    log(logging.ERROR, "after")
    log(logging.ERROR, "and after")
    seen += drain(read)
    records = [decode(line) for line in seen.splitlines(keepends=True)]
    assert sum(record.get("dropped_before", 0) for record in records) + len(records) == 20_002
    os.close(read)
    log(logging.ERROR, "nobody reads")
    os.close(write)


def test_a_supervisor_does_not_change_the_mode_of_its_standard_error() -> None:
    """It may be the user's terminal: it stays blocking."""
    read, write = os.pipe()
    record_writer(write, "root")(logging.INFO, "x")
    assert not fcntl.fcntl(write, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(read)
    os.close(write)


def test_a_worker_goes_on_when_its_standard_error_is_gone() -> None:
    """A closed or broken descriptor costs the record, and is counted; it raises nothing."""
    read, write = os.pipe()
    os.close(read)
    stream = RecordStream(write)
    stream.write({"event": "x"})
    os.close(write)
    stream.write({"event": "y"})
    assert stream.dropped == 2


def test_every_record_that_was_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that would have said how many were dropped before them."""
    monkeypatch.setattr("supervisor.logs.record.PATIENCE", 0.01)
    read, write = os.pipe()
    os.set_blocking(read, False)
    stream = RecordStream(write)
    for _ in range(100):
        stream.write({"event": "x" * 2000})
    whole = drain(read).count(b"\n")
    assert whole < 99
    stream.write({"event": "y"})
    assert b'"dropped_before":%d' % (100 - whole) in drain(read)
    os.close(read)
    os.close(write)


def test_a_worker_gives_a_full_descriptor_that_does_not_block_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where somebody made stderr non-blocking, it waits with a limit, then drops and counts."""
    monkeypatch.setattr("supervisor.logs.record.PATIENCE", 0.01)
    read, write = os.pipe2(os.O_NONBLOCK)
    stream = RecordStream(write)
    while not stream.dropped:
        stream.write({"event": "x" * 2000})
    drain(read)
    stream.write({"event": "y"})
    assert b'"dropped_before":1' in drain(read)
    os.close(read)
    os.close(write)


def drain(fd: int) -> bytes:
    """Read what is there."""
    found = b""
    while True:
        try:
            found += os.read(fd, 1 << 20)
        except BlockingIOError:
            return found


WORKER = """
import logging, sys, warnings
from supervisor.logs.setup import configure, prepare, share_on_fork, write_as
prepare()
share_on_fork()
configure("INFO")
write_as("shop/web.0", 7)
from workers.log import get_logger, log
log.info("charged", order=17)
log.debug("not shown")
get_logger("db", shard=2).warning("slow")
logging.getLogger("lib").info("said %d", 5, extra={"user": "u"})
logging.getLogger("lib").info("bad %d", "no number")
warnings.warn("careful")
try:
    raise ValueError("boom")
except ValueError:
    log.exception("failed")
print("plain")
"""


def test_everything_a_worker_logs_becomes_records() -> None:
    """structlog, `logging` and warnings are records on stderr; print stays raw on stdout."""
    done = subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"plain\n"
    lines = done.stderr.splitlines(keepends=True)
    records = [decode(line) for line in lines if line.startswith(b"\x1e")]
    assert {record.pop("incarnation") for record in records} == {7}
    for record in records:
        assert isinstance(record.pop("time"), str)
    charged, slow, said, careful, failed = records
    assert charged == {"level": "info", "event": "charged", "order": 17}
    assert slow == {"level": "warning", "event": "slow", "logger": "db", "shard": 2}
    assert said == {"level": "info", "event": "said 5", "logger": "lib", "user": "u"}
    assert careful["logger"] == "py.warnings"
    assert failed["level"] == "error"
    assert failed["traceback"].endswith("ValueError: boom")


@pytest.mark.parametrize(
    "module",
    ["supervisor.root.root", "supervisor.shell.nested", "supervisor.logs.pump", "supervisor.run"],
)
def test_the_runtime_does_not_load_multiprocessing_logging(module: str) -> None:
    """It is used inside workers only: never in root, a supervisor or the pump."""
    if not (ROOT / (module.replace(".", "/") + ".py")).exists():
        pytest.skip("not there")
    program = f"import sys, {module}; print('multiprocessing_logging' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False
    )
    assert done.stdout == b"False\n", done.stderr.decode()
