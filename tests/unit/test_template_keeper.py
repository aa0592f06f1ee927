"""The keeper of a template: what it does when a template that has died cannot be replaced."""

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.loop import Loop
from supervisor.root import template_keeper
from supervisor.root.template_keeper import Hooks, TemplateKeeper


def test_a_template_is_started_again_when_there_is_something_to_make_it_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No descriptors, no process: root says so, goes on, and tries again; it is no death of one."""
    loop, logged, tries = Loop(), list[str](), list[int]()

    def start(*_preload: str) -> tuple[int, Any]:
        tries.append(1)
        if len(tries) < 9:  # more often than templates may die
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        loop.stop()
        return 4711, SimpleNamespace(fileno=lambda: 0)

    def gave_up(problem: str) -> None:
        raise AssertionError(problem)

    monkeypatch.setattr(template_keeper, "start_template", start)
    monkeypatch.setattr(template_keeper, "START_AGAIN", 0.001)
    template: Any = SimpleNamespace(name="runtime", attach=lambda _client: None)
    hooks = Hooks(lambda _loaded: None, lambda _failed: None, gave_up)
    keeper = TemplateKeeper(
        loop, template, None, [], hooks, lambda _level, event, **_fields: logged.append(event)
    )
    template.on_lost()  # as the template says when its process is gone
    loop.run()
    loop.close()
    assert keeper.pid == 4711
    assert logged == ["template died", *["template cannot be started"] * 8]
