"""A typed channel: SOCK_SEQPACKET, one msgpack struct a packet, with descriptors.

Between processes that know each other: workers and supervisors, supervisors and templates.
"""

import array
import os
import socket
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

#: Of the sockets.
KIND = socket.AF_UNIX, socket.SOCK_SEQPACKET
MAX_PACKET = 128 * 1024
MAX_FDS = 16
#: Begins a packet that stands for a larger one, in the memfd that comes last with it. What follows
#: is the message in brief, if it has a brief form: all that is known if the descriptors get lost.
LARGE = b"\xc1"  # the one byte that msgpack never uses
MAX_LARGE = 64 * 1024 * 1024

_Incoming = TypeVar("_Incoming")

# As plain numbers: the socket module's are Enums, whose every ``&`` is a call of Python's.
_TRUNC, _CTRUNC = int(socket.MSG_TRUNC), int(socket.MSG_CTRUNC)
_SOL_SOCKET, _SCM_RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
_RIGHTS_SPACE = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()


_encode = msgspec.msgpack.Encoder().encode


_decoders: dict[int, tuple[object, Callable[[bytes], Any]]] = {}


def decoder_of(incoming: object) -> Callable[[bytes], Any]:
    """Return the decoder of a union of messages: 0.3 ms to make, so made once.

    Known by the identity of the union, which is kept: to hash it takes longer than to decode.
    """
    known = _decoders.get(id(incoming))
    if known is None:
        known = _decoders[id(incoming)] = incoming, msgspec.msgpack.Decoder(incoming).decode
    return known[1]


class DescriptorsLost(msgspec.DecodeError):
    """``message`` came without its descriptors: we have none free (EMFILE), or too many came."""

    def __init__(self, message: Any) -> None:
        super().__init__("descriptors truncated")
        self.message = message


def _contents(memory: int) -> bytes:
    try:
        size = os.fstat(memory).st_size
        if size > MAX_LARGE:
            raise msgspec.DecodeError(f"a message of {size} bytes")
        return os.pread(memory, size, 0)
    finally:
        os.close(memory)


class Channel(Generic[_Incoming]):
    """Typed messages with descriptors over one SEQPACKET socket; both sides use it.

    Args:
        sock: the socket.
        incoming: the union of message types to accept; anything else is a DecodeError.
        large: accept messages larger than `MAX_PACKET`: the peer runs no code of the author's.

    """

    def __init__(self, sock: socket.socket, incoming: object, *, large: bool = False) -> None:
        self.socket = sock
        self.last_size = 0  # bytes of the last packet received
        self._large = large
        self._decode = decoder_of(incoming)

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self.socket.fileno()

    def send(self, message: msgspec.Struct, fds: tuple[int, ...] = ()) -> None:
        """Send one message.

        Raises:
            BlockingIOError: the peer does not read (on a non-blocking socket).
            OSError: the peer is gone.

        """
        packet = _encode(message)
        if len(packet) <= MAX_PACKET:
            self._transmit(packet, fds)
            return
        memory = os.memfd_create("message", os.MFD_CLOEXEC)
        try:
            os.write(memory, packet)
            brief = getattr(message, "brief", None)
            self._transmit(LARGE + (_encode(brief()) if brief else b""), (*fds, memory))
        finally:
            os.close(memory)

    def _transmit(self, packet: bytes, fds: tuple[int, ...]) -> None:
        if fds:
            rights = (_SOL_SOCKET, _SCM_RIGHTS, array.array("i", fds))
            self.socket.sendmsg([packet], [rights], socket.MSG_NOSIGNAL)
        else:
            self.socket.send(packet, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[_Incoming, list[int]] | None:
        """Receive one message and its descriptors; None at the end of the connection.

        Raises:
            BlockingIOError: nothing is there (on a non-blocking socket).
            msgspec.DecodeError: not a message of the protocol; its descriptors are closed.
            DescriptorsLost: a message whose descriptors did not all come; they are closed.

        """
        # Not socket.recv_fds: it ignores its flags (CPython 3.11 to 3.13), and without
        # MSG_CMSG_CLOEXEC the descriptors would outlive an exec.
        space = MAX_PACKET, _RIGHTS_SPACE, socket.MSG_CMSG_CLOEXEC
        try:
            packet, ancillary, flags, _ = self.socket.recvmsg(*space)
        except ConnectionResetError:
            # The peer ended without reading all that we had said. The kernel says so once, before
            # it hands out what the peer had said: its last words.
            packet, ancillary, flags, _ = self.socket.recvmsg(*space)
        fds = _descriptors(ancillary)
        if not packet:
            return None
        self.last_size = len(packet)
        try:
            if flags & _TRUNC:
                raise msgspec.DecodeError("packet truncated")
            lost = flags & _CTRUNC
            if packet.startswith(LARGE) and self._large:
                packet = packet[1:] if lost or not fds else _contents(fds.pop())
            message = self._decode(packet)
            if lost:
                raise DescriptorsLost(message)
            return message, fds
        except msgspec.DecodeError:
            for fd in fds:
                socket.close(fd)
            raise

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a link."""
    return socket.socketpair(*KIND)


def end_of(fd: int) -> socket.socket:
    """Make a socket of the descriptor of a link's end."""
    return socket.socket(*KIND, fileno=fd)
