"""What a queue's file is to contain, in five numbers and a digest: pure.

It is kept twice: in the file, changed by the same transaction as the rows; and in the mark beside
it. If rows are missing, or have come back, the first does not fit them. If the end of the log is
missing, which SQLite does not notice, the first is behind the second.
"""

import struct
import zlib
from dataclasses import dataclass, replace

from workers.queues.store.batch import Batch

_LEDGER = struct.Struct("<7Q")
_CRC = struct.Struct("<I")
SIZE = _LEDGER.size + _CRC.size

_MASK = (1 << 64) - 1
#: Keeps the digests of chunks and of letters apart.
_LETTER = 1 << 63


@dataclass(frozen=True, slots=True)
class Ledger:
    """The state after ``commit`` writes.

    ``last_chunk``, ``last_letter``: the highest ids there have been. ``chunks``, ``letters``: how
    many there are. ``digest``: of their ids. ``file``: the number of the file that they are in.
    """

    file: int = 1
    commit: int = 0
    last_chunk: int = 0
    last_letter: int = 0
    chunks: int = 0
    letters: int = 0
    digest: int = 0

    def after(self, batch: Batch) -> "Ledger":
        """Return the state after one more write."""
        digest = self.digest
        for added in batch.added:
            digest ^= _mixed(added.chunk.id)
        for id in batch.removed:  # noqa: A001 - the word of the field
            digest ^= _mixed(id)
        for letter in batch.buried:
            digest ^= _mixed(letter.id | _LETTER)
        for id in batch.discarded:  # noqa: A001
            digest ^= _mixed(id | _LETTER)
        return replace(
            self,
            commit=self.commit + 1,
            last_chunk=max(self.last_chunk, batch.last_chunk),
            last_letter=max(self.last_letter, batch.last_letter),
            chunks=self.chunks + len(batch.added) - len(batch.removed),
            letters=self.letters + len(batch.buried) - len(batch.discarded),
            digest=digest,
        )

    def fits(self, chunks: list[int], letters: list[int]) -> bool:
        """Say whether it was written for exactly these ids."""
        digest = 0
        for id in chunks:  # noqa: A001
            digest ^= _mixed(id)
        for id in letters:  # noqa: A001
            digest ^= _mixed(id | _LETTER)
        return (len(chunks), len(letters), digest) == (self.chunks, self.letters, self.digest)

    def pack(self) -> bytes:
        """Make bytes of it, with a checksum."""
        data = _LEDGER.pack(
            self.file,
            self.commit,
            self.last_chunk,
            self.last_letter,
            self.chunks,
            self.letters,
            self.digest,
        )
        return data + _CRC.pack(zlib.crc32(data))

    @classmethod
    def unpack(cls, data: bytes) -> "Ledger | None":
        """Make one of bytes; None if they are not what was packed."""
        if len(data) != SIZE or zlib.crc32(data[:-4]) != _CRC.unpack(data[-4:])[0]:
            return None
        return cls(*_LEDGER.unpack(data[:-4]))


def _mixed(number: int) -> int:
    """Spread a number over 64 bits (splitmix64): sums of neighbours must not cancel out."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)
