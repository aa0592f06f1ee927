"""Any order of puts, deliveries, acks, failures, deaths and time keeps the promises of the core."""

from collections import Counter
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.queue_world import World, decoded, messages
from workers.queues.core import fair
from workers.queues.core.chunk import Chunk
from workers.queues.core.leases import Cursor
from workers.queues.frames import Suspicion

CAPACITY, MAX_BYTES, MAX_ATTEMPTS = 12, 90, 3
KEYS = ("", "a", "b")
#: Messages in one chunk at most; of a fair queue, a key's turn is as many.
MOST = 5


class Held:
    """A chunk that a consumer has: its messages, and how many of them it has done."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.done = chunk.done
        self.messages: list[Any] = decoded(chunk.body)


class Queue(RuleBasedStateMachine):
    """The core beside a model that knows each message."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.keyed = False
        self.next_message = self.next_consumer = 0
        self.key: dict[int, str] = {}
        self.finished: Counter[int] = Counter()  # handled to the end by a consumer
        self.tries: Counter[int] = Counter()  # that ended badly
        self.seen: dict[str, list[int]] = {key: [] for key in KEYS}  # first deliveries
        self.last_attempt: Counter[int] = Counter()
        self.having: dict[int, list[Held]] = {}
        self.windows: dict[int, int] = {}
        self.has_returned: set[str] = set()
        self.restored: set[int] = set()  # was in the queue when its broker ended
        # Of each key that waits: what of others has left since it came, or was served.
        self.passed: dict[str, Counter[str]] = {}
        self.quantum = patch.object(fair, "QUANTUM", MOST)
        self.quantum.start()

    @initialize(
        overflow=st.sampled_from(["block", "reject", "drop_oldest"]),
        keyed=st.booleans(),
        priorities=st.sampled_from([1, 3]),
        max_dead=st.sampled_from([2, 1000]),
        durable=st.booleans(),
    )
    def declare(
        self, overflow: str, keyed: bool, priorities: int, max_dead: int, durable: bool
    ) -> None:
        """Any queue."""
        self.keyed = keyed
        self.world = World(
            capacity=CAPACITY,
            max_bytes=MAX_BYTES,
            max_attempts=MAX_ATTEMPTS,
            overflow=overflow,
            fair_by="key" if keyed else None,
            priorities=priorities,
            max_dead=max_dead,
            lease=60.0,
            durable="full" if durable else "",
            retry_backoff=(1.0, 4.0),
        )
        self.enter(4, 1)

    # --- in, out --------------------------------------------------------------------------------

    @rule(
        count=st.integers(1, MOST),
        key=st.sampled_from(KEYS),
        ttl=st.sampled_from([0.0, 0.0, 5.0]),
        delay=st.sampled_from([0.0, 0.0, 2.0]),
    )
    def put(self, count: int, key: str, ttl: float, delay: float) -> None:
        """Put as many as fit; what does not is its producer's to keep."""
        values = list(range(self.next_message, self.next_message + count))
        options = {"key": key, "ttl": ttl, "delay": delay}
        if not self.world.put(*values, **{k: v for k, v in options.items() if v}):
            self.next_message += count
            self.key.update(dict.fromkeys(values, key))
            if delay:
                self.has_returned.add(key)  # the order of these is that of their times
        self._deliver()

    @precondition(lambda self: self.world.core.books.journal is None)
    @rule()
    def hand_over(self) -> None:
        """Put one that goes on at once, if somebody waits for it."""
        handed = self.world.hand_over(self.next_message)
        if handed is not None:
            self.key[self.next_message] = ""
            self.next_message += 1
            self._delivered(*handed)

    @precondition(lambda self: len(self.having) < 2)
    @rule(
        window=st.integers(1, 6), lanes=st.sampled_from([1, 1, 2]), burst=st.sampled_from([0, 2, 9])
    )
    def enter(self, window: int, lanes: int, burst: int = 0) -> None:
        """A consumer comes."""
        self.next_consumer += 1
        self.world.consumer(self.next_consumer, window, lanes, burst)
        self.having[self.next_consumer], self.windows[self.next_consumer] = [], window
        self._deliver()

    def _deliver(self) -> None:
        """Deliveries are within the window, of the attempt that the tries say, and in order."""
        self._see_who_waits()
        for number, chunk in self.world.core.deliveries(self.world.now):
            self._delivered(number, chunk)
            self.passed[chunk.key] = Counter()
            for key, passed in self.passed.items():
                passed[chunk.key] += chunk.left if key != chunk.key else 0
                assert not self.keyed or passed[chunk.key] <= 2 * MOST - 1
        self._see_who_waits()

    def _see_who_waits(self) -> None:
        waiting = {chunk.key for chunk in self.world.core.stock.order}
        self.passed = {key: self.passed.get(key, Counter()) for key in waiting}

    def _delivered(self, number: int, chunk: Chunk) -> None:
        assert (chunk.attempt > 1) == (chunk.suspect > Suspicion.NONE)
        for message in messages(chunk):
            assert chunk.attempt == self.tries[message] + 1
            assert chunk.told >= self.last_attempt[message]
            assert chunk.told > 1 or message not in self.restored
            self.last_attempt[message] = chunk.told
            key = self.key[message]
            if message not in self.seen[key] and key not in self.has_returned:
                self.seen[key].append(message)
        self.having[number].append(Held(chunk))
        has = sum(len(held.messages) - held.chunk.done for held in self.having[number])
        assert has <= self.windows[number]

    # --- what consumers do ----------------------------------------------------------------------

    @precondition(lambda self: self.having)
    @rule(data=st.data(), steps=st.integers(1, 5), acknowledge=st.booleans())
    def work(self, data: st.DataObject, steps: int, acknowledge: bool) -> None:
        """A consumer finishes some messages, in order, and may tell."""
        self._work(data.draw(st.sampled_from(sorted(self.having))), steps, acknowledge)

    def _work(self, number: int, steps: int, acknowledge: bool) -> None:
        for held in self.having[number]:
            taken = min(steps, len(held.messages) - held.done)
            self.finished.update(held.messages[held.done : held.done + taken])
            held.done += taken
            steps -= taken
        if acknowledge:
            self._tell(number)
        self._deliver()

    @rule(key=st.sampled_from(KEYS), rounds=st.integers(1, 6))
    def flood(self, key: str, rounds: int) -> None:
        """Much is put under one key, while consumers handle all that they get."""
        for _ in range(rounds):
            self.put(MOST, key, 0.0, 0.0)
            for number in self.having:
                self._work(number, CAPACITY, True)

    def _tell(self, number: int) -> None:
        for held in self.having[number]:
            self.world.ack(number, held.chunk, held.done)
        self.having[number] = [h for h in self.having[number] if h.done < len(h.messages)]

    def _at(self, number: int) -> Held | None:
        return next((h for h in self.having[number] if h.done < len(h.messages)), None)

    @precondition(lambda self: any(self._at(number) for number in self.having))
    @rule(dead=st.booleans(), delay=st.sampled_from([None, 0.0, 3.0]))
    def fail(self, dead: bool, delay: float | None) -> None:
        """A consumer fails with its next message, and goes on behind it."""
        number = next(number for number in self.having if self._at(number))
        self._tell(number)
        held = self._at(number)
        assert held is not None
        message = held.messages[held.done]
        self.tries[message] = MAX_ATTEMPTS if dead else self.tries[message] + 1
        self.has_returned.add(self.key[message])
        action = "dead" if dead else "retry"
        self.world.nack(number, held.chunk, held.done, action=action, delay=delay)
        held.done += 1
        self.having[number] = [h for h in self.having[number] if h.done < len(h.messages)]
        self._deliver()

    def _at_work(self, number: int, size: int) -> list[tuple[Held, int]]:
        """Return (held, index) of the messages of a batch of at most ``size``."""
        begun = [
            (held, index)
            for held in self.having[number]
            for index in range(held.done, len(held.messages))
        ]
        lanes = self.world.core.delivery.consumers[number].lanes
        return begun[: size if lanes == 1 else min(size, 1)]

    def _cells(self, number: int, size: int) -> tuple[Cursor, ...]:
        busy = size > 0
        one = self.world.core.delivery.consumers[number]
        at, latest = self._at(number), self.having[number][-1:]
        if one.lanes == 2:
            # Lane 0 is at work; lane 1 has said what is done before: acks of lanes are not lazy.
            self._tell(number)
            cell = Cursor(at.chunk.id, at.done, busy) if at else Cursor(0, 0, False)
            return cell, Cursor(0, 0, False)
        if at is not None:
            if size < 2:
                return (Cursor(at.chunk.id, at.done, busy),)
            last, index = self._at_work(number, size)[-1]
            return (Cursor(at.chunk.id, at.done, True, last.chunk.id, index + 1),)
        return (Cursor(latest[0].chunk.id, len(latest[0].messages), False) if latest else
                Cursor(0, 0, False),)  # fmt: skip

    def _blame(self, number: int, size: int) -> None:
        for at, index in self._at_work(number, size):
            self.tries[at.messages[index]] += 1
        for held in self.having[number]:
            self.has_returned.update(self.key[message] for message in held.messages[held.done :])

    @precondition(lambda self: self.having)
    @rule(data=st.data(), size=st.integers(0, 7))
    def die(self, data: st.DataObject, size: int) -> None:
        """A consumer ends, at work on its next messages or not."""
        number = data.draw(st.sampled_from(sorted(self.having)))
        cells = self._cells(number, size)
        self._blame(number, size)
        self.world.leave(number, *cells)
        del self.having[number], self.windows[number]
        self._deliver()

    @precondition(lambda self: any(self._at(number) for number in self.having))
    @rule(data=st.data(), size=st.integers(1, 7))
    def hang(self, data: st.DataObject, size: int) -> None:
        """A consumer is silent until its lease is over: it loses what it has, and goes on."""
        numbers = sorted(number for number in self.having if self._at(number))
        number = data.draw(st.sampled_from(numbers))
        cells = self._cells(number, size)
        self.world.core.delivery.consumers[number].since.clear()
        self.world.look(number, *cells)
        self.world.wait(60.0)
        self._blame(number, size)
        late = [held.chunk for held in self.having[number]]
        assert self.world.look(number, *cells) == [cells]
        settled = self.world.core.counts.settled
        for chunk in late:
            self.world.ack(number, chunk)
        assert self.world.core.counts.settled == settled
        self.having[number] = []
        self._deliver()

    @precondition(lambda self: self.world.core.books.journal is not None)
    @rule()
    def restart(self) -> None:
        """The broker ends; what was done, and not told, comes again, and says that it may have."""
        for held in (held for having in self.having.values() for held in having):
            self.finished.subtract(held.messages[held.chunk.done : held.done])
            self.has_returned.update(self.key[message] for message in held.messages)
        self.having, self.windows, self.passed = {}, {}, {}
        self.world.restart()
        self.restored.update(m for chunk in self.world.core.stock for m in messages(chunk))

    # --- time, and people -----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 10.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.wait(seconds)
        self._deliver()

    @rule()
    def discard_letters(self) -> None:
        """Somebody clears the dead letters away."""
        for letter in self.world.dead:
            self.world.core.burial.discard(letter.id)

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def bounded(self) -> None:
        """The bounds hold, and are exactly what is there."""
        books = self.world.core.books
        consumers = self.world.core.delivery.consumers.values()
        leased = [chunk for one in consumers for chunk in one.leased.values()]
        assert 0 <= books.depth <= CAPACITY
        scheduled = [chunk for chunk in self.world.core.stock if chunk.not_before]
        assert books.scheduled == sum(chunk.left for chunk in scheduled)
        assert books.bytes == sum(c.size for c in [*self.world.core.stock, *leased])
        assert all(one.held == sum(c.left for c in one.leased.values()) for one in consumers)
        assert all(0 <= one.held <= one.window for one in consumers)

    @invariant()
    def nothing_lost_or_invented(self) -> None:
        """Each message is in one place; only those that were tried in vain are finished twice."""
        assert self.world.balanced()
        assert self.world.core.counts.accepted == self.next_message
        assert all(0 <= times <= 1 for times in self.finished.values())
        assert self.world.core.counts.settled <= self.finished.total()

    @invariant()
    def first_deliveries_are_in_order(self) -> None:
        """What is put under one key is first seen in its order, as long as nothing came back."""
        for seen in self.seen.values():
            assert seen == sorted(seen)

    @invariant()
    def journal_tells_it_all(self) -> None:
        """A store that has followed the journal holds what the queue holds."""
        if self.world.core.books.journal is not None:
            _follows(self.world)

    def teardown(self) -> None:
        """With one consumer that works, everything comes to its end."""
        try:
            self._empty()
        finally:
            self.quantum.stop()

    def _empty(self) -> None:
        for number in list(self.having):
            self.world.leave(number)
        self.discard_letters()
        self.world.consumer(0, 4)
        for _ in range(200):
            if not self.world.core.books.depth:
                break
            self.world.take(0)
            self.world.wait(5.0)
            self.discard_letters()
        assert self.world.core.books.depth == 0, "wedged"
        assert self.world.core.books.bytes == 0


def _follows(world: World) -> None:
    """Compare what a store would recover with what there is."""
    recovered = world.keep()
    kept = {chunk.id: (chunk.left, chunk.attempt) for chunk in recovered.chunks}
    consumers = world.core.delivery.consumers.values()
    leased = [chunk for one in consumers for chunk in one.leased.values()]
    there = {c.id: (c.left, c.attempt) for c in [*world.core.stock, *leased]}
    assert kept == there
    assert [one.id for one in recovered.letters] == [one.id for one in world.dead]


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=3 * settings.default.max_examples, stateful_step_count=50, deadline=None
)
