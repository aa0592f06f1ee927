"""Recycling of real workers by what they really have."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.control.client import ControlClient
from supervisor.control.messages import QueueAnswer, QueueCommand
from supervisor.core.thresholds import Oddity
from supervisor.crashes import shelf
from supervisor.crashes.report import CrashReport
from supervisor.observe.snapshot import WorkerStatus
from supervisor.process.oom import confinement
from supervisor.recycling.backstop import can_confine
from supervisor.recycling.report import Report, read
from tests.crash.app_harness import App, eventually, workers
from tests.crash.brisk_app import Brisk
from tests.crash.running_app import kill

MIB = 1 << 20
MESSAGES = 360


def report_of(app: App) -> Report | None:
    """Return what the arbiter has seen last."""
    return read(os.path.dirname(app.socket), time.time())


def reported(app: App, path: str, *causes: str) -> list[CrashReport]:
    """Wait until there are crash reports of a slot with these causes; returns them."""
    directory = str(app.runtime / "crashes")

    def look() -> bool:
        return [one.cause for one in shelf.listed(directory) if one.path == path] == list(causes)

    eventually(look, f"reports of {path}: {causes}")
    files = [one.file for one in shelf.listed(directory) if one.path == path]
    return [msgspec.json.decode(shelf.read(directory, file), type=CrashReport) for file in files]


def lines(path: Path) -> list[str]:
    """Return the lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


def test_eight_workers_that_leak_a_mebibyte_a_message(tmp_path: Path) -> None:
    """Memory stays within the budget, capacity whole, no message is lost, recycles are spread (T2).

    Every worker leaks 4 MiB a second and is over its limit from its third second on.
    """
    ledger = tmp_path / "ledger"
    environment = {"LEDGER": str(ledger), "MESSAGES": str(MESSAGES), "SECONDS": "0.25"}
    highest, ready = 0, 8
    with App("leaking:tree", tmp_path, env=environment) as app:
        app.up()

        def leaky() -> list[WorkerStatus]:
            return [one for one in workers(app.snapshot().tree) if "leaky" in one.path]

        def settled() -> bool:
            nonlocal highest, ready
            report = report_of(app)
            highest = max(highest, report.used if report else 0)
            slots = leaky()
            ready = min(ready, sum(one.state == "ready" for one in slots))
            recycles = sum(one.recycles for one in slots)  # done; on a busy machine they take long
            return len(set(lines(ledger))) == MESSAGES and recycles >= 2

        eventually(settled, "all messages handled, two recycles done", 40.0)
        slots = leaky()
        recycled = app.find(event="recycling", path="root")
    assert ready == 8
    assert sum(one.capacity_lost for one in slots) == 0.0
    assert [one.restarts for one in slots] == [0] * 8
    assert 0 < highest <= 900 * MIB
    assert len({record["child"] for record in recycled}) == len(recycled), "one came up twice"
    assert {record["cause"] for record in recycled} == {"recycled"}
    numbers = [int(line) for line in lines(ledger)]
    assert sorted(set(numbers)) == list(range(MESSAGES))
    assert len(numbers) == MESSAGES, "an orderly end is no reason to handle a message twice"


def test_shared_pages_are_no_reason_to_recycle(tmp_path: Path) -> None:
    """200 MiB that a worker shares with its template do not count against its 30 MiB (T9)."""
    with Brisk("shared:tree", tmp_path) as app:
        app.up()

        def seen_twice() -> Report | None:
            report = report_of(app)
            looks = {round(report.at)} if report and len(report.slots) == 2 else set()
            times.update(looks)
            return report if len(times) == 2 else None

        times: set[int] = set()
        report = eventually(seen_twice, "two reports")
        assert report is not None
        resident = [
            int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            for one in workers(app.snapshot().tree)
        ]
        assert min(resident) > 200 * MIB
        assert max(slot.private for slot in report.slots.values()) < 20 * MIB
        assert [one.recycles for one in workers(app.snapshot().tree)] == [0, 0]
        assert (report.recycled, report.failed, report.deferred) == (0, 0, {})


def test_a_limit_below_what_a_worker_needs_is_raised_and_warned_of(tmp_path: Path) -> None:
    """At once, not after half a minute of recycling one after the other (T4)."""
    with Brisk("needy:tree", tmp_path) as app:
        before = {worker.path: worker.pid for worker in workers(app.up().snapshot().tree)}
        looks: set[float] = set()

        def looked_often() -> Report | None:
            report = report_of(app)
            looks.update({report.at} if report is not None and len(report.slots) == 3 else set())
            return report if len(looks) == 5 else None

        report = eventually(looked_often, "five reports")
        assert report is not None
        assert report.warnings == {
            "soft_below_baseline": ["needy/soft.0"],
            "hard_below_baseline": ["needy/hard.0", "needy/hard.1"],
        }
        assert min(slot.soft for slot in report.slots.values()) > 90 * MIB
        assert {worker.path: worker.pid for worker in workers(app.snapshot().tree)} == before
        assert (report.recycled, report.failed) == (0, 0)
        warned = {
            (r["child"], r["event"]) for r in app.find(path="runtime/arbiter", level="warning")
        }
        assert warned == {
            ("needy/soft", Oddity.SOFT_BELOW_BASELINE.value),
            ("needy/hard", Oddity.HARD_BELOW_BASELINE.value),
        }
        assert app.stop() == 0


