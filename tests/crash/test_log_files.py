"""A real pump that keeps lines in files, killed and starved of everything it needs."""

import contextlib
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from supervisor.logs.bucket import Rate
from supervisor.logs.ledger import descriptors
from supervisor.logs.record import encode
from tests.log_files import Sampler, content, documents, events, options, segments, used
from tests.pump_process import PumpProcess, log_pipe, slot

KiB, MiB = 1 << 10, 1 << 20


@pytest.fixture
def nowhere(fds: list[int]) -> int:
    """Where the pump prints."""
    fds.append(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    return fds[-1]


def write_all(fd: int, data: bytes) -> None:
    """Write, waiting as a worker would."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def numbered(start: int, stop: int, size: int = 0) -> bytes:
    """Make lines that are told apart by a number."""
    return b"".join(b"line %d %s\n" % (n, b"x" * size) for n in range(start, stop))


def numbers(lines: list[str]) -> list[int]:
    """Take the numbers out of lines."""
    return [int(line.split()[1]) for line in lines if line.startswith("line ")]


def flood_and_kill(
    fds: list[int], terminal: int, kept: Any, total: int, kills: int, stream: str = "stdout"
) -> None:
    """Write numbered lines through pumps that are killed, one after the other."""
    read, write = log_pipe()
    ledger = descriptors()
    fds += [read, write, *ledger.values()]

    def flood() -> None:
        for start in range(0, total, 250):
            if stream == "stdout":
                write_all(write, numbered(start, start + 250, 40))
            else:
                for n in range(start, start + 250):
                    write_all(write, encode({"event": f"line {n}", "incarnation": 3}))

    writer = threading.Thread(target=flood)
    writer.start()
    for incarnation in range(1, kills + 2):
        with PumpProcess(terminal, incarnation, ledger, format="none", files=kept) as pump:
            pump.source(1, "shop/a.0", stream, read, 11, 22, 33)
            if incarnation <= kills:
                before = used(Path(kept.directory))
                while writer.is_alive() and used(Path(kept.directory)) < before + 100 * KiB:
                    writer.join(0.001)
            else:
                writer.join(30)
                assert pump.stop() == 0


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_no_line_is_lost_or_doubled_when_pumps_are_killed(
    fds: list[int], nowhere: int, tmp_path: Path, stream: str
) -> None:
    """SIGKILL in a flood, again and again: the files have every line once, in order."""
    kept = options(tmp_path / "logs", max_use=64 * MiB, segment=256 * KiB)
    flood_and_kill(fds, nowhere, kept, 60_000, 12, stream)
    assert numbers(events(tmp_path / "logs/shop/a")) == list(range(60_000))


def test_no_byte_is_lost_or_doubled_in_raw_files(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """The same for files that have nothing but what was written."""
    kept = options(tmp_path / "logs", max_use=64 * MiB, segment=256 * KiB, format="raw")
    flood_and_kill(fds, nowhere, kept, 60_000, 12)
    assert content(tmp_path / "logs/shop/a/0.out") == numbered(0, 60_000, 40)


def test_the_disk_is_never_over_budget(fds: list[int], nowhere: int, tmp_path: Path) -> None:
    """Under a flood that is rotated, compressed and killed: at most the budget and one segment."""
    budget, segment = 4 * MiB, 512 * KiB
    kept = options(tmp_path / "logs", max_use=budget, segment=segment, compress=True)
    sampler = Sampler(tmp_path / "logs")
    sampler.start()
    flood_and_kill(fds, nowhere, kept, 100_000, 10)
    sampler.stop()
    assert sampler.samples > 20
    assert sampler.most <= budget + segment
    seen = numbers(events(tmp_path / "logs/shop/a"))
    assert seen == list(range(seen[0], 100_000))  # the oldest were deleted, nothing else


def test_a_flood_is_thinned_counted_and_marked(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """What is over the rate is dropped; marks in the file account for every line."""
    kept = options(tmp_path / "logs", rate=Rate(1000, 30.0))
    with PumpProcess(nowhere, format="none", files=kept) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        _, other = slot(fds, pump, 2, "shop/b.0", "stdout")
        write_all(write, numbered(0, 100_000))
        write_all(other, b"calm\n")
        assert pump.stop() == 0
    lines = documents(tmp_path / "logs/shop/a")
    dropped = sum(line.get("lines", 0) for line in lines)
    assert dropped > 10_000
    assert dropped + len(numbers([line["event"] for line in lines])) == 100_000
    assert {line["reason"] for line in lines if "lines" in line} == {"rate"}
    assert events(tmp_path / "logs/shop/b") == ["calm"]


def test_hostile_bytes_are_valid_json_in_files(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """Invalid UTF-8, NUL, escapes, CR and forged records: one document a line, attributed."""
    hostile = [bytes(range(256)).replace(b"\n", b""), b"\x1b[2J\x9b31m", b'{"event":"forged"}']
    hostile += [b"\x1e" + b'{"a":[{"b":1}', b"\x1e{}]}", b"\x1e{},{}", "é\u202e\u2028".encode()]
    with PumpProcess(nowhere, format="none", files=options(tmp_path / "logs")) as pump:
        for number, stream in enumerate(("stdout", "stderr")):
            _, write = slot(fds, pump, number, "shop/a.0", stream, 33)
            for line in hostile:
                write_all(write, line + b"\n")
            write_all(write, b"\n".join(hostile) + b"\n" + os.urandom(100_000) + b"\n")
        assert pump.stop() == 0
    text = content(tmp_path / "logs/shop/a")
    assert not set(text) & (set(range(32)) - {10} | {127})
    assert not any(0x80 <= ord(c) < 0xA0 or c in "\u202e\u2028" for c in text.decode())
    lines = documents(tmp_path / "logs/shop/a")
    assert {line["source"]["path"] for line in lines} == {"shop/a.0"}
    assert Counter(line["source"]["pid"] for line in lines).keys() == {33}
    assert sum(line["event"] == '{"event":"forged"}' for line in lines) == 4


def planted(place: Path, kind: str, target: Path) -> Path:
    """Put something in the way of a log file."""
    path = place / "current.jsonl"
    place.mkdir(parents=True, mode=0o700)
    if kind == "symlink":
        path.symlink_to(target)
    elif kind == "hard link":
        path.hardlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "directory"])
def test_what_is_planted_at_a_log_path_is_not_followed(
    fds: list[int], nowhere: int, tmp_path: Path, kind: str
) -> None:
    """Its name is taken from it; what it led to is not touched, and the pump does not hang."""
    root = tmp_path / "logs"
    root.mkdir(mode=0o700)
    target = tmp_path / "precious"
    target.write_text("precious")
    path = planted(root / "shop" / "a", kind, target)
    with PumpProcess(nowhere, format="none", files=options(root)) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        write_all(write, b"hello\n")
        assert pump.stop() == 0
    assert target.read_text() == "precious"
    assert path.is_file()
    assert not path.is_symlink()
    assert events(path.parent) == ["hello"]


def tail(child: Path) -> bytes:
    """Return the file being written, or nothing while it is being replaced."""
    try:
        return (child / "current.jsonl").read_bytes()
    except FileNotFoundError:
        return b""


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait for something in the file system, which tells nobody."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("how", ["rename", "copytruncate", "delete", "remove all"])
def test_others_may_rename_truncate_and_delete(
    fds: list[int], nowhere: int, tmp_path: Path, how: str
) -> None:
    """An external logrotate, or an rm -r: the next line is in a new file, or at its beginning."""
    root = tmp_path / "logs"
    child = root / "shop" / "a"
    current = child / "current.jsonl"
    with PumpProcess(nowhere, format="none", files=options(root)) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        write_all(write, b"before\n")
        until(lambda: b"before" in tail(child))
        if how == "rename":
            current.rename(child / "current.jsonl.1")
        elif how == "copytruncate":
            os.truncate(current, 0)
        elif how == "delete":
            current.unlink()
        else:
            for place, _, names in os.walk(root, topdown=False):
                for name in names:
                    os.unlink(os.path.join(place, name))
                os.rmdir(place)
        write_all(write, b"after\n")
        assert pump.stop() == 0
    assert events(child) == ["after"]
    assert current.read_bytes().startswith(b'{"time"')


def test_a_torn_line_of_a_power_failure_is_cut_and_marked(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """What is not a whole line at the end of a file cannot spoil the next one."""
    child = tmp_path / "logs" / "shop" / "a"
    child.mkdir(parents=True, mode=0o700)
    (tmp_path / "logs").chmod(0o700)
    (child / "current.jsonl").write_bytes(b'{"event":"whole"}\n{"event":"tor')
    with PumpProcess(nowhere, format="none", files=options(tmp_path / "logs")) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        write_all(write, b"next\n")
        assert pump.stop() == 0
    assert events(child) == ["whole", "13 bytes of a torn line were cut off", "next"]


def test_a_compressor_that_dies_leaves_the_lines(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """Killed in the middle: the file stays as it was, the half-made one is removed."""
    kept = options(tmp_path / "logs", max_use=64 * MiB, segment=2 * MiB, compress=True)
    child = tmp_path / "logs" / "shop" / "a"
    with PumpProcess(nowhere, format="none", files=kept) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        killed: set[int] = set()
        listing = f"/proc/{pump.process.pid}/task/{pump.process.pid}/children"
        for start in range(0, 40_000, 250):
            write_all(write, numbered(start, start + 250, 100))
            for pid in Path(listing).read_text().split():
                with contextlib.suppress(ProcessLookupError):  # it may be done
                    os.kill(int(pid), signal.SIGKILL)
                    killed.add(int(pid))
        assert pump.stop() == 0
    assert killed
    assert not list(child.glob("*.tmp"))
    assert numbers(events(child)) == list(range(40_000))


def test_rotated_files_are_compressed_and_whole(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """In the background, one after the other; each line is still there once."""
    kept = options(tmp_path / "logs", max_use=64 * MiB, segment=256 * KiB, compress=True)
    child = tmp_path / "logs" / "shop" / "a"
    with PumpProcess(nowhere, format="none", files=kept) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")
        write_all(write, numbered(0, 10_000, 100))
        until(lambda: b"line 9999 " in tail(child))  # all of it: the pipe holds much
        until(lambda: len(list(child.glob("*.u"))) == 0 and len(list(child.glob("*.s.*"))) > 5)
        assert pump.stop() == 0
    assert numbers(events(child)) == list(range(10_000))
    assert all(path.stat().st_size < 100 * KiB for path in segments(child)[:-1])


def test_files_of_a_slot_that_is_gone_are_closed(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """They are rotated, so that they age; those of a child of which a slot is left are not."""
    child = tmp_path / "logs" / "shop" / "a"
    with PumpProcess(nowhere, format="none", files=options(tmp_path / "logs")) as pump:
        _, first = slot(fds, pump, 1, "shop/a.0", "stdout")
        _, second = slot(fds, pump, 2, "shop/a.1", "stdout")
        write_all(first, b"one\n")
        write_all(second, b"two\n")
        pump.forget(1)
        until(lambda: child.exists() and len(content(child).splitlines()) == 2)
        assert not list(child.glob("@*"))
        pump.forget(2)
        until(lambda: len(list(child.glob("@*"))) == 1)
        assert sorted(events(child)) == ["one", "two"]
        assert pump.stop() == 0


def test_raw_files_of_a_slot_that_is_gone_are_closed(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """Those of both its streams."""
    kept = options(tmp_path / "logs", format="raw")
    slots = tmp_path / "logs" / "shop" / "a"
    with PumpProcess(nowhere, format="none", files=kept) as pump:
        for number, stream in enumerate(("stdout", "stderr"), 1):
            _, write = slot(fds, pump, number, "shop/a.0", stream)
            write_all(write, b"one\n")
        until(lambda: all((slots / f"0.{end}/current.log").exists() for end in ("out", "err")))
        pump.forget(1)
        pump.forget(2)
        until(lambda: len(list(slots.glob("*/@*"))) == 2)
        assert pump.stop() == 0


def test_memory_and_descriptors_of_a_pump_stay_flat(
    fds: list[int], nowhere: int, tmp_path: Path
) -> None:
    """A hundred rotations and slots that come and go cost nothing that stays."""
    kept = options(tmp_path / "logs", max_use=8 * MiB, segment=64 * KiB)
    with PumpProcess(nowhere, format="none", files=kept) as pump:
        _, write = slot(fds, pump, 1, "shop/a.0", "stdout")

        def burden(round_: int) -> tuple[int, int]:
            for number in range(20):
                read, end = log_pipe()
                pump.source(100 + number, f"shop/b{number}.0", "stdout", read)
                os.write(end, b"hello\n")
                pump.forget(100 + number)
                os.close(read)
                os.close(end)
            write_all(write, numbered(0, 10_000, 100) + b"round %d\n" % round_)
            until(lambda: b"round %d" % round_ in tail(tmp_path / "logs/shop/a"))
            open_now = f"/proc/{pump.process.pid}/fd"
            until(lambda: len(os.listdir(open_now)) < 40)
            return len(os.listdir(open_now)), pump.rss_bytes()

        before = [burden(n) for n in range(3)][-1]
        after = [burden(n) for n in range(3, 9)][-1]
        assert after[0] <= before[0] + 1
        assert after[1] <= before[1] + 4 * MiB
        assert pump.stop() == 0
