"""What a consumer was handling when it ended, or ended over: the broker's word for its report.

Names and counts only: what is in a message is nobody's but its consumer's.
"""

import msgspec

#: Messages that are named; of more there is the count.
MOST_NAMED = 10


class Message(msgspec.Struct, frozen=True):
    """One message. ``id``: as its consumer's log lines have it; ``attempt``: from 1."""

    id: str
    attempt: int


class AtHand(msgspec.Struct, frozen=True, tag="at_hand"):
    """What one consumer was handling.

    Args:
        worker: which: the path of its slot, "#", and its incarnation.
        queue: where the messages are of.
        count: of the messages.
        messages: the first of them.

    """

    worker: str
    queue: str
    count: int
    messages: list[Message]


encode = msgspec.msgpack.Encoder().encode
