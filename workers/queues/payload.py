"""Messages in a chunk: a msgpack array, encoded and decoded by one call each.

The broker splits and joins such arrays without decoding what is in them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from supervisor.errors import text_of
from workers.queues.client.serializers import decoder_of
from workers.queues.errors import UndecodableError

#: What decoding may raise: sys.exit as well, of a pickled object or a type's own checks. It would
#: end the consumer before it began the message: nobody would be blamed, and all others after it.
RAISED = (Exception, SystemExit, GeneratorExit)

_encoder = msgspec.msgpack.Encoder()
_splitter = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode(messages: Sequence[Any]) -> bytes:
    """Encode messages: JSON types, bytes, datetimes, dataclasses, Structs.

    Raises:
        TypeError: one of them is of another type.

    """
    return _encoder.encode(messages)


def split(body: bytes) -> list[bytes]:
    """Open a chunk into its messages, still encoded.

    Raises:
        ValueError: it is not an array, or nested too deeply.

    """
    try:
        return [bytes(raw) for raw in _splitter.decode(body)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def join(messages: Sequence[bytes]) -> bytes:
    """Make a chunk of encoded messages."""
    return _encoder.encode([msgspec.Raw(message) for message in messages])


class ChunkDecoder:
    """Decodes chunks of messages of one type.

    Args:
        type: what a message is to be; Any takes what comes.
        serializer: of the queue.

    """

    def __init__(self, type: Any = Any, serializer: str = "msgspec") -> None:  # noqa: A002
        self.flawed = False  # whether the last chunk had an Undecodable
        self._one = decoder_of(serializer, type)
        self._all: Callable[[bytes | memoryview], list[Any]] | None = None
        self._pickled = serializer == "pickle"
        if not self._pickled:
            one: Any = bytes if serializer == "bytes" else type
            self._all = msgspec.msgpack.Decoder(list[one]).decode

    def decode(self, body: bytes | memoryview, count: int | None = None) -> Sequence[Any]:
        """Decode a chunk, said to be ``count`` messages; one of another type is an Undecodable.

        Whatever decoding raises (a type's own checks may raise anything) is a reason, never an
        error: the consumer would end before it began the message, and nobody would be blamed.
        What is pickled runs whatever it likes, so it is decoded when it is begun: see `Pickles`.
        """
        self.flawed = False
        if self._all is not None:
            try:
                messages = self._all(body)
                if count is None or len(messages) == count:
                    return messages
            except RAISED:
                pass  # why is found out below, message by message
        try:
            pieces = split(bytes(body))
        except ValueError as error:
            self.flawed = True
            return [Undecodable(str(error))] * (count or 1)
        if count is not None and len(pieces) != count:
            self.flawed = True
            return [Undecodable(f"{len(pieces)} messages, said to be {count}")] * count
        if self._pickled:
            return Pickles(pieces, self._one)
        return [self._try(message) for message in pieces]

    def _try(self, message: bytes) -> Any:
        try:
            return self._one(message)
        except RAISED as error:
            self.flawed = True
            return Undecodable(_why(error))


class Pickles(Sequence[Any]):
    """Messages that are unpickled when they are asked for, each time.

    By then its consumer's cursor points at the message: should it end the process, it is to blame.

    Args:
        pieces: the messages, encoded.
        decode: decodes one.

    """

    def __init__(self, pieces: Sequence[bytes], decode: Callable[[bytes], Any]) -> None:
        self._pieces, self._decode = pieces, decode

    def __len__(self) -> int:
        """Count them."""
        return len(self._pieces)

    def __getitem__(self, index: Any) -> Any:
        """Unpickle the message at an index.

        Raises:
            UndecodableError: it cannot be.

        """
        try:
            return self._decode(self._pieces[index])
        except RAISED as error:
            raise UndecodableError(_why(error)) from error


def _why(error: BaseException) -> str:
    return text_of(error) or type(error).__name__


class Undecodable(msgspec.Struct, frozen=True):
    """Stands for a message that is not of the type that its consumer takes."""

    why: str
