"""The last lines of a process in its log files, for the report of its end.

Only the ends of the two newest files are looked at, and of those only what is not compressed: a
report is written soon after an end, and a crash loop must not have megabytes read for each.
"""

import os
from collections.abc import Iterator, Mapping
from typing import IO, Any

import msgspec

from supervisor.crashes.redaction import without
from supervisor.logs.entry import Entry
from supervisor.logs.rotation import State
from supervisor.logs.shelf import Shelf

#: Lines of a process that are kept at most, and bytes of them as JSON.
MOST, MOST_BYTES = 50, 64 << 10
#: Bytes of a file that are looked at.
TAIL = 256 << 10


def last_lines(
    logs: str, child: str, path: str, incarnation: int, secrets: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return them as they were kept, the last one last; none where there are none.

    Args:
        logs: the log directory.
        child: the path of the Child.
        path: of its slot.
        incarnation: of the process.
        secrets: what is not to be in them, and is put in its place.

    """
    found: list[dict[str, Any]] = []
    left = MOST_BYTES
    for line in _newest_first(Shelf(logs, child)):
        source = line.fields.get("source")
        who = (source.get("path"), source.get("incarnation")) if isinstance(source, dict) else ()
        if who != (path, incarnation):
            continue
        fields = without(line.fields, secrets)
        left -= len(msgspec.json.encode(fields))
        if left < 0 or len(found) == MOST:
            break
        found.append(fields)
    return found[::-1]


def _newest_first(shelf: Shelf) -> Iterator[Entry]:
    try:
        names, current = shelf.snapshot()
        if current is not None:
            with os.fdopen(current.fd, "rb") as file:
                yield from _end_of(shelf, file)
        if names and names[-1].state is State.UNCOMPRESSED:
            with shelf.open(names[-1]) as closed:
                if closed is not None:
                    yield from _end_of(shelf, closed)
    except OSError:  # they are nobody's duty: a report without them is one, too
        return


def _end_of(shelf: Shelf, file: IO[bytes]) -> Iterator[Entry]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    lines = file.read(TAIL).split(b"\n")
    del lines[-1:]  # not finished yet, or nothing
    if size > TAIL:
        del lines[:1]  # cut
    for line in reversed(lines):
        yield shelf.entry(line, "", raw=False)
