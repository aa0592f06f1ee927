"""What status and tree print, to the letter; and that nothing in it can steer a terminal."""

import msgspec
import pytest

from supervisor.cli.drain import obstacle
from supervisor.cli.health import assess
from supervisor.cli.status_view import MAX_NOTES, status_text
from supervisor.cli.text import clean, duration, line, table, width
from supervisor.cli.tree_view import definition_text, tree_text
from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.observe.snapshot import (
    ChildStatus,
    LastExit,
    QueueFacts,
    Snapshot,
    SupervisorStatus,
    WorkerStatus,
)

NOW = 10_000.0


def worker(path: str, state: str = "ready", **facts: object) -> WorkerStatus:
    """Make a slot that has been ready for an hour."""
    slot = int(path.rpartition(".")[2])
    known = {"pid": 4000 + slot, "started_at": NOW - 3600, "ready_at": NOW - 3600, **facts}
    return WorkerStatus(path, slot, state, **known)  # type: ignore[arg-type]


def child(path: str, *workers: WorkerStatus, restart: str = "permanent") -> ChildStatus:
    """Make a child of these slots."""
    ready = sum(one.state == "ready" for one in workers)
    kind = "pool" if len(workers) > 1 else "worker"
    return ChildStatus(path, kind, restart, "app:run", len(workers), ready, list(workers))


def supervisor(path: str, *children: ChildStatus | SupervisorStatus) -> SupervisorStatus:
    """Make a supervisor of these children."""
    return SupervisorStatus(
        path, "ready", "one_for_one", "permanent", 3, 5, 1, list(children), 4120, 1, NOW - 3700
    )


def snapshot(*children: ChildStatus | SupervisorStatus, phase: str = "running") -> Snapshot:
    """Make an app of these children."""
    queue: dict[str, int | float | str] = {
        "name": "orders", "depth": 410, "capacity": 1000, "oldest_age_s": 1.9, "dead": 1,
    }  # fmt: skip
    return Snapshot(
        "shop", "app:tree", phase, 4120, "r", "1", NOW, NOW - 7800,
        supervisor("shop", *children), [], queues=[queue], health_address="127.0.0.1:4370",
    )  # fmt: skip


CRASHED = LastExit("signal:SIGSEGV", NOW - 200, signal="SIGSEGV")
SHOP = snapshot(
    child(
        "shop/web",
        worker("shop/web.0"),
        worker(
            "shop/web.1", "restarting", pid=None, ready_at=None, restarts=3, last_exit=CRASHED,
            restart_at=NOW + 3,
        ),
    ),
    supervisor("shop/pay", child("shop/pay/charge", worker("shop/pay/charge.0"))),
)  # fmt: skip

STATUS = """\
shop  WARN  running  up 2h10m  pid 4120  2 supervisors · 2/3 workers · 3 restarts  \
http://127.0.0.1:4370/healthz
CHILD       STATE       READY  UP    RESTARTS  PID   LAST EXIT
shop        ready              1h1m  0         4120
  web       restarting  1/2    1h    3               slot 1 restarts in 3.0s; slot 1: \
signal:SIGSEGV 3m20s ago
  pay       ready              1h1m  0         4120
    charge  ready       1/1    1h    0         4000
QUEUE   DEPTH     OLDEST  BLOCKED  DEAD
orders  410/1000  1.9s    -        1
WARN: shop/web has 1 of 2 ready"""

TREE = """\
shop  [one_for_one]  ready  pid 4120  up 1h1m  (1 of 3 restarts in 5s)
├── web  permanent  1/2 ready  app:run
│   ├── 0  ready  pid 4000  up 1h
│   └── 1  restarting  ↺ 3  last: signal:SIGSEGV 3m20s ago
└── pay  [one_for_one]  ready  pid 4120  up 1h1m  (1 of 3 restarts in 5s)
    └── charge  permanent  ready  pid 4000  up 1h  app:run"""


def test_status_to_the_letter() -> None:
    """One line a child, the reason for the verdict below."""
    assert status_text(SHOP, assess(SHOP)) == STATUS


def test_tree_to_the_letter() -> None:
    """The strategy on each supervisor, every slot of a pool."""
    assert tree_text(SHOP) == TREE


def test_colours_change_no_letter() -> None:
    """With colours on, only escape sequences are added."""
    coloured = status_text(SHOP, assess(SHOP), colour=True)
    assert "\x1b[33mWARN\x1b[0m" in coloured
    assert clean(coloured) == STATUS
    assert clean(tree_text(SHOP, colour=True)) == TREE


