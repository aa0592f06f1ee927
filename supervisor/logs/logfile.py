"""The file that one child's lines are written to now.

Written at offsets that are known, never appended blindly: so a write that a kill or a full disk cut
short can be undone. Before each write the name is looked at, because others may have renamed,
truncated or deleted the file.
"""

import os
import time

from supervisor.logs.directory import create_file, open_below, open_file, own_files, perform
from supervisor.logs.rotation import last_stamp, next_stamp, repair, rotate, rotated_name

#: Bytes at the end of a file in which the beginning of a torn line is looked for.
TAIL = 512 * 1024


class LogFile:
    """One open file. ``size``: where the next write goes; ``born``: Unix seconds.

    Args:
        root: descriptor of the log directory.
        child: path of the child, which is that of its directory.
        name: of the file.
        spared: the unfinished file that a compressor is working on, which no repair may remove.

    Raises:
        OSError: it cannot be made or opened.

    """

    def __init__(self, root: int, child: str, name: str, spared: str | None = None) -> None:
        self.child, self.name = child, name
        self.fd = self.inode = -1
        self.size = 0
        self.torn = 0  # bytes of a line that a power failure left without its end
        self.born = 0.0
        self._last = 0  # the stamp of the file that was closed last, which may have been deleted
        self.directory = open_below(root, child)
        try:
            names = own_files(self.directory)
            self._last = last_stamp(names)
            stamp = next_stamp(time.time(), self._last)
            for step in repair(names.keys() - {spared}, name, stamp):
                perform(self.directory, step)
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close file and directory."""
        for fd in (self.fd, self.directory):
            if fd >= 0:
                os.close(fd)
        self.fd = self.directory = -1

    def _open(self) -> None:
        self._take(open_file(self.directory, self.name))
        if self.size and self.name.endswith(".jsonl"):
            self._cut_torn_line()

    def _take(self, fd: int) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        info = os.fstat(fd)
        self.fd, self.inode, self.size = fd, info.st_ino, info.st_size
        self.born = info.st_mtime if info.st_size else time.time()

    def _cut_torn_line(self) -> None:
        begin = max(0, self.size - TAIL)
        tail = os.pread(self.fd, TAIL, begin)
        whole = begin + tail.rfind(b"\n") + 1
        self.torn = self.size - whole
        if self.torn:
            self.truncate(whole)

    def look(self) -> int | None:
        """See what others did to the file; returns its new size, or None: it is not ours any more.

        Renamed, deleted, or replaced: it has to be opened anew. Truncated: writing goes on at its
        new end, not behind a hole.
        """
        try:
            info = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except OSError:
            return None
        if info.st_ino != self.inode or info.st_nlink != 1:
            return None
        self.size = min(self.size, info.st_size)
        return self.size

    def write(self, data: bytes) -> None:
        """Write at the end; all of it or, with an OSError, nothing."""
        written = 0
        try:
            while written < len(data):
                piece = data[written:] if written else data
                written += os.pwrite(self.fd, piece, self.size + written)
        except OSError:
            self.truncate(self.size)
            raise
        self.size += written

    def splice(self, pipe: int, count: int) -> int:
        """Move bytes from a pipe to the end: each is in the pipe or in the file, whatever happens.

        Returns how many were moved.
        """
        moved = 0
        while moved < count:
            try:
                more = os.splice(
                    pipe, self.fd, count - moved, offset_dst=self.size, flags=os.SPLICE_F_NONBLOCK
                )
            except BlockingIOError:
                break
            except OSError:
                if moved:
                    break
                raise
            moved += more
            self.size += more
            if not more:
                break
        return moved

    def truncate(self, size: int) -> None:
        """Forget what was written behind an offset."""
        os.ftruncate(self.fd, size)
        self.size = size

    def rotate(self, now: float, last: int) -> tuple[str, int, int]:
        """Close the file and begin a new one; returns (name, stamp, size) of the closed one.

        Raises:
            OSError: it cannot be done now; the file is written on.

        """
        stamp = next_stamp(now, max(last, self._last))
        size, rename_and_create = self.size, rotate(self.name, stamp)
        perform(self.directory, rename_and_create[0])
        try:
            self._take(create_file(self.directory, self.name))
        except OSError:  # no room even for a name: back
            os.rename(
                rotated_name(stamp, self.name.endswith(".log")), self.name,
                src_dir_fd=self.directory, dst_dir_fd=self.directory,
            )  # fmt: skip
            raise
        self._last = stamp
        return rotated_name(stamp, self.name.endswith(".log")), stamp, size
