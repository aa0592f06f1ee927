"""Processes that cannot be killed: remembered until they are gone, and never more than some."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.cli.health import assess
from supervisor.loop import Loop
from supervisor.observe import judge
from supervisor.process.messages import Exited
from supervisor.shell.left_behind import ENOUGH, LeftBehind
from supervisor.shell.nested_process import NestedProcess
from supervisor.shell.phase import Phase
from supervisor.shell.starting import Starts
from supervisor.shell.status import Board
from supervisor.shell.uplink import SupervisorRecord
from tests.health_snapshots import child, snapshot, supervisor, worker


def test_as_many_as_there_may_be_bar_the_next_start() -> None:
    """One may have a replacement; with that left behind as well, nothing is started."""
    left = LeftBehind()
    for incarnation in range(ENOUGH):
        assert left.bar == ""
        left.add(incarnation, 70 + incarnation)
    assert left.bar == "2 processes before it cannot be killed (pid 70, 71)"
    assert left.remove(0) == 70
    assert left.remove(0) is None
    assert (left.pids, left.bar) == ([71], "")


@pytest.mark.parametrize(
    ("state", "vacant", "shown"),
    [
        ("unkillable", True, "stopped"),
        ("unkillable", False, "unkillable"),
        ("ready", False, "ready"),
    ],
)
def test_the_board_shows_how_many_are_left(state: str, vacant: bool, shown: str) -> None:
    """Of slots and of supervisors; a slot that is no more is not shown again."""
    board, left = Board(), LeftBehind()
    board.set_worker("t/x", worker("t/x.0", state, left_behind=[7]))
    board.set_supervisor(SupervisorRecord("t/in", state, left_behind=[7]))
    for path in ("t/x.0", "t/in", "t/gone.0"):
        left.show(board, path, vacant=vacant)
    slot, record = board.worker("t/x.0"), board.supervisor("t/in")
    assert slot is not None
    assert record is not None
    assert (slot.state, slot.left_behind) == (record.state, record.left_behind) == (shown, [])
    assert board.worker("t/gone.0") is None


class Process:
    """Starts when it may."""

    path, bar = "t/x.0", "two are left"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begin(self) -> None:
        """Start."""
        self.heard.append("started")

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """Have failed."""
        self.heard.append(problem)

    def granted(self, _tokens: int) -> None:
        """Nothing is below."""


def test_a_barred_start_goes_on_when_the_bar_is_gone() -> None:
    """It is told once; it can be taken back before, and then never begins."""
    loop, logged = Loop(), list[dict[str, Any]]()
    starts = Starts(loop, lambda _level, event, **fields: logged.append({"event": event, **fields}))
    one, other = Process(), Process()
    for process in (one, other):
        starts.begin(process, counted=False)
        starts.review()
        assert starts.is_held(process)
    assert starts.withdraw(other)
    one.bar = other.bar = ""
    starts.review()
    starts.review()
    starts.close()
    loop.close()
    assert (one.heard, other.heard) == (["started"], ["stopped before it was started"])
    assert not starts.is_held(one)
    assert logged == [{"event": "start waits", "child": "t/x.0", "problem": "two are left"}] * 2


def test_a_supervisor_left_behind_takes_nothing_of_its_successors_with_it() -> None:
    """When it has gone after all, the subtree on the board is that of the new one."""
    process = NestedProcess.__new__(NestedProcess)
    board, left, events = Board(), LeftBehind(), list[str]()
    board.set_supervisor(SupervisorRecord("t/in", "ready", left_behind=[7]))
    board.set_worker("t/in/x", worker("t/in/x.0"))
    left.add(1, 7)
    shell: Any = SimpleNamespace(
        board=board,
        log=lambda _level, event, **_fields: events.append(event),
        starts=SimpleNamespace(review=lambda: events.append("review")),
    )
    process.shell, process.incarnation, process.phase = shell, 1, Phase.GONE
    process.start = SimpleNamespace(path="t/in")  # type: ignore[assignment]
    process.slot = SimpleNamespace(left_behind=left, occupants=[object()])  # type: ignore[assignment]
    process.exited(Exited(1, signal.SIGKILL))
    process.lost()
    assert events == ["unkillable process has gone", "review"]
    record = board.supervisor("t/in")
    assert record is not None
    assert record.left_behind == []
    assert board.worker("t/in/x.0") is not None


def test_all_that_are_left_are_named_with_their_paths() -> None:
    """Of slots, supervisors and services: a warning in status, whatever their states."""
    state = snapshot(
        supervisor("shop/pay", child("shop/pay/x"), left_behind=[5]),
        child("shop/web", worker("shop/web.0", left_behind=[7, 8]), worker("shop/web.1")),
        services=[worker("runtime/pump.0", left_behind=[9])],
    )
    left = judge.left_behind(state)
    assert left == {"shop/pay": [5], "shop/web.0": [7, 8], "runtime/pump.0": [9]}
    verdict = assess(state)
    assert verdict.word == "WARN"
    assert verdict.notes == [judge.unkillable(left)]
    assert "shop/web.0 (pid 7, 8)" in verdict.notes[0]
