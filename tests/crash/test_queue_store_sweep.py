"""A durable queue whose process is killed, or whose device fails, at some system calls."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.store_cases import held
from tests.crash.disk import scratch
from tests.crash.queue_power import models, recovered
from tests.crash.queue_sweep import FAULTS, Sweep

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
    points = [*range(step - len(kind) % step, calls, step)]
    points += [sweep.names.index("fdatasync", first) + 1 for first in (0, calls // 2)]
    assert [wrong for number in points if (wrong := sweep.fault(kind, number))] == []
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
    refused = 0
    for number in range(2, 14):
        path = str(folder / "queue-0001.db")
        inject = f"inject=pread64:error=EIO:when={number}"
        command = ["strace", "-P", path, "-e", "trace=pread64", "-e", inject]
        run = subprocess.run(
            [*command, sys.executable, "-c", OPEN, str(folder)],
            stderr=subprocess.PIPE, timeout=20, check=False,
        )  # fmt: skip
        refused += b"StoreFailed" in run.stderr
        assert not (folder / "damaged").exists()
    assert refused > 5
    assert not recovered(folder).damage
    assert held(recovered(folder)) == models(8, 6)[-1]
