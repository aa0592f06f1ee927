"""Batches: what `handle_many` gets, and the loop that makes them."""

import time
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from supervisor.link import WorkerLink
from workers.loops.declaration import check_result
from workers.loops.failure import failure
from workers.loops.handler import Handler
from workers.loops.serial import CHARGED, LOOK, SerialLoop
from workers.queues.client.reader import Delivered, QueueReader, undecodable
from workers.queues.errors import Reject, Retry, UndecodableError
from workers.queues.frames import Nack

_T = TypeVar("_T")


class Batch(list[_T]):
    """Messages that are handled together. What is not said otherwise is done when that returns.

    ``attempts``: how often each was delivered, from 1. One that was tried in vain comes alone.
    """

    def __init__(self, messages: list[_T], attempts: list[int] | None = None) -> None:
        super().__init__(messages)
        self.attempts = attempts or [1] * len(messages)
        self.outcomes: dict[int, Retry | Reject] = {}

    def nack(self, index: int, delay: float | None = None, reason: str = "") -> None:
        """Let the message at ``index`` come again, ``delay`` seconds later (None: the backoff).

        Raises:
            IndexError: there is no such message in the batch.

        """
        self.outcomes[self._checked(index)] = Retry(delay, reason)

    def reject(self, index: int, reason: str = "") -> None:
        """Make the message at ``index`` a dead letter. Errors are those of `nack`."""
        self.outcomes[self._checked(index)] = Reject(reason)

    def _checked(self, index: int) -> int:
        """Count a negative index from the end, as a list does: what is not there cannot be meant.

        By ``attempts``: an author may take messages out of the list itself.
        """
        return range(len(self.attempts))[index]


class Piece:
    """Part of a chunk that is in a batch: its messages from ``start`` to before ``stop``."""

    __slots__ = ("chunk", "start", "stop")

    def __init__(self, chunk: Delivered, start: int, stop: int) -> None:
        self.chunk, self.start, self.stop = chunk, start, stop


def opened(pieces: Sequence[Piece]) -> tuple[list[Any], list[int], dict[int, Nack]]:
    """Return the messages of pieces, their attempts, and what is said of others, by place.

    The others are those that cannot be decoded. The cursor has to point at them all: some are
    decoded here.
    """
    found: list[Any] = []
    attempts: list[int] = []
    bad: dict[int, Nack] = {}
    for piece in pieces:
        messages = piece.chunk.messages
        if isinstance(messages, list):
            found += messages[piece.start : piece.stop]
        else:
            for index in range(piece.start, piece.stop):
                try:
                    found.append(messages[index])
                except UndecodableError as error:
                    bad[len(found) + len(bad)] = undecodable(error)
        attempts += [piece.chunk.attempt] * (len(found) - len(attempts))
    return found, attempts, bad


def merged(outcomes: dict[int, Nack], bad: dict[int, Nack]) -> dict[int, Nack]:
    """Return what is said of the messages of a batch, by place, among those that were not in it."""
    most = max(outcomes, default=-1) + 1 + len(bad)
    places = [place for place in range(most) if place not in bad]
    return bad | {places[index]: said for index, said in outcomes.items()}


