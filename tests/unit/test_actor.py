"""The host of one supervisor: whom it answers when it ends."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.core import events as ev
from supervisor.core.exits import SHUTDOWN, ExitReason
from supervisor.core.machine import step
from supervisor.core.results import Error
from supervisor.core.spec import SupervisorSpec
from supervisor.core.state import Phase, State
from supervisor.loop import Loop
from supervisor.shell.actor import Actor
from supervisor.shell.templates import Template


def test_who_asks_a_supervisor_that_has_ended_is_told_so() -> None:
    """A call that was waiting, the one that its answer leads to, and one after the end: noproc."""
    loop = Loop()
    answers: list[Any] = []

    def ended(_reason: ExitReason, _failed: str | None) -> None:
        actor.call(ev.WhichChildren(), partial(heard, "late"))

    def heard(name: str, answer: Any) -> None:
        answers.append((name, answer))
        if name == "waiting":
            actor.call(ev.WhichChildren(), partial(heard, "next"))
        if name == "late":
            loop.stop()

    shell: Any = SimpleNamespace(loop=loop, release=Template(loop, "release"))
    actor = Actor(
        shell, SupervisorSpec("app", ()), "app", lambda: None, ended, lambda _report: None
    )
    actor.deliver(ev.Boot())
    actor.deliver(ev.Shutdown(SHUTDOWN))
    actor.call(ev.WhichChildren(), partial(heard, "waiting"))
    try:
        loop.run()
    finally:
        loop.close()
    noproc = Error("noproc", "app has ended")
    assert answers == [("waiting", noproc), ("next", noproc), ("late", noproc)]


def test_a_step_that_was_foreseen_counts_only_if_its_event_is_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was foreseen, the state is what the events that came have made of it."""
    loop = Loop()
    taken: list[ev.Event] = []

    def counted(state: State, event: ev.Event, now: float) -> tuple[State, tuple[ev.Action, ...]]:
        taken.append(event)
        return step(state, event, now)

    monkeypatch.setattr("supervisor.shell.actor.step", counted)
    shell: Any = SimpleNamespace(loop=loop, release=Template(loop, "release"))
    actor = Actor(
        shell, SupervisorSpec("app", ()), "app", lambda: None, lambda *_: None, lambda _report: None
    )
    boot, end = ev.Boot(), ev.Shutdown(SHUTDOWN)
    before = actor.state
    try:
        actor.foresee(boot)
        assert actor.state is before
        actor.foresee(end)  # one at a time
        actor.deliver(boot)
        actor.foresee(end)  # something else is to be done
        served(loop)
        assert actor.state.phase is Phase.RUNNING
        assert taken == [boot]  # once, ahead
        actor.foresee(end)
        actor.call(ev.CountChildren(), lambda _answer: None)
        served(loop)
        assert actor.state.phase is Phase.RUNNING
        actor.foresee(end)
        actor.deliver(end)
        served(loop)
        assert actor.state.phase is Phase.DEAD
    finally:
        loop.close()


def served(loop: Loop) -> None:
    """Run until what is in the mailbox has been served."""
    loop.post(loop.stop)
    loop.run()
