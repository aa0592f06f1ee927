"""Caches of real workers: what they have and how often they help is seen from outside."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.doctor.accumulators import accumulators
from supervisor.observe import health
from tests.crash.app_harness import App, eventually
from tests.crash.running_app import kill


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One run of the app."""
    with App("caching:tree", tmp_path_factory.mktemp("c")) as app:
        yield app.up()


def caches(app: App, child: str) -> list[dict[str, Any]]:
    """Return what health says of the caches of a child."""
    document = health.part(app.snapshot(), f"caching/{child}", time.time(), {})
    assert document is not None
    return list(document["caches"])


def test_the_caches_of_a_child_are_summed_in_health(app: App) -> None:
    """Two workers ask ten times each for two keys: sixteen hits of twenty; and doctor has them."""
    (both,) = eventually(
        lambda: [one for one in caches(app, "reading") if one["hits"] == 16], "both have told"
    )
    assert (both["name"], both["entries"], both["misses"]) == ("prices", 4, 4)
    assert both["hit_ratio"] == 0.8
    assert 4000 < both["bytes"] < both["max_bytes"] == 2 << 20
    rows = {one.name: one for one in accumulators(app.snapshot(), os.path.dirname(app.socket))}
    row = rows["cache prices of caching/reading"]
    assert (row.size, row.limit, row.note) == (both["bytes"], both["max_bytes"], "80% hits")


def test_a_consumer_tells_when_its_queue_is_empty(app: App) -> None:
    """Four messages, one load: it comes along with the beats, also without a heartbeat."""
    eventually(
        lambda: [(one["hits"], one["misses"]) for one in caches(app, "charge")] == [(3, 1)],
        "the last look was told of",
    )


def test_what_is_said_of_caches_is_bounded(app: App) -> None:
    """A worker that names a hundred caches with long names is heard in part."""
    slot = eventually(lambda: app.worker("caching/lying.0").caches, "it has told")
    assert len(slot) == 32
    assert {len(one.name) for one in slot} == {100}


def test_a_new_process_begins_with_an_empty_cache(app: App) -> None:
    """What the dead one had is not counted any more."""
    eventually(lambda: caches(app, "reading")[0]["hits"] == 16, "both have told")
    kill(app.worker("caching/reading.0").pid)
    app.wait_worker("caching/reading.0", lambda one: one.generation == 2 and one.ready_at)
    eventually(lambda: caches(app, "reading")[0]["hits"] == 16, "told anew")
    assert caches(app, "reading")[0]["entries"] == 4
