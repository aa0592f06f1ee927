"""Who is stopped and started together with a child, and which of them at the same time.

Pure functions over the start order. Source: OTP design principles, "Restart Strategy".
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

from supervisor.core.child import Child
from supervisor.core.spec import Restart, Strategy
from supervisor.core.task import StartWave, Step, StopWave


def group(children: Mapping[str, Child], strategy: Strategy, culprit: str) -> tuple[str, ...]:
    """The children a restart of ``culprit`` takes with it, itself included, in start order.

    Under rest_for_one those that were started after it; the slots of its own pool were started
    together with it, and are not after it.
    """
    if strategy is Strategy.ONE_FOR_ALL:
        return tuple(children)
    if strategy is not Strategy.REST_FOR_ONE:
        return (culprit,)
    order = tuple(children)
    pool = children[culprit].spec.pool
    later = order[order.index(culprit) + 1 :]
    return (culprit, *(c for c in later if pool is None or children[c].spec.pool != pool))


def waves(children: Mapping[str, Child], ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Cut ids into waves: neighbouring slots of one pool go together, all others one by one."""
    keyed = ((children[c].spec.pool, c) for c in ids)
    cut: list[tuple[str, ...]] = []
    for pool, members in groupby(keyed, key=lambda pair: pair[0]):
        names = tuple(name for _, name in members)
        cut.extend([names] if pool is not None else [(name,) for name in names])
    return cut


def start_steps(children: Mapping[str, Child], ids: Iterable[str]) -> tuple[Step, ...]:
    """Start these, in start order."""
    return tuple(StartWave(wave) for wave in waves(children, ids))


def stop_steps(children: Mapping[str, Child], ids: Iterable[str]) -> tuple[Step, ...]:
    """Stop these, in reverse start order; the slots of a pool highest first."""
    return tuple(StopWave(wave[::-1]) for wave in reversed(waves(children, ids)))


def restart_steps(
    children: Mapping[str, Child], strategy: Strategy, culprit: str
) -> tuple[Step, ...]:
    """A group restart: stop the group in reverse, then start it in order.

    Temporary children are taken down with the rest and never started again.
    """
    ids = group(children, strategy, culprit)
    again = (c for c in ids if children[c].spec.restart is not Restart.TEMPORARY)
    return stop_steps(children, ids) + start_steps(children, again)
