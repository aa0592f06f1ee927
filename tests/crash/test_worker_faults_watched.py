"""Worker processes that hang, talk nonsense or do not stop: seen, named, ended, replaced."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from supervisor import link
from supervisor.channel import Channel, pair
from supervisor.control.messages import RestartChildren, StopChildren
from tests.crash.app_harness import App, Record, alive, eventually
from tests.crash.running_app import await_death


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One run of the tree of children that misbehave while they are watched."""
    with App("watched:tree", tmp_path_factory.mktemp("w")) as app:
        yield app.up()
        assert app.ends("steady.0") == []
        assert app.stop() == 0


def wait_cause(app: App, child: str, generation: int = 2) -> str:
    """Wait for the successor of a child's process; returns why the one before ended."""
    worker = app.wait_worker(
        f"watched/{child}.0", lambda w: w.generation >= generation and w.state == "ready"
    )
    assert worker.last_exit is not None
    return worker.last_exit.cause


def failures(app: App, offender: str, count: int) -> list[Record]:
    """Wait for so many reports of failed starts, or more; returns all there are."""

    def look() -> list[Record] | None:
        found = app.find(event="child failed to start", offender=offender)
        return found if len(found) >= count else None

    found = app.wait_until(look, f"{count} failed starts of {offender}")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("child", "function"), [("gil", "hold_gil"), ("deadlock", "deadlock"), ("spin", "spin")]
)
def test_a_work_loop_that_stands_still_is_killed_and_says_where(
    app: App, child: str, function: str
) -> None:
    """Holding the GIL, deadlocked or spinning: no beats, so killed, with the stacks reported."""
    assert wait_cause(app, child) == "heartbeat"
    record = app.wait_for(child=f"watched/{child}.0", cause="heartbeat")
    assert f"in {function}" in record["stacks"]


def test_a_stopped_process_is_shown_suspended_and_killed_for_its_silence(app: App) -> None:
    """SIGSTOP is seen at once; with a heartbeat it is a hang, which SIGKILL ends."""
    worker = app.ready("watched/stopped.0")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    app.wait_worker("watched/stopped.0", lambda w: w.state == "suspended", "suspended")
    assert wait_cause(app, "stopped") == "heartbeat"


def test_a_stopped_process_may_go_on(app: App) -> None:
    """Without a heartbeat a stopped process is shown, waited for, and shown when it goes on."""
    worker = app.ready("watched/paused.0")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    app.wait_worker("watched/paused.0", lambda w: w.state == "suspended", "suspended")
    os.kill(worker.pid, signal.SIGCONT)
    assert app.ready("watched/paused.0").pid == worker.pid


def test_a_stopped_process_that_goes_on_while_it_is_to_end_is_shown_stopping(
    tmp_path: Path,
) -> None:
    """It was asked to end before it was stopped, and is still."""
    with App("dying:slow", tmp_path) as app:
        pid = app.up().ready("slow/stubborn.0").pid
        assert pid is not None
        app.process.send_signal(signal.SIGTERM)
        for signum, state in ((signal.SIGSTOP, "suspended"), (signal.SIGCONT, "stopping")):
            app.wait_worker("slow/stubborn.0", lambda w: w.state != "ready", "asked to stop")
            os.kill(pid, signum)
            app.wait_worker("slow/stubborn.0", lambda w, s=state: w.state == s, state)  # type: ignore[misc]
        os.kill(pid, signal.SIGKILL)
        assert app.wait() == 0


def test_who_ignores_the_request_to_stop_is_killed_with_its_group(app: App) -> None:
    """SIGTERM, then after `shutdown` seconds SIGKILL for the whole group, and a report."""
    helper = int(app.said("watched/stubborn.0", 1).split()[1])
    began = monotonic()
    app.ask(RestartChildren("watched/stubborn"))
    assert 0.3 <= monotonic() - began < 3
    assert wait_cause(app, "stubborn") == "stop_timeout"
    assert not alive(helper)
    app.wait_for(event="child did not stop as asked", offender="stubborn.0")
    record = app.wait_for(child="watched/stubborn.0", cause="stop_timeout")
    assert "in ignore_sigterm" in record["stacks"]


@pytest.mark.parametrize("child", ["garbage", "oversize", "forge-end", "forge-status"])
def test_nonsense_on_the_link_ends_who_sent_it(app: App, child: str) -> None:
    """A frame that is malformed, too large or not its to send: killed, cause protocol."""
    assert wait_cause(app, child) == "protocol"
    app.wait_for(event="malformed message", child=f"watched/{child}.0")


def test_descriptors_that_nobody_asked_for_are_closed(app: App) -> None:
    """A worker cannot fill its supervisor's table of descriptors."""
    app.wait_for(path="watched/descriptors.0", event="sent")
    root = app.process.pid
    eventually(lambda: len(os.listdir(f"/proc/{root}/fd")) < 400, "few descriptors")


