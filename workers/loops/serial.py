"""The loop of a consumer that handles one message after the other.

It is written for speed: for each message it costs one store into the cursor, one look at the fence
and one at the clock. All else is done every few milliseconds, or once for a chunk.
"""

import time
from typing import Any

from supervisor.errors import summary_of
from supervisor.link import WorkerLink
from workers.loops.declaration import check_result
from workers.loops.failure import failure
from workers.loops.handler import Handler
from workers.queues.client.reader import NOTHING, Delivered, QueueReader
from workers.queues.cursor import BUSY, DONE_SHIFT, FENCE, at
from workers.queues.errors import Interrupted, UndecodableError
from workers.queues.frames import Reply, Suspicion

#: Seconds of work between two looks at what goes on beside it: acknowledgements, beats, a stop.
LOOK = 0.005

CHARGED = int(Suspicion.CHARGED)
_monotonic = time.monotonic


class SerialLoop:
    """Takes and handles messages until it is told to stop.

    Args:
        consumer: whose messages they are.
        reader: where they come from.
        link: the worker's.

    """

    def __init__(self, consumer: Handler, reader: QueueReader, link: WorkerLink) -> None:
        self.consumer, self.reader, self.link = consumer, reader, link
        self.early = reader.door.welcome.ack == "early"
        self.handled = 0
        self.look_at = 0.0  # by the clock: the next look
        self._ask_at = 0.0  # and the next question whether to stop, unless a wait is told of it
        self._measured_at = 0.0
        self._measured = 0  # of `handled`

    def run(self) -> None:
        """Work until there is an end; then give back what was not begun."""
        try:
            while not self.over:
                if _monotonic() >= self._ask_at:  # it costs a syscall, which a wait saves
                    self._ask_at = _monotonic() + LOOK
                    if self.link.stopping:
                        break
                chunks = self.reader.take()
                if chunks:
                    self.link.beat(self.handled)  # before, or who hangs in it would count as idle
                    self._measured_at = _monotonic()
                    self.look_at = self._measured_at + LOOK
                    self.work_off(chunks)
                    self.consumer.at(NOTHING, 0)
                    self.measure(_monotonic())
                self.link.beat(self.handled, idle=True)
        except Interrupted:
            pass
        self.reader.close()

    @property
    def over(self) -> bool:
        """Whether the end has come."""
        return self.consumer.finished or self.link.interrupted

    def work_off(self, chunks: list[Delivered]) -> None:
        """Handle chunks, until the end comes."""
        for chunk in chunks:
            careful = chunk.flawed or chunk.is_call
            charged = chunk.suspect >= CHARGED  # an end now is its own fault
            if charged:
                self.link.suspect(True)
            goes_on = self._carefully(chunk) if careful else self._swiftly(chunk)
            if charged:
                self.link.suspect(False)
            if not goes_on:
                return

    def measure(self, now: float) -> None:
        """Tell the reader what handling has taken since the last time."""
        self.reader.measured(self.handled - self._measured, now - self._measured_at)
        self._measured, self._measured_at = self.handled, now

    def look(self, chunk: Delivered, index: int) -> bool:
        """Do what is due beside the work, the message at ``index`` being done; False at the end."""
        now = _monotonic()
        self.look_at = now + LOOK
        self.measure(now)
        self.reader.acknowledge(chunk.id, index + 1, 0)
        self.reader.flush()
        self.link.beat(self.handled)
        if self.over:
            self.reader.cursor.idle(chunk.id, index + 1)
            return False
        return True

    def _swiftly(self, chunk: Delivered) -> bool:
        """Handle a chunk of which nothing is special; False at the end, or behind the fence."""
        consumer, cells, handle = self.consumer, self.reader.cursor.cells, self.consumer.handle
        messages, index, count = chunk.messages, chunk.done, len(chunk.messages)
        consumer.at(chunk, index)
        step = 1 << DONE_SHIFT
        cell = at(chunk.id) + index * step + (step if self.early else BUSY)
        handled = self.handled - index
        while index < count:
            try:
                for index in range(index, count):  # noqa: B020 - goes on after an error
                    cells[0] = cell
                    if cells[FENCE]:
                        return False
                    consumer.index = index
                    result = handle(messages[index])
                    if result is not None:
                        check_result(result)
                    cell += step
                    if _monotonic() >= self.look_at:
                        self.handled = handled + index + 1
                        if not self.look(chunk, index):
                            return False
            except Exception as error:
                self._failed(chunk, index, error)
                cell += step
            index += 1
        self.handled = handled + count
        cells[0] = at(chunk.id) + count * step
        self.reader.acknowledge(chunk.id, count, count - chunk.done)
        return True

    def _carefully(self, chunk: Delivered) -> bool:
        """Handle a chunk with calls, or with messages that could not be decoded."""
        reader = self.reader
        for index in range(chunk.done, len(chunk.messages)):
            if self.early and not chunk.is_call:
                reader.cursor.idle(chunk.id, index + 1)
            else:
                reader.cursor.busy(chunk.id, index)
            if reader.cursor.fenced:
                return False
            self.consumer.at(chunk, index)
            try:
                result = self.consumer.handle(chunk.message(index))
                if result is not None:
                    check_result(result)
                self._settle(chunk, index, result)
            except Exception as error:
                self._failed(chunk, index, error)
            self.handled += 1
            if (self.over or _monotonic() >= self.look_at) and not self.look(chunk, index):
                return False
        return True

    def _settle(self, chunk: Delivered, index: int, result: Any) -> None:
        if chunk.is_call:
            self.reader.reply(chunk, Reply(ok=True, body=self.reader.encode(result)))
        else:
            self.reader.cursor.idle(chunk.id, index + 1)
            self.reader.acknowledge(chunk.id, index + 1, 1)

    def _failed(self, chunk: Delivered, index: int, error: Exception) -> None:
        """Give a message back that could not be handled; raise the error if that is the policy."""
        if isinstance(error, UndecodableError):
            self.reader.undecodable(chunk, index, error)
            return
        verdict = failure(error, self.consumer.on_error)
        if chunk.is_call and verdict.answers:
            reply = Reply(ok=False, error=summary_of(error), fatal=verdict.crashes)
            self.reader.reply(chunk, reply)
        elif not self.early:
            self.reader.nack(chunk, index, verdict.nack)
        if verdict.crashes:
            self.reader.flush()
            raise error
