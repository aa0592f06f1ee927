"""The link between a process and its supervisor: SOCK_SEQPACKET, one msgpack struct a packet.

All that a worker imports of the runtime. The identity of a worker is the channel: nothing it says
about itself is believed.
"""

import array
import socket
from typing import Generic, TypeVar

import msgspec

MAX_PACKET = 128 * 1024
MAX_FDS = 16


# --- from a process to its supervisor ---------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Init is done: the start has succeeded."""


class Ignored(msgspec.Struct, frozen=True, tag="ignored"):
    """The child declines to start; the process ends by itself right after."""

    why: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """An exception ends the process: sent before it exits. ``text``: the traceback, bounded."""

    exception: str
    message: str
    text: str


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The work loop is alive; ``progress`` counts what it has done (messages, steps)."""

    progress: int


FromWorker = Ready | Ignored | Failed | Beat


# --- from a supervisor to a process -----------------------------------------------------------


class Assign(msgspec.Struct, frozen=True, tag="assign"):
    """A spare becomes a child. Descriptors: stdout, stderr, then those the launch declares."""

    launch: bytes


class StopRequest(msgspec.Struct, frozen=True, tag="stop"):
    """Finish what you are doing and end, within ``seconds`` (inf: no limit)."""

    seconds: float


ToWorker = Assign | StopRequest

_Incoming = TypeVar("_Incoming")


class Channel(Generic[_Incoming]):
    """Typed messages with descriptors over one SEQPACKET socket; both sides use it.

    Args:
        sock: the socket.
        incoming: the union of message types to accept; anything else is a DecodeError.

    """

    def __init__(self, sock: socket.socket, incoming: object) -> None:
        self.socket = sock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(incoming).decode

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self.socket.fileno()

    def send(self, message: msgspec.Struct, fds: tuple[int, ...] = ()) -> None:
        """Send one message. Raises BlockingIOError when the peer does not read, OSError when gone."""
        packet = self._encode(message)
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            self.socket.sendmsg([packet], [rights], socket.MSG_NOSIGNAL)
        else:
            self.socket.send(packet, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[_Incoming, list[int]] | None:
        """Receive one message and its descriptors; None at the end of the connection.

        Raises:
            BlockingIOError: nothing is there (on a non-blocking socket).
            msgspec.DecodeError: not a message of the protocol; its descriptors are closed.

        """
        packet, fds, flags, _ = socket.recv_fds(
            self.socket, MAX_PACKET, MAX_FDS, socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            return None
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise msgspec.DecodeError("packet or descriptors truncated")
            return self._decode(packet), fds
        except msgspec.DecodeError:
            for fd in fds:
                socket.close(fd)
            raise

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a link."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
