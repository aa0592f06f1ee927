"""The log of a worker: structlog, `logging` and `warnings`, all as records on its standard error.

In steps, for a restart is to be fast: a template does `prepare`, a fork of it `share_on_fork`, then
`configure` when it is known which child it is to be, and `write_as` when it is known which slot.
structlog takes 15 ms and a megabyte to import, so it is configured only where the app (or
`workers.log`) has imported it.
An author may configure structlog or `logging` anew afterwards; whatever that prints is captured as
raw lines.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import MutableMapping
from typing import Any

from supervisor.logs.handler import RecordHandler, traceback_text
from supervisor.logs.record import LEVELS, at_hand, stderr, timestamp

#: Sent by a supervisor to make a worker log records of a level and above.
LEVEL_SIGNALS = {name: signal.SIGRTMAX - 2 - place for place, name in enumerate(LEVELS)}
_LEVEL_OF = {signum: LEVELS[name] for name, signum in LEVEL_SIGNALS.items()}
#: Methods of a logger that are not called like the level they mean.
_METHODS = {"exception": "error", "warn": "warning", "fatal": "critical", "msg": "info"}


def _with_traceback(
    _logger: Any, method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the text of the traceback."""
    error = fields.pop("exc_info", None)
    if error is True or (error is None and method == "exception"):
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        fields["traceback"] = traceback_text(error)
    return fields


def _finish(logger: "_Logger", method: str, fields: MutableMapping[str, Any]) -> tuple[Any, ...]:
    """Put time, level and event first: they survive when a record has to be cut."""
    level = _METHODS.get(method, method)
    event = fields.pop("event", "")
    record = {"time": timestamp(time.time()), "level": level, "event": event}
    if logger.name is not None:
        record["logger"] = logger.name
    for fields_of in at_hand:
        record |= fields_of()
    record.update(fields)  # what the author says of a message is meant
    return (record,), {}  # the arguments for `_Logger`


class _Logger:
    """What structlog hands its finished records to: the logger of a name, or of none."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def msg(self, record: dict[str, Any]) -> None:
        """Write one."""
        stderr.write(record)

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = msg


def prepare() -> None:
    """Make a worker of any slot log records: done by a template, which itself logs nothing."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, RecordHandler)]:
        root.removeHandler(old)
    root.addHandler(RecordHandler())
    logging.captureWarnings(True)
    set_level(logging.INFO)
    for signum in _LEVEL_OF:  # a fork has it, too, and an exec undoes it
        signal.signal(signum, _told)


def share_on_fork() -> None:
    """Make the records of what this worker will fork come to it. Never in a template."""
    global _shares
    _shares = True


def configure(level: str) -> None:
    """Log records of ``level`` ("INFO") and above. After `prepare`."""
    number = logging.getLevelName(level.upper())
    if isinstance(number, int) and number != _level:
        set_level(number)


def write_as(path: str, incarnation: int) -> None:
    """Log as the worker in the slot ``path``, whose log is our standard error from now on."""
    global _path
    _path = path
    stderr.incarnation = incarnation
    stderr.look()


def _told(signum: int, _frame: object) -> None:
    """Change the level: a supervisor says so."""
    set_level(_LEVEL_OF[signum])


def set_level(level: int) -> None:
    """Log records of this level and above, through `logging` and, if it is loaded, structlog."""
    global _level
    _level = level
    logging.getLogger().setLevel(level)
    if _bound_logger is not None:
        _let_through(_bound_logger, level)
    elif "structlog" in sys.modules:
        configure_structlog()


def configure_structlog() -> None:
    """Send what is logged with structlog into the records of this worker, if it is one."""
    global _bound_logger
    import structlog

    if _level is None:
        return
    if _bound_logger is None:
        _bound_logger = type("WorkerLogger", (structlog.make_filtering_bound_logger(0),), {})
    _let_through(_bound_logger, _level)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _with_traceback, _finish],
        wrapper_class=_bound_logger,
        logger_factory=_Logger,
        cache_logger_on_first_use=True,
    )


def _let_through(bound_logger: type, level: int) -> None:
    """Give a class of loggers the methods of a level: those that exist have them at once."""
    import structlog

    methods = vars(structlog.make_filtering_bound_logger(level))
    for name, method in methods.items():
        if not name.startswith("__"):
            setattr(bound_logger, name, method)


_level: int | None = None  # None: not a worker
_bound_logger: type | None = None  # the class of structlog's loggers
_path = ""
_shares = False


def _share() -> None:
    """Before the worker's first fork: make its children's records come to it."""
    if not _shares:
        return
    from supervisor.logs.multiprocess import install

    install(f"logs of {_path}", RecordHandler)


os.register_at_fork(before=_share)
