"""Starts that cannot be made: which are tried again, and which have failed."""

import errno
from typing import Any

import pytest

from supervisor.loop import Loop
from supervisor.shell import starting
from supervisor.shell.starting import Starts


class Process:
    """Raises what it is told to, once for each, and then starts."""

    path, bar = "app/one.0", ""

    def __init__(self, loop: Loop, *errors: OSError) -> None:
        self._loop, self._errors = loop, list(errors)
        self.heard: list[str] = []

    def begin(self) -> None:
        """Start, or not."""
        if self._errors:
            raise self._errors.pop(0)
        self.heard.append("started")
        self._loop.stop()

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """Have failed."""
        self.heard.append(problem)

    def granted(self, _tokens: int) -> None:
        """Nothing is below."""


@pytest.fixture
def loop() -> Any:
    """A loop, closed at the end."""
    one = Loop()
    yield one
    one.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ENOENT, errno.EDQUOT])
def test_what_passes_is_waited_for(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No descriptors, no space, a runtime directory that is being made anew: a little later."""
    monkeypatch.setattr(starting, "FIRST_DELAY", 0.001)
    process, logged = Process(loop, *[OSError(number, "no") for _ in range(4)]), list[str]()
    starts = Starts(loop, lambda _level, event, **_fields: logged.append(event))
    starts.begin(process, counted=False)
    loop.run()
    starts.close()
    assert process.heard == ["started"]
    assert set(logged) == {"start postponed"}


def test_who_starts_with_the_reserve_says_so(loop: Loop) -> None:
    """There are no descriptors, but for those: the start is made, and told."""
    process, told = Process(loop, OSError(errno.EMFILE, "no")), list[str]()
    starts = Starts(loop, lambda *_record, **_fields: None, None, lambda: told.append("none left"))
    starts.begin(process, counted=False)
    starts.close()
    assert (process.heard, told) == (["started"], ["none left"])


def test_what_does_not_pass_is_a_failed_start(loop: Loop) -> None:
    """A path that is too long, say: the child has failed to start, and root goes on."""
    process = Process(loop, OSError("AF_UNIX path too long"), OSError(errno.EACCES, "not allowed"))
    starts = Starts(loop, lambda *_record, **_fields: None)
    starts.begin(process, counted=False)
    starts.begin(process, counted=False)
    starts.close()
    assert process.heard == ["AF_UNIX path too long", "not allowed"]
