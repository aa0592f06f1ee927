"""What of a snapshot the arbiter decides upon."""

from typing import Any

import pytest

from supervisor import Child, Supervisor
from supervisor.declare.define import define
from supervisor.recycling.census import Census
from supervisor.recycling.ledger import Ledger
from tests.health_snapshots import child, snapshot


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
