"""How messages become bytes, and messages again; the broker looks at neither.

msgspec: JSON types, bytes, datetimes, dataclasses, Structs; decoded to the type that the handler
takes. bytes: as they are. pickle: whatever Python can pickle; only for queues whose author has said
so, since unpickling runs what the message says. It is unpickled in the worker, never in the broker.
"""

import pickle
from collections.abc import Callable
from typing import Any

import msgspec

from workers.queues.client.draft import EncodeInto

_encoder = msgspec.msgpack.Encoder()
_bytes = msgspec.msgpack.Decoder(bytes)


def encoder_of(serializer: str) -> EncodeInto:
    """Return what encodes a message into a buffer.

    Raises:
        ValueError: there is no such serializer.

    """
    match serializer:
        case "msgspec":
            return _encoder.encode_into
        case "bytes":
            return _bytes_into
        case "pickle":
            return _pickle_into
    raise ValueError(f"serializer {serializer!r}; there are msgspec, bytes and pickle")


def batch_encoder_of(serializer: str) -> EncodeInto:
    """Return what encodes a list of messages into a buffer, as an array."""
    if serializer == "msgspec":
        return _encoder.encode_into
    one = _checked if serializer == "bytes" else _pickled

    def encode_into(messages: Any, buffer: bytearray, offset: int) -> None:
        _encoder.encode_into([one(message) for message in messages], buffer, offset)

    return encode_into


def decoder_of(serializer: str, type: Any) -> Callable[[bytes | memoryview], Any]:  # noqa: A002
    """Return what decodes one message; it raises whatever it likes if it cannot."""
    match serializer:
        case "msgspec":
            return msgspec.msgpack.Decoder(type).decode
        case "bytes":
            return _bytes.decode
        case "pickle":
            return _unpickle
    raise ValueError(f"serializer {serializer!r}; there are msgspec, bytes and pickle")


def _bytes_into(message: Any, buffer: bytearray, offset: int) -> None:
    _encoder.encode_into(_checked(message), buffer, offset)


def _checked(message: Any) -> Any:
    if not isinstance(message, bytes | bytearray | memoryview):
        raise TypeError(f"this queue takes bytes, not {type(message).__name__}")
    return message


def _pickle_into(message: Any, buffer: bytearray, offset: int) -> None:
    _encoder.encode_into(_pickled(message), buffer, offset)


def _pickled(message: Any) -> bytes:
    try:
        return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError) as error:
        raise TypeError(f"cannot be pickled: {error}") from error


def _unpickle(data: bytes | memoryview) -> Any:
    return pickle.loads(_bytes.decode(data))  # noqa: S301 - opt-in, by the queue
