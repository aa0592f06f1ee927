"""OOM kills: counted by the kernel, accounted for once by all supervisors of an app together."""

from pathlib import Path

from supervisor.process.oom import OomKills

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
