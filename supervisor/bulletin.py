"""Bulletins: what a process of the runtime has to tell, in a file of the runtime directory.

It is replaced as a whole: reading it asks nobody, and never finds half of it. It tells of one run,
so nothing is synced.
"""

import os
from typing import Any, Generic, TypeVar

import msgspec

#: Bytes of a bulletin at most.
MAX_BYTES = 16 << 20

_Content = TypeVar("_Content")


class Bulletin(Generic[_Content]):
    """One kind of bulletin.

    Args:
        file: its name in the runtime directory.
        content: the type of what it tells; it is written as JSON.

    """

    def __init__(self, file: str, content: Any) -> None:
        self.file = file
        self._content = content

    def post(self, directory: str, content: _Content) -> None:
        """Put a new one in the place of the last; raises OSError, and then the last one stays."""
        path = os.path.join(directory, self.file)
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(content))
        os.replace(f"{path}.new", path)

    def read(self, directory: str) -> _Content | None:
        """Read the last one; None if there is none, or none that can be read."""
        try:
            with open(os.path.join(directory, self.file), "rb") as file:
                content: _Content = msgspec.json.decode(file.read(MAX_BYTES), type=self._content)
        except (OSError, msgspec.DecodeError, ValueError):
            return None
        return content
