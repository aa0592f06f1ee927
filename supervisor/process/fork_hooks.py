"""Fork hooks that a template can do without.

`threading`, `logging` and our own logs make their locks anew in every fork: one may be held by a
thread that the fork has not got, for ever. A template has one thread, and that one is here, not
there; going through their hooks all the same would write to 150 pages that the fork else shared: a
fifth of all that it costs. So where *it* forks they are skipped. Any other fork, of its workers
too, has them.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

_skipping = False


@contextlib.contextmanager
def skippable() -> Iterator[None]:
    """Let `fork` skip the hooks that are registered meanwhile."""
    register: Any = os.register_at_fork

    def register_skippable(**hooks: Callable[[], object]) -> None:
        register(**{when: _unless_skipped(hook) for when, hook in hooks.items()})

    os.register_at_fork = register_skippable  # type: ignore[assignment]
    try:
        yield
    finally:
        os.register_at_fork = register


def _unless_skipped(hook: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        if not _skipping:
            hook()

    return run


def fork() -> int:
    """Fork, as `os.fork`, a process that has one thread."""
    global _skipping
    _skipping = True
    try:
        return os.fork()
    finally:
        _skipping = False
