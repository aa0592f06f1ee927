"""A nested supervisor as the one above sees it: whom its end is told."""

from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.core.exits import KILLED
from supervisor.shell.linked_process import LinkedProcess
from supervisor.shell.nested_process import NestedProcess
from supervisor.shell.uplink import Answer, Command


def nothing(*_anything: object) -> None:
    """Do nothing."""


def test_who_waits_for_a_supervisor_that_ends_may_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second half of a reload follows the answer to the first: it is refused, not a crash."""

    def ended(process: NestedProcess, *_reason: object, **_blame: object) -> None:
        process._outbox = None

    monkeypatch.setattr(LinkedProcess, "_finish", ended)
    answers: list[Answer] = []
    process = NestedProcess.__new__(NestedProcess)
    process.start = SimpleNamespace(path="app/inner")  # type: ignore[assignment]
    shell: Any = SimpleNamespace(
        pipes_gone=nothing,
        board=SimpleNamespace(remove=nothing),
        starts=SimpleNamespace(gone=nothing),
    )
    process.shell, process._answers = shell, {}
    process._outbox = SimpleNamespace(send=nothing)  # type: ignore[assignment]

    def first(answer: Answer) -> None:
        answers.append(answer)
        process.command(Command(2, "roll", "app/inner"), answers.append)

    process.command(Command(1, "roll", "app/inner"), first)
    process._finish(None, KILLED)
    assert [(one.token, one.ok, one.code) for one in answers] == [
        (1, False, "not_running"),
        (2, False, "not_running"),
    ]
