"""What a scenario needs of the place it runs in: a world of supervisors and their processes.

``scenario`` interprets recordings and ``observation`` describes what happened; both know a world
only by this protocol, so the same recordings run over fake processes (``fake``) and real ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from supervisor.core.events import Report, Request


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of ``events``: ``kind`` is start, fail, ignore or stop; ``group`` names the
    simple_one_for_one supervisor of a child that stopped, whose stops have no order."""

    kind: str
    id: str
    value: int | str
    group: str | None = None


class World(Protocol):
    """Supervisors and processes, started from the mappings of a scenario."""

    traces: list[Trace]
    reports: list[tuple[str, Report]]

    def boot(self, tree: Any) -> str:
        """Start the root supervisor; ``ok``, ``ignore`` or ``error:...``."""

    def running(self, child: str) -> bool:
        """Whether a process (or ``root``) is alive and ready."""

    def end(self, child: str, reason: str, during: Sequence[tuple[str, Request | None]]) -> None:
        """Make a running process end; ``during`` is sent while its next start is in progress.

        Each is (supervisor, request); a request of None asks the root to shut down.
        """

    def call(self, supervisor: str, request: Request) -> None:
        """Send a request; its answer joins ``answers``."""

    def shut_down(self) -> None:
        """Have root's parent ask root to shut down; its exit reason joins ``answers``."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def settle(self) -> list[Any]:
        """Wait until everything is at rest; the answers so far, in the order of asking.

        An answer is a core result, an exit reason (of ``shut_down``), or None: nobody there.
        """

    def status(self, supervisor: str) -> str:
        """``alive``, ``dead:<reason>`` of its latest incarnation, or ``none``."""

    def states(self, supervisor: str) -> dict[str, str]:
        """What a supervisor says of its children; nothing when it is dead."""

    def attempts(self, child: str) -> int:
        """How often a start of this id was attempted."""

    def holder(self, child: str) -> str | None:
        """The supervisor that has, or last had, a process of this id."""
