"""What a producer is told whose put was refused, or found no room: how full it is, what to do."""

import re

import pytest

from tests.queue_world import World
from workers.queues.broker.refusals import why
from workers.queues.errors import no_room, rejection
from workers.queues.frames import Rejected, Welcome


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("full", r"3 of 4 messages and \d+ of 1000 bytes: see supervisor queue show q$"),
        ("shed", r"too late behind 3 of 4 messages"),
        ("closed", r"3 messages are left\): open it with supervisor queue reopen q$"),
        ("store", r"its store is full: ENOSPC: see supervisor queue show q$"),
        ("duplicate", "accepted a short while ago"),
    ],
)
def test_a_refusal_says_how_full_the_queue_is_and_what_to_do(reason: str, expected: str) -> None:
    """With the values, the limits, and the command that helps."""
    world = World(capacity=4, max_bytes=1000)
    assert not world.put(1, 2, 3)
    assert re.search(expected, why(reason, world.core, "full: ENOSPC"))


@pytest.mark.parametrize(("messages", "count"), [(1, "1 message:"), (2, "2 messages:")])
def test_a_refusal_counts_what_is_lost(messages: int, count: str) -> None:
    """In words."""
    assert (
        str(rejection("q", Rejected("full", "why"), messages)) == f"queue 'q' refused {count} why"
    )


def test_a_wait_in_vain_says_how_long_it_was() -> None:
    """And how much the queue holds at most."""
    said = str(no_room("q", 0.3012, Welcome(capacity=50, max_bytes=999)))
    assert said.startswith(
        "queue 'q' had no room within 0.301 s: it takes 50 messages and 999 bytes"
    )
    assert said.endswith("supervisor queue show q")
