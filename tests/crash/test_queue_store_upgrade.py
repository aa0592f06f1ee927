"""The upgrade of a queue's file of version 1, when its process or its device fails at a call."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash import system_calls
from tests.crash.disk import scratch
from tests.crash.queue_power import recovered
from tests.crash.queue_sweep import CALLS, JOBS
from tests.queue_folder import FILE, LETTER, first_version, kept
from workers.queues.store.sqlite.schema import NEW

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="faults are made by strace")

FAULTS = ["signal=SIGKILL", "error=EIO", "error=ENOSPC"]
#: Every so many-th call is tried, of each fault another one.
EVERY = 11
#: Opens a queue, as a broker does: it tries again, and nothing that is left over is collected.
OPEN = """
import gc, sys
from workers.queues.store.contract import StoreError
from workers.queues.store.sqlite import schema
from workers.queues.store.sqlite.store import SqliteStore
gc.disable()
schema.BUSY_SECONDS = 0.0
failed = []
for _ in range(3):
    try:
        store = SqliteStore(sys.argv[1], "full", 4096)
    except StoreError as error:
        failed.append(error)
    else:
        break
print(len(store.recover().chunks), "after", len(failed))
store.close()
"""


@pytest.fixture
def where() -> Iterator[Path]:
    """Give a folder in memory."""
    with scratch() as folder:
        yield folder


def opened(folder: Path, *options: str) -> str:
    """Open a queue in a process under strace, with these options; return what it says."""
    run = subprocess.run(
        ["strace", "-f", *options, sys.executable, "-B", "-c", OPEN, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False,
    )  # fmt: skip
    return run.stdout.decode()


def with_log(folder: Path, target: Path) -> Path:
    """Copy a queue as it would be had its broker been killed: what it wrote last is in the log."""
    connection = sqlite3.connect(folder / FILE)
    for statement in ("INSERT INTO progress VALUES (9, 9, 9)", "DELETE FROM progress"):
        connection.execute(statement)
        connection.commit()
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*-shm"))
    connection.close()
    assert (target / f"{FILE}-wal").stat().st_size > 0
    return target


@pytest.mark.parametrize("logged", [False, True], ids=["closed", "killed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_upgrade_may_end_at_any_call(where: Path, fault: str, logged: bool) -> None:
    """All of it is there afterwards; and an error costs its own process another try, at most."""
    base, trace = kept(where), where / "trace"
    first_version(base)
    if logged:
        base = with_log(base, where / "logged")
    shutil.copytree(base, where / "all")
    opened(where / "all", "-o", str(trace), "-e", f"trace={','.join(CALLS)}")
    names = system_calls.made(trace.read_text())
    assert len(names) > 10

    def ends_at(number: int) -> None:
        folder = where / f"at-{number}"
        shutil.copytree(base, folder)
        said = opened(folder, "-o", os.devnull, *system_calls.at(names, number, fault))
        if "KILL" not in fault:
            assert said in ("3 after 0\n", "3 after 1\n"), names[:number]
        found = recovered(folder)
        assert [one.id for one in found.chunks] == [1, 2, 3]
        assert (found.letters, found.damage) == ([LETTER], [])
        assert (folder / FILE).exists()
        assert not (folder / NEW).exists()
        shutil.rmtree(folder)

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(ends_at, range(1 + FAULTS.index(fault), len(names) + 1, EVERY)))
