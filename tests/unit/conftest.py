"""What several unit tests start from."""

from collections.abc import Iterator

import pytest

from supervisor.crashes.feed import Feed


@pytest.fixture
def feed() -> Iterator[Feed]:
    """Root's end of what is told of deaths."""
    feed = Feed()
    yield feed
    feed.close()
