"""A cache within one worker: limited in bytes, and calm when many want the same at once.

    prices = Cache("prices", max_bytes="64MiB", ttl=60.0, stale=30.0)
    price = prices.get(article, load)     # load() is called, at most once at a time

What goes wrong with caches, and is prevented: growing without end (a limit in bytes, least recently
used first); all entries of one start expiring together (jitter); a hundred threads loading what one
could (single flight: the others wait for it); everybody waiting for a slow reload (for `stale`
seconds more the old value is given, while one thread loads the new one); a worker being recycled
for what is only cached (it is halved when the worker is asked to give back memory).

Over cachetools, which keeps order, sizes and expiry. All durations are float seconds.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from cachetools import TLRUCache

from supervisor import caches, link
from supervisor.declare.checks import Subject, seconds, size
from supervisor.memory import forget, on_trim

Value = TypeVar("Value")

#: Bytes that an entry takes beside its key and value: measured, about 400 with both its links.
ENTRY_BYTES = 400
#: Objects that are looked at to measure one value; what is beyond counts as nothing.
MAX_OBJECTS = 10_000
#: Threads that load new values in the background, at most.
MAX_REFRESHES = 4


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache has, and what came of it so far."""

    name: str
    entries: int
    bytes: int
    max_bytes: int
    hits: int
    stale_hits: int
    misses: int
    evictions: int

    @property
    def hit_ratio(self) -> float:
        """The part of all questions that it could answer; 0 before the first."""
        answered = self.hits + self.stale_hits
        return answered / (answered + self.misses) if answered + self.misses else 0.0


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value
    bytes: int
    fresh_until: float
    until: float


class _Flight(Future[Value]):
    """A load that is under way; ``leader``: the thread that does it."""

    leader = 0


class _Store(TLRUCache[Hashable, _Entry[Any]]):
    """Entries by key; counts what it drops for want of room or for its age."""

    evictions = 0

    def popitem(self) -> tuple[Hashable, _Entry[Any]]:
        self.evictions += 1
        return super().popitem()


