"""Who serves, loads and lingers of a release's templates."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.process.messages import Loaded, LoadFailed
from supervisor.root.succession import LOAD_TIMEOUT, MAX_LINGERING, Succession
from supervisor.root.template_keeper import Hooks


class Keeper:
    """Stands for a template process and its keeper."""

    numbers = itertools.count(100)

    def __init__(self, template: Any, hooks: Hooks) -> None:
        self.template, self.hooks = template, hooks
        self.pid, self.started_at = next(self.numbers), 0.0
        self.retired = self.reaped = self.closed = False
        self.pids = {self.pid}
        template.attached = True

    def start(self) -> None:
        """It is there."""

    def close(self) -> None:
        """It ends."""
        self.closed = True


class World:
    """A succession whose templates load when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.keepers: list[Keeper] = []
        self.said: list[str] = []
        monkeypatch.setattr("supervisor.root.succession.Template", self._template)
        self.shell: Any = SimpleNamespace(
            loop=SimpleNamespace(call_later=self._later),
            release=self._template(None, "release"),
            preload=True,
            log=lambda _level, event, **fields: self.said.append(fields.get("problem", event)),
        )
        self.shell.replace_release = lambda template: setattr(self.shell, "release", template)
        self.succession = Succession(self.shell, self._make, Hooks(_ignore, _ignore, _ignore))

    def _template(self, _loop: object, name: str) -> Any:
        return SimpleNamespace(name=name, code="v1", attached=False, processes=1)

    def _later(self, seconds: float, callback: Callable[[], None]) -> Any:
        self.timers.append((seconds, callback))
        return SimpleNamespace(cancel=lambda: self.timers.remove((seconds, callback)))

    def _make(self, template: Any, hooks: Hooks) -> Any:
        self.keepers.append(Keeper(template, hooks))
        return self.keepers[-1]

    def loaded(self, **fields: Any) -> None:
        """The youngest template has loaded the app."""
        self.keepers[-1].hooks.loaded(Loaded(b"", **{"code": "v1", **fields}))


def _ignore(_word: object) -> None:
    """Nobody listens."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """One that has a template serving."""
    return World(monkeypatch)


def test_a_successor_takes_over_when_it_has_loaded(world: World) -> None:
    """Not before; then the old one is retired, not closed: it has workers."""
    assert world.succession.recycle("grown") == ""
    old, new = world.keepers
    assert world.succession.current is old  # type: ignore[comparison-overlap]
    assert world.succession.recycle("grown") == "a successor is being loaded"
    world.loaded()
    assert world.succession.current is new  # type: ignore[comparison-overlap]
    assert world.shell.release is new.template
    assert (old.retired, old.closed, world.timers) == (True, False, [])
    assert [one.state for one in world.succession.status()] == ["serving", "lingering"]


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (lambda w: w.loaded(code="v2"), "a recycle deploys nothing"),
        (lambda w: w.loaded(threads=["thread 'a'"]), "started threads: thread 'a'"),
        (lambda w: w.loaded(left_open=["file /a"]), "left descriptors open: file /a"),
        (lambda w: w.keepers[-1].hooks.load_failed(LoadFailed("no")), "it does not load: no"),
        (lambda w: w.timers[0][1](), f"not loaded within {LOAD_TIMEOUT:g} s"),
        (lambda w: (setattr(w.keepers[0], "pid", 7), w.loaded()), "has died, and was replaced"),
    ],
)
def test_a_successor_that_will_not_do_is_given_up(
    world: World, word: Callable[[World], object], problem: str
) -> None:
    """The one that serves goes on; another try may be made."""
    world.succession.recycle("aged")
    word(world)
    old, new = world.keepers
    assert world.succession.current is old  # type: ignore[comparison-overlap]
    assert (new.closed, new.retired, old.retired) == (True, True, False)
    assert problem in world.said[-1]
    assert world.timers == []
    assert world.succession.recycle("aged") == ""


def test_no_more_than_so_many_linger(world: World) -> None:
    """Beyond, nothing is begun until one of them has ended."""
    for _ in range(MAX_LINGERING):
        assert world.succession.recycle("grown") == ""
        world.loaded()
    assert "still have workers" in world.succession.recycle("grown")
    world.keepers[0].reaped = True
    world.succession.prune()
    assert world.succession.recycle("grown") == ""


def test_where_nothing_is_forked_nothing_is_replaced(world: World) -> None:
    """An app that starts threads is imported afresh by each worker."""
    world.shell.preload = False
    assert "starts threads" in world.succession.recycle("grown")


def test_a_template_that_is_being_started_is_fresh_anyhow(world: World) -> None:
    """It has died, and its process loads."""
    world.shell.release.attached = False
    assert world.succession.recycle("grown") == "it is being started"
