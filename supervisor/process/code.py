"""Which code an app is: so that a log can say that it changed on disk while it ran."""

import os
import sys
import zlib
from pathlib import Path

#: Characters of a commit that are shown.
SHOWN = 12
#: Not the author's, wherever they are installed.
FOREIGN = ("site-packages", "dist-packages")
RUNTIME = ("supervisor", "workers")


def identity(module: str) -> str:
    """Return what tells the code of an app from other versions of it.

    A checksum of the source files that have been imported from the directory of the app's module
    (or topmost package), and the commit that is checked out there, if that is known:
    "0f343b09" or "0f343b09 (commit 385b832a9c01)". Not a digest: hashlib's library would be mapped
    into every fork.
    """
    top = sys.modules.get(module.partition(".")[0])
    source = getattr(top, "__file__", None) or ""
    if not source:
        return ""
    base = os.path.dirname(os.path.abspath(source))
    checksum = 0
    for path in sorted(_sources(base)):
        checksum = zlib.crc32(path.encode(errors="surrogateescape") + b"\0", checksum)
        try:
            checksum = zlib.crc32(Path(path).read_bytes(), checksum)
        except OSError:  # deleted meanwhile: that is a change too
            checksum = zlib.crc32(b"?", checksum)
    commit = _commit(Path(base))
    return f"{checksum:08x}" + (f" (commit {commit[:SHOWN]})" if commit else "")


def _sources(base: str) -> set[str]:
    found = set()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or name.partition(".")[0] in RUNTIME:
            continue
        path = os.path.abspath(path)
        if path.startswith(base + os.sep) and not any(part in path for part in FOREIGN):
            found.add(path)
    return found


def _commit(directory: Path) -> str:
    """Read which commit is checked out, without running git; "" if that is not to be found."""
    for place in (directory, *directory.parents):
        try:
            head = (place / ".git" / "HEAD").read_text().strip()
        except OSError:
            continue
        if not head.startswith("ref: "):
            return head
        try:
            return (place / ".git" / head[5:]).read_text().strip()
        except OSError:
            return _packed(place / ".git" / "packed-refs", head[5:])
    return ""


def _packed(refs: Path, name: str) -> str:
    try:
        lines = refs.read_text().splitlines()
    except OSError:
        return ""
    return next((line.split()[0] for line in lines if line.endswith(" " + name)), "")
