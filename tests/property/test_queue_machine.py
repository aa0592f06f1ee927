"""Any order of puts, deliveries, acks, refusals and deaths keeps the promises of the core."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.queues import payload
from workers.queues.core import Chunk, Cursor, QueueCore

CAPACITY, MAX_BYTES, MAX_ATTEMPTS = 12, 60, 3
#: A part that was cut off has an array header of its own.
HEADER_BYTES = 3


class Queue(RuleBasedStateMachine):
    """The core beside a model that knows each message."""

    def __init__(self) -> None:
        super().__init__()
        self.core = QueueCore(CAPACITY, MAX_BYTES, MAX_ATTEMPTS, payload.split, payload.join)
        self.next_message = self.next_key = 0
        self.finished: Counter[int] = Counter()  # handled to the end by a consumer
        self.blamed: Counter[int] = Counter()
        #: Per consumer its deliveries, in order: [chunk, its messages, done by the consumer].
        self.having: dict[int, list[list[object]]] = {}
        self.credit: dict[int, int] = {}
        self.first_seen: list[int] = []

    @rule(count=st.integers(1, 5))
    def put(self, count: int) -> None:
        """Put as many as fit; what does not fit is the producer's to keep."""
        messages = list(range(self.next_message, self.next_message + count))
        body = payload.encode(messages)
        if self.core.fits(count, len(body)):
            self.core.put(count, body)
            self.next_message += count

    @precondition(lambda self: len(self.having) < 3)
    @rule(credit=st.integers(1, 6))
    def enter(self, credit: int) -> None:
        """A consumer comes."""
        self.next_key += 1
        self.core.enter(self.next_key)
        self.core.grant(self.next_key, credit)
        self.having[self.next_key], self.credit[self.next_key] = [], credit

    @rule()
    def deliver(self) -> None:
        """Deliveries are within credit, of the attempt that the blame says, and in order."""
        for key, chunk in self.core.deliveries():
            messages = payload.ChunkDecoder().decode(chunk.body)
            for message in messages[chunk.done :]:
                assert chunk.attempt == self.blamed[message] + 1
                if message not in self.first_seen:
                    self.first_seen.append(message)
            self.having[key].append([chunk, messages, chunk.done])
            self.credit[key] -= len(messages) - chunk.done
            assert self.credit[key] >= 0

    def _work(self, key: int, steps: int) -> None:
        for delivery in self.having[key]:
            _, messages, done = delivery
            assert isinstance(messages, list)
            assert isinstance(done, int)
            taken = min(steps, len(messages) - done)
            self.finished.update(messages[done : done + taken])
            delivery[2] = done + taken
            steps -= taken

    @precondition(lambda self: self.having)
    @rule(data=st.data(), steps=st.integers(1, 5), acknowledge=st.booleans())
    def work(self, data: st.DataObject, steps: int, acknowledge: bool) -> None:
        """A consumer finishes some messages, and may tell."""
        key = data.draw(st.sampled_from(sorted(self.having)))
        self._work(key, steps)
        if acknowledge:
            for chunk, _messages, done in self.having[key]:
                assert isinstance(chunk, Chunk)
                assert isinstance(done, int)
                self.credit[key] += done - chunk.done
                self.core.ack(key, chunk.id, done)
            self.having[key] = [one for one in self.having[key] if one[2] < len(one[1])]  # type: ignore[arg-type, operator]

    def _position(self, key: int) -> tuple[Chunk, int, int] | None:
        """Return chunk, index and message that a consumer is at."""
        for chunk, messages, done in self.having[key]:
            assert isinstance(messages, list)
            assert isinstance(done, int)
            assert isinstance(chunk, Chunk)
            if done < len(messages):
                return chunk, done, messages[done]
        return None

    @precondition(lambda self: self.having)
    @rule(data=st.data(), busy=st.booleans())
    def die(self, data: st.DataObject, busy: bool) -> None:
        """A consumer ends, at work on its next message or not."""
        key = data.draw(st.sampled_from(sorted(self.having)))
        at = self._position(key)
        if at is not None:
            chunk, index, message = at
            cursor = Cursor(chunk.id, index, busy)
            if busy:
                self.blamed[message] += 1
        elif self.having[key]:
            last, messages, _ = self.having[key][-1]
            assert isinstance(last, Chunk)
            cursor = Cursor(last.id, len(messages), False)  # type: ignore[arg-type]
        else:
            cursor = Cursor(0, 0, False)
        self.core.leave(key, cursor)
        del self.having[key], self.credit[key]

    @precondition(lambda self: any(self._position(key) for key in self.having))
    @rule()
    def reject(self) -> None:
        """A consumer cannot read its next message."""
        key = next(key for key in self.having if self._position(key))
        at = self._position(key)
        assert at is not None
        chunk, index, message = at
        before = self.core.counts.dead
        for earlier in self.having[key]:  # in order: what lies before is told first
            if earlier[0] is chunk:
                break
            assert isinstance(earlier[0], Chunk)
            self.credit[key] += earlier[0].left
            self.core.ack(key, earlier[0].id, len(earlier[1]))  # type: ignore[arg-type]
        self.credit[key] += index + 1 - chunk.done
        self.core.reject(key, chunk.id, index, "no")
        assert self.core.counts.dead == before + 1
        self.blamed[message] = MAX_ATTEMPTS
        for delivery in self.having[key]:
            if delivery[0] is chunk:
                delivery[2] = index + 1
        self.having[key] = [one for one in self.having[key] if one[2] < len(one[1])]  # type: ignore[arg-type, operator]

    @invariant()
    def bounded(self) -> None:
        """The bounds hold, and are exactly what is there."""
        parts = len(self.core._waiting) + sum(len(c.leased) for c in self.core._consumers.values())
        assert 0 <= self.core.depth <= CAPACITY
        assert 0 <= self.core.bytes <= MAX_BYTES + HEADER_BYTES * parts
        waiting = sum(chunk.left for chunk in self.core._waiting)
        assert self.core.depth == waiting + self.core.leased

    @invariant()
    def nothing_lost_or_invented(self) -> None:
        """Each message is in the queue, settled or dead; only blamed ones are finished twice."""
        counts = self.core.counts
        assert (
            counts.accepted == self.next_message == self.core.depth + counts.settled + counts.dead
        )
        dead = {payload.ChunkDecoder().decode(b"\x91" + one.message)[0] for one in self.core.dead}
        assert dead == {message for message, times in self.blamed.items() if times >= MAX_ATTEMPTS}
        assert all(times == 1 for times in self.finished.values())
        assert counts.settled <= len(self.finished)

    @invariant()
    def first_deliveries_are_in_order(self) -> None:
        """What one producer puts is first seen in its order."""
        assert self.first_seen == sorted(self.first_seen)

    def teardown(self) -> None:
        """With one consumer that works, everything comes to its end."""
        for key in list(self.having):
            self.core.leave(key, Cursor(0, 0, False))
            self.finished.clear()  # what was finished and not told comes again
        self.core.enter(0)
        self.core.grant(0, 4)
        while self.core.depth:
            found = self.core.deliveries()
            assert found, "wedged"
            for key, chunk in found:
                self.core.ack(key, chunk.id, chunk.count)
        assert self.core.bytes == 0


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
