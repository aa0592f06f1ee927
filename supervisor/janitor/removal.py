"""Removing whole directories that a process may have filled with anything.

Symbolic links are removed, not followed, whatever changes meanwhile: every step is made relative to
an open directory. Other file systems are not entered. What lies too deep is moved to the top first,
so that no depth is too much.
"""

import os
from collections.abc import Callable

#: Files and directories that are removed at once; what is beyond is for the next time.
MAX_STEPS = 100_000
#: Directories held open at a time.
MAX_DEPTH = 32
_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Remover:
    """Removes directories, until it has been enough for once.

    Args:
        top: the directory that they are in, open.
        steps: how much is enough.

    """

    def __init__(self, top: int, steps: int = MAX_STEPS) -> None:
        self._top, self._left = top, steps
        self._device = os.fstat(top).st_dev
        self._waiting: list[str] = []  # names at the top
        self._name, self._moved = "", 0  # what is being removed; directories moved out of it
        self.bytes = 0
        self.problems = 0  # what cannot be removed

    @property
    def tired(self) -> bool:
        """Whether it has been enough."""
        return self._left <= 0

    def remove(self, name: str) -> bool:
        """Remove a directory at the top with all that is in it; False if something is left."""
        self._name = name
        self._waiting.append(name)
        before = self.problems
        while self._waiting and not self.tired:
            self._directory(self._top, self._waiting.pop(), 0)
        return not self._waiting and not self.tired and self.problems == before

    def _directory(self, parent: int, name: str, depth: int) -> None:
        folder = self._open(parent, name)
        if folder is None:
            return
        try:
            if depth >= MAX_DEPTH:
                self._move_up(parent, name)
                return
            self._empty(folder, depth)
        finally:
            os.close(folder)
        if not self.tired:
            self._step(lambda: os.rmdir(name, dir_fd=parent))

    def _empty(self, folder: int, depth: int) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if self.tired:
                    return
                if entry.is_dir(follow_symlinks=False):
                    self._directory(folder, entry.name, depth + 1)
                else:
                    self._file(folder, entry)

    def _file(self, folder: int, entry: "os.DirEntry[str]") -> None:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return
        if self._step(lambda: os.unlink(entry.name, dir_fd=folder)) and found.st_nlink == 1:
            self.bytes += found.st_blocks * 512

    def _move_up(self, parent: int, name: str) -> None:
        self._moved += 1
        up = f"{self._name}-moved{self._moved}"
        if self._step(lambda: os.rename(name, up, src_dir_fd=parent, dst_dir_fd=self._top)):
            self._waiting.append(up)

    def _open(self, parent: int, name: str) -> int | None:
        """Open a directory so that it can be emptied; None if that is not ours to do."""
        try:
            try:
                folder = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=parent)
            except PermissionError:
                _permit(parent, name)
                folder = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=parent)
        except OSError:
            self.problems += 1
            return None
        found = os.fstat(folder)
        if found.st_dev != self._device:  # something is mounted there
            self.problems += 1
            os.close(folder)
            return None
        if found.st_mode & 0o300 != 0o300 and os.geteuid() == found.st_uid:
            os.fchmod(folder, 0o700)
        return folder

    def _step(self, action: Callable[[], None]) -> bool:
        self._left -= 1
        try:
            action()
        except FileNotFoundError:
            pass
        except OSError:
            self.problems += 1
            return False
        return True


def _permit(parent: int, name: str) -> None:
    """Give ourselves back the right to a directory that its owner has closed to itself."""
    handle = os.open(name, os.O_PATH | _FLAGS, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)
