"""`logging` in a worker: what is logged with it becomes records."""

import logging
import sys
import traceback
from typing import Any

from supervisor.logs.record import at_hand, stderr, timestamp

#: Characters of a traceback that are kept: its end says what happened.
MAX_TRACEBACK = 32_000
#: What `logging` itself puts on a record; anything else came as ``extra=``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RecordHandler(logging.Handler):
    """Writes what is logged with `logging` as records."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        try:
            stderr.write(fields_of(record))
        except Exception:  # a message whose arguments do not fit it
            self.handleError(record)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what is worth keeping of a `logging` record."""
    fields: dict[str, Any] = {
        "time": timestamp(record.created),
        "level": level_name(record.levelno),
        "event": record.getMessage(),
        "logger": record.name,
    }
    if record.processName not in (None, "MainProcess"):  # a child of the worker
        fields["process"] = record.processName
    for fields_of in at_hand:
        fields |= fields_of()
    if "structlog" in sys.modules:
        fields |= sys.modules["structlog"].contextvars.get_contextvars()
    fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if record.exc_info and record.exc_info[1] is not None:
        fields["traceback"] = traceback_text(record.exc_info[1])
    elif record.exc_text:
        fields["traceback"] = record.exc_text
    return fields


def level_name(number: int) -> str:
    """Return the name of the level at or below a number."""
    for floor, name in ((50, "critical"), (40, "error"), (30, "warning"), (20, "info")):
        if number >= floor:
            return name
    return "debug"


def traceback_text(error: BaseException) -> str:
    """Format an exception; a very long traceback loses its beginning."""
    text = "".join(traceback.format_exception(error)).rstrip("\n")
    return text if len(text) <= MAX_TRACEBACK else "…" + text[-MAX_TRACEBACK:]
