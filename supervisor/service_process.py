"""A process of the runtime itself: pump, broker, observer. Started by its entry function."""

import msgspec

from supervisor.child_process import ChildProcess
from supervisor.plan import Service
from supervisor.process import launch as launches


class ServiceProcess(ChildProcess):
    """One process of one service."""

    def send(self, message: msgspec.Struct, fds: tuple[int, ...] = ()) -> bool:
        """Say something to it; False when it does not listen (its successor is told everything)."""
        if self._channel is None:
            return False
        try:
            self._channel.send(message, fds)
        except OSError:
            return False
        return True

    def _descriptors(self) -> dict[str, int]:
        service = self.start.definition
        assert isinstance(service, Service)
        return service.fds

    def _launch(self, fds: list[str]) -> launches.Launch:
        service = self.start.definition
        assert isinstance(service, Service)
        return launches.Launch(
            path=self.start.path,
            incarnation=self.incarnation,
            run=launches.Entry(service.entry, service.argument),
            fds=fds,
            log_level=self.shell.log_level,
        )
