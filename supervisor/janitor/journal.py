"""What the janitor has done, for whoever looks: a file in the runtime directory."""

import msgspec

from supervisor.bulletin import Bulletin


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last run of one recycler. ``at``: Unix seconds of its end; bytes, seconds.

    ``limit``, ``max_files``: bytes and files that are left at most, none older than ``max_age``;
    ``path``: where to look, if ``size`` is not known.
    """

    at: float
    seconds: float
    runs: int
    failures: int = 0
    removed: int = 0
    removed_bytes: int = 0
    size: int | None = None
    files: int | None = None
    problem: str = ""
    limit: int | None = None
    path: str | None = None
    max_files: int | None = None
    max_age: float | None = None


#: What the runtime's own recyclers are called: no name of an author's has a space.
TEMP, CORES, CRASHES = "temp directories", "core files", "crash reports"
#: By the recycler's name.
JOURNAL = Bulletin[dict[str, Entry]]("janitor.json", dict[str, Entry])
