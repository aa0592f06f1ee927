"""A process of the runtime itself, which is told things while it runs: messages wait in order."""

import socket
from typing import Any

from supervisor.channel import Channel
from supervisor.shell.child_process import ChildProcess
from supervisor.shell.outbox import Outbox


class LinkedProcess(ChildProcess):
    """A process with an outbox, for as long as its link is open."""

    trusted = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._outbox: Outbox | None = None

    def _listen(self, sock: socket.socket) -> Channel[Any]:
        channel = super()._listen(sock)
        self._outbox = Outbox(self.shell.loop, channel, self._read_link)
        return channel

    def _close_channel(self) -> None:
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        super()._close_channel()
