"""Sizes of directories."""

import os

#: Files that are looked at; what is beyond is not counted.
MAX_FILES = 200_000


def bytes_below(directory: str) -> int:
    """Return what the files below a directory take."""
    total = seen = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # it has just been removed
                continue
            seen += 1
            if seen >= MAX_FILES:
                return total
    return total
