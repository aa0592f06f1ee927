"""What a supervisor tells of deaths: later, only some of many, and never waiting for anybody."""

from collections.abc import Iterator

import msgspec
import pytest

from supervisor.core.exits import ExitKind, ExitReason
from supervisor.crashes.death import Death, Untold, Word
from supervisor.definition import ChildDefinition, Settings
from supervisor.loop import Loop
from supervisor.observe.snapshot import LastExit, WorkerStatus
from supervisor.shell import obituaries
from supervisor.shell.frequency import EVERY, MOST, WINDOW, Frequency
from supervisor.shell.obituaries import End, Obituaries, obituary
from supervisor.shell.plan import ChildStart
from supervisor.shell.slots import Slot
from supervisor.shell.verdict import IGNORED, Ending, is_unplanned

CRASH = ExitReason(ExitKind.CRASH, "exit:1")


def asked(cause: str) -> Ending:
    """Of a process that is asked to end, and why."""
    return Ending(stop_requested=True, stop_cause=cause)


def end(slot: Slot, ending: Ending | None = None, **definition: object) -> End:
    """What is left of a process."""
    child = ChildDefinition(name="web", where="app.py:1", target="app:web", **definition)  # type: ignore[arg-type]
    start = ChildStart(slot.path, "shop/web", 0, child)
    status = WorkerStatus(slot.path, 0, "ready", pid=77, started_at=1.0)
    last = LastExit("exit:1", 2.0, exit_code=1, detail="secret words")
    return End(slot, start, status, ending or Ending(), CRASH, last, True, "v1", "")


