"""Marks in log pipes: where one process of a slot has stopped to write and the next one begins.

    …the last that pid 41 wrote RS US 57 2 \\n the first line of pid 57, incarnation 2…

A process writes its mark before the author's code can write anything, and only once nothing is left
of the one before. So its place is exact, whoever is slow or killed meanwhile: what root could say
of it comes by another way, sooner or later than the bytes. A worker that writes a mark itself lies
about its own number; its path, which nobody in it can change, is what a pipe is known by.
"""

import re
from typing import NamedTuple

#: Bytes of a mark at most.
MAX_MARK = 64
_MARK = re.compile(rb"\x1e\x1f([0-9]{1,10}) ([0-9]{1,18})\n")
_BEGINNING = re.compile(rb"\x1e(?:\x1f[0-9 ]*)?\Z")
_RARE = b"\x1f"


class Mark(NamedTuple):
    """One mark: where in the bytes it is, and who writes from there on."""

    start: int
    end: int
    pid: int
    incarnation: int


def mark(pid: int, incarnation: int) -> bytes:
    """Return the mark of a process: small enough that nothing gets into the middle of it."""
    return b"\x1e\x1f%d %d\n" % (pid, incarnation)


def find_mark(data: bytes) -> Mark | None:
    """Return the first mark in what was read of a pipe."""
    if _RARE not in data or (found := _MARK.search(data)) is None:
        return None
    return Mark(found.start(), found.end(), int(found[1]), int(found[2]))


def without_beginning(data: bytes) -> bytes:
    """Leave out the beginning of a mark at the end of bytes that were cut off there."""
    found = _BEGINNING.search(data, max(0, len(data) - MAX_MARK))
    return data if found is None else data[: found.start()]
