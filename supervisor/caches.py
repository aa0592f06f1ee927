"""What a process's caches have and have done: told to its supervisor along with its beats."""

from collections.abc import Callable

import msgspec

#: Caches of one process that are told of, and characters of their names.
MAX_CACHES, MAX_NAME = 32, 100


class CacheFacts(msgspec.Struct, frozen=True):
    """One cache. ``hits``: questions that it could answer, with a stale value or a fresh one."""

    name: str
    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0


class Caches(msgspec.Struct, frozen=True, tag="caches"):
    """A worker's word to its supervisor: all its caches."""

    caches: list[CacheFacts]


#: Each says what one cache of this process has.
known: list[Callable[[], CacheFacts]] = []


def facts() -> list[CacheFacts]:
    """Return what the caches of this process have."""
    return [one() for one in known[:MAX_CACHES]]


def bounded(caches: list[CacheFacts]) -> list[CacheFacts]:
    """Return as much of what a worker has said as is worth remembering."""
    return [msgspec.structs.replace(one, name=one.name[:MAX_NAME]) for one in caches[:MAX_CACHES]]


def summed(workers: list[list[CacheFacts]]) -> list[CacheFacts]:
    """Add up the caches of several processes: those of the same name are one."""
    sums: dict[str, CacheFacts] = {}
    for one in (cache for worker in workers for cache in worker):
        sofar = sums.get(one.name, CacheFacts(one.name))
        sums[one.name] = CacheFacts(
            one.name,
            sofar.entries + one.entries,
            sofar.bytes + one.bytes,
            sofar.max_bytes + one.max_bytes,
            sofar.hits + one.hits,
            sofar.misses + one.misses,
            sofar.evictions + one.evictions,
        )
    return list(sums.values())
