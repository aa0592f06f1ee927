"""Delivery: which consumer gets which chunk, and what it says of it.

Consumers take turns. But waking one costs more than a quick message takes to handle: so who has the
turn keeps it while it has less than it handles in no time, by its own word, and is not silent (it
may be in a message that takes long for once); and then who says something goes before who sleeps.
Slow messages are spread over all consumers that have room: chunks of them are cut.
"""

import math
from collections import OrderedDict

from supervisor.definition import QueueDefinition
from workers.queues.core.books import Books
from workers.queues.core.burial import Burial
from workers.queues.core.chunk import Chunk
from workers.queues.core.leases import Consumer
from workers.queues.core.limits import Rate
from workers.queues.core.shedding import Shedder
from workers.queues.core.stock import Stock


class Delivery:
    """The consumers of a queue, and what they have. ``paused``: nothing is delivered.

    ``squeezed``: each may have half of what it asks for, because the machine is short of memory.
    """

    def __init__(
        self,
        definition: QueueDefinition,
        books: Books,
        stock: Stock,
        burial: Burial,
        shedder: Shedder | None,
    ) -> None:
        self._books, self._stock, self._burial = books, stock, burial
        self._letters, self._shedder = burial.letters, shedder
        self.paused = self.squeezed = False
        self.consumers: dict[int, Consumer] = {}
        self._hungry: OrderedDict[int, None] = OrderedDict()  # have room; first: next in turn
        self._awake = 0  # who was given something last: keeps its turn while it is swift
        self._rate = None if definition.rate is None else Rate(*definition.rate)
        self._limited = self._rate is not None or definition.rate_per_key is not None
        self._untimed = not self._limited and definition.ttl is None
        self._rate_from = 0.0  # the rate lets one through then

    @property
    def held_up(self) -> bool:
        """Whether nothing is delivered, whoever asks."""
        return self.paused or self._letters.full

    def enter(self, number: int, lanes: int) -> None:
        """Add a consumer; it is sent nothing before it says its window."""
        self.consumers[number] = Consumer(lanes)

    def leave(self, number: int) -> Consumer:
        """Remove a consumer; what it has is the caller's to take back."""
        self._hungry.pop(number, None)
        return self.consumers.pop(number)

    def window(self, number: int, messages: int, burst: int, now: float) -> None:
        """A consumer may have so many messages at once, of which it handles some in no time."""
        one = self.consumers[number]
        one.asked, one.burst = messages, burst
        one.window = self._granted(one)
        if one.window <= one.held:
            self._hungry.pop(number, None)
        self.give_turn(number, one, now)

    def squeeze(self, on: bool) -> None:
        """Let all have half of what they ask for from now on, one at least; or all of it again."""
        self.squeezed = on
        for number, one in self.consumers.items():
            one.window = self._granted(one)
            if one.window <= one.held:
                self._hungry.pop(number, None)
            else:
                self._hungry.setdefault(number)

    def _granted(self, one: Consumer) -> int:
        return (one.asked + 1) // 2 if self.squeezed else one.asked

    def withdraw_turn(self, number: int) -> None:
        """Send nothing to a consumer before it is given a turn again: when it says something."""
        self._hungry.pop(number, None)

    def give_turn(self, number: int, one: Consumer, now: float) -> None:
        """A consumer that has said something, so is awake, gets a turn, if it has room."""
        one.heard = now
        if one.window > one.held:
            self._hungry[number] = None
            if one.held < one.burst:  # before those who sleep
                self._hungry.move_to_end(number, last=False)

    def advance(self, one: Consumer, chunk: Chunk, done: int, now: float) -> None:
        """The first ``done`` messages of what a consumer has are done."""
        gone = self._books.advance(chunk, done)
        self._books.counts.settled += gone
        one.held -= gone
        if chunk.done >= chunk.count:
            one.leased.pop(chunk.id, None)
            one.settled = chunk.id
        if self._shedder is not None:
            self._shedder.settled(gone, self._books.ready, now)

    def gone(self, one: Consumer, chunk: Chunk, messages: int) -> None:
        """So many messages of a chunk were taken from a consumer."""
        one.held -= messages
        if chunk.done >= chunk.count:
            one.leased.pop(chunk.id, None)
            one.settled = chunk.id

    def next_at(self) -> float:
        """When deliveries that have to wait for the time may go on; inf: none have to."""
        if not self._hungry or self.held_up:
            return math.inf
        return min(self._stock.order.wakes_at(), self._rate_from or math.inf)

    def taker(self, now: float) -> int:
        """Who is to have a message that comes now, before it is in the books; 0: not known so soon.

        It is known when the queue is empty, somebody waits, and no clock has a say in it.
        """
        if self._books.depth or not self._hungry or not self._untimed or self.held_up:
            return 0
        return self._turn(now)

    def hand_over(self, number: int, chunk: Chunk, now: float) -> None:
        """Lease one message to its `taker`."""
        one = self.consumers[number]
        del self._hungry[number]
        self._lease(number, one, chunk, now)
        if one.window > 1:
            self._hungry[number] = None
        self._stock.first_tries(1)

    def deliveries(self, now: float) -> list[tuple[int, Chunk]]:
        """Lease what can be leased, to consumers with room, in turn."""
        found: list[tuple[int, Chunk]] = []
        if self._stock.timed:
            self._stock.wake(now)
        order, hungry, letters = self._stock.order, self._hungry, self._letters
        self._rate_from, first_tries = 0.0, 0
        part = 0  # what was cut, for whose turn it is
        while hungry and not (self.paused or letters.full):
            chunk = order.next(now)
            if chunk is None:
                break
            if chunk.expires and chunk.expires <= now and self._burial.may_expire(chunk):
                self._burial.expire(chunk, now)
                self._stock.withdrawn(chunk)
                continue
            most = self._allowed(now) if self._limited else math.inf
            if most < 1:
                break
            number = self._turn(now)
            one = self.consumers[number]
            del hungry[number]
            room, left = one.window - one.held, chunk.count - chunk.done
            if left > room and one.leased and one.lanes == 1:
                continue  # cutting costs; its next acknowledgement gives it a turn
            most = min(most, room, self._share(one, left) if chunk.id != part else left)
            if left > most:
                part = self._cut(chunk, int(most), now)
                hungry[number] = None  # still its turn
                hungry.move_to_end(number, last=False)
                continue
            order.take(now)
            self._lease(number, one, chunk, now)
            if room > left:
                hungry[number] = None
            if chunk.attempt == 1:
                first_tries += left
            found.append((number, chunk))
        if first_tries:
            self._stock.first_tries(first_tries)
        return found

    def _turn(self, now: float) -> int:
        """Say who is next, of those who have room."""
        awake = self._awake
        if awake in self._hungry and self.consumers[awake].is_swift(now):
            return awake
        return next(iter(self._hungry))

    def _share(self, one: Consumer, left: int) -> int:
        """How many messages of a chunk are for a consumer, and not for others that have nothing.

        What it handles in no time is: cutting costs. What takes long, by its own word, is cut.
        """
        if one.lanes > 1:
            return 1
        if left <= one.burst or not one.burst or one.held:
            return left
        idle = 1 + sum(not self.consumers[number].held for number in self._hungry)
        return max(one.burst, -(-left // idle))

    def _allowed(self, now: float) -> float:
        """How many messages the rates let through now."""
        most = self._stock.order.allowance(now)
        if self._rate is not None:
            most = min(most, self._rate.allowed(now))
            if most < 1:
                self._rate_from = self._rate.ready_at()
        return most

    def _lease(self, number: int, one: Consumer, chunk: Chunk, now: float) -> None:
        if one.since and not one.leased:
            one.since.clear()  # it has had nothing to do: its lease begins now
        if not one.held:
            one.heard = now
        self._awake = number
        one.leased[chunk.id] = chunk
        one.held += chunk.count - chunk.done
        chunk.holder = number
        if self._rate is not None:
            self._rate.spend(chunk.left, now)
        if self._shedder is not None:
            self._shedder.waited(now - (chunk.ready_at or chunk.put_at), now)

    def _cut(self, chunk: Chunk, count: int, now: float) -> int:
        """Cut the chunk whose turn it is behind ``count`` messages, or into single ones.

        Return the number of the first part; 0: it could not be cut, and is gone.
        """
        parts = self._books.singles(chunk) if count == 1 else self._books.cut(chunk, count)
        if not parts:
            self._burial.unopened(chunk, now)
        for part in parts:
            self._stock.watch(part)
        self._stock.order.replace(parts)
        return parts[0].id if parts else 0
