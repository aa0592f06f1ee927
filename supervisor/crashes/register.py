"""What there is of crash reports, for whoever looks at the app: a file in the runtime directory."""

from typing import TypeVar

import msgspec
from msgspec.structs import replace

from supervisor.bulletin import Bulletin
from supervisor.observe.snapshot import ChildStatus, Snapshot, SupervisorStatus, WorkerStatus

_Ending = TypeVar("_Ending", WorkerStatus, SupervisorStatus)


class Known(msgspec.Struct, frozen=True):
    """One report, by the end that it tells of: the path of the slot, and when (Unix seconds)."""

    path: str
    at: float
    id: str


class Register(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts are of the janitor that runs, since ``since`` (Unix seconds).

    ``kept``: files that are there, of ``bytes`` in all. ``skipped``: deaths without a report,
    because there were too many or, ``failed`` of them, because it could not be written:
    ``problem`` is why the last one could not, "" once one could again.
    """

    since: float
    kept: int = 0
    bytes: int = 0
    written: int = 0
    skipped: int = 0
    failed: int = 0
    problem: str = ""
    known: list[Known] = []


REGISTER = Bulletin[Register]("crashes.json", Register)


def with_reports(snapshot: Snapshot, register: Register | None) -> Snapshot:
    """Return a snapshot whose last exits name the reports of them."""
    if register is None or not register.known:
        return snapshot
    names = {(one.path, one.at): one.id for one in register.known}

    def named(one: _Ending) -> _Ending:
        end = one.last_exit
        found = None if end is None else names.get((one.path, end.at))
        return replace(one, last_exit=replace(end, crash_report=found)) if end and found else one

    def node(one: SupervisorStatus | ChildStatus) -> SupervisorStatus | ChildStatus:
        if isinstance(one, ChildStatus):
            return replace(one, workers=[named(worker) for worker in one.workers])
        return named(replace(one, children=[node(child) for child in one.children]))

    tree = node(snapshot.tree)
    assert isinstance(tree, SupervisorStatus)
    return replace(snapshot, tree=tree, services=[named(one) for one in snapshot.services])
