"""The options of `supervisor run` about log files."""

import math
from collections.abc import Mapping
from typing import Any

import click

from supervisor.cli.units import DURATION, SIZE
from supervisor.logs.bucket import Rate
from supervisor.logs.budget import Limits
from supervisor.logs.messages import FileOptions

LOG_OPTIONS = (
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
        "--log-retention", type=DURATION, metavar="TIME", default="14d", show_default=True,
        help="How long files are kept at most.",
    ),
    click.option(
        "--log-rate", type=click.FloatRange(min=0), metavar="LINES", default=10_000,
        show_default=True,
        help="Lines that each stream may write in 30 s, more where there is much room; "
        "what is more is dropped, and counted. 0: no limit.",
    ),
    click.option(
        "--log-files", type=click.Choice(["json", "raw"]), default="json", show_default=True,
        help="Keep JSON lines that say who wrote them, or the bytes as they come.",
    ),
    click.option("--no-log-compression", is_flag=True, help="Leave rotated files as they are."),
)  # fmt: skip


def file_options(given: Mapping[str, Any]) -> FileOptions | None:
    """Return how log files are kept; None: they are not."""
    if given["no_logs"] or given["logs"] == "off":
        return None
    unlimited = given["log_rate"] == 0
    return FileOptions(
        directory=given["logs"] or "",
        format=given["log_files"],
        limits=Limits(
            max_use=given["log_max_use"],
            keep_free=given["log_keep_free"],
            segment=given["log_segment"],
            retention=given["log_retention"],
        ),
        rate=Rate(math.inf, 30.0, math.inf) if unlimited else Rate(given["log_rate"]),
        compress=not given["no_log_compression"],
    )
