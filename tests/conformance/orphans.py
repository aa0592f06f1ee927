"""How Erlang's processes end that outlive their supervisor, as far as recordings show it (`sups`).

A supervisor whose own supervisor was killed ends with reason ``killed`` and stops its children in
order first; so those below it end with ``shutdown``, unless they are killed or too slow.
"""

import math
from typing import TYPE_CHECKING

from supervisor.core.spec import Strategy

if TYPE_CHECKING:
    from tests.conformance.fake import Process


def stops_in_time(process: "Process") -> bool:
    """Whether a process ends by itself when its supervisor asks it to."""
    return _lasts(process) < _patience(process)


def _patience(process: "Process") -> float:
    """The seconds that its supervisor waits for it."""
    assert process.parent is not None
    shutdown = process.parent.state.children[process.id].spec.shutdown
    return 0.0 if shutdown is None else shutdown


def _lasts(process: "Process") -> float:
    """The seconds from the request to stop until a process has ended."""
    if process.node is None:
        way = process.plan.raw.get("on_shutdown", "obey")
        if isinstance(way, dict):
            return float(way["delay"]) / 1000
        return math.inf if way == "ignore" else 0.0
    times = [min(_lasts(child), _patience(child)) for child in process.node.children.values()]
    if process.node.state.spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        return max(times, default=0.0)
    return sum(times)
