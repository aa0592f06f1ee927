"""What a spare waits for: its link, and its template's word, and which of both counts."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from supervisor import link as links
from supervisor.channel import Channel, pair
from supervisor.process import launch as launches
from supervisor.process import spare

KIND = launches.encode(launches.Kind(launches.Node("shop/charge")))


@dataclass
class World:
    """A spare's link, both ends, and the eventfd that its template holds."""

    ours: socket.socket
    theirs: socket.socket
    word: int

    def say(self, message: links.Assign | links.Inherit, *fds: int) -> None:
        """Say something on the link, as the supervisor does."""
        channel: Channel[links.FromWorker] = Channel(self.ours, links.FromWorker)
        channel.send(message, fds)

    def name_heir(self, *paths: str) -> None:
        """Say who the spare may become; each comes with a descriptor."""
        self.say(links.Inherit(), self.word)
        for number, path in enumerate(paths):
            self.say(links.Assign(path, number, KIND, ahead=True), self.word, self.word)

    def wait(self) -> spare.Told | None:
        """Do what a spare does."""
        return spare.wait(self.theirs, None, None)


@pytest.fixture
def world() -> Iterator[World]:
    """A spare that was told nothing."""
    made = World(*pair(), os.eventfd(0))
    yield made
    made.ours.close()
    made.theirs.close()
    os.close(made.word)


@pytest.mark.parametrize(("number", "path"), [(1, "a.0"), (2, "a.1"), (3, "a.2")])
def test_an_heir_becomes_the_one_that_it_is_woken_as(world: World, number: int, path: str) -> None:
    """The others' descriptors, and the eventfd, are given back; its own is there."""
    before = set(os.listdir("/proc/self/fd"))
    world.name_heir("a.0", "a.1", "a.2")
    os.eventfd_write(world.word, number)
    told = world.wait()
    assert told is not None
    assert (told.launch.path, told.launch.incarnation) == (path, number - 1)
    assert set(os.listdir("/proc/self/fd")) - before == {str(fd) for fd in told.pipes}
    for fd in told.pipes:
        os.close(fd)


def test_an_heir_whose_supervisor_is_gone_becomes_nobody(world: World) -> None:
    """Though it is woken at the same time: what is on the link comes first."""
    world.name_heir("a.0")
    os.eventfd_write(world.word, 1)
    world.ours.shutdown(socket.SHUT_RDWR)
    assert world.wait() is None


def test_who_is_no_heir_needs_no_word(world: World) -> None:
    """A spare that is told who it is becomes that at once."""
    world.say(links.Assign("b.0", 4, KIND), world.word, world.word)
    told = world.wait()
    assert told is not None
    assert (told.launch.path, told.link.context.path) == ("b.0", "b.0")
    for fd in told.pipes:
        os.close(fd)
