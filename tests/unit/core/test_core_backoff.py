"""Backoff: the first failure restarts at once, those that follow wait, with full jitter."""

from supervisor.core import backoff
from supervisor.core.events import Enqueue, SetTimer, TerminateChild, TimerFired, TimerKind
from supervisor.core.results import Ok
from supervisor.core.spec import Backoff
from tests.unit.core.harness import Core, child

POLICY = Backoff(base=1.0, cap=8.0)


def timers(core: Core) -> list[SetTimer]:
    """The backoff timers set by the last step."""
    backoffs = [a for a in core.actions if isinstance(a, SetTimer)]
    return [a for a in backoffs if a.timer.kind is TimerKind.BACKOFF]


def failing(seed: int = 0) -> Core:
    """A child that has failed once and is up again."""
    core = Core(child("a", backoff=POLICY), intensity=100, seed=seed).boot()
    core.exit("a")
    assert core.started() == ["a"], "the first failure is restarted at once"
    core.up("a")
    return core


def test_second_failure_in_a_row_waits() -> None:
    """The delay is within [0, base * 2]; the child is restarting until the timer fires."""
    core = failing()
    core.exit("a")
    (timer,) = timers(core)
    assert core.started() == []
    assert 0 <= timer.delay <= 2.0
    assert core.states() == {"a": "restarting"}
    core.feed(TimerFired(timer.timer))
    assert core.started() == ["a"]


def test_failed_starts_grow_the_delay_up_to_the_cap() -> None:
    """Failed starts count for the streak; no delay is above the cap, and Enqueue is not used."""
    core = failing()
    core.exit("a")
    for _ in range(6):
        (timer,) = timers(core)
        assert 0 <= timer.delay <= POLICY.cap
        assert not any(isinstance(a, Enqueue) for a in core.actions)
        core.feed(TimerFired(timer.timer))
        core.fail("a")
    assert core.view("a").failures == 8


def test_child_that_was_up_long_enough_starts_a_new_streak() -> None:
    """After the period (and its longest delay) a failure is a first one again."""
    core = failing()
    core.now += 5.0
    core.exit("a")
    assert core.started() == ["a"]


def test_waiting_restart_can_be_terminated() -> None:
    """terminate_child cancels the timer; a late one is harmless."""
    core = failing()
    core.exit("a")
    (timer,) = timers(core)
    assert core.call(TerminateChild("a")) == Ok()
    assert core.feed(TimerFired(timer.timer)) == ()
    assert core.states() == {"a": "undefined"}


def test_each_attempt_counts_for_the_intensity() -> None:
    """A delayed restart counts when it is made; the one too many ends the supervisor."""
    core = Core(child("a", backoff=POLICY), intensity=1, period=100).boot()
    core.exit("a")
    core.up("a")
    core.exit("a")
    assert core.quit() is None
    core.feed(TimerFired(timers(core)[0].timer))
    assert core.quit() is not None


def test_same_seed_same_delays() -> None:
    """Randomness is in the state: it replays, and another seed gives other delays."""
    delays = []
    for seed in (1, 1, 2):
        core = failing(seed)
        core.exit("a")
        delays.append(timers(core)[0].delay)
    assert delays[0] == delays[1] != delays[2]


def test_generator_is_uniform_enough() -> None:
    """Ten thousand numbers fill ten bins evenly, within three per cent of all."""
    seed, bins = 7, [0] * 10
    for _ in range(10_000):
        seed, fraction = backoff.draw(seed)
        bins[int(fraction * 10)] += 1
    assert all(abs(count - 1000) < 300 for count in bins)
