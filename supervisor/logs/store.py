"""All log files of an app, under one budget: what is written, rotated, compressed and deleted.

A write makes room first, so that the budget holds before it and after it. What the decisions rest
on is in `supervisor.logs.budget` and `supervisor.logs.rotation`; here they are carried out.
"""

import contextlib
import errno
import fcntl
import math
import os
import select
import time

from supervisor.logs import budget
from supervisor.logs.ballast import Ballast
from supervisor.logs.bucket import space_factor
from supervisor.logs.budget import Archive, Holdings
from supervisor.logs.compressor import Compressor, Job, settle
from supervisor.logs.directory import children_of, open_below, open_root, own_files, remove
from supervisor.logs.logfile import LogFile
from supervisor.logs.messages import FileOptions
from supervisor.logs.rotation import State, current_name, parse

#: Seconds between looks at the free space of the file system.
LOOK_AT_SPACE = 1.0
#: Seconds between looks for files of children that are no more.
SWEEP = 3600.0
LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT)


class NoRoomError(OSError):
    """The budget does not allow it, and there is nothing left to delete."""


class LogStore:
    """The files. Opens and locks the directory.

    Raises:
        OSError: the directory cannot be used, or another pump has it.

    """

    def __init__(self, options: FileOptions, epoll: select.epoll) -> None:
        self.options = options
        self.raw = options.format == "raw"
        self.name = current_name(self.raw)
        self.files: dict[str, LogFile] = {}
        self.held: dict[str, Holdings] = {}
        self._due: float = 0.0  # monotonic: when ages are looked at again
        self._ballast = Ballast()
        self._sweep_at = time.monotonic() + SWEEP / 60
        self._space_at, self._free = -1.0, 0
        self.used = 0
        self.most = self.floor = 0
        self._root = open_root(options.directory)
        with contextlib.ExitStack() as undo:  # who cannot have it tries again, for ever
            undo.callback(os.close, self._root)
            self._lock = self._acquire()
            undo.callback(os.close, self._lock)
            self.scan()
            undo.pop_all()
        self.compressor = Compressor(epoll) if options.compress else None
        self.used += self._ballast.hold(self._root, budget.ballast(self.most))

    def _acquire(self) -> int:
        """Take the lock that keeps a second app out; held by this process alone."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(LOCK, flags, 0o600, dir_fd=self._root)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, no fork has it
        except OSError as error:
            os.close(fd)
            problem = f"{self.options.directory} is used by another app"
            raise OSError(error.errno, problem) from error
        return fd

    # --- what there is ------------------------------------------------------------------------

    def scan(self) -> None:
        """Look at everything in the directory anew."""
        space = os.fstatvfs(self._root)
        size = space.f_frsize * space.f_blocks
        self.most = budget.max_use(self.options.limits, size)
        self.floor = budget.keep_free(self.options.limits, size)
        self.held = {child: self._holdings(child) for child in children_of(self._root)}
        for child, file in self.files.items():
            self.held.setdefault(child, Holdings()).active = file.size
        self.used = self._ballast.size + sum(held.size for held in self.held.values())
        self._due = 0.0

    def _holdings(self, child: str) -> Holdings:
        held = Holdings()
        try:
            fd = open_below(self._root, child, create=False)
        except FileNotFoundError:  # others have removed it
            return held
        try:
            for text, info in own_files(fd).items():
                name = parse(text)
                assert name is not None
                if name.state is State.CURRENT:
                    held.active += info.st_size
                elif name.state is not State.UNFINISHED:
                    held.archives.append(Archive(text, name.stamp, info.st_size))
        finally:
            os.close(fd)
        held.archives.sort(key=lambda archive: archive.stamp)
        return held

    def factor(self, now: float) -> float:
        """Return how many times more lines may pass than the rate says, for there is room."""
        return space_factor(max(0, self._free_space(now) - self.floor))

    def _free_space(self, now: float) -> int:
        if now >= self._space_at + LOOK_AT_SPACE:
            self._space_at = now
            space = os.fstatvfs(self._root)
            self._free = space.f_frsize * space.f_bavail
        return self._free

    @property
    def segment(self) -> int:
        """Bytes of a file before it is rotated."""
        return budget.segment_size(self.options.limits, self.most, len(self.held))

    # --- writing ------------------------------------------------------------------------------

    def open(self, child: str, size: int) -> LogFile:
        """Return a child's file, with room for so many bytes more.

        Raises:
            OSError: there is no room, or the file cannot be used now.

        """
        self._current(child)
        self.make_room(size)
        file = self._current(child)
        if file.size and file.size + size > self.segment:
            self.rotate(child)
        return self.files[child]

    def _current(self, child: str) -> LogFile:
        """Return a child's file: opened anew where others have renamed or deleted it."""
        file = self.files.get(child)
        if file is None:
            return self._open(child)
        before = file.size
        if file.look() is None:
            self._forget(child)
            return self._open(child)
        self._grow(child, file.size - before)
        return file

    def _open(self, child: str) -> LogFile:
        try:
            file = self._opened(child)
        except FileNotFoundError:  # the log directory itself was removed
            self._reopen_root()
            file = self._opened(child)
        self.files[child] = file
        self._count(child)
        self._due = 0.0
        return file

    def _opened(self, child: str) -> LogFile:
        job = self.compressor.job if self.compressor is not None else None
        spared = job.unfinished if job is not None and job.child == child else None
        return LogFile(self._root, child, self.name, spared)

    def _count(self, child: str) -> None:
        """Look at a child's files anew."""
        before = self.held.get(child, Holdings())
        self.held[child] = self._holdings(child)
        self.used += self.held[child].size - before.size

    def _forget(self, child: str) -> None:
        """Close a file that is not ours any more."""
        self.files.pop(child).close()

    def _reopen_root(self) -> None:
        for child in list(self.files):
            self._forget(child)
        os.close(self._root)
        os.close(self._lock)
        self._root = open_root(self.options.directory)
        self._lock = self._acquire()
        self._ballast = Ballast()
        self.scan()

    def wrote(self, child: str, count: int) -> None:
        """Count what was written to a child's file."""
        self._grow(child, count)
        self._free -= count

    def _grow(self, child: str, count: int) -> None:
        self.held[child].active += count
        self.used += count

    def undo(self, child: str, inode: int, offset: int) -> None:
        """Cut a child's file back to an offset, if it is that file still."""
        file = self.files.get(child) or self._open(child)
        if file.inode == inode:
            file.torn = 0
            if file.size > offset:
                self._grow(child, offset - file.size)
                file.truncate(offset)

    def rotate(self, child: str) -> None:
        """Close a child's file, if there is anything in it, and begin a new one."""
        file = self._current(child)
        if not file.size:
            return
        held = self.held[child]
        last = held.archives[-1].stamp if held.archives else 0
        name, stamp, size = file.rotate(time.time(), last)
        held.archives.append(Archive(name, stamp, size))
        held.active = 0
        self._due = 0.0

    # --- room ---------------------------------------------------------------------------------

    def make_room(self, size: int, *, emergency: bool = False) -> None:
        """Delete the oldest archives until so many bytes more are allowed.

        Args:
            size: how many.
            emergency: delete one in any case, but never what is being written.

        Raises:
            NoRoomError: there is nothing left to delete.

        """
        free = self._free_space(time.monotonic())
        allowed = budget.allowance(self.most, self.floor, self.used, free)
        while self.used + size > allowed or emergency:
            victim = budget.next_eviction(self.held, self.most) or budget.next_eviction(
                self.held, self.most, spare_the_last=False
            )
            if victim is not None:
                self.delete(*victim)
                emergency = False
                allowed = min(self.most, allowed)
            elif emergency or not self._close_largest():
                raise NoRoomError(errno.ENOSPC, "the log files are at their limit")

    def _close_largest(self) -> bool:
        """Make an archive of the largest file being written."""
        for child in sorted(self.held, key=lambda name: -self.held[name].active):
            if not self.held[child].active:
                return False
            self.rotate(child)
            return True
        return False

    def delete(self, child: str, archive: Archive) -> None:
        """Delete an archive."""
        if self.compressor is not None:
            self.compressor.cancel(child, archive.name)
        held = self.held[child]
        held.archives.remove(archive)
        self.used -= archive.size
        self._free += archive.size
        try:
            fd = open_below(self._root, child, create=False)
        except OSError:  # somebody was faster
            return
        try:
            remove(fd, archive.name)
        finally:
            os.close(fd)

    def release_ballast(self) -> bool:
        """Give back the room held for a full disk; False: it was given already."""
        released = self._ballast.release(self._root)
        self.used -= released
        return released > 0

    # --- what goes on behind ------------------------------------------------------------------

    def timeout(self, now: float) -> float | None:
        """Return the seconds until `tend` has something to do."""
        waits = [max(0.0, self._due - now)]
        if self.compressor is not None and (wait := self.compressor.timeout(now)) is not None:
            waits.append(wait)
        return min(waits)

    def tend(self, now: float) -> None:
        """Rotate what is old, delete what is too old, compress what is closed."""
        if self.compressor is not None:
            self.compressor.expire(now)
        if now < self._due:
            return
        clock, limits = time.time(), self.options.limits
        for child, held in list(self.held.items()):
            for archive in budget.expired(held.archives, limits.retention, clock):
                self.delete(child, archive)
        for child, file in list(self.files.items()):
            if file.size and file.born + limits.segment_age <= clock:
                self.rotate(child)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP
            self._sweep(clock)
        wanted = budget.ballast(self.most)
        if not self._ballast.size and self._free_space(now) >= self.floor + 2 * wanted:
            self.used += self._ballast.hold(self._root, wanted)  # it was given, and there is room
        self._compress_next(now)
        wait = self.compressor.timeout(now) if self.compressor is not None else None
        self._due = now + min(self._next_age(clock), math.inf if wait is None else wait)

    def _sweep(self, clock: float) -> None:
        """Close the files of children that are no more, and remove what is left of the oldest."""
        for child in [child for child in self.held if child not in self.files]:
            if self.held[child].active:
                if self._open(child).born + self.options.limits.segment_age <= clock:
                    self.rotate(child)
                self._forget(child)
            elif not self.held[child].archives:
                self._remove(child)

    def _remove(self, child: str) -> None:
        """Remove a directory that has nothing in it."""
        try:
            fd = open_below(self._root, child, create=False)
            try:
                remove(fd, self.name)
            finally:
                os.close(fd)
            os.rmdir(child, dir_fd=self._root)
        except OSError:  # children below it have files, or it is gone
            pass
        del self.held[child]

    def retire(self, child: str) -> None:
        """Close the file of a child that is no more: it ages as those that were rotated."""
        if child in self.files:
            self.rotate(child)
            self._forget(child)

    def _next_age(self, clock: float) -> float:
        limits = self.options.limits
        ends = [file.born + limits.segment_age for file in self.files.values() if file.size]
        ends += [
            held.archives[0].stamp / 1e6 + limits.retention
            for held in self.held.values()
            if held.archives
        ]
        return max(1.0, min([end - clock for end in ends] + [SWEEP]))

    def _compress_next(self, now: float) -> None:
        if self.compressor is None or not self.compressor.may_start(now):
            return
        waiting = [
            (archive.stamp, child, archive.name)
            for child, held in self.held.items()
            for archive in held.archives
            if archive.name.endswith(".u")
        ]
        if waiting:
            _, child, name = min(waiting)
            fd = open_below(self._root, child, create=False)
            try:
                self.compressor.start(child, fd, name, now)
            except OSError:
                os.close(fd)
                self.scan()

    def compressed(self, now: float) -> None:
        """Count the compressed file instead of the other: the compressor has ended."""
        assert self.compressor is not None
        job, succeeded = self.compressor.ended(now)
        self._conclude(job)
        self._due = now if succeeded else self._due

    def _conclude(self, job: Job) -> None:
        size = settle(job)
        if size is None:
            return
        archives = self.held[job.child].archives if job.child in self.held else []
        index = {archive.name: index for index, archive in enumerate(archives)}
        if job.name in index and job.finished not in index:
            old = archives[index[job.name]]
            archives[index[job.name]] = Archive(job.finished, old.stamp, size)
            self.used += size - old.size
        elif job.child in self.held:  # they were looked at meanwhile, and perhaps half way
            self._count(job.child)

    def close(self) -> None:
        """Close everything; what was compressed half is thrown away."""
        if self.compressor is not None and (job := self.compressor.abandon()) is not None:
            self._conclude(job)
        for child in list(self.files):
            self._forget(child)
        os.close(self._root)
        os.close(self._lock)
