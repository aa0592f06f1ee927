"""The health documents: what passes, what warns, what fails, and what is shown to whom."""

from typing import Any

import msgspec
import pytest

from supervisor.observe import health, judge
from supervisor.observe.judge import Burials, Downtime
from supervisor.observe.snapshot import Snapshot, TemplateStatus
from tests.health_snapshots import NOW, child, crashed, snapshot, supervisor, worker


def document(of: Snapshot, now: float = NOW, **more: Any) -> dict[str, Any]:
    """Make the document, as a client reads it."""
    since = Downtime().update(of)
    made: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(health.health(of, now, since, **more))
    )
    return made


DOWN = worker("shop/web.0", "restarting", last_exit=crashed(11))
JUST_DOWN = worker("shop/web.0", "restarting", last_exit=crashed(9))
LOST = {"name": "orders", "store": "failed: the device failed"}
FLAPPING = worker("shop/web.0", failure_score=7.0, started_at=NOW - 3, last_exit=crashed(3))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (snapshot(child("shop/web")), "pass"),
        (snapshot(), "pass"),
        (snapshot(child("shop/web"), phase="starting"), "warn"),
        (snapshot(child("shop/web"), phase="stopping"), "fail"),
        (snapshot(child("shop/web", JUST_DOWN)), "warn"),
        (snapshot(child("shop/web", DOWN)), "fail"),
        (snapshot(child("shop/web", DOWN, restart="transient")), "warn"),
        (snapshot(child("shop/web", DOWN, worker("shop/web.1"))), "warn"),
        (snapshot(child("shop/web", worker("shop/web.0", "stopped"))), "warn"),
        (snapshot(child("shop/web", worker("shop/web.0", "stopped"), restart="temporary")), "pass"),
        (snapshot(child("shop/web", worker("shop/web.0", restart_at=NOW + 3))), "warn"),
        (snapshot(child("shop/web", worker("shop/web.0", "unkillable", started_at=NOW))), "warn"),
        (snapshot(child("shop/web", worker("shop/web.0", left_behind=[7]))), "warn"),
        (snapshot(out_of_descriptors_at=NOW - 299), "warn"),
        (snapshot(out_of_descriptors_at=NOW - 301), "pass"),
        (snapshot(child("shop/web", FLAPPING)), "warn"),
        (snapshot(child("shop/web", worker("shop/web.0", failure_score=7.0))), "pass"),  # long ago
        (snapshot(supervisor("shop/pay", child("shop/pay/x"), restarts_in_period=2)), "warn"),
        (snapshot(supervisor("shop/pay", child("shop/pay/x"), restarts_in_period=1)), "pass"),
        (snapshot(supervisor("shop/pay", child("shop/pay/x"), state="restarting")), "warn"),
        (snapshot(services=[worker("runtime/pump.0", "restarting")]), "warn"),
        (snapshot(queues=[{"name": "orders", "depth": 80, "capacity": 100}]), "pass"),
        (snapshot(queues=[{"name": "orders", "depth": 81, "capacity": 100}]), "warn"),
        (snapshot(queues=[{"name": "orders", "bytes": 81, "bytes_capacity": 100}]), "warn"),
        (snapshot(queues=[{"name": "orders"}]), "pass"),
        (snapshot(queues=[{"name": "orders", "store": "full: no space is left"}]), "fail"),
        (snapshot(queues=[{"name": "orders", "store": "ok", "damage": 2}]), "warn"),
        (snapshot(queues=[{"name": "orders", "paused": True}]), "warn"),
        (snapshot(queues=[{"name": "orders", "closed": True}]), "warn"),
    ],
)
def test_the_status_of_the_whole_is_that_of_its_worst_part(state: Snapshot, status: str) -> None:
    """Fail: a critical child down for 10 s, or stopping. Warn: it works, not as declared."""
    made = document(state)
    assert made["status"] == status
    assert ("output" in made) == (status != "pass")
    if state.phase == "running" and status != "pass":
        assert made["output"] in made["notes"]


