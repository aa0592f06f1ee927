"""A chunk in the making: messages, encoded one behind the other into the frame that carries them.

    ┌────────┬─────────────────┬─────────┬──────────────┬─────────┬─────────┬───
    │ HEADER │ size of options │ options │ array header │ message │ message │ ...
    └────────┴─────────────────┴─────────┴──────────────┴─────────┴─────────┴───
     patched when it is sealed            patched too

A message is encoded once, by one call, to where it is sent from. The array header is the one of
three bytes, whatever the count: it can be patched, and every decoder takes it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from workers.queues.frames import HEADER, SIZE, Kind

#: Encodes a message into a buffer, at its end if the offset is -1.
EncodeInto = Callable[[Any, bytearray, int], None]

_ARRAY = 0xDC  # of msgpack, followed by a count of two bytes
_ARRAY_HEADER = bytes((_ARRAY, 0, 0))


class Draft:
    """What will be one PUT. Its hot path is written out in `QueueWriter.put`.

    Args:
        encode_into: of the queue's serializer.

    """

    __slots__ = ("_body", "begun", "buffer", "count", "encode_into", "look_at", "options", "serial")

    def __init__(self, encode_into: EncodeInto) -> None:
        self.encode_into = encode_into
        self.begun = 0.0  # when, if its owner says so
        self.serial = 0  # counts the chunks that were begun
        self.look_at = 1  # with so many messages, see whether it can be sent
        self.begin(b"")

    def begin(self, options: bytes) -> None:
        """Begin another chunk."""
        self.options = options
        self.count = 0
        self.look_at = 1
        self.serial += 1
        self._body = HEADER.size + SIZE.size + len(options)
        self.buffer = bytearray(HEADER.size) + SIZE.pack(len(options)) + options + _ARRAY_HEADER

    @property
    def size(self) -> int:
        """Bytes of the chunk so far."""
        return len(self.buffer) - self._body

    def add(self, message: Any) -> int:
        """Encode a message behind the others; return where it begins.

        Raises:
            TypeError: it cannot be encoded; the draft is as before.

        """
        mark = len(self.buffer)
        try:
            self.encode_into(message, self.buffer, -1)
        except BaseException:
            del self.buffer[mark:]
            raise
        self.count += 1
        return mark

    def take_back(self, mark: int) -> bytes:
        """Take the last message out again, which begins there; return it, encoded."""
        message = bytes(self.buffer[mark:])
        del self.buffer[mark:]
        self.count -= 1
        return message

    def add_encoded(self, message: bytes) -> None:
        """Add a message that is encoded already."""
        self.buffer += message
        self.count += 1

    def seal(self, sequence: int) -> bytearray:
        """Finish the frame, and return it; the draft has to begin anew."""
        HEADER.pack_into(
            self.buffer, 0, len(self.buffer) - HEADER.size, Kind.PUT, self.count, sequence
        )
        self.buffer[self._body + 1 : self._body + 3] = self.count.to_bytes(2, "big")
        return self.buffer


def whole(
    messages: Sequence[Any], options: bytes, sequence: int, encode_into: EncodeInto
) -> bytearray:
    """Make a PUT of many messages at once, by one call of the encoder.

    Raises:
        TypeError: one of them cannot be encoded.

    """
    buffer = bytearray(HEADER.size) + SIZE.pack(len(options)) + options
    encode_into(messages, buffer, -1)
    size = len(buffer) - HEADER.size
    HEADER.pack_into(buffer, 0, size, Kind.PUT, len(messages), sequence)
    return buffer
