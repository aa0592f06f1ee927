"""What is in a queue's file, as far as it can be read, and what is wrong with it."""

import os
import re
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.queues.core.chunk import Chunk
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.dedupe import MAX_KEYS
from workers.queues.core.journal import Sequenced
from workers.queues.store.contract import MAX_SEQUENCES, Damage, DamageKind, order
from workers.queues.store.sqlite import rows, schema
from workers.queues.store.sqlite.ledger import Ledger
from workers.queues.store.sqlite.schema import READ_ERRORS, is_damage

#: Problems that an integrity check lists.
MAX_PROBLEMS = 5
#: How an integrity check says that it could not read a page, and why.
_CODES = re.compile(r"error code[= ](\d+)")
#: Seconds for which damage is told that left nothing to look at.
REMEMBERED = 86_400.0


@dataclass(slots=True)
class Contents:
    """What was read. ``chunks``: in order. ``spoilt``: rows of chunks that are not right.

    ``progressed``: the chunks that have a row saying how far they are. ``damage``: found now;
    ``past``: found before. ``whole``: SQLite could read everything, and found no fault.
    """

    ledger: Ledger | None = None
    chunks: list[Chunk] = field(default_factory=list)
    spoilt: list[rows.Row] = field(default_factory=list)
    progressed: set[int] = field(default_factory=set)
    letters: list[DeadLetter] = field(default_factory=list)
    sequences: list[Sequenced] = field(default_factory=list)
    keys: dict[str, float] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    past: list[Damage] = field(default_factory=list)
    whole: bool = True

    def ids(self) -> list[int]:
        """Return the ids of all chunks that are there, right or not."""
        return [chunk.id for chunk in self.chunks] + [
            row[0] for row in self.spoilt if isinstance(row[0], int)
        ]


def read(connection: sqlite3.Connection) -> Contents:
    """Read a file as far as it goes.

    Raises:
        sqlite3.Error: it cannot be read, and that is not its fault.

    """
    contents = Contents()
    found = _problems(connection) and _problems(connection)  # twice: a read may have failed once
    if found:
        contents.whole = False
        contents.damage.append(Damage(DamageKind.FILE, f"the file is damaged: {found}"))
    for (data,) in _scan(contents, connection, "data", "ledger", "one"):
        contents.ledger = Ledger.unpack(data) if isinstance(data, bytes) else None
    if contents.ledger is None:
        contents.damage.append(Damage(DamageKind.FILE, "the file has no readable ledger"))
        contents.whole = False
    _read_chunks(contents, connection)
    _read_letters(contents, connection)
    _read_sequences(contents, connection)
    _read_keys(contents, connection)
    for row in _scan(contents, connection, "*", "damage", "rowid"):
        past = rows.damage_of(row)
        if past is not None and _still_matters(past):
            contents.past.append(past)
    return contents


def _still_matters(damage: Damage) -> bool:
    """Say whether to tell it again: what was set aside is there; or it was found lately."""
    if damage.path:
        return os.path.exists(damage.path)
    return time.time() - damage.found < REMEMBERED


def _problems(connection: sqlite3.Connection) -> str:
    try:
        found = connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})").fetchall()
    except READ_ERRORS as error:
        if not is_damage(error):
            raise
        return str(error)
    texts = [text for (text,) in found if text != "ok"]
    for code in _CODES.findall(" ".join(texts)):
        if int(code) & 0xFF == sqlite3.SQLITE_IOERR:  # it tells of the device as if of the file
            raise sqlite3.OperationalError(f"disk I/O error {code}")
    return "; ".join(text.replace("\n", " ") for text in texts)


def _read_chunks(contents: Contents, connection: sqlite3.Connection) -> None:
    by_id: dict[int, Chunk] = {}
    for row in _scan(contents, connection, "*", "chunk", "id"):
        found = rows.chunk_of(row)
        if found is None:
            contents.spoilt.append(row)
        else:
            contents.chunks.append(found)
            by_id[found.id] = found
    for row in _scan(contents, connection, "*", "progress", "chunk"):
        progress = rows.progress_of(row)
        chunk = by_id.get(progress[0]) if progress else None
        if progress is None or chunk is None or not 0 <= progress[1] < chunk.count:
            why = "how far a chunk was is not readable: its messages come once more"
            contents.damage.append(Damage(DamageKind.ROW, why))
        else:
            chunk.done = max(chunk.done, progress[1])
            contents.progressed.add(chunk.id)
    contents.chunks.sort(key=order)


def _read_letters(contents: Contents, connection: sqlite3.Connection) -> None:
    columns = schema.letter_columns(connection)
    for row in _scan(contents, connection, columns, "letter", "id"):
        letter = rows.letter_of(row)
        if letter is None:
            what = f"dead letter {row[0]} is not what was written"
            contents.damage.append(Damage(DamageKind.ROW, what))
            message = row[-2] if isinstance(row[-2], bytes) else repr(row[-2]).encode()
            letter = DeadLetter(row[0], message, b"", "corrupt", 0, what, whole=False)
        contents.letters.append(letter)
    contents.letters.sort(key=lambda one: one.id)


def _read_sequences(contents: Contents, connection: sqlite3.Connection) -> None:
    latest: list[tuple[int, Sequenced]] = []
    for row in _scan(contents, connection, "*", "sequence", "client"):
        sequenced = rows.sequence_of(row)
        if sequenced is None:
            what = "the last put of a client is not readable: it may put one message twice"
            contents.damage.append(Damage(DamageKind.ROW, what))
        else:
            latest.append((row[3], sequenced))
    latest.sort(key=lambda one: one[0])
    contents.sequences = [sequenced for _, sequenced in latest[-MAX_SEQUENCES:]]


def _read_keys(contents: Contents, connection: sqlite3.Connection) -> None:
    found: list[tuple[str, float]] = []
    for row in _scan(contents, connection, "*", "dedupe", "key"):
        known = rows.key_of(row)
        if known is None:
            what = "a key for dedupe is not readable: a message with it may be taken twice"
            contents.damage.append(Damage(DamageKind.ROW, what))
        else:
            found.append(known)
    contents.keys = dict(sorted(found, key=lambda one: one[1])[-MAX_KEYS:])


def _scan(
    contents: Contents, connection: sqlite3.Connection, columns: str, table: str, key: str
) -> Iterable[rows.Row]:
    """Return the rows of a table; around what is broken, from both ends."""
    found: dict[object, rows.Row] = {}
    for direction in ("ASC", "DESC"):
        query = f"SELECT {key}, {columns} FROM {table} ORDER BY {key} {direction}"  # noqa: S608 - names
        try:
            for row in connection.execute(query):
                found.setdefault(row[0], row[1:])
            break
        except READ_ERRORS as error:
            if not is_damage(error):
                raise
            if contents.whole:
                what = f"the table {table} is not readable as a whole: {error}"
                contents.damage.append(Damage(DamageKind.FILE, what))
            contents.whole = False
    return list(found.values())
