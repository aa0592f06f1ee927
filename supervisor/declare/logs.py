"""What an author declares about the logs of an app: a plain declaration, as in `tree`.

What is said on the command line of `supervisor run` goes before it.
"""

from os import PathLike

from supervisor.errors import place_of_caller


class Logs:
    """How the log lines of an app are kept and printed: ``Supervisor(logs=Logs(...))`` of the root.

    Args:
        directory: where files are kept (default None: $XDG_STATE_HOME/letitcrash/NAME/logs).
        files: whether lines are kept in files (default True).
        max_use: bytes of all files together, or "1GiB" (default None: a tenth of the file system,
            at most 1 GiB).
        keep_free: bytes left free on their file system (default None: 15 %, at most 4 GiB).
        segment: bytes of a file before it is rotated (default None: a share of the whole, at most
            16 MiB).
        retention: seconds that files are kept at most (default None: 14 days).
        rate: lines that each stream may write in 30 s, more where there is much room (default None:
            10,000); what is more is dropped, and counted. 0: no limit.
        format: "json" (default: lines that say who wrote them) or "raw" (the bytes as they come).
        compress: whether rotated files are compressed (default True).
        level: the least that workers log and that is printed: "debug", "info" (default),
            "warning" or "error".

    """

    def __init__(
        self,
        directory: "str | PathLike[str] | None" = None,
        *,
        files: bool = True,
        max_use: int | str | None = None,
        keep_free: int | str | None = None,
        segment: int | str | None = None,
        retention: float | None = None,
        rate: float | None = None,
        format: str = "json",  # noqa: A002 - as users call it
        compress: bool = True,
        level: str = "info",
    ) -> None:
        self.directory = directory
        self.files = files
        self.max_use = max_use
        self.keep_free = keep_free
        self.segment = segment
        self.retention = retention
        self.rate = rate
        self.format = format
        self.compress = compress
        self.level = level
        self.where = place_of_caller()
