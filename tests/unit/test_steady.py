"""Steady state in the health document."""

from typing import Any

from supervisor.core.thresholds import UNLIMITED
from supervisor.observe import health, steady
from supervisor.recycling.report import Report, SlotReport, TemplateReport
from tests.health_snapshots import NOW, child, snapshot, worker


def report(**more: Any) -> Report:
    """What an arbiter has seen of a tree that is well."""
    fields: dict[str, Any] = {
        "at": NOW - 1, "period": 1.0, "budget": 1000, "used": 100, "runtime": {"root": 10},
        "available": 5000, "pressure_some": 0.0, "pressure_full": 0.0, "recycled": 3, "failed": 0,
        "stopped_first": 0, "deferred": {}, "warnings": {},
        "slots": {
            "shop/web.0": SlotReport(private=90, soft=200, hard=300, fds=9, threads=2, pid=100),
            "shop/web.2": SlotReport(private=0, soft=600, hard=UNLIMITED),  # not ours to see
        },
    }  # fmt: skip
    return Report(**{**fields, **more})


def test_lost_capacity_is_summed_up_to_now() -> None:
    """What was lost and regained counts, and what is being lost."""
    web = child(
        "shop/web",
        worker("shop/web.0", capacity_lost=1.5, recycles=2),
        worker("shop/web.1", "starting", capacity_lost_since=NOW - 2),
    )
    document = health.health(snapshot(web), NOW, {})
    state = document["supervisor"]["steady_state"]
    assert state["capacity_deficit_worker_seconds"] == 3.5
    assert state["recycles"] == 2
    assert state["memory"] is None


def test_memory_is_told_against_its_budget() -> None:
    """A report of the arbiter's shows as a check and in the extension."""
    document = health.health(snapshot(child("shop/web")), NOW, {}, report())
    assert document["checks"]["memory:utilization"][0]["observedValue"] == 0.1
    memory = document["supervisor"]["steady_state"]["memory"]
    assert (memory["private_bytes"], memory["budget_bytes"]) == (100, 1000)
    assert [one["path"] for one in memory["largest"]] == ["shop/web.0"]
    assert document["status"] == "pass"


def test_memory_that_is_not_known_is_no_check() -> None:
    """Without /proc: null in the extension, and nothing is claimed about a budget."""
    unknown = dict.fromkeys(("budget", "used", "available", "pressure_some", "pressure_full"))
    document = health.health(snapshot(child("shop/web")), NOW, {}, report(**unknown, runtime={}))
    assert "memory:utilization" not in document["checks"]
    memory = document["supervisor"]["steady_state"]["memory"]
    keys = ("private_bytes", "budget_bytes", "available_bytes", "pressure_some_percent")
    assert [memory[key] for key in keys] == [None] * 4


def test_each_worker_shows_what_it_has() -> None:
    """As the arbiter has seen it: beside its state, and on its own page; unknown is null."""
    web = child("shop/web", *(worker(f"shop/web.{slot}") for slot in range(3)))
    pump = worker("runtime/pump.0")
    state = snapshot(web, services=[pump])
    told = report(runtime={"root": 10, "runtime/pump.0": 7})
    document = health.health(state, NOW, {}, told, host={"host": "a"})
    first, second, hidden = document["supervisor"]["tree"]["children"][0]["workers"]
    assert (first["memory_private_bytes"], first["memory_soft_bytes"]) == (90, 200)
    assert (first["memory_hard_bytes"], first["fds"], first["threads"]) == (300, 9, 2)
    keys = ("memory_private_bytes", "memory_soft_bytes", "memory_hard_bytes", "fds", "threads")
    assert [second[key] for key in keys] == [hidden[key] for key in keys] == [None] * 5
    assert document["supervisor"]["services"][0]["memory_private_bytes"] == 7
    assert document["supervisor"]["instance"]["host"] == "a"
    page = health.part(state, "shop/web.0", NOW, {}, told)
    assert page is not None
    assert page["memory_private_bytes"] == 90


def test_thrash_and_a_full_budget_are_warnings() -> None:
    """They raise the health of the app to warn, and say who and why."""
    thrash = report(warnings={"recycle_thrash": ["shop/web.0"]})
    document = health.health(snapshot(child("shop/web")), NOW, {}, thrash)
    assert document["status"] == "warn"
    assert document["output"].startswith("shop/web.0: recycled over and over")
    full = health.health(snapshot(child("shop/web")), NOW, {}, report(used=860))
    assert full["status"] == "warn"
    assert full["output"] == "the app uses 86% of its memory budget"


def test_templates_are_told_of() -> None:
    """Who serves and who lingers, with what they have; one that is not replaced is a warning."""
    one = TemplateReport(7, "serving", 60.0, None, 3, own=50, fresh=40, limit=48)
    told = report(templates=[one], warnings={"template_blocked": ["template 7"]})
    document = health.health(snapshot(child("shop/web")), NOW, {}, told)
    [template] = document["supervisor"]["steady_state"]["memory"]["templates"]
    assert (template["pid"], template["own_bytes"], template["limit_bytes"]) == (7, 50, 48)
    assert document["status"] == "warn"
    assert document["output"].startswith("template 7: is due")


def test_without_a_report_nothing_is_said_of_memory() -> None:
    """An arbiter that is being restarted is no reason to worry anybody."""
    assert steady.checks(None, None) == {}
