"""Messages in a chunk: a msgpack array, encoded and decoded by one call each.

The broker splits and joins such arrays without decoding what is in them.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()
_splitter = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode(messages: Sequence[Any]) -> bytes:
    """Encode messages: JSON types, bytes, datetimes, dataclasses, Structs.

    Raises:
        TypeError: one of them is of another type.

    """
    return _encoder.encode(messages)


def split(body: bytes) -> list[bytes]:
    """Open a chunk into its messages, still encoded."""
    return [bytes(raw) for raw in _splitter.decode(body)]


def join(messages: Sequence[bytes]) -> bytes:
    """Make a chunk of encoded messages."""
    return _encoder.encode([msgspec.Raw(message) for message in messages])


class ChunkDecoder:
    """Decodes chunks of messages of one type.

    Args:
        type: what a message is to be; Any takes what comes.

    """

    def __init__(self, type: Any = Any) -> None:  # noqa: A002 - msgspec's word
        self._all = msgspec.msgpack.Decoder(list[type])
        self._one = msgspec.msgpack.Decoder(type)

    def decode(self, body: bytes | memoryview) -> list[Any]:
        """Decode a chunk; a message that is not of the type is an Undecodable in its place."""
        try:
            return self._all.decode(body)
        except msgspec.DecodeError:
            return [self._try(message) for message in split(bytes(body))]

    def _try(self, message: bytes) -> Any:
        try:
            return self._one.decode(message)
        except msgspec.DecodeError as error:
            return Undecodable(str(error))


class Undecodable(msgspec.Struct, frozen=True):
    """Stands for a message that is not of the type that its consumer takes."""

    why: str
