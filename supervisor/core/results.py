"""What a call is answered with: OTP's ``ok``/``{ok, Value}`` and ``{error, Reason}``, as data.

Source: OTP stdlib ``supervisor``, the return types of its API functions.
"""

from dataclasses import dataclass
from typing import Any

from supervisor.core.spec import ChildType


@dataclass(frozen=True, slots=True)
class Ok:
    """Success. ``value`` by request:

    start_child, restart_child: the incarnation now running, None when the child declined to start;
    get_childspec: the ChildSpec; which_children: a tuple of Entry, newest first;
    count_children: Counts; all others: None.
    """

    value: Any = None


@dataclass(frozen=True, slots=True)
class Error:
    """Refusal or failure: OTP's error atom, and a detail in words ("" when there is none).

    Codes of OTP: not_found, running, restarting, already_present, already_started,
    simple_one_for_one, and the codes of SpecError. ``start_failed`` carries the cause of the failed
    start as its detail. Additions: terminated (the start was cancelled by terminate_child),
    exited, ignored, recycling, not_running (recycle), invalid_count, failed_to_start_child (scale).
    """

    code: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.code}:{self.detail}" if self.detail else self.code


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of which_children: ``state`` is running, undefined, restarting, or starting.

    ``starting`` is an addition: OTP cannot be asked while it starts a child.
    """

    id: str
    state: str
    type: ChildType


@dataclass(frozen=True, slots=True)
class Counts:
    """The answer to count_children."""

    specs: int
    active: int
    supervisors: int
    workers: int
