"""What a rotten disk does to a durable queue: nothing that is not said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import scratch
from tests.crash.queue_rot import Rot


@pytest.fixture
def where() -> Iterator[Path]:
    """Give a folder in memory."""
    with scratch() as folder:
        yield folder


def test_rot_is_reported(where: Path) -> None:
    """Whatever bit, page or end of a file is damaged: what is lost is reported, as a range."""
    rot = Rot(where, seed=7)
    assert [found for _ in range(150) if (found := rot.run())] == []
    assert 20 < rot.counts["reported"] < 150
    assert rot.counts["messages lost"] > 0
