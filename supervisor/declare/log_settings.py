"""Checks of an app's log settings."""

import os

from supervisor.declare import checks
from supervisor.declare.checks import Subject, shown
from supervisor.declare.logs import Logs
from supervisor.declare.tree import Supervisor
from supervisor.definition import LogsDefinition

FORMATS = ("json", "raw")
LEVELS = ("debug", "info", "warning", "error")
MAX_RATE = 1e12


def log_settings(subject: Subject, declared: Supervisor, *, is_root: bool) -> LogsDefinition:
    """Check the log settings of an app; what is not said stays unsaid."""
    logs = declared.logs
    if logs is None:
        return LogsDefinition()
    if not is_root:
        raise subject.error("logs are declared on the root only", "move them to the root")
    if not isinstance(logs, Logs):
        raise subject.error(
            f"logs is {shown(logs)}; allowed: Logs(...)",
            'write logs=Logs(max_use="1GiB"); to keep no files, logs=Logs(files=False)',
        )
    subject = Subject("logs", logs.where)
    most, segment = _size(subject, "max_use", logs.max_use), _size(subject, "segment", logs.segment)
    if most is not None and segment is not None and 2 * segment > most:
        raise subject.error(
            f"segment is {shown(logs.segment)} and max_use {shown(logs.max_use)}: a file that is "
            "written and one that is compressed do not fit",
            "make segment at most half of max_use, or leave it out",
        )
    age = logs.retention
    return LogsDefinition(
        directory=_directory(subject, logs.directory),
        files=checks.flag(subject, "files", logs.files),
        max_use=most,
        keep_free=_size(subject, "keep_free", logs.keep_free),
        segment=segment,
        retention=None if age is None else checks.seconds(subject, "retention", age),
        rate=_rate(subject, logs.rate),
        format=checks.choice(subject, "format", logs.format, FORMATS),
        compress=checks.flag(subject, "compress", logs.compress),
        level=checks.choice(subject, "level", _lower(logs.level), LEVELS).upper(),
    )


def _size(subject: Subject, field: str, value: object) -> int | None:
    return None if value is None else checks.size(subject, field, value)


def _rate(subject: Subject, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and checks.is_number(value) and 0 <= value <= MAX_RATE:
        return float(value)
    raise subject.error(
        f"rate is {shown(value)}; allowed: lines in 30 s as a number, 0 for no limit",
        "write for example rate=10_000",
    )


def _directory(subject: Subject, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise subject.error(
            f"directory is {shown(value)}; allowed: a path", "leave it out for the default place"
        )
    path = os.path.abspath(os.fsdecode(value))
    if os.path.exists(path) and not os.path.isdir(path):
        raise subject.error(f"directory is {shown(path)}, which is none", "name a directory")
    return path


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
