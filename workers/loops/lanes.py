"""What loops with several lanes share: messages that are worked on at once, a cell for each.

A lane settles its message, and says so, before it begins another: the broker can tell from the
cells of a dead process which messages were being worked on. Each chunk holds one message.

All of these are suspects then, and nobody knows which one is to blame. Each is handled alone when
it comes again, while all other lanes rest: that singles it out, and spares the others a second end.
"""

import contextvars
import time
from typing import Any

from supervisor.errors import summary_of
from supervisor.link import WorkerLink
from workers.loops.declaration import check_result
from workers.loops.failure import failure
from workers.loops.handler import Handler
from workers.queues.client.reader import Delivered, QueueReader
from workers.queues.errors import Interrupted, UndecodableError
from workers.queues.frames import Reply, Suspicion

#: The message at hand, of this thread or task; handlers in lanes see their own.
at_hand: contextvars.ContextVar[Delivered] = contextvars.ContextVar("at_hand")
#: Acknowledged messages between two measurements.
MEASURED = 16


class Lanes:
    """The lanes of one consumer: which are free, and what a message's end means.

    Not for several threads at once: who has some holds a lock around it.

    Args:
        consumer: whose messages they are.
        reader: where they come from.
        link: the worker's.

    """

    def __init__(self, consumer: Handler, reader: QueueReader, link: WorkerLink) -> None:
        self.consumer, self.reader, self.link = consumer, reader, link
        self.free = list(reversed(range(reader.lanes)))
        self.waiting: list[Delivered] = []  # came, not begun
        self.handled = 0
        self.error: BaseException | None = None  # that ends the process
        self._early = reader.door.welcome.ack == "early"
        self._busy_since: dict[int, float] = {}
        self._charged: set[int] = set()  # lanes whose message has ended a process before
        self._alone = False  # a suspect is being handled: nothing else is begun
        self._took = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.error is not None or self.consumer.finished or self.link.interrupted

    @property
    def busy(self) -> int:
        """Lanes that work."""
        return self.reader.lanes - len(self.free)

    def receive(self) -> None:
        """Take what has come; not while there is no connection and some lanes still work."""
        connections = self.reader.connections
        try:
            chunks = self.reader.take(block=False, keep=bool(self.busy))
        except Interrupted:  # while connecting anew: then `over` is true
            return
        if self.reader.connections != connections:
            self.waiting = []
        self.waiting += chunks

    def begin(self) -> tuple[int, Delivered] | None:
        """Give the next message to a free lane; None if there is no lane, or no message."""
        while self.free and self.waiting and not self.over and not self._alone:
            alone = self.waiting[0].suspect == Suspicion.SUSPECT
            if alone and self.busy:
                return None
            chunk, lane = self.waiting.pop(0), self.free.pop()
            self.reader.cursor.busy(chunk.id, chunk.done, lane)
            if self.reader.cursor.fenced:
                self.free.append(lane)
                self.waiting = []
                return None
            self._busy_since[lane] = time.monotonic()
            self._alone = alone
            if chunk.suspect >= Suspicion.CHARGED:
                self._charged.add(lane)
                self.link.suspect(True)
            try:
                chunk.messages = [chunk.message(chunk.done)]  # it is the only one
            except UndecodableError as error:
                self.failed(lane, chunk, error)
                continue
            if self._early and not chunk.is_call:
                self.reader.cursor.idle(chunk.id, chunk.done + 1, lane)
                self.reader.acknowledge(chunk.id, chunk.done + 1, 1)
            return lane, chunk
        return None

    def done(self, lane: int, chunk: Delivered, result: Any) -> None:
        """A lane has handled its message."""
        try:
            if result is not None:
                check_result(result)
            body = self.reader.encode(result) if chunk.is_call else b""
        except Exception as error:  # too large, too deep, no UTF-8: the encoder has many
            self.failed(lane, chunk, error)
            return
        if chunk.is_call:
            self.reader.reply(chunk, Reply(ok=True, body=body), lane)
        elif not self._early:
            self.reader.cursor.idle(chunk.id, chunk.done + 1, lane)
            self.reader.acknowledge(chunk.id, chunk.done + 1, 1)
            self.reader.flush()
        self._freed(lane)

    def failed(self, lane: int, chunk: Delivered, error: BaseException) -> None:
        """A lane's handler has raised, or it could not be given its message."""
        if isinstance(error, UndecodableError):
            self.reader.undecodable(chunk, chunk.done, error, lane)
            self._freed(lane)
            return
        verdict = failure(error, self.consumer.on_error)
        if chunk.is_call and verdict.answers:
            reply = Reply(ok=False, error=summary_of(error), fatal=verdict.crashes)
            self.reader.reply(chunk, reply, lane)
        elif not self._early:
            self.reader.nack(chunk, chunk.done, verdict.nack, lane)
        if verdict.crashes:
            self.end(lane, error)
        else:
            self._freed(lane)

    def end(self, lane: int, error: BaseException) -> None:
        """The process is to end over the message of a lane, once the other lanes are done.

        It stays suspect: an end over a message that came again is charged to the message only.
        """
        if self.error is None:
            self.error = error
        self.free.append(lane)

    def _freed(self, lane: int) -> None:
        now = time.monotonic()
        self._took += now - self._busy_since.pop(lane)
        self._alone = False
        if lane in self._charged:
            self._charged.discard(lane)
            self.link.suspect(bool(self._charged))
        self.free.append(lane)
        self.handled += 1
        if self.handled % MEASURED == 0:
            # As many as one lane handles in a while, for each of them.
            self.reader.measured(MEASURED, self._took / self.reader.lanes)
            self._took = 0.0
