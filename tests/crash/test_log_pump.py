"""A real pump, its pipes and its terminal, under everything that may happen to either."""

import os
import pty
import subprocess
import threading
import time
from collections import Counter

import msgspec
import pytest

from supervisor.logs.ledger import descriptors
from supervisor.logs.lines import MAX_LINE
from supervisor.logs.marks import mark
from supervisor.logs.record import encode
from tests.pump_process import PumpProcess, Reader, log_pipe, slot, widen

MiB = 1 << 20
#: Memory of a pump whatever it is fed: an interpreter, and one chunk.
MAX_RSS = 64 * MiB


def terminal(fds: list[int], room: bool = True) -> tuple[Reader, int]:
    """Make a pipe for a pump to print to."""
    read, write = os.pipe2(os.O_CLOEXEC)
    fds += [read, write]
    if room:
        widen(write)
    return Reader(read), write


def write_all(fd: int, data: bytes) -> None:
    """Write, waiting as a worker would."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def quiet(pump: PumpProcess, seconds: float = 0.3) -> None:
    """Let a pump alone: it must go on living."""
    with pytest.raises(subprocess.TimeoutExpired):
        pump.process.wait(seconds)


def test_lines_are_attributed_by_their_pipe(fds: list[int]) -> None:
    """A worker that says it is root is still itself; its dead predecessor's lines are not its."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        _, err = slot(fds, pump, 1, "shop/a.0", "stderr", 11)
        pump.writer("shop/a.0", 22, 2)
        for claimed in (1, 2, 99):
            record = {"event": "x", "source": {"path": "root"}, "incarnation": claimed}
            os.write(err, encode(record))
        os.write(err, b"raw\n")
        sources = [document["source"] for document in screen.documents(4)]
        assert {source["path"] for source in sources} == {"shop/a.0"}
        assert [source["pid"] for source in sources] == [11, 22, None, 22]


def test_a_killed_pump_loses_nothing(fds: list[int]) -> None:
    """SIGKILL in a flood, ten times: every line is printed; what comes twice is behind a mark."""
    total, screen_fds = 120_000, os.pipe2(os.O_CLOEXEC)
    fds += screen_fds
    read, write = log_pipe()
    fds += [read, write]
    ledger = descriptors()
    fds += ledger.values()
    printed = bytearray()
    done = threading.Event()

    def watch() -> None:
        while piece := os.read(screen_fds[0], MiB):
            printed.extend(piece)
            if b"the end" in piece:
                done.set()
                return

    def flood() -> None:
        for start in range(0, total, 500):
            write_all(write, b"".join(b"line %d\n" % n for n in range(start, start + 500)))
        write_all(write, b"the end\n")

    threads = [threading.Thread(target=watch), threading.Thread(target=flood)]
    for thread in threads:
        thread.start()
    for incarnation in range(1, 12):
        before = len(printed)
        with PumpProcess(screen_fds[1], incarnation, ledger, format="json") as pump:
            pump.source(1, "shop/a.0", "stdout", read)
            while incarnation < 11 and len(printed) < before + 200_000 and not done.is_set():
                quiet(pump, 0.001)
            if incarnation == 11:
                assert done.wait(20)
    for thread in threads:
        thread.join(20)
    seen: Counter[str] = Counter()
    torn = 0
    for line in printed.splitlines():
        try:
            document = msgspec.json.decode(line)
        except msgspec.DecodeError:
            torn += bool(line)
            continue
        seen[document["event"]] += document["source"]["path"] == "shop/a.0"
    assert [n for n in range(total) if not seen[f"line {n}"]] == []
    assert torn <= 10
    marks = [event for event in seen if "restarted" in event]
    assert len(marks) == 1


def test_a_slow_terminal_holds_a_worker_up_for_less_than_a_second(fds: list[int]) -> None:
    """Nobody reads: the worker soon goes on, and what it lost is counted to the line."""
    screen, out = terminal(fds, room=False)
    with PumpProcess(out, format="json") as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        longest, lines = 0.0, 0
        began = time.monotonic()
        while time.monotonic() < began + 1.5:
            before = time.monotonic()
            write_all(write, b"flood\n" * 500)
            longest = max(longest, time.monotonic() - before)
            lines += 500
        assert longest < 1.0
        assert pump.rss_bytes() < MAX_RSS
        shown = dropped = 0
        while shown + dropped < lines:
            (document,) = screen.documents(1)
            shown += document["event"] == "flood"
            dropped += document.get("lines", 0)
            if "lines" in document:
                assert document["event"] == f"{document['lines']} lines dropped"
                assert document["child"] == "shop/a.0"
        assert (shown + dropped, dropped > 0) == (lines, True)


def test_a_terminal_that_is_gone_stops_the_printing_only(fds: list[int]) -> None:
    """EPIPE: workers write on as if nothing had happened, and the pump does not spin."""
    read, out = os.pipe2(os.O_CLOEXEC)
    fds.append(out)
    with PumpProcess(out, format="json") as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        os.close(read)
        write_all(write, b"to nobody\n" * 100_000)
        spent = pump.cpu_seconds()
        quiet(pump)
        assert pump.cpu_seconds() - spent < 0.1
        assert pump.stop() == 0


