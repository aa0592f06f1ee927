"""Whose a line is, when one process of a slot ends in the middle of one and the next begins."""

import os
import signal
from pathlib import Path

import pytest

from supervisor.logs.ledger import descriptors
from supervisor.logs.lines import MAX_LINE
from supervisor.logs.marks import mark
from supervisor.logs.messages import Process, Source
from tests.crash.app_harness import App
from tests.crash.apps.torn import LIVES
from tests.crash.running_app import service
from tests.crash.test_log_pump import terminal
from tests.log_files import content, documents, options
from tests.pump_process import PumpProcess, log_pipe


@pytest.mark.parametrize("kills", [0, 1])
def test_no_line_is_cut_or_joined_when_processes_follow_each_other(
    tmp_path: Path, kills: int
) -> None:
    """A hundred lives, each ending within a line: each line is whole, or said to be partial.

    With a pump that is killed meanwhile, too.
    """
    with App("torn:tree", tmp_path, "--restart-burst", "1000") as app:
        for _ in range(kills):
            app.wait_for(event="begin 1", path="torn/slot.0")
            os.kill(service(app, "pump"), signal.SIGKILL)
        app.wait_for(event=f"begin {LIVES}", path="torn/slot.0")
        lines = app.find(raw=True, path="torn/slot.0")
    events = list(dict.fromkeys(line["event"] for line in lines))  # a killed pump prints twice
    expected = [part for n in range(1, LIVES + 1) for part in (f"begin {n}", f"torn {n}")][:-1]
    assert events == expected
    for line in lines:
        word, life = line["event"].split()
        assert line.get("partial", False) is (word == "torn")
        known = {int(life)} if not kills else {int(life), None}  # lives may pass without a pump
        assert line["source"].get("incarnation") in known


def test_a_mark_ends_a_line_and_says_who_writes_from_there_on(fds: list[int]) -> None:
    """All of it is in the pipe before the pump looks; the first line's end comes later."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        read, write = log_pipe()
        fds += [read, write]
        os.write(write, mark(11, 1) + b"one\ntw" + mark(22, 2) + mark(33, 3) + b"he")
        pump.source(1, "shop/a.0", "stdout", read)
        first, second = screen.documents(2)
        assert (first["event"], first["source"]["pid"]) == ("one", 11)
        assert (second["event"], second["partial"], second["source"]["pid"]) == ("tw", True, 11)
        os.write(write, b"llo\n")
        (third,) = screen.documents(1)
        assert (third["event"], third["source"]["pid"]) == ("hello", 33)
        assert "partial" not in third


def test_a_new_pump_gives_what_is_before_a_mark_to_the_one_before(fds: list[int]) -> None:
    """Root tells it of the last two; the mark of the newest is still in the pipe."""
    screen, out = terminal(fds)
    with PumpProcess(out, incarnation=2, format="json") as pump:
        read, write = log_pipe()
        fds += [read, write]
        os.write(write, b"old" + mark(22, 2) + b"new\n")
        pump.source(1, "shop/a.0", "stdout", read, 11, 22)
        screen.lines(2)  # that it is new
        lines = screen.documents(2)
        assert [(line["event"], line["source"]["pid"]) for line in lines] == [
            ("old", 11),
            ("new", 22),
        ]


def test_a_new_pump_does_not_say_what_it_cannot_know(fds: list[int]) -> None:
    """What is before the mark of one whom root has forgotten is nobody's that root remembers."""
    screen, out = terminal(fds)
    with PumpProcess(out, incarnation=2, format="json") as pump:
        read, write = log_pipe()
        fds += [read, write]
        os.write(write, b"old" + mark(22, 2) + b"new\n" + mark(77, 7))
        known = [Process("shop/a.0", 11 * life, life) for life in (4, 5, 6, 7)]
        pump.channel.send(Source(1, "shop/a.0", "stdout", known), (read,))
        screen.lines(2)  # that it is new
        lines = screen.documents(2)
        assert [(line["event"], line["source"]["pid"]) for line in lines] == [
            ("old", None),
            ("new", 22),
        ]


def test_a_mark_is_found_wherever_a_look_at_the_pipe_ends(fds: list[int], tmp_path: Path) -> None:
    """Lines of many lengths before it, one longer than a line may be, in a pipe that is full."""
    ledger = descriptors()
    fds += ledger.values()
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    fds.append(nowhere)
    lengths = [0, 1, MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE, 40_000]
    with PumpProcess(
        nowhere, ledger=ledger, format="none", files=options(tmp_path / "logs")
    ) as pump:
        read, write = log_pipe()
        fds += [read, write]
        pump.source(1, "shop/a.0", "stdout", read)
        for life, length in enumerate(lengths, 1):
            os.write(write, mark(life, life) + b"begin\n" + b"x" * length)
        os.write(write, mark(99, 99) + b"end\n")
        assert pump.stop() == 0
    lines = documents(tmp_path / "logs/shop/a")
    for life, length in enumerate(lengths, 1):
        mine = [line for line in lines if line["source"]["incarnation"] == life]
        assert mine[0]["event"] == "begin"
        assert sum(len(line["event"]) for line in mine[1:]) == length
    (last,) = [line for line in lines if line["source"]["incarnation"] == 99]
    assert last["event"] == "end"
    assert not last.get("continuation")


def test_raw_files_have_no_marks(tmp_path: Path) -> None:
    """They are the very bytes that were written."""
    logs = tmp_path / "logs"
    options = ("--restart-burst", "1000", "--logs", str(logs), "--log-files", "raw")
    with App("torn:tree", tmp_path, *options) as app:
        app.wait_until(lambda: [r for r in app.records if f"begin {LIVES}" in r["event"]])
    written = b"".join(b"begin %d\ntorn %d" % (n, n) for n in range(1, LIVES + 1))
    assert content(logs / "torn/slot/0.out") == written.removesuffix(b"torn %d" % LIVES)
