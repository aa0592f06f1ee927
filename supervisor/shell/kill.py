"""The kill of a process: its stacks first, if it hangs; given up when it does not die."""

import signal
from collections.abc import Callable
from functools import partial

from supervisor.shell.deadlines import Deadlines

#: Sent to a hung process: faulthandler then writes the stacks of all its threads.
DUMP_SIGNAL = signal.SIGRTMAX - 1
#: Seconds between that signal and SIGKILL.
DUMP_GRACE = 0.25
#: Seconds after SIGKILL until a process counts as unkillable and is left behind.
UNKILLABLE_AFTER = 5.0
#: Causes of a kill before which the stacks are worth having.
HUNG = frozenset({"start_timeout", "heartbeat", "stalled", "stop_timeout"})


def kill(
    send: Callable[..., None], deadlines: Deadlines, give_up: Callable[[], None], *, dump: bool
) -> None:
    """Kill a process and its group.

    Args:
        send: sends it a signal, with ``group=True`` to its group.
        deadlines: those of the process.
        give_up: called when it is still there `UNKILLABLE_AFTER`.
        dump: whether it is to say first where it hangs.

    """
    if dump:
        send(DUMP_SIGNAL)
        deadlines.after("kill", DUMP_GRACE, partial(_now, send, deadlines, give_up))
    else:
        _now(send, deadlines, give_up)


def _now(send: Callable[..., None], deadlines: Deadlines, give_up: Callable[[], None]) -> None:
    send(signal.SIGKILL, group=True)
    deadlines.after("unkillable", UNKILLABLE_AFTER, give_up)