@pytest.mark.parametrize("path", ["hungry/hungry.0", "hungry/inner/hungry.0"])
def test_a_worker_that_takes_it_all_at_once(tmp_path: Path, path: str) -> None:
    """The kernel kills it alone, and that is told apart from other SIGKILLs; it is restarted.

    Root's child or a nested supervisor's. Where no cgroup can be made, the arbiter finds it and
    has it replaced.
    """
    with App("hungry:tree", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        first = app.up().ready(path)
        quiet = app.ready("hungry/quiet.0")
        assert first.pid is not None
        directory = confinement(first.pid)
        confined = can_confine()
        if confined:
            assert directory is not None
            eventually(lambda: os.path.exists(f"{directory}/cgroup.procs"), "confined")
            eventually(lambda: Path(f"{directory}/cgroup.procs").read_text(), "moved")
        (tmp_path / f"eat-{path.replace('/', '-')}").touch()
        second = app.wait_worker(
            path, lambda one: one.pid not in (None, first.pid) and one.state == "ready"
        )
        assert second.last_exit is not None
        assert second.last_exit.cause == ("oom" if confined else "memory_hard")
        assert second.restarts == (1 if confined else 0)
        if confined:
            report = app.wait_for(event="child terminated", offender="hungry.0")
            assert (report["supervisor"], report["cause"]) == (path.rpartition("/")[0], "oom")
        kill(second.pid)
        third = app.wait_worker(
            path,
            lambda one: one.pid not in (None, second.pid) and one.state == "ready",
        )
        assert third.last_exit is not None
        assert third.last_exit.cause == "signal:SIGKILL"
        assert app.worker("hungry/quiet.0").pid == quiet.pid
        app.stop()
    pids = {first.pid, second.pid, third.pid, quiet.pid}
    assert [pid for pid in pids if pid and os.path.exists(confinement(pid) or "")] == []


def test_a_planned_recycle_waits_while_the_queue_is_full(tmp_path: Path) -> None:
    """A consumer past its age is left alone while all are busy and the queue is full; then goes."""
    with Brisk("crowded:tree", tmp_path, env={"MARKS": str(tmp_path)}) as app:
        pid = app.up().ready("crowded/slow.0").pid

        def deferred() -> bool:
            report = report_of(app)
            because = report.deferred.get("crowded/slow.0", "") if report else ""
            return because == "the queue is full and all workers are busy"

        eventually(deferred, "deferred")
        assert app.worker("crowded/slow.0").pid == pid
        (tmp_path / "go").touch()
        after = app.wait_worker("crowded/slow.0", lambda one: one.recycles >= 1)
        assert after.pid != pid
        assert after.restarts == 0


def handled(app: App, *lines: str) -> None:
    """Wait until the glutton has said just these lines, in any order: they come a little later."""

    def said() -> list[str]:
        return sorted(r["event"] for r in app.find(path="glutton/glutton.0", raw=True))

    app.wait_until(lambda: said() == sorted(lines), f"{lines}")


def test_a_message_that_takes_too_much_memory_twice_is_dead(tmp_path: Path) -> None:
    """Two workers were killed for memory_hard over it: it is a dead letter that says so."""
    state = "--state", str(tmp_path / "state")
    with Brisk("glutton:tree", tmp_path, *state, "--", "1", "-7", "2") as app:
        app.up()
        eventually(lambda: app.snapshot().queues[0]["dead"] == 1, "the letter", 40.0)
        eventually(lambda: app.snapshot().queues[0]["depth"] == 0, "the rest")
        [letter] = dead_letters(app, "jobs")
        assert (letter["reason"], letter["attempts"]) == ("memory_hard", 2)
        assert "was ended over its memory_hard" in letter["error"]
        slot = app.worker("glutton/glutton.0")
        assert slot.restarts == 0
        for report in reported(app, "glutton/glutton.0", "stop_timeout", "stop_timeout"):
            assert report.memory is not None
            assert report.memory.private > report.memory.hard
            assert report.work is not None
            assert report.work.count == 1
            assert report.log[-1]["event"].startswith("handling -7")
        handled(app, "handling -7 1", "handling -7 2", "handling 1 1", "handling 2 1")


@pytest.mark.skipif(not can_confine(), reason="needs a memory cgroup")
def test_a_message_over_which_the_kernel_kills_twice_is_dead(tmp_path: Path) -> None:
    """Two workers were killed for want of memory over it: no third one is given it."""
    state = "--state", str(tmp_path / "state")
    with App("glutton:sudden", tmp_path, *state, "--", "1", "-7", "2") as app:
        app.up()
        eventually(lambda: app.snapshot().queues[0]["dead"] == 1, "the letter", 40.0)
        eventually(lambda: app.snapshot().queues[0]["depth"] == 0, "the rest")
        [letter] = dead_letters(app, "jobs")
        assert (letter["reason"], letter["attempts"]) == ("oom", 2)
        assert "(glutton/glutton.0#2) was killed for want of memory" in letter["error"]
        app.ended("glutton.0", "oom", "oom")
        reported(app, "glutton/glutton.0", "oom", "oom")
        handled(app, "handling -7 1", "handling -7 2", "handling 1 1", "handling 2 1")
        assert app.stop() == 0


def dead_letters(app: App, queue: str) -> list[dict[str, Any]]:
    """Ask for the dead letters of a queue."""
    with ControlClient(app.socket) as client:
        answer = client.request(QueueCommand("dead_list", queue))
    assert isinstance(answer, QueueAnswer)
    found: list[dict[str, Any]] = msgspec.msgpack.decode(answer.body)["letters"]
    return found
