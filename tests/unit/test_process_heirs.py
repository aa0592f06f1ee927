"""The heirs of a template: who is woken when a process ends."""

import os
import signal
from collections.abc import Iterator

import pytest

from supervisor.process.heirs import Heirs

HEIR, OTHER = 7, 8
KILLED, DONE = 9, 0


@pytest.fixture
def word() -> Iterator[int]:
    """An eventfd that an heir waits for."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


@pytest.fixture
def waiting() -> Iterator[int]:
    """A child of ours that waits: its pid."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def heirs(word: int, waiting: int) -> Iterator[Heirs]:
    """Process 3 or 4 is followed by `HEIR`, who waits for the word."""
    made = Heirs()
    made.name(HEIR, waiting, os.dup(word), [3, 4])
    yield made
    made.close()


def woken_as(word: int) -> int:
    """Return the number that was said; 0 if nothing was."""
    try:
        return os.eventfd_read(word)
    except BlockingIOError:
        return 0


def test_the_heir_is_told_whom_it_follows(heirs: Heirs, word: int) -> None:
    """By the place in the list, from 1."""
    assert heirs.succeed(4, KILLED) == HEIR
    assert woken_as(word) == 2


def test_an_heir_is_woken_once(heirs: Heirs, word: int) -> None:
    """Whoever ends next finds it gone."""
    heirs.succeed(3, KILLED)
    assert heirs.succeed(4, KILLED) == 0
    assert woken_as(word) == 1


def test_nobody_is_woken_for_who_has_none(heirs: Heirs, word: int) -> None:
    """Others end as ever, and the heir goes on waiting."""
    assert heirs.succeed(5, KILLED) == 0
    assert woken_as(word) == 0
    assert heirs.succeed(3, KILLED) == HEIR


def test_exit_status_0_wakes_nobody(heirs: Heirs, word: int) -> None:
    """It may have done all that it had to; the heir is the heir of nobody then."""
    assert heirs.succeed(3, DONE) == 0
    assert heirs.succeed(4, KILLED) == 0
    assert woken_as(word) == 0


def test_what_is_said_last_counts(heirs: Heirs, word: int, waiting: int) -> None:
    """Of the same heir."""
    heirs.name(HEIR, waiting, os.dup(word), [5])
    assert heirs.succeed(3, KILLED) == 0
    assert heirs.succeed(5, KILLED) == HEIR


def test_an_heir_that_was_withdrawn_is_not_woken(heirs: Heirs, word: int) -> None:
    """Whoever ends."""
    heirs.disinherit(HEIR)
    assert [heirs.succeed(process, KILLED) for process in (3, 4)] == [0, 0]
    assert woken_as(word) == 0


def test_an_heir_that_was_killed_as_well_follows_nobody(
    heirs: Heirs, word: int, waiting: int
) -> None:
    """It is dead, though nobody has reaped it: no start that could count as one."""
    os.kill(waiting, signal.SIGKILL)
    os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOWAIT)
    assert heirs.succeed(3, KILLED) == 0
    assert woken_as(word) == 0


def test_an_heir_that_was_reaped_follows_nobody(heirs: Heirs, word: int) -> None:
    """Its own end was seen first, and is not told yet."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    heirs.name(HEIR, pid, os.dup(word), [3])
    assert heirs.succeed(3, KILLED) == 0
    assert woken_as(word) == 0


def test_each_heir_has_its_own(heirs: Heirs, word: int, waiting: int) -> None:
    """To withdraw one leaves the other."""
    second = os.eventfd(0, os.EFD_NONBLOCK)
    heirs.name(OTHER, waiting, os.dup(second), [5])
    heirs.disinherit(HEIR)
    assert heirs.succeed(3, KILLED) == 0
    assert heirs.succeed(5, KILLED) == OTHER
    assert (woken_as(word), woken_as(second)) == (0, 1)
    os.close(second)


def test_no_descriptor_is_kept(word: int, waiting: int) -> None:
    """Woken, withdrawn, named anew, forgotten: each gives its descriptor back."""
    before = os.listdir("/proc/self/fd")
    heirs = Heirs()
    for end in (lambda: heirs.succeed(3, KILLED), lambda: heirs.disinherit(HEIR), heirs.close):
        for _ in range(2):
            heirs.name(HEIR, waiting, os.dup(word), [3])
        end()
    assert os.listdir("/proc/self/fd") == before


def test_a_rehearsal_wakes_nobody(heirs: Heirs, word: int, waiting: int) -> None:
    """Who was named before is heir as before."""
    heirs.rehearse(waiting)
    assert woken_as(word) == 0
    assert heirs.succeed(3, KILLED) == HEIR
