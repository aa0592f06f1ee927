"""A process of the runtime itself: pump, broker, observer. Started by its entry function."""

import os
import socket
from typing import Any

import msgspec

from supervisor import link
from supervisor.child_process import ChildProcess
from supervisor.outbox import Outbox
from supervisor.plan import Service
from supervisor.process import launch as launches


class ServiceProcess(ChildProcess):
    """One process of one service."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._outbox: Outbox | None = None

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

    def _listen(self, sock: socket.socket) -> link.Channel[Any]:
        channel = super()._listen(sock)
        self._outbox = Outbox(self.shell.loop, channel, self._read_link)
        return channel

    def _close_channel(self) -> None:
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        super()._close_channel()

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
