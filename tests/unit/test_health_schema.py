"""Health documents against their JSON schema."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from supervisor.caches import CacheFacts
from supervisor.core.thresholds import UNLIMITED
from supervisor.crashes.register import Register
from supervisor.logs.figures import ChildFigures, Figures
from supervisor.observe import judge
from supervisor.observe.snapshot import ChildStatus, Snapshot
from supervisor.recycling.report import Report, SlotReport, TemplateReport
from tests.health_schema import SCHEMA, broken
from tests.health_snapshots import NOW, child, crashed, snapshot, supervisor, worker
from tests.unit.test_health import document

STATES = ("ready", "starting", "suspended", "stopping", "restarting", "stopped", "unkillable")


def test_the_schema_is_one() -> None:
    """It is a schema itself, and says which documents it is about."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["title"] == SCHEMA["$defs"]["extension"]["properties"]["schema"]["const"]


def whole(*slots: str) -> Snapshot:
    """An app with every kind of node, of which one child has slots in these states."""
    caches = [CacheFacts("prices", 1, 2, 3, 4, 5)]
    workers = [
        worker(f"shop/web.{n}", state, last_exit=crashed(9), caches=caches)
        for n, state in enumerate(slots)
    ]
    return snapshot(
        child("shop/web", *workers, queue="orders"),
        supervisor("shop/pay", child("shop/pay/charge", restart="transient"), last_exit=crashed(1)),
        child("shop/once", worker("shop/once.0", "stopped"), restart="temporary"),
        services=[worker("runtime/pump.0")],
        queues=[{"name": "orders", "depth": 1, "capacity": 100, "durable": True, "store": "ok"}],
    )


def told(**more: Any) -> dict[str, Any]:
    """What the parts of the runtime have said: all that there is to know, or what is known."""
    slots = {
        "shop/web.0": SlotReport(90, 200, 300, fds=9, threads=2, pid=100, trend=1.5),
        "shop/web.1": SlotReport(0, 200, UNLIMITED),
    }
    fields: dict[str, Any] = {
        "at": NOW, "period": 1.0, "budget": 1000, "used": 100, "runtime": {"root": 10},
        "available": 5000, "pressure_some": 0.0, "pressure_full": 0.1, "recycled": 3, "failed": 0,
        "stopped_first": 0, "deferred": {"shop/web.0": "pressure"},
        "warnings": {"recycle_thrash": ["shop/web.0"]}, "slots": slots,
        "templates": [TemplateReport(7, "serving", 1.0, None, 3)], **more,
    }  # fmt: skip
    figures = Figures(at=NOW, since=NOW - 9, children={"shop/web": ChildFigures(1, 2, 3)})
    return {"report": Report(**fields), "figures": figures, "crashes": Register(since=NOW - 9)}


UNKNOWN = dict.fromkeys(("budget", "used", "available", "pressure_some", "pressure_full"))


@pytest.mark.parametrize(
    "made",
    [
        document(whole(*STATES)),
        document(whole("ready"), **told(), host={"host": "a", "cpus": 2}),
        document(whole("ready"), **told(**UNKNOWN, runtime={}), host={"memory_limit_bytes": None}),
        document(whole("ready"), **told(), detail=False),
        document(whole(*["ready"] * 2000)),  # too large: folded
        document(snapshot(phase="stopping")),
    ],
    ids=["states", "all", "unknown", "stranger", "large", "empty"],
)
def test_a_document_is_as_the_schema_says(made: dict[str, Any]) -> None:
    """With all that can be in it, and without; also where the slots were folded."""
    assert broken(made) == []


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no status": lambda it: it.pop("status"),
    "a status of its own": lambda it: it.update(status="ok"),
    "a check that is no list": lambda it: it["checks"].update(uptime={"status": "pass"}),
    "a time in seconds": lambda it: it.update(time=NOW),
    "no extension's schema": lambda it: it["supervisor"].pop("schema"),
    "a child without state": lambda it: web(it).pop("state"),
    "a state of its own": lambda it: web(it).update(state="fine"),
    "a pid of 0": lambda it: web(it)["workers"][0].update(pid=0),
    "a worker without memory": lambda it: web(it)["workers"][0].pop("memory_private_bytes"),
    "a word for unknown": lambda it: web(it)["workers"][0].update(fds="unknown"),
    "a node of no kind": lambda it: web(it).update(kind="thing"),
    "an exit without a cause": lambda it: web(it)["workers"][0]["last_exit"].pop("cause"),
    "a deep supervisor": lambda it: it["supervisor"]["tree"]["children"][1].pop("intensity"),
}


def web(made: dict[str, Any]) -> dict[str, Any]:
    """The first child of a document's tree."""
    found: dict[str, Any] = made["supervisor"]["tree"]["children"][0]
    return found


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_document_is_refused(name: str) -> None:
    """Wherever it is broken: the schema is not one that takes anything."""
    made = copy.deepcopy(document(whole("ready"), **told()))
    assert broken(made) == []
    BREAKS[name](made)
    assert broken(made) != []


@pytest.mark.parametrize(
    ("slots", "state"),
    [
        *(((state,), state) for state in STATES),
        ((), "stopped"),
        (("ready", "stopped"), "ready"),
        (("ready", "starting"), "starting"),
        (("ready", "stopping"), "stopping"),
        (("starting", "restarting", "ready"), "restarting"),
        (("restarting", "suspended"), "suspended"),
        (("ready", "unkillable", "suspended"), "unkillable"),
    ],
)
def test_a_child_has_the_state_of_its_worst_slot(slots: tuple[str, ...], state: str) -> None:
    """Of those that are to run; with none of them it is stopped."""
    workers = [worker(f"shop/web.{n}", each) for n, each in enumerate(slots)]
    one = ChildStatus("shop/web", "pool", "permanent", "shop:run", len(slots), 0, workers)
    assert judge.state(one) == state


def test_every_node_has_a_state() -> None:
    """Supervisors, children of one slot and of several, slots, and services."""
    extension = document(whole("ready", "restarting"))["supervisor"]
    pending, kinds = [extension["tree"], *extension["services"]], set()
    while pending:
        node = pending.pop()
        assert node["state"] in STATES
        kinds.add(node.get("kind", "slot"))
        pending += [*node.get("children", []), *node.get("workers", [])]
    assert kinds == {"supervisor", "pool", "worker", "slot"}
