"""The successor that is forked as soon as a process seems to have died."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from supervisor.channel import Channel, pair
from supervisor.core.exits import ExitKind, ExitReason
from supervisor.definition import ChildDefinition
from supervisor.link import Assign
from supervisor.loop import Loop
from supervisor.process import messages
from supervisor.process.launcher import TemplateClient
from supervisor.shell.spare import Spare
from supervisor.shell.templates import Template
from supervisor.shell.verdict import Ending
from supervisor.shell.worker_kind import is_succeeded

KIND = b"a kind of child"
WHO = Assign("shop/charge.0", 7)


@dataclass
class World:
    """A template as its supervisor sees it, and what stands for the real one."""

    loop: Loop = field(default_factory=Loop)
    links: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        ours, theirs = pair()
        theirs.setblocking(False)
        self.there: Channel[Any] = Channel(theirs, messages.Request)
        self.template = Template(self.loop, "release")
        self.template.attach(TemplateClient(ours))

    def asked(self) -> list[messages.Spawn]:
        """Return the requests that have come; keep the links that came with them."""
        found = []
        while True:
            try:
                received = self.there.receive()
            except BlockingIOError:
                return found
            assert received is not None
            request, (end, stacks) = received
            os.close(stacks)
            self.links.append(socket.socket(fileno=end))
            found.append(request)

    def answer(self, reply: messages.Reply) -> None:
        """Have the template answer, and the supervisor hear it."""
        self.there.send(reply)
        self.loop.post(self.loop.stop)
        self.loop.run()

    def take(self, kind: bytes, who: Assign = WHO) -> Spare | None:
        """Have a spare become somebody."""
        return self.template.spares.take(kind, who, (0,), expect=True)

    def close(self) -> None:
        """Give everything back."""
        self.template.spares.discard()
        self.template.close()
        self.there.close()
        for end in self.links:
            end.close()
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    """A template with no spares."""
    made = World()
    yield made
    made.close()


def test_a_successor_is_asked_for_and_taken_before_it_exists(world: World) -> None:
    """One request, of that kind and at once; its pid is heard of by whoever has adopted it."""
    world.template.spares.hurry(KIND)
    assert world.asked() == [messages.Spawn(1, kind=KIND, at_once=True)]
    spare = world.take(KIND)
    assert spare is not None
    assert spare.pid is None
    world.answer(messages.Spawned(1, 42))
    assert spare.pid == 42
    spare.discard()


def test_a_successor_of_a_kind_is_asked_for_once(world: World) -> None:
    """Many deaths at a time are not met one by one: their forks are asked for as they are due."""
    world.template.spares.hurry(KIND)
    world.template.spares.hurry(KIND)
    world.template.spares.hurry(b"another")
    assert [request.kind for request in world.asked()] == [KIND, b"another"]


def test_a_successor_that_could_not_be_forked_is_not_taken(world: World) -> None:
    """The start then asks by itself, and hears why it fails."""
    world.template.spares.hurry(KIND)
    world.asked()
    world.answer(messages.SpawnFailed(1, "fork: no"))
    assert world.take(KIND) is None


def test_a_successor_that_nobody_takes_is_let_go(world: World) -> None:
    """Its link is closed a moment later, which ends it."""
    world.template.spares.hurry(KIND)
    world.asked()
    (end,) = world.links
    world.loop.watch(end, lambda _mask: world.loop.stop())
    world.loop.run()
    assert end.recv(1) == b""
    assert world.take(KIND) is None
    world.loop.unwatch(end)


def test_a_template_that_is_left_forks_no_successors(world: World) -> None:
    """Their place is at the template that has taken over."""
    kept = world.template.open(lambda _fd: None, lambda: None)  # it has to stay for that
    assert kept
    assert isinstance(world.there.receive(), tuple)
    Template(world.loop, "next").take_over(world.template)
    world.template.spares.hurry(KIND)
    assert world.asked() == []


class Worker:
    """Who asked for a process, and hears of its end."""

    def __init__(self) -> None:
        self.ends: list[messages.Exited] = []
        self.exited = self.ends.append


@pytest.mark.parametrize("reply", [messages.Exited(1, 9), None])
def test_the_end_of_who_had_an_heir_waits_for_that(
    world: World, reply: messages.Exited | None
) -> None:
    """Let go as it was woken, it may run for a moment: until it is gone, the slot is not free."""
    worker: Any = Worker()
    world.template.spares.hurry(KIND)
    spare = world.template.spare(1)
    assert spare is not None
    world.asked()
    world.template.adopt(worker, 5)
    world.template.spares.make_heir(spare, {5: (WHO, (0, 0))})
    world.template.spares.disinherit(5)
    end = messages.Exited(5, 9, heir=1)
    world.answer(end)
    assert worker.ends == []
    if reply is not None:
        world.answer(reply)
    else:  # the template is gone, and so is the heir
        world.there.close()
        world.loop.post(world.loop.stop)
        world.loop.run()
    assert worker.ends == [end]


def child(**fields: Any) -> ChildDefinition:
    """Define a child."""
    return ChildDefinition(name="c", where="", target="t", **fields)


@pytest.mark.parametrize(
    ("definition", "ending", "expected"),
    [
        (child(), Ending(), True),
        (child(restart="transient"), Ending(exception="ValueError"), True),
        (child(restart="temporary"), Ending(), False),
        (child(command=["true"]), Ending(finished=True), False),
        (child(ready="notify"), Ending(), False),
        (child(), Ending(finished=True), False),
        (child(), Ending(stop_requested=True), False),
        (child(), Ending(kill_cause="heartbeat"), False),
        (None, Ending(ended=ExitReason(ExitKind.NORMAL, "")), False),
    ],
)
def test_who_is_succeeded(definition: object, ending: Ending, expected: bool) -> None:
    """Who ends unasked, and will be restarted alike."""
    assert is_succeeded(definition, ending) is expected
