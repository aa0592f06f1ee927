"""Reading back what a pump has kept, without any code of the product's."""

import gzip
import math
import os
import threading
from pathlib import Path
from typing import Any

import msgspec

from supervisor.logs.bucket import Rate
from supervisor.logs.budget import Limits
from supervisor.logs.messages import FileOptions

UNLIMITED = Rate(math.inf, 30.0, math.inf)


def options(directory: Path, *, rate: Rate = UNLIMITED, **more: Any) -> FileOptions:
    """Say where a pump keeps lines; by default none is too many, and nothing is compressed."""
    limits = {name: more.pop(name) for name in list(more) if name in Limits.__struct_fields__}
    more.setdefault("compress", False)
    return FileOptions(
        str(directory), limits=Limits(**{"keep_free": 0, **limits}), rate=rate, **more
    )


def segments(child: Path) -> list[Path]:
    """List the files of a child, oldest first; each closed one counts once."""
    found: dict[str, Path] = {}
    for path in child.iterdir():
        if path.name.startswith("@") and not path.name.endswith(".tmp"):
            stamp = path.name.split(".")[0]
            if stamp not in found or ".s." in path.name:
                found[stamp] = path
    current = [child / name for name in ("current.jsonl", "current.log") if (child / name).exists()]
    return [found[stamp] for stamp in sorted(found)] + current


def content(child: Path) -> bytes:
    """Return all that was kept of a child."""
    return b"".join(
        gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        for path in segments(child)
    )


def documents(child: Path) -> list[dict[str, Any]]:
    """Return all lines kept of a child; each must be a JSON document."""
    return [msgspec.json.decode(line) for line in content(child).splitlines()]


def events(child: Path) -> list[str]:
    """Return the texts of all lines."""
    return [document["event"] for document in documents(child)]


def used(directory: Path) -> int:
    """Count the bytes of all files below a directory, whatever they are."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                pass
    return total


class Sampler(threading.Thread):
    """Looks at the size of a directory all the time; ``most`` is the largest seen."""

    def __init__(self, directory: Path, every: float = 0.01) -> None:
        super().__init__(daemon=True)
        self._directory, self._every = directory, every
        self._done = threading.Event()
        self.most = self.samples = 0

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._done.wait(self._every):
            self.most = max(self.most, used(self._directory))
            self.samples += 1

    def stop(self) -> None:
        """Stop, and look a last time."""
        self._done.set()
        self.join()
        self.most = max(self.most, used(self._directory))
