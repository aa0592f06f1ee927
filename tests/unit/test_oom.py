"""OOM kills: counted by the kernel, accounted for once by all supervisors of an app together."""

from pathlib import Path

import pytest

from supervisor.process.oom import CONTROL, EVENTS, OomKills
from supervisor.recycling import machine

NOBODY = None


def counted(path: Path, kills: int) -> None:
    """Be the kernel."""
    path.write_text(f"low 0\noom 9\noom_kill {kills}\n")


def test_a_kill_is_claimed_once_whichever_supervisor_asks(tmp_path: Path) -> None:
    """What a nested supervisor has claimed, root does not; what came before, nobody does."""
    counts, ledger = tmp_path / "memory.events", str(tmp_path / "oom")
    counted(counts, 3)
    root, nested = OomKills(ledger, str(counts)), OomKills(ledger, str(counts))
    root.begin()
    assert not nested.claim(NOBODY), "it was before our time"
    counted(counts, 4)
    assert nested.claim(NOBODY)
    assert not root.claim(NOBODY), "a SIGKILL of somebody's that came after"
    assert not nested.claim(NOBODY)
    counted(counts, 6)
    assert [one.claim(NOBODY) for one in (root, nested, root)] == [True, True, False]


def test_without_a_ledger_nothing_is_claimed(tmp_path: Path) -> None:
    """Kills of before, that nobody has accounted for, are not blamed on us."""
    counts = tmp_path / "memory.events"
    counted(counts, 7)
    assert not OomKills(str(tmp_path / "oom"), str(counts)).claim(NOBODY)


@pytest.mark.parametrize(("version", "file", "above"), [(2, EVENTS, 1), (1, CONTROL, 0)])
def test_the_kill_of_a_confined_worker_is_no_other_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, file: str, above: int
) -> None:
    """Version 2 counts it in the group above as well: a SIGKILL that comes later is none of it."""
    monkeypatch.setattr(machine, "cgroup", lambda: (str(tmp_path), version == 2))
    counted(tmp_path / file, 0)
    (tmp_path / "letitcrash-7").mkdir()
    counted(tmp_path / "letitcrash-7" / file, 0)
    kills = OomKills(str(tmp_path / "oom"))
    kills.begin()
    assert not kills.may_be_of(7)
    assert not kills.claim(7), "somebody's SIGKILL"
    counted(tmp_path / "letitcrash-7" / file, 1)
    counted(tmp_path / file, above)
    assert kills.may_be_of(7)
    assert kills.claim(7)
    assert not kills.claim(8), "somebody's SIGKILL of one that is not confined"
    counted(tmp_path / file, above + 1)
    assert kills.claim(8)
