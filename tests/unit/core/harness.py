"""A core to poke at: feeds events, keeps the actions of the last step, and finds incarnations."""

from collections.abc import Iterable
from typing import Any

from supervisor.core import observe
from supervisor.core.events import (
    Action,
    Boot,
    Call,
    Event,
    Exited,
    Kill,
    Quit,
    Reply,
    Request,
    Start,
    Started,
    StartFailed,
    Stop,
)
from supervisor.core.exits import SHUTDOWN, ExitKind, ExitReason
from supervisor.core.machine import new, step
from supervisor.core.spec import ChildSpec, SupervisorSpec

CRASH = ExitReason(ExitKind.CRASH, "boom")


def child(name: str, **fields: Any) -> ChildSpec:
    """A child spec with a start that nobody looks at."""
    return ChildSpec(name, "app:main", **fields)


def pool(name: str, count: int, **fields: Any) -> tuple[ChildSpec, ...]:
    """The slots of a ``count`` child."""
    return tuple(child(f"{name}.{k}", pool=name, **fields) for k in range(count))


class Core:
    """One supervisor, and its shell played by hand."""

    def __init__(self, *children: ChildSpec, seed: int = 0, **flags: Any) -> None:
        self.state = new(SupervisorSpec("s", children=children, **flags), seed)
        self.now = 100.0
        self.actions: tuple[Action, ...] = ()

    def feed(self, event: Event) -> tuple[Action, ...]:
        """One step."""
        self.state, self.actions = step(self.state, event, self.now)
        return self.actions

    def boot(self) -> "Core":
        """Boot, every start answered with Started."""
        self.feed(Boot())
        while starting := [a for a in self.actions if isinstance(a, Start)]:
            self.actions = ()
            for action in starting:
                self.actions += self.feed(Started(action.child, action.incarnation))
        return self

    def call(self, request: Request, ref: str = "ref") -> Any:
        """A call; its answer if it comes at once, else None."""
        self.feed(Call(ref, request))
        return self.reply(ref)

    def reply(self, ref: str = "ref") -> Any:
        """The answer to a call, if the last step gave it."""
        values = [a.value for a in self.actions if isinstance(a, Reply) and a.ref == ref]
        return values[0] if values else None

    def up(self, name: str) -> tuple[Action, ...]:
        """The start under way succeeds."""
        return self.feed(Started(name, self.incarnation(name)))

    def fail(self, name: str) -> tuple[Action, ...]:
        """The start under way fails."""
        return self.feed(StartFailed(name, self.incarnation(name), CRASH))

    def exit(
        self, name: str, reason: ExitReason = CRASH, blameless: bool = False
    ) -> tuple[Action, ...]:
        """The process ends."""
        return self.feed(Exited(name, self.incarnation(name), reason, blameless))

    def obey(self, name: str) -> tuple[Action, ...]:
        """The process ends as it was asked to."""
        return self.exit(name, SHUTDOWN)

    def view(self, name: str) -> observe.ChildView:
        """What status says of a child."""
        return next(view for view in observe.children(self.state) if view.id == name)

    def incarnation(self, name: str) -> int:
        """The incarnation of a child."""
        return self.view(name).incarnation

    def states(self) -> dict[str, str]:
        """The state of every child, in start order."""
        return {view.id: view.state.value for view in observe.children(self.state)}

    def started(self) -> list[str]:
        """Who is started by the last step."""
        return named(self.actions, Start)

    def stopped(self) -> list[str]:
        """Who is asked to stop by the last step."""
        return named(self.actions, Stop)

    def killed(self) -> list[tuple[str, str]]:
        """Who is killed by the last step, and why."""
        return [(a.child, a.cause) for a in self.actions if isinstance(a, Kill)]

    def quit(self) -> Quit | None:
        """How the last step ended the supervisor, if it did."""
        return next((a for a in self.actions if isinstance(a, Quit)), None)


def named(actions: Iterable[Action], kind: type[Start] | type[Stop]) -> list[str]:
    """The children of the actions of one kind."""
    return [action.child for action in actions if isinstance(action, kind)]
