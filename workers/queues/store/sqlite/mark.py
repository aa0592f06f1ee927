"""The high-water mark: the last write that was answered for, in a file of its own.

SQLite drops the end of a damaged log without a word. The mark knows better: a file that is behind
it has lost something. It is written after each commit and before anybody is told of it, in two
places by turns, so that one that is half written leaves the other.
"""

import os

from workers.queues.store.sqlite.ledger import SIZE, Ledger

#: Bytes from one place to the other: never in the same sector or page.
_APART = 4096


class Mark:
    """The mark of one queue.

    Args:
        path: where it is.
        sync: whether it has to survive the loss of power.

    """

    def __init__(self, path: str, sync: bool) -> None:
        self._sync = sync
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._fd).st_size < 2 * _APART:
            os.pwrite(self._fd, b"\0" * _APART, _APART)
            os.fsync(self._fd)  # the size: later writes change no more than the data

    def read(self) -> tuple[Ledger | None, bool]:
        """Return the latest, if there is one; and whether every place is what was written there."""
        places = [os.pread(self._fd, SIZE, place) for place in (0, _APART)]
        found = [Ledger.unpack(data) for data in places]
        whole = all(one or not any(data) for one, data in zip(found, places, strict=True))
        return max((one for one in found if one), key=_age, default=None), whole

    def write(self, ledger: Ledger) -> None:
        """Raise the mark; durable when it returns, if it is to be.

        Raises:
            OSError: it may have been raised, or not.

        """
        os.pwrite(self._fd, ledger.pack(), _APART * (ledger.commit % 2))
        if self._sync:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _age(ledger: Ledger) -> tuple[int, int]:
    return ledger.file, ledger.commit