class Listener:
    """Hears what is said; ``deaf``: it has no room."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.deaf = False

    def hear(self, word: Word) -> bool:
        """Take a word."""
        if not self.deaf:
            self.words.append(word)
        return not self.deaf

    @property
    def deaths(self) -> list[Death]:
        """The deaths among them."""
        return [word for word in self.words if isinstance(word, Death)]


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop of our own."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def slot() -> Slot:
    """A slot without pipes."""
    return Slot("shop/web.0", (-1, -1), (-1, -1))


def run_until(loop: Loop, seconds: float) -> None:
    """Run a loop for so long."""
    loop.call_later(seconds, loop.stop)
    loop.run()


@pytest.mark.parametrize(
    ("ending", "reason", "was_ready", "expected"),
    [
        (Ending(), CRASH, True, True),
        (Ending(), ExitReason(ExitKind.KILLED, "oom"), True, True),
        (Ending(kill_cause="heartbeat"), ExitReason(ExitKind.KILLED, "heartbeat"), True, True),
        (Ending(), ExitReason(ExitKind.NORMAL, "exit:0"), True, False),
        (Ending(), ExitReason(ExitKind.NORMAL, "exit:0"), False, True),  # it never got ready
        (Ending(stop_requested=True), CRASH, True, False),
        (Ending(kill_cause="brutal_kill"), ExitReason(ExitKind.KILLED, "x"), True, False),
        (Ending(kill_cause="stop_timeout"), ExitReason(ExitKind.KILLED, "x"), False, False),
        (asked("memory_hard"), ExitReason(ExitKind.SHUTDOWN, "memory_hard"), True, True),
        (asked("memory_hard"), ExitReason(ExitKind.KILLED, "stop_timeout"), True, True),
        (asked("recycled"), ExitReason(ExitKind.SHUTDOWN, "recycled"), True, False),
        (Ending(ended=IGNORED), IGNORED, False, False),
        (Ending(), ExitReason(ExitKind.SHUTDOWN, "shutdown"), True, False),  # auto_shutdown
        (Ending(gave_up="intensity"), ExitReason(ExitKind.SHUTDOWN, "shutdown"), True, True),
    ],
)
def test_which_ends_nobody_had_planned(
    ending: Ending, reason: ExitReason, was_ready: bool, expected: bool
) -> None:
    """Not stops, reloads, recycles, orderly ends, and those that declined to start."""
    assert is_unplanned(ending, reason, was_ready) is expected


def test_the_first_ten_crashes_of_a_slot_are_told_then_one_in_ten_seconds() -> None:
    """All are counted; what was ten minutes ago is forgotten."""
    frequency = Frequency()
    told = [frequency.add(n * 0.1) for n in range(200)]
    assert [n for n, (_, is_told) in enumerate(told) if is_told] == [*range(10), 109]
    assert [count for count, _ in told[:4]] == [1, 2, 3, 4]
    assert told[-1][0] == MOST
    assert frequency.add(20.0 + WINDOW + EVERY) == (1, True)


def test_nothing_is_said_between_an_end_and_its_restart(loop: Loop, slot: Slot) -> None:
    """Only noted; said a fifth of a second later, when the loop has time."""
    listener = Listener()
    of = Obituaries(loop, listener.hear)
    of.note(end(slot))
    loop.post(lambda: loop.call_later(obituaries.DELAY / 2, loop.stop))
    loop.run()
    assert listener.words == []
    run_until(loop, obituaries.DELAY)
    [said] = listener.deaths
    assert (said.path, said.pid, said.code, said.decision) == ("shop/web.0", 77, "v1", "restart")
    assert said.end.detail == ""


def test_of_a_storm_little_is_told_and_the_rest_is_counted(loop: Loop, slot: Slot) -> None:
    """A second has twenty of them at most, whatever slots they are of."""
    listener = Listener()
    of = Obituaries(loop, listener.hear)
    for number in range(1000):
        of.note(end(Slot(f"shop/web.{number}", (-1, -1), (-1, -1))))
    of.tell()
    assert obituaries.PER_SECOND <= len(listener.deaths) <= 2 * obituaries.PER_SECOND
    run_until(loop, obituaries.UNTOLD_DELAY + 0.1)
    assert listener.words[-1] == Untold(1000 - len(listener.deaths))


def test_what_cannot_be_said_is_said_to_be_untold_later(loop: Loop, slot: Slot) -> None:
    """Of ours, and of supervisors below."""
    listener = Listener()
    of = Obituaries(loop, listener.hear)
    listener.deaf = True
    of.note(end(slot))
    of.tell()
    of.pass_on(Untold(5))
    listener.deaf = False
    run_until(loop, obituaries.UNTOLD_DELAY + 0.1)
    assert listener.words == [Untold(6)]


def test_what_the_supervisor_did_is_in_it(loop: Loop, slot: Slot) -> None:
    """A restart, none, or that it gave up."""
    assert obituary(end(slot), 1, "").decision == "restart"
    assert obituary(end(slot, restart="temporary"), 1, "").decision == "no restart: it is temporary"
    assert obituary(end(slot)._replace(was_ready=False), 1, "").decision == "its start has failed"
    listener = Listener()
    of = Obituaries(loop, listener.hear)
    of.note(end(slot))
    of.decide("shop/web.0", "no restart: its supervisor gave up")
    of.note(end(slot))
    of.tell()
    gave_up = ["restart", "no restart: its supervisor gave up"]  # the last of them was too many
    assert [one.decision for one in listener.deaths] == gave_up


def test_evidence_is_what_is_known(slot: Slot) -> None:
    """Who has sent a SIGKILL, and what the kernel has counted."""
    ending = Ending(out_of_memory=True, suspect=True)
    found = obituary(end(slot, ending), 1, "").evidence
    assert ["out-of-memory" in found[0], "message" in found[1]] == [True, True]
    hung = obituary(end(slot, Ending(kill_cause="heartbeat")), 1, "").evidence
    assert hung == ["its supervisor has sent SIGKILL: heartbeat"]
    hard = obituary(end(slot, asked("memory_hard")), 1, "")
    assert (hard.evidence, hard.decision) == (["it had been asked to end: memory_hard"], "replaced")
    killed = end(slot)._replace(last=LastExit("signal:SIGKILL", 1.0, signal="SIGKILL"))
    assert obituary(killed, 1, "").evidence == ["SIGKILL, not sent by its supervisor"]


def test_no_secret_of_its_environment_is_in_it(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ours nor one that its Child declares; and nothing is without end."""
    monkeypatch.setenv("PLANTED_SECRET", "correct horse")
    ending = Ending(
        exception="E" * 9000,
        message="correct horse, tr0ub4dor" + "m" * 9000,
        traceback="E: correct horse, tr0ub4dor",
    )
    own = Settings(env={"DB_PASSWORD": "tr0ub4dor", "NOT_SET": None})
    said = obituary(end(slot, ending, settings=own), 1, "")
    content = msgspec.json.encode(said)
    assert b"correct horse" not in content
    assert b"tr0ub4dor" not in content
    assert b"<PLANTED_SECRET>, <DB_PASSWORD>" in content
    assert len(content) < 4000
