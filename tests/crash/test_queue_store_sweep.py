"""A durable queue whose process is killed, or whose device fails, at some system calls."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.store_cases import held
from tests.crash.disk import scratch
from tests.crash.queue_power import models, recovered
from tests.crash.queue_sweep import FAULTS, JOBS, Sweep

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="faults are made by strace")


@pytest.fixture
def where() -> Iterator[Path]:
    """Give a folder in memory."""
    with scratch() as folder:
        yield folder


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_at_system_calls(where: Path, kind: str) -> None:
    """After a kill or an error at any call, all that was answered for is there."""
    sweep = Sweep(where, "full", groups=8, seed=6)
    calls = sweep.calls()
    assert calls > 60
    step = calls // 5
    points = {*range(step - len(kind) % step, calls, step)}
    points |= {sweep.names.index("fdatasync", first) + 1 for first in (0, calls // 2)}
    assert list(sweep.some((kind, number) for number in points)) == []
    assert sweep.counts["groups that were kept"] > 0
    assert sweep.counts["pwrite64"] > 0
    assert sweep.counts["fdatasync"] >= 2


#: Opens a queue, and closes it.
OPEN = (
    "import sys; from workers.queues.store.sqlite.store import SqliteStore as S;"
    "S(sys.argv[1]).close()"
)


def test_a_file_that_cannot_be_read_is_left_alone(where: Path) -> None:
    """EIO at a start says nothing of the file: it is not set aside, and nothing is lost."""
    sweep = Sweep(where, "full", groups=8, seed=6)
    folder = where / "q"
    assert sweep.write(folder, "-o", os.devnull)[-1] == "closed"

    def refused(number: int) -> bool:
        copy = shutil.copytree(folder, where / str(number))
        inject = f"inject=pread64:error=EIO:when={number}"
        command = ["strace", "-P", str(copy / "queue-0001.db"), "-e", "trace=pread64", "-e", inject]
        run = subprocess.run(
            [*command, sys.executable, "-c", OPEN, str(copy)],
            stderr=subprocess.PIPE, timeout=20, check=False,
        )  # fmt: skip
        assert not (copy / "damaged").exists()
        assert not recovered(copy).damage
        assert held(recovered(copy)) == models(8, 6)[-1]
        return b"StoreFailed" in run.stderr

    with ThreadPoolExecutor(JOBS) as pool:
        assert sum(pool.map(refused, range(2, 14))) > 5
