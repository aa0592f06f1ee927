"""Processes that do not even die of SIGKILL: frozen, or waiting for a device without end.

Nobody waits for one: it is left behind, and its slot gets another. When that is left behind as
well, the next start waits until one of them has gone, for they would only become more.
"""

from msgspec.structs import replace

from supervisor.shell.status import Board

#: Processes of one slot that are left behind before its next start has to wait.
ENOUGH = 2


class LeftBehind:
    """Those of one slot, until they have gone after all."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}  # by incarnation

    @property
    def pids(self) -> list[int]:
        """Their numbers, oldest first."""
        return list(self._pids.values())

    @property
    def bar(self) -> str:
        """Why nothing is started beside them; "" if it may be."""
        if len(self._pids) < ENOUGH:
            return ""
        pids = ", ".join(map(str, self.pids))
        return f"{len(self._pids)} processes before it cannot be killed (pid {pids})"

    def add(self, incarnation: int, pid: int) -> None:
        """One is left behind."""
        self._pids[incarnation] = pid

    def remove(self, incarnation: int) -> int | None:
        """One has gone, if it was left behind: return its number."""
        return self._pids.pop(incarnation, None)

    def clear(self) -> None:
        """Nobody wants to know of them any more."""
        self._pids.clear()

    def show(self, board: Board, path: str, *, vacant: bool) -> None:
        """Put on the board how many are left. ``vacant``: nobody is in the slot, or is to be."""
        worker, record = board.worker(path), board.supervisor(path)
        if worker is not None:
            state = _without(worker.state, vacant)
            changed = replace(worker, state=state, left_behind=self.pids)
            board.set_worker(path.rpartition(".")[0], changed)
        elif record is not None:
            state = _without(record.state, vacant)
            board.set_supervisor(replace(record, state=state, left_behind=self.pids))


def _without(state: str, vacant: bool) -> str:
    return "stopped" if vacant and state == "unkillable" else state