def test_a_child_that_is_up_but_flapping_is_named() -> None:
    """Ready now, and too often not: the note says so, and why it ended last."""
    made = document(snapshot(child("shop/web", FLAPPING)))
    assert made["output"] == "shop/web.0 is flapping, last exit signal:SIGSEGV"
    assert made["supervisor"]["tree"]["children"][0]["workers"][0]["flapping"] is True


def test_a_child_that_dies_as_fast_as_it_is_started_fails_all_the_same() -> None:
    """Its last exit is always recent; what counts is since when it had nothing ready."""
    downtime = Downtime()
    for second in range(12):
        dying = worker("shop/web.0", "restarting", last_exit=crashed(-second))
        state = snapshot(child("shop/web", dying), time=NOW + second)
        since = downtime.update(state)
        expected = "fail" if second > judge.FAIL_AFTER else "warn"
        assert health.health(state, NOW + second, since)["status"] == expected
    assert downtime.update(snapshot(child("shop/web"))) == {}


def test_the_document_has_the_form_of_the_draft_and_our_extension() -> None:
    """Required keys, flat checks to lists, RFC 3339 times, and the tree with its exits."""
    crashing = child("shop/pay/x", worker("shop/pay/x.0", restarts=2, last_exit=crashed(5)))
    made = document(snapshot(supervisor("shop/pay", crashing)))
    check = made["checks"]["shop/pay/x:ready"][0]
    assert check["observedValue"] == 1
    assert check["time"] == "2027-01-15T08:00:00.000Z"
    extension = made["supervisor"]
    assert extension["schema"] == "supervisor.health/1"
    assert extension["summary"] == {
        "supervisors": 2, "children": 1, "workers_target": 1, "workers_ready": 1, "restarts": 2,
        "unkillable": 0,
    }  # fmt: skip
    nested = extension["tree"]["children"][0]
    assert nested["intensity"] == {"max_restarts": 3, "period_seconds": 5, "used": 0}
    slot = nested["children"][0]["workers"][0]
    assert slot["last_exit"]["signal"] == "SIGSEGV"
    assert slot["last_exit"]["at"] == "2027-01-15T07:59:55.000Z"
    assert slot["heartbeat_age_seconds"] is None


def test_strangers_learn_status_and_names_of_checks_only() -> None:
    """No tree, pids, errors or times of processes for clients of other machines."""
    made = document(snapshot(child("shop/web", DOWN)), detail=False)
    assert set(made) == {"status", "version", "time", "checks"}
    assert {key for found in made["checks"].values() for key in found[0]} == {"status"}


@pytest.mark.parametrize(("slots", "children"), [(3000, 1), (1, 3000)])
def test_a_document_is_bounded(slots: int, children: int) -> None:
    """A very large tree is folded, and what is wrong is still in it."""
    many = [
        child(f"shop/c{n}", *(worker(f"shop/c{n}.{slot}") for slot in range(slots)))
        for n in range(children)
    ]
    made = document(snapshot(child("shop/web", DOWN), *many))
    assert len(msgspec.json.encode(made)) <= health.MAX_DOCUMENT
    assert made["supervisor"]["truncated"] is True
    assert made["checks"]["shop/web:ready"][0]["status"] == "fail"


def test_liveness_looks_at_root_only() -> None:
    """A tree in ruins is alive; a snapshot of six seconds ago is not."""
    ruins = snapshot(child("shop/web", DOWN), phase="stopping")
    assert health.live(ruins, NOW)["status"] == "pass"
    assert health.live(ruins, NOW + 6)["status"] == "fail"
    assert health.live(None, NOW)["status"] == "fail"


