"""What of a snapshot the arbiter decides upon."""

import time
from typing import Any

import pytest

from supervisor import Child, Supervisor
from supervisor.core.census import LEAST_RESERVE, Policy
from supervisor.declare.define import define
from supervisor.recycling.census import Census
from supervisor.recycling.ledger import Ledger
from tests.health_snapshots import NOW, child, snapshot, worker


@pytest.mark.parametrize(
    ("fields", "running"),
    [({}, True), ({"phase": "starting"}, False), ({"reloading": True}, False)],
)
def test_planned_recycles_wait_for_a_tree_that_changes(
    fields: dict[str, Any], running: bool
) -> None:
    """While it starts or is reloaded only an emergency recycles: all are replaced anyway."""
    census = Census(define(Supervisor("shop", [Child("web", print)])), Ledger("host"))
    assert census.take(snapshot(child("shop/web"), **fields), {}, 1.0).running is running


def test_a_clock_that_is_set_makes_no_crash_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts of an hour are not those of a minute because somebody has set the time back."""
    census = Census(define(Supervisor("shop", [Child("web", print)])), Ledger("host"))
    wall, monotonic = 1_800_000_000.0, 1000.0
    monkeypatch.setattr(time, "time", lambda: wall)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    for restarts in range(4):
        tree = child("shop/web", worker("shop/web.0", restarts=restarts))
        seen = census.take(snapshot(tree), {}, 1.0)
        assert not seen.pools["shop/web"].crash_loop
        wall, monotonic = wall - 3600.0, monotonic + 100.0


@pytest.mark.parametrize("leap", [7200.0, -7200.0])
def test_a_clock_that_is_set_during_a_start_makes_it_no_longer(leap: float) -> None:
    """Or one replacement would have to wait for hours after the other."""
    census = Census(define(Supervisor("shop", [Child("web", print)])), Ledger("host"))
    begun = worker("shop/web.0", started_at=NOW - 2.0, ready_at=NOW + leap)
    pool = census.take(snapshot(child("shop/web", begun)), {}, 1.0).pools["shop/web"]
    assert (pool.start, pool.cycle) == (0.5, 3.0)
    usual = worker("shop/web.0", started_at=NOW - 2.0, ready_at=NOW)
    pool = census.take(snapshot(child("shop/web", usual)), {}, 1.0).pools["shop/web"]
    assert pool.start == 2.0


def test_the_trees_own_settings_go_before_automatic_ones() -> None:
    """Budget, reserve, how many at a time and how soon after each other."""
    own: dict[str, Any] = {
        "memory_budget": "2GiB",
        "surge_reserve": "64MiB",
        "max_concurrent_recycles": 4,
        "recycle_spacing": 0.5,
    }
    census = Census(define(Supervisor("shop", [Child("web", print)], **own)), Ledger("host"))
    found = census.take(snapshot(child("shop/web")), {}, 1.0).policy
    assert found == Policy(2 << 30, max_concurrent=4, spacing=0.5, surge_reserve=64 << 20)
    automatic = Census(define(Supervisor("shop", [Child("web", print)])), Ledger("host"))
    found = automatic.take(snapshot(child("shop/web")), {}, 1.0).policy
    assert (found.max_concurrent, found.spacing) == (None, None)
    assert found.surge_reserve >= LEAST_RESERVE
