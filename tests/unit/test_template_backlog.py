"""Requests of a template that wait for a connection: what becomes of those that are never made."""

import os
from typing import Any

import pytest

from supervisor.loop import Loop
from supervisor.process.launcher import TemplateGone
from supervisor.shell.templates import Template


class Owner:
    """Hears what becomes of its process."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattr__(self, word: str) -> Any:
        """Note every call."""
        return lambda *_said: self.heard.append(word)


class Client:
    """A connection that has no descriptors for requests."""

    def __init__(self) -> None:
        self.spawned: list[int] = []
        self.wants_write = False
        self._end = os.eventfd(1)

    def fileno(self) -> int:
        """Be readable."""
        return self._end

    def spawn(self, serial: int, _launch: bytes, _fds: list[int]) -> None:
        """Have no descriptor for it."""
        self.spawned.append(serial)
        raise OSError(24, "Too many open files")

    def flush(self) -> None:
        """Have nothing."""

    def receive(self, *_most: int) -> list[Any]:
        """Be gone."""
        raise TemplateGone

    def close(self) -> None:
        """Close it."""
        os.close(self._end)


@pytest.fixture
def loop() -> Any:
    """A loop, closed at the end."""
    one = Loop()
    yield one
    one.close()


def is_open(fd: int) -> bool:
    """Whether a descriptor is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def spawned(template: Template, owner: Owner) -> tuple[int, int]:
    """Ask for a process; return its serial, and a descriptor that is not needed after that."""
    fd = os.eventfd(0)
    owned: Any = owner
    return template.spawn(owned, b"", [fd], [fd]), fd


def test_a_start_that_is_withdrawn_leaves_no_descriptor(loop: Loop) -> None:
    """While there is no template, what is stopped was never started: its end of the link goes."""
    template, owner = Template(loop, "release"), Owner()
    serial, fd = spawned(template, owner)
    assert is_open(fd)
    template.signal(serial, 15)
    assert not is_open(fd)
    loop.post(loop.stop)
    loop.run()
    assert owner.heard == ["spawn_failed"]


def test_what_waited_for_a_lost_template_is_not_asked_of_the_next(loop: Loop) -> None:
    """Its owner was told that it is lost, and starts another: there would be two in one slot."""
    template, owner = Template(loop, "release"), Owner()
    _, fd = spawned(template, owner)
    first: Any = Client()
    template.attach(first)  # it has no descriptors for the request: that waits
    template.on_lost = loop.stop
    loop.run()
    assert owner.heard == ["lost"]
    assert not is_open(fd)
    second: Any = Client()
    template.attach(second)
    assert second.spawned == []
    template.close()
