"""A queue's next file, begun while the queue goes on: in steps, so that nobody waits for long.

What is in it may have changed when all is: who ends the file writes the `difference`.
"""

import os
import sqlite3
from collections.abc import Sequence

from supervisor.shortage import explained
from workers.queues.core.chunk import Chunk
from workers.queues.store.contract import StoreFailed
from workers.queues.store.sqlite import rows, schema
from workers.queues.store.sqlite.file import Writes, execute
from workers.queues.store.sqlite.lock import lock_folder

#: Bytes of chunks, and chunks, of one step: some ten milliseconds.
STEP_BYTES, STEP_CHUNKS = 1 << 20, 1000

#: All of a chunk's row that may change while it keeps its number.
_Version = tuple[int, int, float]


class SqliteAhead:
    """A file without a name, in one transaction. ``lock``: of its folder, for who goes on with it.

    Args:
        folder: of the queue; nobody has it open.
        chunks: what the queue holds now.

    Raises:
        StoreLocked: another process keeps this queue.
        StoreFailed: the device fails.

    """

    def __init__(self, folder: str, chunks: Sequence[Chunk]) -> None:
        self._folder = folder
        self._chunks, self._next = chunks, 0
        self._written: dict[int, _Version] = {}
        try:
            self.lock = lock_folder(folder)
            try:
                self.connection = schema.create_file(folder)
            except BaseException:
                os.close(self.lock)
                raise
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def step(self) -> bool:
        """Write some of what is left; return whether there is more. Raises StoreFailed."""
        found, size = list[rows.Row](), 0
        for chunk in self._chunks[self._next : self._next + STEP_CHUNKS]:
            self._next += 1
            if not chunk.void:
                found.append(rows.chunk_row(chunk))
                self._written[chunk.id] = _version(chunk)
                size += chunk.size
            if size >= STEP_BYTES:
                break
        try:
            execute(self.connection, Writes(chunks=found))
            schema.sync_path(os.path.join(self._folder, schema.NEW))  # or the end does it for all
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error
        return self._next < len(self._chunks)

    def difference(self, chunks: Sequence[Chunk]) -> Writes:
        """Work out what makes the file one that holds exactly these chunks."""
        wanted = {chunk.id: _version(chunk) for chunk in chunks}
        stale = [id for id, version in self._written.items() if wanted.get(id) != version]  # noqa: A001
        right = self._written.keys() - stale
        lacking = [rows.chunk_row(chunk) for chunk in chunks if chunk.id not in right]
        return Writes(chunks=lacking, removed=stale)

    def give_up(self) -> None:
        """Leave the folder as it was: what was written has no name, and goes with the next try."""
        self.connection.close()
        os.close(self.lock)

    def _failure(self, error: Exception) -> StoreFailed:
        why = explained(error, self._folder)
        return StoreFailed(f"{self._folder} cannot be written anew: {why}")


def _version(chunk: Chunk) -> _Version:
    return chunk.done, chunk.attempt, chunk.not_before
