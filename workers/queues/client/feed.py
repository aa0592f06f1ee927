"""Lines of JSON from a file or a pipe into a queue: what `supervisor queue put` does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from workers.queues.client.writer import QueueWriter
from workers.queues.errors import QueueError, QueueFull

#: Seconds to wait for the broker to confirm what was put, in the end.
FLUSH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fed:
    """What came of it. ``count``: messages that are in the queue; ``problem``: why not more.

    ``timed_out``: because there was no room in time.
    """

    count: int
    problem: str = ""
    timed_out: bool = False


def feed(
    address: str,
    queue: str,
    lines: Iterable[bytes],
    timeout: float | None,
    progress: Callable[[int, int], None],
) -> Fed:
    """Put a message for each line that is not empty; stop at the first that is no JSON.

    Args:
        address: path of the broker's socket.
        queue: the queue's name.
        lines: each one message.
        timeout: seconds to wait for room, for each message; None: as long as it takes.
        progress: told of the messages and bytes so far.

    """
    put = size = 0
    problem = ""
    decode = msgspec.json.Decoder().decode
    try:
        with QueueWriter(queue, address) as writer:
            for number, line in enumerate(lines, 1):
                size += len(line)
                if not line.strip():
                    continue
                try:
                    message = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    problem = f"line {number} is not JSON: {error}"
                    break
                writer.put(message, timeout)
                put += 1
                progress(put, size)
            writer.flush(FLUSH_SECONDS if timeout is None else max(timeout, 1.0))
    except QueueError as error:
        timed_out = timeout is not None and type(error) is QueueFull
        if isinstance(error, QueueFull) and not writer.confirms and not timed_out:
            put -= error.messages  # refused since, and counted above
        return Fed(max(0, put), f"{type(error).__name__}: {error}", timed_out)
    return Fed(put, problem)
