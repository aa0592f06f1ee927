"""The process that compresses one closed log file at a time, behind the pump's back.

A fork of the pump, with low priority, a deadline, and nothing open but the two files. What it
leaves unfinished (it was killed, or hung) is deleted, and tried again after a cooldown; until then
the file counts as it is.
"""

import os
import select
import signal
import time
from dataclasses import dataclass, replace

from supervisor.logs import codec as codecs
from supervisor.logs.directory import create_file, open_file, perform, remove
from supervisor.logs.rotation import compressed_name, finish
from supervisor.priority import give_way
from supervisor.process.family import die_with

#: Seconds that one file may take, and seconds more for each byte of it.
DEADLINE, SLOWEST = 60.0, 1e-6
#: Seconds after a failure before the next attempt at anything.
COOLDOWN = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """A file being compressed: of which child, in which directory (a descriptor of the job's)."""

    child: str
    directory: int
    name: str
    codec: str
    pid: int
    pidfd: int
    deadline: float
    wanted: bool = True  # False: the file was deleted meanwhile

    @property
    def finished(self) -> str:
        """The compressed file."""
        return compressed_name(self.name, self.codec)

    @property
    def unfinished(self) -> str:
        """The file being written."""
        return self.finished + ".tmp"


class Compressor:
    """Runs one job at a time. Tells by a descriptor in an epoll when it has ended."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._codec = codecs.best()
        self._idle_until = 0.0
        self.job: Job | None = None

    def may_start(self, now: float) -> bool:
        """Whether a job may begin now."""
        return self.job is None and now >= self._idle_until

    def start(self, child: str, directory: int, name: str, now: float) -> None:
        """Begin with a file; takes over the descriptor of its directory."""
        unfinished = compressed_name(name, self._codec) + ".tmp"
        remove(directory, unfinished)
        source = open_file(directory, name)
        try:
            size = os.fstat(source).st_size
            target = create_file(directory, unfinished)
            try:
                pid = _fork(source, target, directory, name, self._codec)
            finally:
                os.close(target)
        finally:
            os.close(source)
        pidfd = os.pidfd_open(pid)
        self._epoll.register(pidfd, select.EPOLLIN)
        deadline = now + DEADLINE + SLOWEST * size
        self.job = Job(child, directory, name, self._codec, pid, pidfd, deadline)

    def timeout(self, now: float) -> float | None:
        """Return the seconds until this has to be looked at."""
        if self.job is not None:
            return max(0.0, self.job.deadline - now)
        return self._idle_until - now if self._idle_until > now else None

    def expire(self, now: float) -> None:
        """Kill a job that takes too long; its end is noticed as any other.

        That may take its time, too, where the disk hangs: a second until the next look.
        """
        if self.job is not None and now >= self.job.deadline:
            signal.pidfd_send_signal(self.job.pidfd, signal.SIGKILL)
            self.job = replace(self.job, deadline=now + 1.0)

    def cancel(self, child: str, name: str) -> None:
        """Kill the job of a file that is deleted; its end is noticed as any other."""
        if self.job is not None and (self.job.child, self.job.name) == (child, name):
            self.job = replace(self.job, wanted=False)
            signal.pidfd_send_signal(self.job.pidfd, signal.SIGKILL)

    def ended(self, now: float) -> tuple[Job, bool]:
        """Take the job that has ended, and whether it succeeded; its directory is the caller's."""
        job, self.job = self.job, None
        assert job is not None
        self._epoll.unregister(job.pidfd)
        os.close(job.pidfd)
        _, status = os.waitpid(job.pid, 0)
        if status and job.wanted:
            self._idle_until = now + COOLDOWN
        return job, status == 0

    def abandon(self) -> Job | None:
        """Kill the job, if there is one; returns it as `ended` does."""
        if self.job is None:
            return None
        signal.pidfd_send_signal(self.job.pidfd, signal.SIGKILL)
        return self.ended(time.monotonic())[0]


def settle(job: Job) -> int | None:
    """Put the files of a job that has ended in order, however far it came; closes its directory.

    Returns the bytes of the compressed file; None: there is none.
    """
    try:
        remove(job.directory, job.unfinished)
        if not job.wanted:
            remove(job.directory, job.finished)
        try:
            size = os.stat(job.finished, dir_fd=job.directory).st_size
        except FileNotFoundError:
            return None
        remove(job.directory, job.name)  # it may have been killed just before that
        return size
    finally:
        os.close(job.directory)


def _fork(source: int, target: int, directory: int, name: str, codec: str) -> int:
    """Fork the process that compresses and then puts the file in its place.

    Not the pump does that: the sync of a directory may take seconds, and workers would wait.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with(parent)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        give_way()
        _keep_only(source, target, directory)
        codecs.compress(source, target, codec)
        for step in finish(name, codec):
            perform(directory, step)
        code = 0
    except OSError:  # the disk is full: the pump sees it too, and says so
        pass
    finally:
        os._exit(code)


def _keep_only(*wanted: int) -> None:
    last = -1
    for fd in sorted(wanted):
        os.closerange(max(last + 1, 3), fd)
        last = fd
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
