"""Work loops that get nowhere are ended; those that have nothing to do are left in peace."""

from collections.abc import Iterator

import pytest

from tests.crash.app_harness import App


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One run of the tree of work loops."""
    with App("stalling:tree", tmp_path_factory.mktemp("s")) as app:
        yield app.up()
        assert app.stop() == 0


def test_a_loop_that_beats_and_gets_nowhere_has_stalled(app: App) -> None:
    """Beats in plenty, no progress for `stall_timeout`: stacks, SIGKILL, cause stalled; again."""
    app.wait_until(lambda: len(app.ends("spin.0")) >= 3)
    assert set(app.ends("spin.0")) == {"stalled"}
    record = app.wait_for(child="stalling/spin.0", cause="stalled")
    assert "in spin" in record["stacks"]


def test_a_consumer_that_hangs_in_a_message_has_stalled(app: App) -> None:
    """No heartbeat is declared: work without progress is enough. The message returns."""
    app.wait_for(path="stalling/takes.0", event="handled hang 2")
    app.wait_for(path="stalling/takes.0", event="handled next 1")
    app.ended("takes.0", "stalled")
    record = app.wait_for(child="stalling/takes.0", cause="stalled")
    assert "in hang" in record["stacks"]


@pytest.mark.parametrize("child", ["advance", "waiting", "silent", "idle", "held-back"])
def test_who_waits_or_is_only_slow_has_not_stalled(app: App, child: str) -> None:
    """Slow steps, an empty queue, a full one, no beat at all: nobody is ended for it."""
    app.wait_until(lambda: len(app.ends("spin.0")) >= 5)  # 2.5 s: five limits
    worker = app.ready(f"stalling/{child}.0")
    assert worker.generation == 1
    assert app.ends(f"{child}.0") == []
