"""How the logs of an app are kept: what its author has declared, and what the user said since."""

import math
import os

import msgspec

from supervisor.definition import LogsDefinition
from supervisor.errors import UnusableLogs
from supervisor.logs import place
from supervisor.logs.bucket import Rate
from supervisor.logs.budget import Limits
from supervisor.logs.messages import FileOptions
from supervisor.root.console import say
from supervisor.shortage import reason

LEVEL = "INFO"


def settled(said: LogsDefinition, declared: LogsDefinition) -> LogsDefinition:
    """Return what holds: what the user said goes before what the author declared."""
    given = {key: value for key, value in msgspec.structs.asdict(said).items() if value is not None}
    return msgspec.structs.replace(declared, **given)


def kept(logs: LogsDefinition, name: str) -> FileOptions | None:
    """Find and prepare the directory of the log files; None: there are to be none.

    A default place that cannot be used costs the files, not the app.

    Raises:
        UnusableLogs: the place that was chosen cannot be used.

    """
    if logs.files is False:
        return None
    directory = logs.directory or ""
    try:
        directory = os.path.abspath(directory or place.default_directory(name))
        place.prepare(directory)
    except OSError as error:
        if logs.directory:
            raise UnusableLogs(
                f"logs cannot be kept in {logs.directory}: {reason(error, directory)}",
                help="choose another directory with --logs DIR, or --no-logs",
            ) from error
        say(f"logs are not kept in files: {directory}: {reason(error, directory)}")
        return None
    return _options(directory, logs)


def _options(directory: str, logs: LogsDefinition) -> FileOptions:
    limits, rate = Limits(), Rate()
    if logs.retention is not None:
        limits = msgspec.structs.replace(limits, retention=logs.retention)
    if logs.rate is not None:
        rate = Rate(logs.rate) if logs.rate else Rate(math.inf, rate.period, math.inf)
    return FileOptions(
        directory=directory,
        format=logs.format or "json",
        limits=msgspec.structs.replace(
            limits, max_use=logs.max_use, keep_free=logs.keep_free, segment=logs.segment
        ),
        rate=rate,
        compress=logs.compress is not False,
    )
