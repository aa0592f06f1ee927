"""Checks of a child's process attributes: environment, directory, identity, limits, signals."""

import grp
import os
import pwd
import resource
import signal
from collections.abc import Mapping, Sequence

from supervisor.declare.checks import Subject, did_you_mean, flag, shown, whole
from supervisor.declare.tree import Child
from supervisor.definition import Settings

RLIMITS = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_")
}
#: Signals that a process cannot catch: they are no request to stop.
UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP)
MAX_ID = 2**32 - 2  # the last one means "unchanged" to the kernel


def settings(subject: Subject, child: Child) -> Settings:
    """Check all of them."""
    is_root = os.geteuid() == 0
    return Settings(
        env=environment(subject, child.env),
        cwd=directory(subject, child.cwd),
        user=_identity(subject, "user", child.user, is_root),
        group=_identity(subject, "group", child.group, is_root),
        umask=whole(subject, "umask", child.umask, 0, 0o777),
        nice=niceness(subject, child.nice, is_root),
        rlimits=limits(subject, child.rlimits, is_root),
        cpu_affinity=processors(subject, child.cpu_affinity),
        private_tmp=private_tmp(subject, child),
    )


def private_tmp(subject: Subject, child: Child) -> bool:
    """Check whether it has a temp directory of its own: if nothing is said, where it can."""
    if child.private_tmp is None:
        return child.user is None
    if flag(subject, "private_tmp", child.private_tmp) and child.user is not None:
        raise subject.error(
            "private_tmp=True with user: another user cannot enter a directory that is ours alone",
            'leave private_tmp out, and give it a directory with env={"TMPDIR": ...}',
        )
    return child.private_tmp


def environment(subject: Subject, value: object) -> dict[str, str | None]:
    """Check variables: names without "=", values strings or None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise subject.error(
            f"env is {shown(value)}; allowed: a dict", 'write env={"NAME": "value"}'
        )
    for key, text in value.items():
        if not isinstance(key, str) or not key or "=" in key or "\0" in key:
            raise subject.error(
                f"env has the name {shown(key)}",
                'a name is a string without "=" and NUL, and not empty',
            )
        if text is not None and (not isinstance(text, str) or "\0" in text):
            raise subject.error(
                f"env[{shown(key)}] is {shown(text)}; allowed: a string, or None to remove it",
                f'write env={{"{key}": "{text}"}}' if isinstance(text, int | float) else "",
            )
    return dict(value)


def directory(subject: Subject, value: object) -> str | None:
    """Check a working directory; return it as an absolute path."""
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.path.isdir(value):
        raise subject.error(f"cwd is {shown(value)}, which is no directory", "create it first")
    return os.path.abspath(os.fsdecode(value))


def _identity(subject: Subject, field: str, value: object, is_root: bool) -> str | int | None:
    if value is None:
        return None
    known = _known_id(field, value)
    if known is None:
        names = [entry.pw_name for entry in pwd.getpwall()]
        if field == "group":
            names = [entry.gr_name for entry in grp.getgrall()]
        raise subject.error(
            f"{field} {shown(value)} does not exist on this machine",
            did_you_mean(value, names, "create it, or give a numeric id"),
        )
    current = os.geteuid() if field == "user" else os.getegid()
    if not is_root and known != current:
        raise subject.error(
            f"{field} is {shown(value)}, and only root can change it",
            f"start the supervisor as root, or leave {field} out",
        )
    return value if isinstance(value, str | int) else None


def _known_id(field: str, value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= MAX_ID else None
    if not isinstance(value, str):
        return None
    try:
        return pwd.getpwnam(value).pw_uid if field == "user" else grp.getgrnam(value).gr_gid
    except (KeyError, ValueError):
        return None


def niceness(subject: Subject, value: object, is_root: bool) -> int:
    """Check added niceness; only root may take some away."""
    nice = whole(subject, "nice", value, -40, 39)
    if nice < 0 and not is_root:
        raise subject.error(
            f"nice is {nice}, and only root can raise a priority", "use 0 or more, or run as root"
        )
    return nice


def limits(subject: Subject, value: object, is_root: bool) -> dict[str, tuple[int, int]]:
    """Check resource limits; return them as {"nofile": (soft, hard)}."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise subject.error(
            f"rlimits is {shown(value)}; allowed: a dict", 'write rlimits={"nofile": 1024}'
        )
    return {
        _limit_name(subject, key): _limit_pair(subject, key, pair, is_root)
        for key, pair in value.items()
    }


def _limit_name(subject: Subject, key: object) -> str:
    name = str(key).removeprefix("RLIMIT_").lower()
    if not isinstance(key, str) or name not in RLIMITS:
        known = ", ".join(sorted(RLIMITS))
        raise subject.error(
            f"rlimits has the name {shown(key)}", did_you_mean(name, RLIMITS, f"known: {known}")
        )
    return name


def _limit_pair(subject: Subject, key: str, value: object, is_root: bool) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    field = f"rlimits[{shown(key)}]"
    if len(pair) != 2:
        raise subject.error(f"{field} is {shown(value)}", "give one number, or (soft, hard)")
    soft, hard = (whole(subject, field, part, -1, 2**63 - 1) for part in pair)
    if _as_limit(soft) > _as_limit(hard):
        raise subject.error(
            f"{field} is {shown(value)}: the soft limit is above the hard one",
            "write (soft, hard), with -1 for unlimited",
        )
    ceiling = resource.getrlimit(RLIMITS[_limit_name(subject, key)])[1]
    if not is_root and _as_limit(hard) > _as_limit(ceiling):
        raise subject.error(
            f"{field} is {shown(value)}, above this user's hard limit {ceiling}",
            f"use at most {ceiling}, or run as root",
        )
    return soft, hard


def _as_limit(value: int) -> float:
    return float("inf") if value == resource.RLIM_INFINITY else value


def processors(subject: Subject, value: object) -> list[int] | None:
    """Check that the processors are among those this process may use."""
    if value is None:
        return None
    usable = sorted(os.sched_getaffinity(0))
    if (
        isinstance(value, str | bytes)
        or not isinstance(value, Sequence | set | frozenset)
        or not value
        or any(type(cpu) is not int or cpu not in usable for cpu in value)
    ):
        raise subject.error(
            f"cpu_affinity is {shown(value)}", f"usable processors here: {shown(usable)}"
        )
    return sorted(set(value))


def stop_signal(subject: Subject, value: object) -> int:
    """Check the signal that asks to stop: "SIGTERM", "TERM", or a number."""
    names = [entry.name for entry in signal.Signals]
    found: signal.Signals | None = None
    if isinstance(value, str):
        name = value if value.startswith("SIG") else f"SIG{value}"
        found = signal.Signals[name] if name in names else None
    elif isinstance(value, int) and not isinstance(value, bool) and value in set(signal.Signals):
        found = signal.Signals(value)
    if found is None:
        upper = value.upper() if isinstance(value, str) else ""
        near = [name for name in names if name in (upper, f"SIG{upper}")] or names
        word = near[0] if len(near) == 1 else None
        raise subject.error(
            f"stop_signal is {shown(value)}, which is no signal",
            f'did you mean "{word}"?' if word else 'write for example stop_signal="SIGINT"',
        )
    if found in UNCATCHABLE:
        raise subject.error(
            f'stop_signal is "{found.name}", which no process can act on',
            'to kill it at once, use shutdown="brutal_kill"',
        )
    return int(found)
