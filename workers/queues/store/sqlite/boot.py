"""Whether the machine went down while a queue was open that is not synced.

A file with the id of the boot is there while the queue is open. Who finds it with another id knows
that pages which only the kernel had are gone; nothing else would say so.
"""

import os

from workers.queues.store.sqlite.schema import sync_path

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class BootNote:
    """The file of one queue.

    Args:
        path: where it is.

    """

    def __init__(self, path: str) -> None:
        self._path = path

    def went_down(self) -> bool:
        """Say whether the machine went down while the queue was open."""
        before = _read(self._path)
        return bool(before) and before != _read(BOOT_ID)

    def begin(self) -> None:
        """Note that the queue is open: once it is kept what `went_down` has said."""
        now = _read(BOOT_ID)
        if _read(self._path) == now:
            return
        new = f"{self._path}.new"
        with open(new, "wb") as file:
            file.write(now)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
        sync_path(os.path.dirname(self._path))

    def end(self) -> None:
        """Note that all of the queue is on the device."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return
        sync_path(os.path.dirname(self._path))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""
