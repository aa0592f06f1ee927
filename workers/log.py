"""The log of a worker: `log.info("charged", order=7)`.

Structured: an event in words, and its fields. `logging` and `warnings` reach the same log; what is
printed to stdout or stderr is captured line by line.
"""

from typing import Any

import structlog

from supervisor.logs.setup import configure_structlog

configure_structlog()


def get_logger(name: str | None = None, **fields: Any) -> structlog.typing.FilteringBoundLogger:
    """Return a logger.

    Args:
        name: shown as the field ``logger`` (default: none).
        fields: bound to each of its records.

    """
    names = () if name is None else (name,)
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(*names, **fields)
    return logger


log = get_logger()