def test_a_terminal_that_hangs_up_stops_the_printing_only(fds: list[int]) -> None:
    """EIO of a closed terminal: the same."""
    master, out = pty.openpty()
    fds.append(out)
    with PumpProcess(out, format="pretty", colour=True) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        write_all(write, b"hello\n")
        assert b"hello" in Reader(master).lines(1)[0]
        os.close(master)
        write_all(write, b"to nobody\n" * 100_000)
        spent = pump.cpu_seconds()
        quiet(pump)
        assert pump.cpu_seconds() - spent < 0.1
        assert pump.stop() == 0


def test_a_line_without_end_costs_no_memory(fds: list[int]) -> None:
    """32 MiB without a newline come out in pieces, all of them, in flat memory."""
    screen, out = terminal(fds)
    size = 32 * MiB
    with PumpProcess(out, format="json") as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        writer = threading.Thread(target=write_all, args=(write, b"x" * size + b"\n"))
        writer.start()
        pieces = [screen.documents(1)[0] for _ in range(size // MAX_LINE)]
        writer.join()
        assert {len(piece["event"]) for piece in pieces} == {MAX_LINE}
        assert [piece.get("continuation", False) for piece in pieces[:3]] == [False, True, True]
        assert pump.rss_bytes() < MAX_RSS


def test_a_flood_does_not_delay_others(fds: list[int]) -> None:
    """Beside one that writes as fast as it can, a line of another worker is out in a second."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        _, loud = slot(fds, pump, 1, "shop/loud.0", "stdout")
        _, calm = slot(fds, pump, 2, "shop/calm.0", "stdout")
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                write_all(loud, b"y\n" * 1000)

        writer = threading.Thread(target=flood)
        writer.start()
        try:
            screen.lines(20_000)
            os.write(calm, b"here\n")
            sent = time.monotonic()
            while b"calm" not in screen.lines(1)[0]:
                assert time.monotonic() < sent + 1.0
            assert pump.rss_bytes() < MAX_RSS
        finally:
            stop.set()
            threading.Thread(target=pump.stop).start()
            while writer.is_alive():
                try:
                    screen.lines(1, 0.05)
                except AssertionError:
                    pass
            pump.process.wait(20)


def test_it_sleeps_while_nothing_is_written(fds: list[int]) -> None:
    """With nothing to do there is no timer and no wake-up."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        os.write(write, b"x\n")
        screen.lines(1)
        quiet(pump, 0.1)
        before = pump.wake_ups()
        quiet(pump, 0.5)
        assert pump.wake_ups() == before


def test_a_line_begun_is_shown_after_two_seconds(fds: list[int]) -> None:
    """A prompt without a newline does not wait for ever, and its end is not lost."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        began = time.monotonic()
        os.write(write, b"continue? ")
        (document,) = screen.documents(1)
        assert document["partial"] is True
        assert 1.9 < time.monotonic() - began < 4
        os.write(write, b"yes\n")
        assert screen.documents(1)[0]["event"] == "yes"


def test_a_line_begun_by_a_dead_process_is_not_joined_with_the_next(fds: list[int]) -> None:
    """A successor's first line is its own."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        os.write(write, b"I am about to" + mark(22, 2))
        (document,) = screen.documents(1)
        assert (document["event"], document["partial"]) == ("I am about to", True)
        os.write(write, b"hello\n")
        assert screen.documents(1)[0]["event"] == "hello"


def test_what_is_left_is_printed_when_a_slot_goes_and_when_it_stops(fds: list[int]) -> None:
    """The last lines, whole or not, of a slot that is forgotten and of all others at the end."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json") as pump:
        _, gone = slot(fds, pump, 1, "shop/a.0", "stdout")
        _, other = slot(fds, pump, 2, "shop/b.0", "stdout")
        os.write(gone, b"one\ntw")
        pump.forget(1)
        assert [document["event"] for document in screen.documents(2)] == ["one", "tw"]
        os.write(other, b"three\nfou")
        assert pump.stop() == 0
        assert [document["event"] for document in screen.documents(2)] == ["three", "fou"]


def test_a_slot_that_is_gone_is_let_go_though_somebody_writes_to_it(fds: list[int]) -> None:
    """A grandchild that kept the pipe and floods it cannot keep the pump from stopping."""
    out = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    fds.append(out)
    with PumpProcess(out, format="json") as pump:
        read, write = log_pipe()
        pump.source(1, "shop/a.0", "stdout", read)
        os.close(read)
        stranger = subprocess.Popen(["yes"], stdout=write)
        os.close(write)
        assert pump.stop() == 0
        stranger.wait(20)  # SIGPIPE: the last reader is gone


def test_levels_below_the_wanted_one_are_not_printed(fds: list[int]) -> None:
    """The level counts for records; raw lines have none and are always printed."""
    screen, out = terminal(fds)
    with PumpProcess(out, format="json", level="WARNING") as pump:
        _, err = slot(fds, pump, 1, "shop/a.0", "stderr")
        os.write(err, encode({"event": "low", "level": "info"}))
        os.write(err, encode({"event": "high", "level": "error"}) + b"raw\n")
        assert [document["event"] for document in screen.documents(2)] == ["high", "raw"]
