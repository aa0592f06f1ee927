"""The log of a worker: structlog, `logging` and `warnings`, all as records on its standard error.

Used between fork and the author's code. Templates have structlog imported already, so that
`configure` takes microseconds. An author may configure structlog or `logging` anew afterwards;
whatever that prints is captured as raw lines.
"""

import logging
import os
import sys
import time
from typing import Any

import structlog
from structlog.typing import EventDict

from supervisor.logs.handler import RecordHandler, traceback_text
from supervisor.logs.record import stderr

#: Methods of a logger that are not called like the level they mean.
_METHODS = {"exception": "error", "warn": "warning", "fatal": "critical", "msg": "info"}


def _with_traceback(_logger: Any, method: str, fields: EventDict) -> EventDict:
    """Replace ``exc_info`` by the text of the traceback."""
    error = fields.pop("exc_info", None)
    if error is True or (error is None and method == "exception"):
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        fields["traceback"] = traceback_text(error)
    return fields


def _finish(logger: "_Logger", method: str, fields: EventDict) -> tuple[Any, ...]:
    """Put time, level and event first: they survive when a record has to be cut."""
    level = _METHODS.get(method, method)
    event = fields.pop("event", "")
    record = {"time": time.time(), "level": level, "event": event}
    if logger.name is not None:
        record["logger"] = logger.name
    record.update(fields)
    return (record,), {}  # the arguments for `_Logger`


class _Logger:
    """What structlog hands its finished records to: the logger of a name, or of none."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def msg(self, record: dict[str, Any]) -> None:
        """Write one."""
        stderr.write(record)

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = msg


def configure(path: str, incarnation: int, level: str) -> None:
    """Make this process, a worker in the slot ``path``, log records of ``level`` and above."""
    number = logging.getLevelName(level.upper())
    number = number if isinstance(number, int) else logging.INFO
    stderr.incarnation = incarnation
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _with_traceback, _finish],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Logger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, RecordHandler)]:
        root.removeHandler(old)
    root.addHandler(RecordHandler())
    root.setLevel(number)
    logging.captureWarnings(True)
    os.register_at_fork(before=lambda: _share(path))


def _share(path: str) -> None:
    """Before the worker's first fork: make its children's records come to it."""
    from supervisor.logs.multiprocess import install

    install(f"logs of {path}", RecordHandler)
