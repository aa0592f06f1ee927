"""What the janitor has done, for whoever looks: a file in the runtime directory."""

import os

import msgspec

JOURNAL = "janitor.json"
MAX_JOURNAL = 1 << 20


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last run of one recycler. ``at``: Unix seconds of its end; bytes, seconds.

    ``limit``: bytes that are left at most; ``path``: where to look, if ``size`` is not known.
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


def write(directory: str, entries: dict[str, Entry]) -> None:
    """Replace the journal."""
    path = os.path.join(directory, JOURNAL)
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, msgspec.json.encode(entries))
    finally:
        os.close(fd)
    os.replace(f"{path}.new", path)


def read(directory: str) -> dict[str, Entry]:
    """Read the journal; empty if there is none."""
    try:
        with open(os.path.join(directory, JOURNAL), "rb") as file:
            return msgspec.json.decode(file.read(MAX_JOURNAL), type=dict[str, Entry])
    except (OSError, msgspec.DecodeError, ValueError):
        return {}
