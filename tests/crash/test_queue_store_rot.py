"""What a rotten disk does to a durable queue: nothing that is not said."""

from pathlib import Path

from tests.crash.queue_rot import Rot


def test_rot_is_reported(tmp_path: Path) -> None:
    """Whatever bit, page or end of a file is damaged: what is lost is reported, as a range."""
    rot = Rot(tmp_path, seed=7)
    assert [found for _ in range(150) if (found := rot.run())] == []
    assert 20 < rot.counts["reported"] < 150
    assert rot.counts["messages lost"] > 0
