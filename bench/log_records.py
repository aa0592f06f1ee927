"""Structured records from several processes: through us, and through files of their own."""

import contextlib
import logging
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from bench import runners
from bench.log_capture import PATIENCE, files, wait_until_quiet
from bench.log_writers import note

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
COUNTS = 1 << 20


def _span(notes: Path, workers: int) -> float:
    """Seconds from the first worker's begin to the last one's end."""
    deadline = time.monotonic() + PATIENCE
    while not notes.exists() or notes.read_text().count("\n") < 2 * workers:
        if time.monotonic() > deadline:
            raise TimeoutError("the workers have not ended")
        time.sleep(0.01)
    times = sorted(map(float, notes.read_text().split()))
    return times[-1] - times[0]


@contextlib.contextmanager
def _running(directory: Path, tree: str, **environment: object) -> Iterator[int]:
    command = [
        sys.executable, "-m", "supervisor.cli.main", "run", f"bench.log_app:{tree}",
        "--no-health", "--log-format", "none", "--log-rate", "0", "--logs",
        str(directory / "kept"), "--log-max-use", "4GiB", "--log-keep-free", "1",
    ]  # fmt: skip
    variables = {
        **os.environ,
        "SUPERVISOR_RUNTIME_DIR": str(directory / "run"),
        **{name: str(value) for name, value in environment.items()},
    }
    with runners.running(command, variables) as process:
        yield process.pid


def ours(workers: int, count: int) -> float:
    """Records a second until the last is in its file."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        notes = directory / "notes"
        with _running(directory, "workers", WORKERS=workers, RECORDS=count, NOTES=notes):
            _span(notes, workers)
            ended = wait_until_quiet(directory / "kept" / "bench")
        began = min(map(float, notes.read_text().split()))
        return workers * count / (ended - began)


def plain(workers: int, count: int, *, shared: bool) -> float:
    """The same with `logging`: a file for each process, or multiprocessing-logging as it comes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        notes = directory / "notes"
        (directory / "kept").mkdir()
        supervisor = multiprocessing.Process(
            target=_shared if shared else _separate, args=(workers, count, directory)
        )
        supervisor.start()
        _span(notes, workers)
        ended = wait_until_quiet(directory / "kept")
        supervisor.join()
        began = min(map(float, notes.read_text().split()))
        return workers * count / (ended - began)


def _log(count: int, directory: Path, name: str | None) -> None:
    if name is not None:
        _to_file(directory / "kept" / name)
    log = logging.getLogger("bench")
    note(str(directory / "notes"))
    for number in range(count):
        log.info("charged order=%d amount=%s", number, 12.5)
    note(str(directory / "notes"))


def _to_file(path: Path) -> None:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _separate(workers: int, count: int, directory: Path) -> None:
    _together([(count, directory, f"{number}.log") for number in range(workers)])


def _shared(workers: int, count: int, directory: Path) -> None:
    from multiprocessing_logging import install_mp_handler

    _to_file(directory / "kept" / "all.log")
    install_mp_handler()
    _together([(count, directory, None)] * workers)


def _together(arguments: list[tuple[int, Path, str | None]]) -> None:
    processes = [multiprocessing.Process(target=_log, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def lost_by_kills(workers: int, kills: int) -> tuple[int, int]:
    """SIGKILL writers in the middle: (records that they had written, of those not in the files)."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        counts = directory / "counts"
        counts.write_bytes(bytes(COUNTS))
        with _running(directory, "killed", WORKERS=workers, COUNTS=counts) as root:
            for _ in range(kills):
                time.sleep(0.2)
                for pid in _writers(counts):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
            psutil.Process(root).terminate()
            psutil.wait_procs([psutil.Process(root)], timeout=20)
        wanted = {
            pid: number for pid, number in struct.iter_unpack("<qq", counts.read_bytes()) if pid
        }
        seen: dict[int, set[int]] = {}
        for entry in files(directory / "kept" / "bench"):
            for line in _lines(Path(entry.path)):
                if "number" in line:
                    seen.setdefault(line["writer"], set()).add(line["number"])
        missing = sum(
            len(set(range(1, number + 1)) - seen.get(pid, set())) for pid, number in wanted.items()
        )
        return sum(wanted.values()), missing


def _writers(counts: Path) -> list[int]:
    return [
        pid for pid, _ in struct.iter_unpack("<qq", counts.read_bytes()) if psutil.pid_exists(pid)
    ]


def _lines(path: Path) -> list[dict[str, object]]:
    import gzip

    data = path.read_bytes()
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    return [msgspec.json.decode(line) for line in data.splitlines()]
