"""The cache of a worker: its limits, its calm under a rush, its statistics."""

import threading
from collections.abc import Callable

import pytest

from supervisor import caches
from supervisor.errors import DefinitionError
from supervisor.memory import trim
from workers.cache import ENTRY_BYTES, Cache, deep_size


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture(autouse=True)
def unknown_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the caches of a test: links of other tests would tell of them."""
    monkeypatch.setattr(caches, "known", [])


def cache(clock: Clock, **options: float) -> "Cache[bytes]":
    """A cache of 100 KB whose values are fresh for ten seconds."""
    return Cache("c", max_bytes=100_000, ttl=10.0, clock=clock, **{"jitter": 0.0, **options})  # type: ignore[arg-type]


def counted(value: bytes = b"value") -> tuple[Callable[[], bytes], list[int]]:
    """A loader, and the calls of it."""
    calls: list[int] = []

    def load() -> bytes:
        calls.append(1)
        return value

    return load, calls


def test_a_value_is_loaded_once_and_expires() -> None:
    """Within its time it is given from memory; after that it is loaded anew."""
    clock = Clock()
    ours = cache(clock)
    load, calls = counted()
    assert [ours.get("k", load) for _ in range(3)] == [b"value"] * 3
    assert len(calls) == 1
    clock.now = 10.1
    ours.get("k", load)
    assert len(calls) == 2
    stats = ours.stats()
    assert (stats.hits, stats.misses, stats.hit_ratio) == (2, 2, 0.5)


def test_it_never_has_more_than_its_bytes() -> None:
    """The least recently used go first; a value larger than the cache is not kept."""
    ours = cache(Clock())
    for number in range(100):
        ours.put(number, bytes(5_000))
        assert ours.stats().bytes <= 100_000
    stats = ours.stats()
    assert 15 <= stats.entries <= 100_000 // (5_000 + ENTRY_BYTES)
    assert stats.evictions == 100 - stats.entries
    load, calls = counted()
    ours.get(99, load)
    ours.get(0, load)
    assert len(calls) == 1
    ours.put("huge", bytes(200_000))
    ours.get("huge", load)
    assert len(calls) == 2


def test_many_threads_load_it_once() -> None:
    """Twenty threads that want the same key at once wait for one load (no dogpile)."""
    ours = cache(Clock())
    entered, release = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow() -> bytes:
        calls.append(1)
        entered.set()
        assert release.wait(10)
        return b"value"

    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(ours.get("k", slow))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    release.set()
    for thread in threads:
        thread.join(10)
    assert got == [b"value"] * 20
    assert len(calls) == 1


def test_a_failed_load_is_told_to_all_and_not_kept() -> None:
    """The next who asks tries again."""
    ours = cache(Clock())

    def broken() -> bytes:
        raise LookupError("no such article")

    for _ in range(2):
        with pytest.raises(LookupError):
            ours.get("k", broken)
    assert ours.get("k", counted()[0]) == b"value"


def test_a_stale_value_is_given_while_one_thread_loads_the_new_one() -> None:
    """Nobody waits for the reload; if it fails, the old value serves on."""
    clock = Clock()
    ours = cache(clock, stale=5.0)
    ours.put("k", b"old")
    clock.now = 11.0
    done = threading.Event()

    def broken() -> bytes:
        done.set()
        raise OSError("down")

    assert ours.get("k", broken) == b"old"
    assert done.wait(10)
    assert ours.get("k", lambda: b"new") in (b"old", b"new")
    deadline = threading.Event()
    for _ in range(1000):
        if ours.get("k", lambda: b"new") == b"new":
            break
        deadline.wait(0.005)
    assert ours.get("k", broken) == b"new"
    clock.now = 100.0
    assert ours.get("k", lambda: b"newer") == b"newer"


def test_entries_do_not_expire_together() -> None:
    """With jitter, what was loaded at once is not to be loaded at once again."""
    clock = Clock()
    ours = cache(clock, jitter=0.5)
    for number in range(100):
        ours.put(number, b"")
    clock.now = 7.5
    assert 20 < ours.stats().entries < 80


def test_it_gives_back_half_when_memory_is_short() -> None:
    """The worker's gentle step before it is recycled."""
    ours = cache(Clock())
    for number in range(10):
        ours.put(number, bytes(5_000))
    before = ours.stats().bytes
    trim()
    assert 0 < ours.stats().bytes <= before / 2
    ours.close()
    trim()


def test_sizes_count_what_a_value_holds() -> None:
    """Nested values are measured through, shared ones once."""
    block = bytes(10_000)
    assert deep_size([block, block]) < 11_000
    assert deep_size({"a": {"b": [bytes(10_000)]}}) > 10_000


@pytest.mark.parametrize("wrong", [{"ttl": 0}, {"max_bytes": "lots"}, {"jitter": 2.0}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    """The message names the cache and the value."""
    with pytest.raises(DefinitionError, match='cache "c"'):
        Cache("c", **{"max_bytes": 1000, "ttl": 1.0, **wrong})  # type: ignore[arg-type]


def test_a_key_that_is_forgotten_while_it_is_loaded_is_loaded_again() -> None:
    """What was read before the change is given to who waits for it, and not kept."""
    ours = cache(Clock())

    def load() -> bytes:
        ours.forget("k")  # somebody changes it now
        return b"old"

    assert ours.get("k", load) == b"old"
    assert ours.get("k", lambda: b"new") == b"new"
    assert ours.get("k", lambda: b"newer") == b"new"


def test_a_value_that_is_put_while_its_key_is_loaded_stays() -> None:
    """What was loaded was asked for before, and may be older."""
    prices = cache(Clock())

    def load() -> bytes:
        prices.put("key", b"new")
        return b"old"

    assert prices.get("key", load) == b"old"
    assert prices.get("key", load) == b"new"


def test_a_load_that_asks_for_its_own_key_is_an_error() -> None:
    """It would wait for itself for ever; other keys may be asked for."""
    ours = cache(Clock())
    with pytest.raises(RuntimeError, match="asks for 'k' itself"):
        ours.get("k", lambda: ours.get("k", lambda: b"value"))
    assert ours.get("k", lambda: ours.get("other", lambda: b"value")) == b"value"


def test_without_a_thread_the_stale_value_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no thread left costs a refresh, and leaves nobody waiting for it."""

    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    ours = cache(clock, stale=10.0)
    ours.put("k", b"old")
    clock.now = 11.0
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        assert [ours.get("k", lambda: b"new") for _ in range(10)] == [b"old"] * 10
    clock.now = 21.0
    assert ours.get("k", lambda: b"new") == b"new"
