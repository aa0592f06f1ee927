"""The host of one supervisor: whom it answers when it ends."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from supervisor.core import events as ev
from supervisor.core.exits import SHUTDOWN, ExitReason
from supervisor.core.results import Error
from supervisor.core.spec import SupervisorSpec
from supervisor.loop import Loop
from supervisor.shell.actor import Actor


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

    shell: Any = SimpleNamespace(loop=loop)
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
