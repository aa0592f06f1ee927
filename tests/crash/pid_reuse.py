"""Runs as the init of a pid namespace: gives the numbers of dead processes to others.

    python -m tests.crash.pid_reuse

Ends with 0 if nobody was hit by what was meant for the dead.
"""

import os
import signal
import subprocess
from pathlib import Path

from supervisor.loop import Loop
from supervisor.root.template_keeper import Hooks, TemplateKeeper, reap
from supervisor.shell.templates import Template
from tests.crash.process_harness import APPS, RealTemplate

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
#: Others may fork between our two steps.
TRIES = 1000


def stranger_with(number: int) -> subprocess.Popen[bytes]:
    """Start a process that has this pid."""
    for _ in range(TRIES):
        LAST_PID.write_text(str(number - 1))
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if process.pid == number:
            return process
        end(process)
    raise AssertionError(f"nobody got {number}")


def answers(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process lives: one that SIGKILL was sent to does not say a word any more."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"hello\n")
        process.stdin.flush()
    except BrokenPipeError:
        return False
    return process.stdout.readline() == b"hello\n"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process."""
    process.kill()
    process.wait()


def a_late_signal_meets_nobody() -> None:
    """A process asked for has ended; its number is a stranger's; then it is signalled."""
    with RealTemplate() as template:
        first = template.spawn("process_entries:say_pid")
        template.exited(first)
        stranger = stranger_with(first.pid)
        for group in (False, True):
            template.client.signal(first.serial, signal.SIGKILL, group)
        template.spawn("process_entries:wait")  # answered after the signals were dealt with
        assert answers(stranger), "a stranger was killed"
        end(stranger)


def the_number_of_a_dead_template_is_not_signalled() -> None:
    """Root's own child: once reaped, neither killing nor waiting for it meets its successor."""
    loop = Loop()
    hooks = Hooks(lambda _: None, lambda _: None, lambda _: None)
    keeper = TemplateKeeper(loop, Template(loop, "t"), None, [], hooks, lambda *_, **__: None)
    keeper.start()
    keeper.close()
    os.kill(keeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT)
    reap([keeper])
    stranger = stranger_with(keeper.pid)
    keeper._kill()
    keeper.wait(0.0)
    assert answers(stranger), "a stranger was killed"
    end(stranger)
    loop.close()


if __name__ == "__main__":
    os.chdir(APPS)
    a_late_signal_meets_nobody()
    the_number_of_a_dead_template_is_not_signalled()
    print("nobody was hit")