class Cache(Generic[Value]):
    """A cache of one process; safe for threads. Make it in ``init``, not at import.

    Args:
        name: for statistics.
        max_bytes: of keys and values, or "64MiB".
        ttl: seconds that a value is fresh.
        jitter: the part of `ttl` by which each entry's is shortened at random (default 0.1).
        stale: seconds after that in which the old value is still given, while a new one is loaded
            in the background (default 0.0: everybody waits for the new one).
        sizeof: measures a value in bytes (default `deep_size`).
        clock: monotonic seconds.

    Raises:
        DefinitionError: a limit makes no sense.

    """

    def __init__(
        self,
        name: str,
        *,
        max_bytes: int | str,
        ttl: float,
        jitter: float = 0.1,
        stale: float = 0.0,
        sizeof: Callable[[Value], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        subject = Subject(f'cache "{name}"', "")
        self.name = name
        self._ttl = seconds(subject, "ttl", ttl)
        self._stale = seconds(subject, "stale", stale) if stale else 0.0
        if not 0 <= jitter <= 1:
            raise subject.error(f"jitter is {jitter!r}; allowed: a part from 0 to 1")
        self._jitter, self._clock = jitter, clock
        self._sizeof = sizeof or deep_size
        self._lock = threading.Lock()
        self._store = _Store(
            size(subject, "max_bytes", max_bytes),
            ttu=lambda _key, entry, _now: entry.until,
            timer=clock,
            getsizeof=lambda entry: entry.bytes,
        )
        self._flights: dict[Hashable, _Flight[Value]] = {}
        self._refreshing = 0
        self._hits = self._stale_hits = self._misses = 0
        self._tell_at = clock()
        on_trim(self.shrink)
        caches.known.append(self._facts)

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """Return the value of a key; if it is not there, load it.

        Args:
            key: what is wanted.
            load: returns the value. Of all threads that want the same key, one calls it; what it
                raises, all of them get. In the background an exception keeps the old value.

        Raises:
            RuntimeError: ``load`` asks for the key that it loads, and would wait for itself.

        """
        now = self._clock()
        if now >= self._tell_at:
            self._tell(now)
        with self._lock:
            entry = self._store.get(key)
            if entry is not None and now < entry.fresh_until:
                self._hits += 1
                return cast(Value, entry.value)
            flight = self._flights.get(key)
            if entry is not None:
                self._stale_hits += 1
                if flight is None and self._refreshing < MAX_REFRESHES:
                    self._refresh(key, load)
                return cast(Value, entry.value)
            self._misses += 1
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if leads:
            self._fly(key, load, flight)
        elif flight.leader == threading.get_ident():
            raise RuntimeError(f"cache {self.name!r}: to load {key!r} asks for {key!r} itself")
        return flight.result()

    def put(self, key: Hashable, value: Value) -> None:
        """Store a value. One that is larger than the whole cache is not kept.

        What is being loaded for the key was asked for before, and does not replace it.
        """
        entry = self._entry(key, value)
        with self._lock:
            self._flights.pop(key, None)
            self._keep(key, entry)

    def _entry(self, key: Hashable, value: Value) -> _Entry[Value]:
        occupied = self._sizeof(value) + deep_size(key) + ENTRY_BYTES
        fresh = self._ttl * (1 - self._jitter * random.random())  # noqa: S311 - no secret
        now = self._clock()
        return _Entry(value, occupied, now + fresh, now + fresh + self._stale)

    def _keep(self, key: Hashable, entry: _Entry[Value]) -> None:
        """Store an entry; the lock is held."""
        self._store.pop(key, None)
        if entry.bytes <= self._store.maxsize:
            self._store[key] = entry

    def forget(self, key: Hashable) -> None:
        """Drop a key: the next who wants it has it loaded. What is being loaded is not kept."""
        with self._lock:
            self._flights.pop(key, None)
            self._store.pop(key, None)

    def shrink(self) -> None:
        """Give back what has expired, and half of the rest. Called when memory is short."""
        with self._lock:
            self._store.expire()
            target = self._store.currsize / 2
            while self._store.currsize > target:
                self._store.popitem()

    def stats(self) -> CacheStats:
        """Return what it has and has done."""
        with self._lock:
            self._store.expire()
            return CacheStats(
                self.name,
                len(self._store),
                round(self._store.currsize),
                round(self._store.maxsize),
                self._hits,
                self._stale_hits,
                self._misses,
                self._store.evictions,
            )

    def close(self) -> None:
        """Drop everything."""
        forget(self.shrink)
        if self._facts in caches.known:
            caches.known.remove(self._facts)
        with self._lock:
            self._store.clear()

    def _tell(self, now: float) -> None:
        """Have the supervisor told, in a process whose work loop does not beat."""
        self._tell_at = now + link.CACHES_EVERY
        ours = link.current()
        if ours is not None:
            ours.tell_caches()

    def _facts(self) -> caches.CacheFacts:
        with self._lock:
            return caches.CacheFacts(
                self.name,
                len(self._store),
                round(self._store.currsize),
                round(self._store.maxsize),
                self._hits + self._stale_hits,
                self._misses,
                self._store.evictions,
            )

    def _fly(self, key: Hashable, load: Callable[[], Value], flight: _Flight[Value]) -> None:
        """Load a value, and give it to all that wait for it."""
        flight.leader = threading.get_ident()
        try:
            value = load()
            entry = self._entry(key, value)
            with self._lock:
                if self._flights.get(key) is flight:  # the key was not forgotten meanwhile
                    self._keep(key, entry)
        except BaseException as error:
            self._land(key, flight)
            flight.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self._land(key, flight)
        flight.set_result(value)

    def _land(self, key: Hashable, flight: _Flight[Value]) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def _refresh(self, key: Hashable, load: Callable[[], Value]) -> None:
        """Load a new value in the background; the lock is held."""
        flight = self._flights[key] = _Flight()
        self._refreshing += 1

        def run() -> None:
            try:
                self._fly(key, load, flight)
            finally:
                with self._lock:
                    self._refreshing -= 1

        try:
            threading.Thread(target=run, name=f"cache-{self.name}", daemon=True).start()
        except RuntimeError:  # no thread is to be had: who asks next tries again
            del self._flights[key]
            self._refreshing -= 1


def deep_size(value: object) -> int:
    """Measure a value with all that it holds, in bytes; what is shared within it counts once."""
    seen: set[int] = set()
    pending = [value]
    total = 0
    while pending and len(seen) < MAX_OBJECTS:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, dict):
            pending.extend(one)
            pending.extend(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            pending.extend(one)
        elif isinstance(one, str | bytes | bytearray | int | float | type | None):
            continue
        else:
            pending.append(getattr(one, "__dict__", None))
            pending.extend(getattr(one, name, None) for name in _slots(one))
    return total


def _slots(one: object) -> list[str]:
    found: list[str] = []
    for base in type(one).__mro__:
        slots = getattr(base, "__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in found if name not in ("__dict__", "__weakref__")]
