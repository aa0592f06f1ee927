"""Workers that fork without end when they are told to, as far as they are let."""

import os
import signal
import threading

from supervisor import Child, Supervisor

#: Light the bomb.
STAY, ESCAPE = signal.SIGUSR1, signal.SIGUSR2
#: Seconds that a process which could not fork waits; the machine is to survive this.
PAUSE = 0.02
NEVER = threading.Event()


def quiet() -> None:
    """Do nothing."""
    while True:
        signal.pause()


def fork_for_ever(*, escape: bool) -> None:
    """Fork, and have each child do the same, in a session of its own if it is to ``escape``."""
    told = False
    while True:
        try:
            if os.fork() == 0 and escape:
                os.setsid()
        except BlockingIOError:
            if not told:
                told = True
                print("refused", flush=True)
            NEVER.wait(PAUSE)


def bomb() -> None:
    """Go off when a signal says so."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {STAY, ESCAPE})
    print("armed", flush=True)
    fork_for_ever(escape=signal.sigwait({STAY, ESCAPE}) == ESCAPE)


def tree_of(**settings: object) -> Supervisor:
    """Declare a bomb, which hears of no stop and is not waited for, and a bystander."""
    bad = Child("bomb", bomb, shutdown=0.3, **settings)  # type: ignore[arg-type]
    children = [Child("bystander", quiet), bad]
    return Supervisor("forking", children, intensity=10)


tree = tree_of()
limited = tree_of(user=64_321, rlimits={"nproc": 40})