@pytest.mark.parametrize(
    ("child", "exception", "detail"),
    [
        ("unspeakable", "Unspeakable", ""),
        ("surrogate", "ValueError", "caf"),
        ("long", "ValueError", "€€€"),
        ("unheard", "ValueError", "unheard"),
    ],
)
def test_an_exception_that_is_hard_to_tell_is_told(
    app: App, child: str, exception: str, detail: str
) -> None:
    """Whatever the text of an exception is, and wherever stderr goes: its name arrives."""
    assert wait_cause(app, child) == f"exception:{exception}"
    last = app.worker(f"watched/{child}.0").last_exit
    assert last is not None
    assert last.detail.startswith(detail)


def test_an_init_that_raises_is_a_start_failure_and_is_tried_again(app: App) -> None:
    """A start that fails is not listed ready, is reported as such, and counts as a restart."""
    assert wait_cause(app, "init-raises", 4) == "exception:RuntimeError"
    failed = failures(app, "init-raises.0", 2)
    assert [record["cause"] for record in failed] == ["exception:RuntimeError"] * 2
    app.ended("init-raises.0", "exit:1")


def test_an_init_that_leaves_is_a_start_failure(app: App) -> None:
    """Ending in order before being ready is no start."""
    wait_cause(app, "init-leaves", 3)
    assert len(failures(app, "init-leaves.0", 1)) == 1


def test_an_init_that_hangs_is_killed_at_its_deadline(app: App) -> None:
    """After `start_timeout` a start has failed; the report says where it hung."""
    assert wait_cause(app, "init-hangs", 3) == "start_timeout"
    record = app.wait_for(child="watched/init-hangs.0", cause="start_timeout")
    assert "in act" in record["stacks"]


def test_an_init_that_ignores_stays_down_without_a_report(app: App) -> None:
    """OTP's ignore at a restart: the child is kept, undefined, and nothing is wrong."""
    app.wait_worker("watched/init-ignores.0", lambda w: w.generation == 2 and w.pid is None)
    app.ended("init-ignores.0", "exit:1")
    assert app.find(event="child failed to start", offender="init-ignores.0") == []


@pytest.mark.parametrize(
    ("child", "cause"),
    [("terminate-raises", "exception:RuntimeError"), ("terminate-hangs", "stop_timeout")],
)
def test_a_terminate_hook_that_misbehaves_does_not_hold_up_the_stop(
    app: App, child: str, cause: str
) -> None:
    """An error or a hang while ending is reported, and the end comes in time."""
    app.ready(f"watched/{child}.0")
    app.ask(StopChildren(f"watched/{child}"))
    worker = app.wait_worker(f"watched/{child}.0", lambda w: w.pid is None)
    assert worker.last_exit is not None
    assert worker.last_exit.cause == cause
    app.wait_for(event="child did not stop as asked", offender=f"{child}.0")


def test_last_words_are_heard_from_who_leaves_our_words_unread() -> None:
    """The kernel reports unread data as a reset, ahead of what the dead have sent: not an end."""
    ours, theirs = pair()
    with ours:
        supervisors: Channel[object] = Channel(ours, link.FromWorker)
        supervisors.send(link.StopRequest(1.0))
        Channel(theirs, link.ToWorker).send(link.Finished())
        theirs.close()
        assert supervisors.receive() == (link.Finished(), [])
        assert supervisors.receive() is None


def test_a_flood_on_one_link_leaves_the_others_served(tmp_path: Path) -> None:
    """Two workers that send without end are read as fast as allowed: others are served at once."""
    with App("watched:flooding", tmp_path) as app:
        app.up()
        for slot in ("flood.0", "flood.1", "ends.0"):
            app.wait_for(event="says too much, is heard less", child=f"flooding/{slot}")
        slowest = 0.0
        spent, began = cpu_seconds(app.process.pid), monotonic()
        for generation in range(2, 8):
            worker = app.ready("flooding/steady.0")
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            killed = monotonic()
            app.wait_worker(
                "flooding/steady.0", lambda w, g=generation: w.generation == g and w.ready_at
            )
            slowest = max(slowest, monotonic() - killed)
        assert not await_death(app.process.pid, patience=0.5)
        busy = (cpu_seconds(app.process.pid) - spent) / (monotonic() - began)
        assert busy < 0.4, "root would need a whole processor to read all that"
        assert slowest < 0.5
        assert app.stop() == 0


def test_the_last_words_of_a_flood_are_heard(tmp_path: Path) -> None:
    """Who said too much and then raised: the exception is known, though it came last."""
    with App("watched:flooding", tmp_path) as app:
        worker = app.up().wait_worker("flooding/ends.0", lambda w: w.generation == 2)
        assert worker.last_exit is not None
        assert worker.last_exit.cause == "exception:ValueError"
        assert worker.last_exit.detail == "after the flood"
        assert app.stop() == 0


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
