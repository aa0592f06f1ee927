"""Frames on the control socket: four bytes of length, big-endian, then that many bytes.

Pure: bytes in, payloads out, whatever the pieces in which they arrive. A length above the limit
is refused when its four bytes are there: nothing is ever buffered for it.
"""

from supervisor.errors import ProtocolError

HEADER_BYTES = 4
MAX_REQUEST_BYTES = 64 * 1024
MAX_REPLY_BYTES = 64 * 1024 * 1024


def frame(payload: bytes, limit: int) -> bytes:
    """Put a payload into a frame; raises ProtocolError when it is too large."""
    if not 0 < len(payload) <= limit:
        raise ProtocolError(f"a frame of {len(payload)} bytes; allowed: 1 to {limit}")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def payload_length(header: bytes | bytearray, limit: int) -> int:
    """Read a header; raises ProtocolError when what follows is empty or too large."""
    length = int.from_bytes(header, "big")
    if not 0 < length <= limit:
        raise ProtocolError(f"a frame of {length} bytes; allowed: 1 to {limit}")
    return length


class FrameDecoder:
    """Cuts a stream into payloads. After a ProtocolError the stream is lost: close it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether the beginning of a frame is waiting for the rest."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, return the payloads that are complete now."""
        self._buffer += data
        payloads = []
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            body = start + HEADER_BYTES
            end = body + payload_length(self._buffer[start:body], self._limit)
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[body:end]))
            start = end
        del self._buffer[:start]
        return payloads
