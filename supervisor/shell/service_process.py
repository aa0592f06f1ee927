"""A process of the runtime itself: pump, broker, observer. Started by its entry function."""

import os

import msgspec

from supervisor.process import launch as launches
from supervisor.shell.linked_process import LinkedProcess
from supervisor.shell.plan import Service


class ServiceProcess(LinkedProcess):
    """One process of one service."""

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