def test_a_declared_tree_is_drawn() -> None:
    """`check` shows limits, counts and queues."""
    definition = SupervisorDefinition(
        "shop",
        "",
        [
            ChildDefinition("web", "", "app:web", count=4, queue="orders"),
            SupervisorDefinition(
                "pay", "", strategy="one_for_all", auto_shutdown="any_significant"
            ),
        ],
    )
    assert definition_text(definition) == (
        "shop  [one_for_one]  at most 3 restarts in 5s\n"
        "├── web  permanent  count 4  queue orders  app:web\n"
        "└── pay  [one_for_all]  at most 3 restarts in 5s  auto_shutdown any_significant"
    )


@pytest.mark.parametrize(
    ("children", "phase", "word", "note"),
    [
        ([child("s/a", worker("s/a.0"))], "running", "OK", ""),
        ([child("s/a", worker("s/a.0"))], "stopping", "FAIL", "the app is stopping"),
        (
            [child("s/a", worker("s/a.0", "starting"))],
            "running",
            "FAIL",
            "nothing ready (starting)",
        ),
        ([child("s/a", worker("s/a.0", "stopped"))], "running", "WARN", "1 stopped slot"),
        ([child("s/a", worker("s/a.0", "stopped"), restart="transient")], "running", "OK", ""),
        ([child("s/a")], "running", "OK", ""),
        (
            [child("s/a", worker("s/a.0"), worker("s/a.1", "unkillable"))],
            "running",
            "WARN",
            "1 of 2 ready",
        ),
    ],
)
def test_the_verdict(children: list[ChildStatus], phase: str, word: str, note: str) -> None:
    """An app works when everything that should run has something ready."""
    verdict = assess(snapshot(*children, phase=phase))
    assert verdict.word == word
    assert note in " ".join(verdict.notes)
    assert verdict.exit_code == (3 if word == "FAIL" else 0)


@pytest.mark.parametrize(
    ("queue", "word", "note"),
    [
        ({"depth": 1, "capacity": 100}, "OK", ""),
        ({"dead": 9, "dead_full": True}, "WARN", "queue q delivers nothing: its 9 dead letters"),
        ({"paused": True}, "WARN", "queue q delivers nothing: it is paused"),
        ({"store": "full"}, "FAIL", "queue q takes nothing: its store is full"),
    ],
)
def test_the_verdict_knows_the_queues(queue: QueueFacts, word: str, note: str) -> None:
    """What health says of a queue, status says, too."""
    app = snapshot(child("s/a", worker("s/a.0")))
    verdict = assess(msgspec.structs.replace(app, queues=[{"name": "q", **queue}]))
    assert (verdict.word, ", ".join(verdict.notes)[: len(note)]) == (word, note)


@pytest.mark.parametrize(
    ("queue", "advice"),
    [
        ({"consumers": 1}, ""),
        ({"consumers": 1, "dead_full": True}, "supervisor dlq list orders"),
        ({"consumers": 1, "paused": True}, "supervisor queue resume orders"),
        ({"consumers": 0}, "it has no consumers"),
    ],
)
def test_who_waits_in_vain_is_told_why(queue: dict[str, object], advice: str) -> None:
    """A drain that no time would help says what does."""
    assert advice in obstacle({"name": "orders", **queue})
    assert bool(obstacle({"name": "orders", **queue})) == bool(advice)


def test_reasons_are_bounded() -> None:
    """A thousand broken children do not fill the screen."""
    children = [child(f"s/c{n}", worker(f"s/c{n}.0", "starting")) for n in range(30)]
    app = snapshot(*children)
    text = status_text(app, assess(app))
    assert text.count("FAIL: ") == MAX_NOTES
    assert text.endswith("and 20 more")


HOSTILE = [
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9b31m", "\x1bc", "\r", "\b", "\x00",
    "\u202e", "\u2066", "\x1bP1;2q\x9c", "\x1b[", "\x1b", "\x85", "\u2028", "\x07",
]  # fmt: skip


@pytest.mark.parametrize("poison", HOSTILE, ids=repr)
def test_nothing_that_others_wrote_steers_the_terminal(poison: str) -> None:
    """Escape sequences, controls and direction marks in any text are taken out."""
    last = LastExit(f"x{poison}y", NOW, detail=f"a{poison}b\n{poison}")
    app = snapshot(
        child(f"shop/w{poison}b", worker("shop/w.0", state=f"re{poison}ady", last_exit=last))
    )
    for text in (status_text(app, assess(app)), tree_text(app)):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "x" in text


def test_text_is_measured_in_columns() -> None:
    """Wide and combining characters keep the table straight."""
    assert (width("日本"), width("e\u0301"), width("abc")) == (4, 1, 3)
    assert table([["日本", "x"], ["a", "y"]]) == [["日本", "x"], ["a   ", "y"]]
    assert line("a" * 300) == "a" * 119 + "…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0s"), (0.84, "0.8s"), (42, "42s"), (200, "3m20s"), (7800, "2h10m"), (90_000, "1d1h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """At most two units."""
    assert duration(seconds) == text
