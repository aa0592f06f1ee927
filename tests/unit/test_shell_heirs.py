"""The heirs among a template's spares, as their supervisor sees them."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from supervisor.channel import pair
from supervisor.link import Assign
from supervisor.loop import Loop
from supervisor.process import messages
from supervisor.shell.slots import Slot
from supervisor.shell.spare import Identity, Spare
from supervisor.shell.spares import Spares
from supervisor.shell.starting import EXHAUSTED
from supervisor.shell.worker_process import WorkerProcess

KIND = b"a kind of child"
WHO = Assign("shop/charge.0", 7)
#: Of the processes with serials 20 and 21.
LEGACIES: dict[int, Identity] = {20: (WHO, (0, 1)), 21: (Assign("shop/charge.1", 3), (0, 1))}


@dataclass
class World:
    """Two spares of a template, and what the template is told."""

    loop: Loop = field(default_factory=Loop)
    bequeathed: list[tuple[int, list[int], bool]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    made: list[Spare] = field(default_factory=list)
    ends: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spares = Spares(self.loop, self._fork, self._bequeath, self.killed.append)
        self.spares.take(KIND, WHO, (), expect=True)  # the kind that is expected from now on
        self.spares.fill(2)
        self.loop.call_later(0.05, self.loop.stop)
        self.loop.run()

    def _fork(self, kind: bytes, _at_once: bool) -> Spare:
        ours, theirs = pair()
        ours.setblocking(False)
        self.ends.append(theirs)
        spare = Spare(len(self.made) + 1, ours, os.dup(0), kind, pid=100 + len(self.made))
        self.made.append(spare)
        return spare

    def _bequeath(self, heir: int, processes: list[int], word: int | None) -> None:
        self.bequeathed.append((heir, processes, word is not None))

    def name(self) -> Spare:
        """Name the heir."""
        candidate = self.spares.candidate
        assert candidate is not None
        self.spares.make_heir(candidate, LEGACIES)
        return candidate

    def close(self) -> None:
        """Give everything back."""
        self.spares.discard()
        for end in self.ends:
            end.close()
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    """Two spares, one of which is ready for the kind."""
    made = World()
    yield made
    made.close()


def test_the_spare_that_is_ready_becomes_the_heir(world: World) -> None:
    """Its template hears for whom; there is one heir at a time."""
    heir = world.name()
    assert heir.kind == KIND
    assert world.bequeathed == [(heir.serial, [20, 21], True)]
    assert world.spares.heir is heir
    assert world.spares.candidate is None


def test_an_heir_is_nobody_elses_spare(world: World) -> None:
    """It may be woken at any time: another start takes the other one, the next has none."""
    heir = world.name()
    other = world.spares.take(KIND, WHO, (), expect=True)
    assert other is not None
    assert other is not heir
    assert world.spares.take(KIND, WHO, (), expect=True) is None
    other.discard()


def test_an_heir_that_was_woken_is_taken_as_that_one_only(world: World) -> None:
    """The start of the slot that it runs in already."""
    heir = world.name()
    world.spares.woken(heir.serial, 21)
    who, fds = LEGACIES[21]
    assert world.spares.take(KIND, who, fds, expect=True) is heir
    world.spares.reject(heir.serial)
    assert world.killed == []
    heir.discard()


@pytest.mark.parametrize(
    ("kind", "who", "fds"),
    [
        (KIND, *LEGACIES[20]),  # another slot
        (KIND, Assign("shop/charge.1", 4), (0, 1)),  # another start of the slot
        (KIND, LEGACIES[21][0], (0, 2)),  # with other pipes
        (b"changed", *LEGACIES[21]),
    ],
)
def test_an_heir_that_is_not_what_was_decided_is_killed(
    world: World, kind: bytes, who: Assign, fds: tuple[int, ...]
) -> None:
    """Nobody takes it, and when the decision is done it goes."""
    heir = world.name()
    world.spares.woken(heir.serial, 21)
    taken = world.spares.take(kind, who, fds, expect=True)
    assert taken is not heir
    world.spares.reject(heir.serial)
    assert world.killed == [heir.serial]
    assert not heir.runs_as(KIND, LEGACIES[21])
    if taken is not None:
        taken.discard()


def test_a_start_waits_for_an_heir_that_is_being_ended(world: World) -> None:
    """Never two in a slot: it is postponed, as when no process can be had for now."""
    heir = world.name()
    world.spares.woken(heir.serial, 21)
    starting: Any = WorkerProcess.__new__(WorkerProcess)  # all that it needs for this
    starting.slot = Slot("shop/charge.1", (0, 1), (0, 2), heir=heir)
    world.spares.reject(heir.serial)
    with pytest.raises(BlockingIOError) as refused:
        starting._take_spare(KIND, *LEGACIES[21])
    assert refused.value.errno in EXHAUSTED


def test_an_heir_that_was_let_go_as_it_was_woken_is_killed(world: World) -> None:
    """Both were under way at once."""
    heir = world.name()
    world.spares.disinherit(20)
    assert world.bequeathed[-1] == (heir.serial, [], False)
    world.spares.woken(heir.serial, 20)
    assert world.killed == [heir.serial]


def test_who_has_no_heir_cannot_be_disinherited(world: World) -> None:
    """The end of another process changes nothing."""
    heir = world.name()
    world.spares.disinherit(22)
    assert world.spares.heir is heir
    assert [world.spares.inherits(process) for process in (20, 21, 22)] == [True, True, False]


def test_an_heir_that_has_ended_already_is_taken_with_its_end(world: World) -> None:
    """Its start has been: the end counts as one of the slot."""
    heir = world.name()
    world.spares.woken(heir.serial, 20)
    heir.exited(messages.Exited(heir.serial, 9))
    assert world.spares.take(KIND, *LEGACIES[20], expect=True) is heir
    assert heir.end == messages.Exited(heir.serial, 9)
    heir.discard()


def test_an_heir_that_went_with_its_template_is_not_taken(world: World) -> None:
    """Nobody knows how it went: the slot is started anew."""
    heir = world.name()
    world.spares.woken(heir.serial, 20)
    heir.lost()
    taken = world.spares.take(KIND, *LEGACIES[20], expect=True)
    assert taken is not heir
    if taken is not None:
        taken.discard()


def test_a_spare_that_cannot_be_told_is_let_go(world: World) -> None:
    """It died waiting: it is no heir, and its descriptors are given back."""
    for end in world.ends:
        end.close()
    candidate = world.name()
    assert world.spares.heir is None
    assert candidate.link.fileno() == -1
    assert world.bequeathed == []


def test_the_only_spare_is_kept_for_whoever_needs_it(world: World) -> None:
    """An heir is good for a few; with one spare there is none."""
    taken = world.spares.take(b"another", WHO, (), expect=False)
    assert taken is not None
    assert world.spares.candidate is None
    taken.discard()
