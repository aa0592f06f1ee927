"""Numbers in files that outlive whoever writes them: one a line."""

import os
from pathlib import Path

#: How many there are.
COUNT = 12


def noted(file: Path) -> set[int]:
    """Return the numbers in a file; its last line may have been cut off."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return set()
    return {int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")}


def note(file: Path, number: int) -> None:
    """Add a number to a file, in one piece."""
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{number}\n".encode())
    finally:
        os.close(fd)
