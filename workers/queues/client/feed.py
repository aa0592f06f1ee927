"""Lines of JSON from a file or a pipe into a queue: what `supervisor queue put` does."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import msgspec

from workers.queues.client.writer import QueueWriter
from workers.queues.errors import QueueError, QueueFull, QueueTimeout

#: Seconds to wait for the broker to confirm what was put, in the end.
FLUSH_SECONDS = 60.0
#: Seconds between two words about how far it is.
TELL_EVERY = 0.1

#: Told of the messages and bytes so far, and whether they wait for room.
Told = Callable[[int, int, bool], None]


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
    progress: Told,
) -> Fed:
    """Put a message for each line that is not empty; stop at the first that cannot be put.

    Args:
        address: path of the broker's socket.
        queue: the queue's name.
        lines: each one message.
        timeout: seconds to wait for room, for each message; None: as long as it takes.
        progress: told by a thread, ten times a second, also while a put waits.

    """
    fed = _Feeding()
    try:
        with fed.telling(progress), QueueWriter(queue, address) as writer:
            fed.all_of(lines, writer, timeout)
    except QueueError as error:
        timed_out = isinstance(error, QueueTimeout)
        return Fed(fed.put, f"{type(error).__name__}: {error}", timed_out)
    return Fed(fed.put, fed.problem)


class _Feeding:
    """``put``: messages that are in the queue, in the end; ``problem``: with a line."""

    def __init__(self) -> None:
        self.put = 0
        self.problem = ""
        self._size = 0  # bytes of lines so far
        self._putting = False  # and not reading

    @contextmanager
    def telling(self, progress: Told) -> Iterator[None]:
        """Tell how far it is, by a thread: who is held back says nothing."""
        over = threading.Event()
        teller = threading.Thread(target=self._tell, args=(progress, over), name="progress")
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()

    def _tell(self, progress: Told, over: threading.Event) -> None:
        before = -1
        with suppress(OSError):  # nobody looks any more
            while not over.wait(TELL_EVERY):
                put = self.put
                progress(put, self._size, self._putting and put == before)
                before = put

    def all_of(self, lines: Iterable[bytes], writer: QueueWriter, timeout: float | None) -> None:
        try:
            self._each(lines, writer, timeout)
            self._putting = True
            writer.flush(FLUSH_SECONDS if timeout is None else max(timeout, 1.0))
        except QueueTimeout:
            self.put -= writer.close_within(0.0)  # is not in the queue, as far as we know
            raise
        except QueueFull as error:
            if not writer.confirms:  # refused since it was sent, and counted
                self.put = max(0, self.put - error.messages)
            raise

    def _each(self, lines: Iterable[bytes], writer: QueueWriter, timeout: float | None) -> None:
        decode = msgspec.json.Decoder().decode
        for number, line in enumerate(lines, 1):
            self._size += len(line)
            if not line.strip():
                continue
            try:
                message = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self.problem = f"line {number} is not JSON: {error}"
                return
            self._putting = True
            try:
                writer.put(message, timeout)
            except (TypeError, ValueError) as error:  # no key can be read out of it
                self.problem = f"line {number} cannot be put: {error}"
                return
            self.put += 1
            self._putting = False
