"""A process of the runtime itself: pump, broker, observer. Started by its entry function."""

import os
import time
from typing import Any

import msgspec

from supervisor.link import Nudge
from supervisor.process import launch as launches
from supervisor.shell.linked_process import LinkedProcess
from supervisor.shell.plan import Service

#: Seconds between two nudges: who is nudged has to look once more, 30 s after it or a bit later,
#: for what happens in between is not told.
NUDGE_EVERY = 25.0


class ServiceProcess(LinkedProcess):
    """One process of one service."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._nudge_at = float("-inf")  # monotonic seconds, at the earliest

    def begin(self) -> None:
        """Ask for the process, and tell it what it must know."""
        super().begin()
        service = self.start.definition
        assert isinstance(service, Service)
        service.announce()

    def send(self, message: msgspec.Struct, fd: int | None) -> None:
        """Say something to it, with a copy of a descriptor; its successor is told everything."""
        if self._outbox is not None:
            self._outbox.send(message, None if fd is None else os.dup(fd))

    def nudge(self) -> None:
        """Say that something has changed, unless that was said a short while ago."""
        now = time.monotonic()
        if self._outbox is not None and now >= self._nudge_at:
            self._nudge_at = now + NUDGE_EVERY
            self._outbox.send(Nudge(), None)

    def _descriptors(self) -> dict[str, int]:
        service = self.start.definition
        assert isinstance(service, Service)
        return service.fds

    def _kind(self, fds: list[str]) -> launches.Kind:
        service = self.start.definition
        assert isinstance(service, Service)
        return launches.Kind(
            run=launches.Entry(service.entry, service.argument),
            fds=fds,
            log_level=self.shell.log_level,
        )
