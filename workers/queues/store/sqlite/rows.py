"""Rows of a queue's file: each with a checksum over all that is in it, its id included. Pure.

A row that does not fit its checksum is never taken for what it says.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from workers.queues.core.chunk import Chunk, decode_options
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Sequenced
from workers.queues.store.contract import Damage, DamageKind

Row = tuple[Any, ...]

_CHUNK = struct.Struct("<qqqqqdddI")
#: Numbers of a letter: its own, and the sizes of its texts and options. By the values in its row
#: that are not NULL: version 1 wrote no number of the message, no process and no worker.
_LETTERS = {10: struct.Struct("<qqddqIIII"), 13: struct.Struct("<qqddqqqIIIII")}
_WHO = slice(5, 8)
_PAIR = struct.Struct("<qq")
_UNTIL = struct.Struct("<d")
_COMMIT = struct.Struct("<q")

#: What cannot be read in a row whose values were damaged.
UNREADABLE = (
    struct.error,
    TypeError,
    ValueError,
    AttributeError,
    KeyError,
    msgspec.DecodeError,
)


def chunk_row(chunk: Chunk) -> Row:
    """Make the row of a chunk."""
    row = (
        chunk.id,
        chunk.origin,
        chunk.count,
        chunk.attempt,
        chunk.done,
        chunk.put_at,
        chunk.expires,
        chunk.not_before,
        chunk.options,
        chunk.body,
    )
    return (*row, _chunk_sum(row))


def chunk_of(row: Row) -> Chunk | None:
    """Make the chunk of a row; None if it is not what was written."""
    *values, checksum = row
    try:
        if _chunk_sum(values) != checksum:
            return None
        id, origin, count, attempt, done, put_at, expires, not_before, options, body = values  # noqa: A001
        extra = decode_options(options)
    except UNREADABLE:
        return None
    return Chunk(
        id=id,
        count=count,
        body=body,
        options=options,
        attempt=attempt,
        done=done,
        put_at=put_at,
        expires=expires,
        not_before=not_before,
        origin=origin,
        extra=extra,
    )


def _chunk_sum(row: Sequence[Any]) -> int:
    *numbers, options, body = row
    return zlib.crc32(body, zlib.crc32(options, zlib.crc32(_CHUNK.pack(*numbers, len(options)))))


def progress_row(chunk: int, done: int) -> Row:
    """Make the row that says how far a chunk is."""
    return chunk, done, zlib.crc32(_PAIR.pack(chunk, done))


def progress_of(row: Row) -> tuple[int, int] | None:
    """Make (chunk, done) of a row; None if it is not what was written."""
    chunk, done, checksum = row
    try:
        return (chunk, done) if zlib.crc32(_PAIR.pack(chunk, done)) == checksum else None
    except UNREADABLE:
        return None


def letter_row(letter: DeadLetter) -> Row:
    """Make the row of a dead letter."""
    row = (
        letter.id,
        letter.attempts,
        letter.first_put,
        letter.died,
        int(letter.whole),
        letter.number,
        letter.process,
        *map(_storable, (letter.worker, letter.reason, letter.error, letter.traceback)),
        letter.options,
        letter.message,
    )
    return (*row, _letter_sum(row))


def letter_of(row: Row) -> DeadLetter | None:
    """Make the dead letter of a row; None if it is not what was written."""
    *values, checksum = row
    if values[_WHO] == [None, None, None]:
        del values[_WHO]
    try:
        if _letter_sum(values) != checksum:
            return None
    except UNREADABLE:
        return None
    id, attempts, first_put, died, whole, *who, reason, error, traceback, options, message = values  # noqa: A001
    number, process, worker = who or (0, 0, "")
    return DeadLetter(
        id,
        message,
        options,
        reason,
        attempts,
        error,
        traceback,
        first_put,
        died,
        bool(whole),
        number,
        worker,
        process,
    )


def _letter_sum(row: Sequence[Any]) -> int:
    *others, options, message = row
    numbers = [value for value in others if not isinstance(value, str)]
    texts = [value.encode() for value in others if isinstance(value, str)]
    packed = _LETTERS[len(row)].pack(*numbers, *map(len, texts), len(options))
    checksum = zlib.crc32(packed)
    for part in (*texts, options, message):
        checksum = zlib.crc32(part, checksum)
    return checksum


def sequence_row(sequenced: Sequenced, commit: int) -> Row:
    """Make the row of a client's last put."""
    gaps = ",".join(map(str, sequenced.gaps))
    row = (sequenced.client, str(sequenced.sequence), gaps, commit)  # it may have 64 bits
    return (*row, _sequence_sum(row))


def sequence_of(row: Row) -> Sequenced | None:
    """Make a client's last put of a row; None if it is not what was written."""
    *values, checksum = row
    try:
        if _sequence_sum(values) != checksum:
            return None
        client, sequence, gaps, _ = values
        return Sequenced(client, int(sequence), tuple(int(gap) for gap in gaps.split(",") if gap))
    except UNREADABLE:
        return None


def _sequence_sum(row: Sequence[Any]) -> int:
    client, sequence, gaps, commit = row
    return zlib.crc32(f"{client}\0{sequence}\0{gaps}".encode(), zlib.crc32(_COMMIT.pack(commit)))


def key_row(key: str, until: float) -> Row:
    """Make the row of a key for dedupe."""
    return key, until, _key_sum(key, until)


def key_of(row: Row) -> tuple[str, float] | None:
    """Make (key, until when) of a row; None if it is not what was written."""
    key, until, checksum = row
    try:
        return (key, until) if _key_sum(key, until) == checksum else None
    except UNREADABLE:
        return None


def _key_sum(key: str, until: float) -> int:
    return zlib.crc32(key.encode(), zlib.crc32(_UNTIL.pack(until)))


def _storable(text: str) -> str:
    """Replace what is no text: a traceback may quote anything."""
    return text.encode(errors="replace").decode()


def remains(row: Row, letter: int, died: float) -> DeadLetter:
    """Make the dead letter of a chunk's row that is not what was written."""
    message = row[-2]
    return DeadLetter(
        letter,
        message if isinstance(message, bytes) else repr(message).encode(errors="replace"),
        b"",
        "corrupt",
        0,
        "its row in the queue's file is not what was written",
        died=died,
        whole=False,
    )


def damage_row(damage: Damage) -> Row:
    """Make the row of what was found damaged."""
    texts = damage.kind.value, _storable(damage.what)
    return (*texts, damage.first, damage.last, damage.path, damage.found)


def damage_of(row: Row) -> Damage | None:
    """Make what was found damaged of a row; None if it cannot be read."""
    kind, *values = row
    try:
        return Damage(DamageKind(kind), *values)
    except ValueError:
        return None
