"""The share of the processor that supervisors get when their workers leave none.

A thousand workers that die at once are a thousand processes that want to run, and whoever has to
restart them is one more. So supervisors go first, where that is allowed (root, CAP_SYS_NICE); what
they start does not. Linux only, elsewhere nothing happens.
"""

import os

#: Niceness of a supervisor.
FIRST = -10
#: And of what can wait.
LAST = 19


def go_first() -> None:
    """Give this process precedence over those of ordinary niceness, if it may have that.

    A niceness that somebody has chosen stays.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) != 0 or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
        # Where the kernel shares by session first, niceness counts only within a session. That of
        # a terminal is not ours to favour.
        if os.getsid(0) == os.getpid():
            with open("/proc/self/autogroup", "w") as autogroup:
                autogroup.write(str(FIRST))
    except OSError:
        pass
    _go_before_all()


def _go_before_all() -> None:
    # Niceness is a share: among a thousand that want to run it is 1 %, which was 0.3 s of silence.
    # A supervisor sleeps unless it is spoken to, so it takes from nobody to be let in at once. The
    # lowest of these priorities, and never for what it starts.
    try:
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except OSError:  # not permitted, or a control group that has no share of it
        pass


def interrupt_nobody() -> None:
    """Have this process wait for a free moment when it is woken: who is at work goes on.

    For the log pump: it is told of each new process, in the moment in which that begins to run.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # a policy that somebody has chosen stays
        pass


def give_way() -> None:
    """Have this process take a sixtieth of what others get, when they want all: its work can wait.

    It leaves its session: where the kernel shares by session first, it would get half a processor
    beside a busy worker, which has another one, however nice it is. Idle scheduling is no cure.
    """
    os.setsid()
    os.nice(LAST)
    try:
        with open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write(str(LAST))
    except OSError:  # the kernel knows none
        pass


def go_with_the_others() -> None:
    """Give up a precedence that was inherited."""
    if os.getpriority(os.PRIO_PROCESS, 0) == FIRST:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
