"""How a process ended, in OTP's classes of exit reasons.

Normal reasons are ``normal``, ``shutdown`` and ``{shutdown, Term}``; everything else is abnormal,
``killed`` included (OTP, supervisor: "restart type").
"""

from dataclasses import dataclass
from enum import Enum


class ExitKind(Enum):
    """The classes of exit reasons that supervision tells apart."""

    NORMAL = "normal"  # the target returned, or exit status 0
    SHUTDOWN = "shutdown"  # ended because it was asked to
    SHUTDOWN_OTHER = "shutdown_other"  # {shutdown, Term}: an orderly end with a message
    KILLED = "killed"  # SIGKILL
    CRASH = "crash"  # anything else

    @property
    def is_normal(self) -> bool:
        """Whether OTP counts this class as a normal end."""
        return self in _NORMAL


_NORMAL = frozenset({ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.SHUTDOWN_OTHER})


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why a process ended: its class, and a cause in words for reports ("signal:SIGSEGV")."""

    kind: ExitKind
    cause: str = ""

    @property
    def is_normal(self) -> bool:
        """Whether OTP counts this reason as a normal end."""
        return self.kind.is_normal


NORMAL = ExitReason(ExitKind.NORMAL, "exit:0")
SHUTDOWN = ExitReason(ExitKind.SHUTDOWN, "shutdown")
KILLED = ExitReason(ExitKind.KILLED, "signal:SIGKILL")
