"""A crash while a damaged file is being replaced: nothing more is lost, and it is still told."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import Disk, lay_out, record, scratch
from workers.queues.store.contract import Recovered
from workers.queues.store.sqlite.store import SqliteStore

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="calls are recorded by strace")

#: Every so many-th call is tried.
EVERY = 4
#: What is there afterwards, of chunks 1 to 5; and of dead letters.
LEFT = {
    "row": ([1, 3, 4, 5], 2),
    "missing": ([1, 3, 4, 5], 1),
    "file": ([], 0),
    "old": ([1, 2, 3, 4], 1),
}


@pytest.fixture
def where() -> Iterator[Path]:
    """Give a folder in memory."""
    with scratch() as folder:
        yield folder


@pytest.mark.parametrize("kind", LEFT)
def test_a_crash_during_the_replacement_of_a_file(where: Path, kind: str) -> None:
    """At calls of the start that finds the damage, power fails or the process is killed."""
    folder, chance = where / "disk", random.Random(1)
    disk, points = Disk(folder), 0
    arguments = ["tests.crash.store_salvager", str(folder), kind]
    for call in record(arguments, where / "trace"):
        changed = disk.apply(call)
        if not changed or "damaged" not in disk.answers:
            continue
        if call.name == "write" and disk.answers[-1] == "damaged":
            disk.sync()
        points += 1
        if points % EVERY:
            continue
        for files in (disk.everything(), disk.synced(), disk.some(chance)):
            check(opened(files, folder, where / "left"), kind)
    assert disk.answers[-1] == "closed"
    assert points > 40


def opened(files: dict[str, bytes], folder: Path, left: Path) -> Recovered:
    """Open what is left, twice: the second start finds what the first has made."""
    shutil.rmtree(left, ignore_errors=True)
    lay_out(files, folder, left)
    SqliteStore(str(left), "process", 4096).close()
    store = SqliteStore(str(left), "process", 4096)
    found = store.recover()
    store.close()
    return found


def check(found: Recovered, kind: str) -> None:
    """Compare with what can be saved."""
    chunks, letters = LEFT[kind]
    assert [chunk.id for chunk in found.chunks] == chunks
    assert len(found.letters) == letters
    assert found.damage
    assert found.last_chunk == 5