@pytest.mark.parametrize(
    ("state", "failing"),
    [
        (snapshot(child("shop/web")), []),
        (snapshot(child("shop/web"), phase="stopping"), ["the app is stopping"]),
        (snapshot(child("shop/web", JUST_DOWN)), ["shop/web has nothing ready"]),
        (snapshot(child("shop/web", DOWN, restart="transient")), []),
        (snapshot(child("shop/web", DOWN, worker("shop/web.1"))), []),
        (snapshot(queues=[LOST]), ["queue orders cannot be kept"]),
        (
            snapshot(queues=[{"name": "orders", "closed": True}]),
            ["queue orders takes nothing: it is drained"],
        ),
    ],
)
def test_readiness_names_what_fails(state: Snapshot, failing: list[str]) -> None:
    """Ready: running, something ready in each critical child, what is put can be kept: now."""
    made = health.ready(state, NOW)
    assert made.get("failing", []) == failing
    assert made["status"] == ("fail" if failing else "pass")


@pytest.mark.parametrize(
    ("code", "commit"),
    [("0f343b09 (commit 385b832a9c01)", "385b832a9c01"), ("0f343b09", None), ("", None)],
)
def test_the_version_is_that_of_the_code_that_serves(code: str, commit: str | None) -> None:
    """Not of the template that lingers with what ran before; what is not known is null."""
    old = TemplateStatus("release", 1, "lingering", 60.0, code="eeeeeeee (commit 111111111111)")
    state = snapshot(templates=[old, TemplateStatus("release", 2, "serving", 1.0, code=code)])
    made = health.version(state)
    assert (made["code"], made["commit"]) == (code or None, commit)
    assert document(state)["releaseId"] == (code or None)


def test_messages_that_have_died_lately_are_a_warning() -> None:
    """For ten minutes, whatever died before; a broker that counts anew has buried none."""
    burials = Burials()

    def seen(seconds: float, total: int) -> dict[str, Any]:
        queue = {"name": "orders", "dead_total": total}
        return document(burials.update(snapshot(queues=[queue], time=NOW + seconds)))

    assert seen(0, 7)["status"] == "pass"
    assert seen(10, 9)["output"] == "queue orders has buried 2 messages in the last 10 minutes"
    assert seen(300, 10)["supervisor"]["queues"][0]["dead_lately"] == 3
    assert seen(611, 10)["supervisor"]["queues"][0]["dead_lately"] == 1
    assert seen(901, 10)["status"] == "pass"
    assert seen(902, 0)["status"] == "pass"
    assert seen(903, 1)["status"] == "warn"


def test_readiness_is_told_in_parts_and_without_some() -> None:
    """By the names of what is looked at; one that there is not is None."""
    state = snapshot(child("shop/web", JUST_DOWN), child("shop/api"), queues=[LOST])
    names = {"phase", "root", "shop/web", "shop/api", "queue/orders"}
    assert health.readiness(state, NOW).keys() == names
    found = {name: health.ready_part(state, name, NOW) for name in names}
    failing = {name for name, one in found.items() if one is not None and one["status"] == "fail"}
    assert failing == {"shop/web", "queue/orders"}
    assert health.ready_part(state, "shop/none", NOW) is None
    assert health.ready(state, NOW, ["shop/web"])["failing"] == ["queue orders cannot be kept"]
    assert health.ready(state, NOW, ["shop/web", "queue/orders"])["status"] == "pass"


def test_a_start_is_latched() -> None:
    """Before the first complete start: progress. After it: pass, whatever happens."""
    state = snapshot(child("shop/a"), child("shop/web", DOWN), phase="starting")
    made = health.started(state, latched=False)
    assert (made["started"], made["total"], made["waiting"]) == (1, 2, ["shop/web"])
    assert health.started(state, latched=True) == {"status": "pass"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("shop", "supervisor"), ("shop/pay", "supervisor"), ("shop/pay/x", "worker")],
)
def test_a_part_of_the_tree_has_its_own_document(path: str, kind: str) -> None:
    """Supervisors and children are found by their paths; slots too; others are not there."""
    state = snapshot(supervisor("shop/pay", child("shop/pay/x")))
    found = health.part(state, path, NOW, {})
    assert found is not None
    assert (found["path"], found["kind"]) == (path, kind)
    slot = health.part(state, "shop/pay/x.0", NOW, {})
    assert slot is not None
    assert slot["pid"] == 100
    assert health.part(state, "shop/none", NOW, {}) is None
