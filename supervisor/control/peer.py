"""Who is at the other end of a Unix socket: the kernel's word, not the peer's."""

import socket
import struct
from dataclasses import dataclass

_UCRED = "3i"


@dataclass(frozen=True, slots=True)
class Peer:
    """A process, as it was when it connected (or, seen from a client, when it listened)."""

    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_UCRED))
    return Peer(*struct.unpack(_UCRED, raw))
