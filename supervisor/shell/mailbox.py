"""Where the core is told of what becomes of processes."""

from typing import Protocol

from supervisor.core.events import Event


class Mailbox(Protocol):
    """What a supervisor offers to those that watch its processes."""

    def deliver(self, event: Event) -> None:
        """It has happened."""

    def foresee(self, event: Event) -> None:
        """It will happen, most likely, and before anything else does."""
