"""What a Child asks for of its process: limits, user, directory, environment."""

import grp
import os
import pwd
import resource
from pathlib import Path

from supervisor.definition import Settings
from supervisor.errors import StartError
from supervisor.process import tempdir
from supervisor.process.family import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, die_with, prctl

#: Workers are to die of a lack of memory before root does (the kernel's scale: -1000 to 1000).
OOM_SCORE = b"300"
_OOM = "/proc/self/oom_score_adj"


def rehearse() -> None:
    """Apply what this process has: see `supervisor.process.rehearsal`."""
    umask = os.umask(0o077)
    os.umask(umask)
    apply(Settings(umask=umask), _own_oom_score())


def apply(settings: Settings, oom_score: bytes = OOM_SCORE) -> None:
    """Apply the settings to this process; raises OSError or StartError, and then it must end."""
    os.umask(settings.umask)
    _prefer_for_oom(oom_score)
    if settings.private_tmp:
        tempdir.use()
    if settings.nice:
        os.nice(settings.nice)
    for name, limits in settings.rlimits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), limits)
    if settings.cpu_affinity:
        os.sched_setaffinity(0, settings.cpu_affinity)
    if settings.user is not None or settings.group is not None:
        become(settings.user, settings.group)
    if settings.cwd is not None:
        os.chdir(settings.cwd)
    for name, value in settings.env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def become(user: str | int | None, group: str | int | None) -> None:
    """Give up privileges for good: groups, group, user; then verify that it is so.

    Raises:
        StartError: this process could still get back what it gave up.

    """
    entry = _user(user)
    uid = entry.pw_uid if entry is not None else os.getuid()
    gid = _group(group) if group is not None else entry.pw_gid if entry is not None else os.getgid()
    parent = os.getppid()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # The kernel undoes two things with a change of user: death with the template, and the right to
    # look into one's own /proc/self/fd, through which the queues are reached.
    die_with(parent)
    prctl(PR_SET_DUMPABLE, 1)
    _verify(uid, gid)
    if entry is not None:
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)


def _verify(uid: int, gid: int) -> None:
    # What the kernel says, not what the calls returned: CVE-2023-6507 kept root's groups silently.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if (
        status["Uid"].split() != [str(uid)] * 4
        or status["Gid"].split() != [str(gid)] * 4
        or status["Groups"].split()
    ):
        raise StartError(f"privileges were not dropped to uid {uid}, gid {gid}")
    if uid != 0:
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise StartError(f"privileges dropped to uid {uid} can be taken back")


def _user(user: str | int | None) -> pwd.struct_passwd | None:
    if user is None:
        return None
    if isinstance(user, str):
        return pwd.getpwnam(user)
    try:
        return pwd.getpwuid(user)
    except KeyError:
        return pwd.struct_passwd((str(user), "x", user, user, "", "/", ""))


def _group(group: str | int) -> int:
    return grp.getgrnam(group).gr_gid if isinstance(group, str) else group


def _prefer_for_oom(score: bytes) -> None:
    try:
        fd = os.open(_OOM, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # no /proc: the kernel chooses by size alone
        return
    try:
        os.write(fd, score)
    except OSError:
        pass
    finally:
        os.close(fd)


def _own_oom_score() -> bytes:
    try:
        return Path(_OOM).read_bytes()
    except OSError:
        return b""
