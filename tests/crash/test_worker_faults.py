"""Worker processes that die or misbehave in all the ways there are, in one real tree."""

import os
import time
from collections.abc import Iterator

import pytest

from supervisor.observe import health
from tests.crash.app_harness import App, alive, eventually


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One run of the tree in which every child commits its fault once."""
    with App("one_fault_each:tree", tmp_path_factory.mktemp("f")) as app:
        yield app.up()
        assert app.ends("bystander.0") == []
        assert app.ends("bystander.1") == []
        assert app.stop() == 0


@pytest.mark.parametrize(
    ("child", "cause"),
    [
        ("segv", "signal:SIGSEGV"),
        ("abort", "signal:SIGABRT"),
        ("fpe", "signal:SIGFPE"),
        ("bus", "signal:SIGBUS"),
        ("killed", "signal:SIGKILL"),
        ("termed", "exit:0"),
        ("sneaks", "exit:0 unfinished"),
        ("sneaks-transient", "exit:0 unfinished"),
        ("leaves-three", "exit:3"),
        ("raises", "exception:LookupError"),
        ("raises-async", "exception:LookupError"),
        ("daemon", "exit:9"),
        ("setsid", "exit:9"),
        ("stdout", "exit:9"),
    ],
)
def test_a_death_is_reported_once_with_its_cause_and_the_slot_is_filled_again(
    app: App, child: str, cause: str
) -> None:
    """Each unplanned death: one report, the right cause, a new process in the slot."""
    worker = app.wait_worker(f"faults/{child}.0", lambda w: w.generation == 2 and w.ready_at)
    assert worker.last_exit is not None
    assert worker.last_exit.cause == cause
    assert worker.restarts == 1
    app.wait_for(event="child terminated", offender=f"{child}.0")
    assert app.ends(f"{child}.0") == [cause]


def test_what_a_dead_worker_has_used_is_told(app: App) -> None:
    """Its processor time and peak memory are in the report of its end, in status and in health."""
    last = app.worker("faults/raises.0").last_exit
    assert last is not None
    assert last.user_seconds is not None
    assert last.system_seconds is not None
    assert last.max_rss_bytes is not None
    assert 0 < last.user_seconds + last.system_seconds < 10
    assert 1 << 20 < last.max_rss_bytes < 1 << 30
    report = app.wait_for(event="child terminated", offender="raises.0")
    assert report["user_seconds"] == last.user_seconds
    assert report["system_seconds"] == last.system_seconds
    assert report["max_rss_bytes"] == last.max_rss_bytes
    document = health.part(app.snapshot(), "faults/raises.0", time.time(), {})
    assert document is not None
    assert document["last_exit"]["max_rss_bytes"] == last.max_rss_bytes


@pytest.mark.parametrize("child", ["segv", "abort", "fpe", "bus"])
def test_a_fatal_signal_leaves_the_stack(app: App, child: str) -> None:
    """A process that dies of a fault says in which of the author's lines it was."""
    record = app.wait_for(child=f"faults/{child}.0", generation=1)
    assert f"in {child}" in record["stacks"]
    assert "one_fault_each.py" in record["stacks"]


def test_an_exception_leaves_its_message_and_the_authors_traceback(app: App) -> None:
    """The end of a worker that raised names the exception, its text and the author's lines."""
    last = app.worker("faults/raises.0").last_exit
    assert last is not None
    assert last.detail == "no such order"
    text = [r["event"] for r in app.find(path="faults/raises.0")]
    assert "LookupError: no such order" in text
    assert not any("supervisor/process" in line for line in text)


@pytest.mark.parametrize(
    ("child", "word"), [("daemon", "daemon "), ("setsid", "grandchild "), ("stdout", "heir ")]
)
def test_what_a_worker_leaves_behind_dies_before_its_successor_lives(
    app: App, child: str, word: str
) -> None:
    """Double-forked, in another session, or holding stdout: no descendant outlives the slot."""
    lines = app.wait_until(
        lambda: [r["event"] for r in app.find(path=f"faults/{child}.0") if word in r["event"]]
    )
    app.wait_worker(f"faults/{child}.0", lambda w: w.generation == 2)
    assert not alive(int(lines[0].split()[1]))


def test_forks_of_a_worker_do_not_trouble_its_log(app: App) -> None:
    """A worker's fork that forks in turn leaves no traceback of the log's own thread."""
    app.wait_worker("faults/daemon.0", lambda w: w.generation == 2)
    assert not [r for r in app.records if "Exception in thread" in r["event"]]


@pytest.mark.parametrize("child", ["returns-transient", "sneaks-temporary", "returns-temporary"])
def test_who_may_end_stays_ended(app: App, child: str) -> None:
    """A transient child that returned and a temporary one that ended anyhow stay down."""
    eventually(lambda: child not in ready_children(app))
    assert len(app.find(path=f"faults/{child}.0")) == 0
    assert len(app.find(event="child terminated", offender=f"{child}.0")) <= 1


def test_a_permanent_child_that_leaves_in_order_is_restarted(app: App) -> None:
    """SystemExit(0) is a normal end, and a permanent child is started again after it."""
    worker = app.wait_worker("faults/leaves.0", lambda w: w.generation == 2)
    assert worker.last_exit is not None
    assert worker.last_exit.cause == "exit:0"


def test_a_command_that_exits_0_has_ended_normally(app: App) -> None:
    """For a program status 0 is success: a transient command is not run again."""
    app.ended("false.0", "exit:1")
    assert app.ends("true.0") == []


def test_a_worker_without_streams_goes_on(app: App) -> None:
    """A worker that closed stdout and stderr lives, and keeps its supervisor."""
    worker = app.ready("faults/mute.0")
    assert worker.generation == 1
    assert worker.pid is not None
    assert alive(worker.pid)
    assert not os.path.exists(f"/proc/{worker.pid}/fd/1")


def test_a_worker_that_closed_its_link_is_ended(app: App) -> None:
    """Nobody can be asked to stop without a link: after 2 s it is killed, and replaced."""
    worker = app.wait_worker("faults/unlinked.0", lambda w: w.generation == 2 and w.ready_at)
    assert worker.last_exit is not None
    assert worker.last_exit.cause == "control_lost"


def ready_children(app: App) -> set[str]:
    """Return the names of the children that have a ready slot."""
    tree = app.snapshot().tree
    return {c.path.rpartition("/")[2] for c in tree.children if getattr(c, "ready", 0)}