class BatchLoop(SerialLoop):
    """Takes messages and handles them in batches.

    When the process dies in the middle of a batch, all of it is blamed, since nobody knows which
    message it was. What comes again is handled alone: that singles out the one that is to blame,
    and no other one is charged with a second end.
    """

    def __init__(self, consumer: Handler, reader: QueueReader, link: WorkerLink) -> None:
        super().__init__(consumer, reader, link)
        self._size, self._wait = consumer.batch, consumer.batch_wait

    def work_off(self, chunks: list[Delivered]) -> None:
        """Handle chunks in batches, waiting a little for full ones, until the end comes."""
        waiting = list(reversed(chunks))
        connection = self.reader.connections
        while waiting and not self.over:
            if waiting[-1].flawed or waiting[-1].is_call:
                self._carefully(waiting.pop())
                continue
            pieces, full = self._gather(waiting)
            if not full and self._wait:
                self._more(pieces, time.monotonic() + self._wait)
                self.link.beat(self.handled)
            if self.reader.connections != connection or not self._handle(pieces):
                return  # what we have was taken back

    def _gather(self, waiting: list[Delivered]) -> tuple[list[Piece], bool]:
        """Take the next batch; say whether there is nothing to wait for."""
        pieces: list[Piece] = []
        room = self._size
        while waiting and room:
            chunk = waiting[-1]
            special = chunk.flawed or chunk.is_call or chunk.suspect
            if special and pieces:
                return pieces, True
            if special:
                room = 1
            stop = min(chunk.done + room, len(chunk.messages))
            pieces.append(Piece(chunk, chunk.done, stop))
            room = 0 if special else room - (stop - chunk.done)
            chunk.done = stop
            if stop == len(chunk.messages):
                waiting.pop()
        return pieces, room == 0 or bool(waiting)

    def _more(self, pieces: list[Piece], deadline: float) -> None:
        """Wait until a batch is full, or the deadline."""
        room = self._size - sum(piece.stop - piece.start for piece in pieces)
        while room > 0 and time.monotonic() < deadline and not self.over:
            chunks = self.reader.take(deadline, keep=True)
            self.link.beat(self.handled, idle=True)
            if not self.reader.door.connected:
                return
            for number, chunk in enumerate(chunks):
                if chunk.flawed or chunk.is_call or chunk.suspect or room <= 0:
                    self.reader.put_back(chunks[number:])
                    return
                stop = min(chunk.done + room, len(chunk.messages))
                pieces.append(Piece(chunk, chunk.done, stop))
                room -= stop - chunk.done
                chunk.done = stop
                if stop < len(chunk.messages):
                    self.reader.put_back(chunks[number:])
                    return

    def _handle(self, pieces: list[Piece]) -> bool:
        first, last, reader = pieces[0], pieces[-1], self.reader
        if self.early:
            reader.cursor.idle(last.chunk.id, last.stop)
        else:
            reader.cursor.busy_to(first.chunk.id, first.start, last.chunk.id, last.stop)
        if reader.cursor.fenced:
            return False
        self.consumer.at(first.chunk, first.start)
        charged = first.chunk.suspect >= CHARGED  # alone, then: an end now is its own fault
        if charged:
            self.link.suspect(True)
        messages, attempts, bad = opened(pieces)
        batch: Batch[Any] = Batch(messages, attempts)
        try:
            if messages and (result := self.consumer.handle_many(batch)) is not None:
                check_result(result)
        except Exception as error:
            self._failed_batch(pieces, error)
            self._lift(charged)
            return True
        self._lift(charged)
        outcomes = {index: failure(said, "").nack for index, said in batch.outcomes.items()}
        self._settle_batch(pieces, merged(outcomes, bad) if bad else outcomes)
        self.handled += len(messages)
        now = time.monotonic()
        if now >= self.look_at:
            self.look_at = now + LOOK
            self.measure(now)
            reader.flush()
            self.link.beat(self.handled)
        return True

    def _lift(self, charged: bool) -> None:
        if charged:
            self.link.suspect(False)

    def _settle_batch(self, pieces: list[Piece], nacks: dict[int, Nack]) -> None:
        number = 0
        for piece in pieces:
            for index in range(piece.start, piece.stop) if nacks else ():
                if number in nacks and not self.early:
                    self.reader.nack(piece.chunk, index, nacks[number], lane=None)
                number += 1
        self.reader.cursor.idle(pieces[-1].chunk.id, pieces[-1].stop)
        for piece in pieces:
            self.reader.acknowledge(piece.chunk.id, piece.stop, piece.stop - piece.start)

    def _failed_batch(self, pieces: list[Piece], error: Exception) -> None:
        """Give back all messages of a batch: each comes alone, at once if there are several."""
        verdict = failure(error, self.consumer.on_error)
        count = sum(piece.stop - piece.start for piece in pieces)
        nack = verdict.nack
        if count > 1 and nack.delay is None:
            nack = msgspec.structs.replace(nack, delay=0.0)
        self._settle_batch(pieces, dict.fromkeys(range(count), nack))
        self.reader.flush()
        if verdict.crashes:
            raise error
