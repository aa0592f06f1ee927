"""The options of `supervisor run` about logs: they go before what the tree declares."""

from collections.abc import Mapping
from typing import Any

import click

from supervisor.cli.units import DURATION, SIZE, Number
from supervisor.definition import LogsDefinition

LOG_OPTIONS = (
    click.option(
        "--log-level", envvar="SUPERVISOR_LOG_LEVEL",
        type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
        help="The least that is logged [default: INFO].",
    ),
    click.option(
        "--logs", metavar="DIR", envvar="SUPERVISOR_LOGS",
        help="Where to keep log files [default: $XDG_STATE_HOME/letitcrash/NAME/logs].",
    ),
    click.option("--no-logs", is_flag=True, help="Keep no log files."),
    click.option(
        "--log-max-use", type=SIZE, metavar="SIZE",
        help="Of all log files together [default: 10% of the file system, at most 1GiB].",
    ),
    click.option(
        "--log-keep-free", type=SIZE, metavar="SIZE",
        help="Left free on their file system [default: 15%, at most 4GiB].",
    ),
    click.option(
        "--log-segment", type=SIZE, metavar="SIZE",
        help="Of one file before it is rotated [default: a share of the whole, at most 16MiB].",
    ),
    click.option(
        "--log-retention", type=DURATION, metavar="TIME",
        help="How long files are kept at most [default: 14d].",
    ),
    click.option(
        "--log-rate", type=Number(min=0), metavar="LINES",
        help="Lines that each stream may write in 30 s, more where there is much room; "
        "what is more is dropped, and counted. 0: no limit [default: 10000].",
    ),
    click.option(
        "--log-files", type=click.Choice(["json", "raw"]),
        help="Keep JSON lines that say who wrote them, or the bytes as they come [default: json].",
    ),
    click.option("--no-log-compression", is_flag=True, help="Leave rotated files as they are."),
)  # fmt: skip


def log_settings(given: Mapping[str, Any]) -> LogsDefinition:
    """Return what was said of logs; of the rest, the tree or the default decides."""
    directory, level = given["logs"], given["log_level"]
    off = given["no_logs"] or directory == "off"
    return LogsDefinition(
        directory=None if off else directory,
        files=False if off else True if directory else None,
        max_use=given["log_max_use"],
        keep_free=given["log_keep_free"],
        segment=given["log_segment"],
        retention=given["log_retention"],
        rate=given["log_rate"],
        format=given["log_files"],
        compress=False if given["no_log_compression"] else None,
        level=None if level is None else level.upper(),
    )
