"""Addition to OTP: changing the number of slots of a ``count`` child.

New slots take the lowest free numbers and are started together, after the last slot of the pool;
surplus slots are stopped, highest first, and deleted.
"""

from dataclasses import replace
from itertools import count, islice

from supervisor.core import engine
from supervisor.core.child import Child
from supervisor.core.events import Call, Reply, Scale
from supervisor.core.results import Error
from supervisor.core.spec import ChildSpec
from supervisor.core.state import Draft
from supervisor.core.task import ScaleCall, StartWave, StopWave


def scale(draft: Draft, call: Call, request: Scale) -> None:
    """Bring a pool to ``count`` slots."""
    slots = _slots(draft, request.pool)
    template = _template(draft, slots, request.pool)
    if template is None or draft.simple:
        draft.emit(Reply(call.ref, Error("not_found")))
    elif request.count < 0:
        draft.emit(Reply(call.ref, Error("invalid_count", str(request.count))))
    else:
        surplus = slots[request.count :][::-1]
        busy = next((slot for slot in surplus if slot.task is not None), None)
        if busy is not None:
            draft.park(call, busy.id)
            return
        missing = _missing(draft, request.pool, request.count - len(slots))
        _insert(draft, template, slots, missing)
        steps = (StopWave(tuple(slot.id for slot in surplus)), StartWave(missing))
        engine.run(draft, ScaleCall(call.ref), steps)


def _slots(draft: Draft, pool: str) -> list[Child]:
    """The slots of a pool, lowest number first."""
    slots = [child for child in draft.children.values() if child.spec.pool == pool]
    return sorted(slots, key=lambda child: (len(child.id), child.id))


def _template(draft: Draft, slots: list[Child], pool: str) -> ChildSpec | None:
    """A spec to copy; a pool scaled to nothing is still known by the supervisor's own spec."""
    if slots:
        return slots[-1].spec
    return next((spec for spec in draft.spec.children if spec.pool == pool), None)


def _missing(draft: Draft, pool: str, wanted: int) -> tuple[str, ...]:
    """Names for new slots; a child of another kind may have taken one, and keeps it."""
    free = (name for k in count() if (name := f"{pool}.{k}") not in draft.children)
    return tuple(islice(free, max(0, wanted)))


def _insert(draft: Draft, template: ChildSpec, slots: list[Child], names: tuple[str, ...]) -> None:
    """Put new slots into the start order, behind the last slot that is there."""
    fresh = {name: Child(replace(template, id=name)) for name in names}
    present = {slot.id for slot in slots}
    last = next((c for c in reversed(draft.children) if c in present), None)
    ordered: dict[str, Child] = {}
    for name, child in draft.children.items():
        ordered[name] = child
        if name == last:
            ordered.update(fresh)
    if last is None:
        ordered.update(fresh)
    draft.children = ordered
