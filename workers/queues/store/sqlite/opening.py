"""Opening a queue's folder: what is there is checked, and whatever is wrong is set aside, and said.

lock ─► mark ─► file: version ─► integrity, checksums, ledger against rows, mark against ledger
                                   │ all right: goes on with it, an earlier version made this one
                                   └ not: what can be read goes into a new file,
                                     the damaged one into the folder `damaged`
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.journal import Added
from workers.queues.store.batch import Batch
from workers.queues.store.contract import Damage, DamageKind
from workers.queues.store.sqlite import rows, schema
from workers.queues.store.sqlite.ahead import SqliteAhead
from workers.queues.store.sqlite.contents import Contents, read
from workers.queues.store.sqlite.file import QueueFile, Writes, execute
from workers.queues.store.sqlite.ledger import Ledger
from workers.queues.store.sqlite.mark import Mark

DAMAGED = "damaged"
#: Damaged files that are kept to be looked at; of more, the oldest are removed.
MAX_DAMAGED = 5
#: Of what was found damaged, so much is told again at the next start: the latest.
MAX_TOLD = 50
#: Writes to a new file before it has a mark: nothing of a caller's is among them.
UNMARKED = 2


@dataclass(slots=True)
class Opened:
    """A file that is in order, what is in it, and what was not in order before."""

    file: QueueFile
    ledger: Ledger
    contents: Contents
    kept: bool  # it is the file that was there: what was found is not in it yet


def open_folder(folder: str, mark: Mark, sync: bool) -> Opened:
    """Open the queue in a folder, or begin one.

    Raises:
        StoreTooNew: a later version wrote it.
        sqlite3.Error, OSError: the device fails; nothing is left open.

    """
    marked, readable = mark.read()
    numbers = schema.file_numbers(folder)
    path = os.path.join(folder, schema.file_name(numbers[-1])) if numbers else ""
    if path:
        schema.require_known(path)
    connection, contents = _look(path, sync)
    # What is left open keeps its file locked: against the next try, too, of this very process.
    with contextlib.ExitStack() as on_error:
        if connection is not None:
            on_error.callback(connection.close)
        sound = _checked(folder, path, contents, marked, readable)
        if connection is not None and sound:
            assert contents.ledger is not None
            schema.upgrade(connection)
            opened = Opened(QueueFile(connection, path), contents.ledger, contents, True)
            for old in numbers[:-1]:  # its successor was made, and then somebody died
                set_aside(folder, old)
            on_error.pop_all()
        else:
            opened = _begin(folder, contents, marked, numbers, sync)
            with _closing_on_error(opened):
                for old in numbers:
                    set_aside(folder, old)
    return opened


@contextlib.contextmanager
def _closing_on_error(opened: Opened) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.file.close()
        raise


def _checked(
    folder: str, path: str, contents: Contents, marked: Ledger | None, readable: bool
) -> bool:
    """Add what is wrong with what was read, and its mark; say whether the file can be kept."""
    if not readable:
        what = "the high-water mark is damaged: a lost end may go unnoticed"
        contents.damage.append(Damage(DamageKind.MARK, what))
    elif marked is None and contents.ledger and contents.ledger.commit > UNMARKED:
        what = "there is no high-water mark: a lost end may go unnoticed"
        contents.damage.append(Damage(DamageKind.MARK, what))
    sound = _judge(contents, marked, path)
    _date(contents, os.path.join(folder, DAMAGED, os.path.basename(path)) if path else "", sound)
    return sound


def begin_anew(
    folder: str, mark: Mark, contents: Contents, sync: bool, ahead: SqliteAhead | None
) -> Opened:
    """Write contents into a new file, and remove what is there: it is not even read.

    After a failed write or fsync a file may read well from memory, and not be on the device: what
    is written behind it would be lost with it. Only what is written anew is known to be there.

    Raises:
        sqlite3.Error, OSError: the device fails.

    """
    marked, _ = mark.read()
    numbers = schema.file_numbers(folder)
    opened = _begin(folder, contents, marked, numbers, sync, ahead)
    with _closing_on_error(opened):
        for old in numbers:
            schema.remove_file(os.path.join(folder, schema.file_name(old)))
    return opened


def _date(contents: Contents, kept: str, sound: bool) -> None:
    """Say of what was found when, and where it will be kept."""
    now = time.time()
    contents.damage = [
        replace(one, found=now, path="" if sound else kept) for one in contents.damage
    ]


def _look(path: str, sync: bool) -> tuple[sqlite3.Connection | None, Contents]:
    """Open a file and read it; no connection if it cannot be opened, or there is none."""
    if not path:
        return None, Contents()
    try:
        connection = schema.open_file(path, sync)
    except schema.READ_ERRORS as error:
        if not schema.is_damage(error):
            raise
        contents = Contents(whole=False)
        contents.damage.append(Damage(DamageKind.FILE, f"the file cannot be opened: {error}"))
        return None, contents
    try:
        return connection, read(connection)
    except BaseException:
        connection.close()
        raise


def _judge(contents: Contents, marked: Ledger | None, path: str) -> bool:
    """Compare rows, ledger and mark; add what is wrong; say whether the file can be kept."""
    ledger = contents.ledger
    expected = ledger if ledger is not None else marked
    ids, letters = contents.ids(), [letter.id for letter in contents.letters]
    if expected is not None and not expected.fits(ids, letters):
        right = len(contents.chunks)
        what = f"of {expected.chunks} chunks that were written, {right} are there and readable"
        contents.damage.append(Damage(DamageKind.LOST, what, 1, expected.last_chunk))
        contents.whole = False
    if marked is not None and (ledger is None or ledger.commit < marked.commit):
        contents.damage.append(_lost_end(ledger, marked, path))
        contents.whole = False
    for row in contents.spoilt:
        what = f"the chunk {row[0]} is not what was written; it is a dead letter"
        contents.damage.append(Damage(DamageKind.ROW, what))
    kept = contents.whole and not contents.spoilt
    return kept and all(one.kind is DamageKind.MARK for one in contents.damage)


def _lost_end(ledger: Ledger | None, marked: Ledger, path: str) -> Damage:
    if ledger is None and not path:
        what = f"the file is not there; it had {marked.chunks} chunks"
        last = marked.last_chunk if marked.chunks else 0
        return Damage(DamageKind.LOST, what, min(1, last), last)
    commit = ledger.commit if ledger else 0
    known = ledger.last_chunk if ledger else 0
    what = f"the last {marked.commit - commit} writes are not in the file"
    if marked.last_chunk <= known:
        return Damage(DamageKind.LOST, f"{what}: what was settled by them comes once more")
    return Damage(DamageKind.LOST, what, known + 1, marked.last_chunk)


def _begin(
    folder: str,
    contents: Contents,
    marked: Ledger | None,
    numbers: list[int],
    sync: bool,
    ahead: SqliteAhead | None = None,
) -> Opened:
    """Write what was read into a new file; the old ones are still there."""
    known = [one for one in (contents.ledger, marked) if one is not None]
    number = max([0, *numbers, *(one.file for one in known)]) + 1
    base = Ledger(
        number,
        max((one.commit for one in known), default=0),
        max([0, *(one.last_chunk for one in known), *(one.id for one in contents.chunks)]),
        max([0, *(one.last_letter for one in known), *(o.id for o in contents.letters)]),
    )
    contents.letters += _buried(contents, base.last_letter)
    ledger = base.after(
        Batch(
            added=[Added(chunk) for chunk in contents.chunks],
            buried=contents.letters,
            last_letter=max((letter.id for letter in contents.letters), default=0),
        )
    )
    path = _write(folder, contents, ledger, ahead)
    contents.progressed.clear()
    contents.spoilt.clear()
    return Opened(QueueFile(schema.open_file(path, sync), path), ledger, contents, False)


def _buried(contents: Contents, last: int) -> list[DeadLetter]:
    now = time.time()
    return [rows.remains(row, last + i, now) for i, row in enumerate(contents.spoilt, 1)]


def _write(folder: str, contents: Contents, ledger: Ledger, ahead: SqliteAhead | None) -> str:
    if ahead is None:
        connection = schema.create_file(folder)
        writes = Writes(chunks=[rows.chunk_row(chunk) for chunk in contents.chunks])
    else:
        connection, writes = ahead.connection, ahead.difference(contents.chunks)
    writes.letters = [rows.letter_row(letter) for letter in contents.letters]
    writes.sequences = [rows.sequence_row(one, ledger.commit) for one in contents.sequences]
    writes.keys = [rows.key_row(*one) for one in contents.keys.items()]
    writes.damage = [rows.damage_row(o) for o in (contents.past + contents.damage)[-MAX_TOLD:]]
    try:
        execute(connection, writes)
        connection.execute("INSERT INTO ledger VALUES (1, ?)", (ledger.pack(),))
        return schema.name_file(folder, connection, ledger.file)
    except BaseException:
        connection.close()
        schema.remove_file(os.path.join(folder, schema.NEW))  # its space may be what is lacking
        raise


def set_aside(folder: str, number: int) -> None:
    """Move a file, and its log, to where damaged ones are kept."""
    damaged = os.path.join(folder, DAMAGED)
    os.makedirs(damaged, 0o700, exist_ok=True)
    name = schema.file_name(number)
    for suffix in ("-wal", ""):  # what is moved first can be taken for nothing else
        try:
            os.rename(os.path.join(folder, name + suffix), os.path.join(damaged, name + suffix))
        except FileNotFoundError:
            pass
    schema.sync_path(damaged)  # first: it must never be in neither
    schema.sync_path(folder)
    for old in schema.file_numbers(damaged)[:-MAX_DAMAGED]:
        schema.remove_file(os.path.join(damaged, schema.file_name(old)))
