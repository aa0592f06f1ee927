"""A disk that loses power: the writes of a process, recorded, and what may be left of them.

Of a file, what was synced is there; of what was not, anything: nothing, all, or any sectors of it,
in any order. A name is there once its folder was synced; of later changes of names, any first part.
"""

import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = (
    "openat,pwrite64,write,ftruncate,fallocate,fsync,fdatasync,rename,unlink,unlinkat,mkdir,close"
)
_LINE = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Call:
    """One system call that was made, and did not fail."""

    name: str
    strings: tuple[bytes, ...]
    numbers: tuple[int, ...]
    flags: str
    result: int


def record(arguments: list[str], trace: Path) -> list[Call]:
    """Run a module in a process, and return its system calls that change files."""
    # The real interpreter: a shim of a version manager would be what is recorded.
    subprocess.run(
        [
            "strace", "-f", "-xx", "-s", "4194304", "-e", f"trace={CALLS}", "-e", "signal=none",
            "-o", str(trace), sys.executable, "-m", *arguments,
        ],
        check=True, stdout=subprocess.DEVNULL, timeout=50,
    )  # fmt: skip
    return list(_parsed(trace.read_text()))


def _parsed(text: str) -> Iterator[Call]:
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        strings = tuple(bytes.fromhex(s.replace("\\x", "")) for s in _STRING.findall(match[2]))
        rest = _STRING.sub("", match[2])
        numbers = tuple(int(n) for n in re.findall(r"(?:^|, )(\d+)(?=,|$)", rest))
        yield Call(match[1], strings, numbers, rest, int(match[3]))


@dataclass
class File:
    """A file: what is in it, what of that is safe, and what has changed since."""

    data: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)  # a write, or a new size

    def change(self, change: tuple[int, bytes] | int) -> None:
        """Write, or set the size."""
        self.pending.append(change)
        _apply(self.data, change)

    def sync(self) -> None:
        """Make it safe."""
        self.safe, self.pending = bytes(self.data), []


class Disk:
    """What a process has done below one folder.

    Args:
        folder: where.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.answers: list[str] = []
        self._names: dict[str, File] = {}
        self._safe_names: dict[str, File] = {}
        self._renamed: list[tuple[str, File | None]] = []  # since their folder was synced
        self._open: dict[int, File | str] = {}  # a string: a folder
        self._positions: dict[int, int] = {}

    def apply(self, call: Call) -> bool:
        """Do what a call did; say whether it changed what a crash can leave."""
        target = self._open.get(call.numbers[0]) if call.numbers else None
        match call.name:
            case "openat":
                return self._opened(call)
            case "close":
                self._open.pop(call.numbers[0], None)
                return False
            case "write" if call.numbers[0] == 1:
                self.answers.append(call.strings[0].decode().strip())
                return True
            case "rename":
                old, new = (name.decode() for name in call.strings)
                return self._named(new, self._names.get(old)) and self._named(old, None)
            case "unlink" | "unlinkat":
                return self._named(call.strings[0].decode(), None)
        if isinstance(target, str):
            return "sync" in call.name and self._sync_folder(target)
        return target is not None and self._changed(call, target)

    def _opened(self, call: Call) -> bool:
        path = call.strings[0].decode()
        self._open.pop(call.result, None)
        self._positions[call.result] = 0
        if not path.startswith(self._folder):
            return False
        if os.path.isdir(path) and path not in self._names:
            self._open[call.result] = path
            return False
        new = path not in self._names
        if new:
            self._named(path, File())
        self._open[call.result] = self._names[path]
        if "O_TRUNC" in call.flags:
            self._names[path].change(0)
        return new

    def _changed(self, call: Call, file: File) -> bool:
        match call.name:
            case "pwrite64":
                file.change((call.numbers[-1], call.strings[0][: call.result]))
            case "write":
                at = self._positions[call.numbers[0]]
                self._positions[call.numbers[0]] = at + call.result
                file.change((at, call.strings[0][: call.result]))
            case "ftruncate":
                file.change(call.numbers[1])
            case "fallocate":
                file.change(max(len(file.data), call.numbers[-1] + call.numbers[-2]))
            case "fsync" | "fdatasync":
                file.sync()
        return True

    def _named(self, path: str, file: File | None) -> bool:
        if not path.startswith(self._folder):
            return False
        self._renamed.append((path, file))
        _name(self._names, path, file)
        return True

    def _sync_folder(self, folder: str) -> bool:
        for path, file in self._renamed:
            if os.path.dirname(path) == folder:
                _name(self._safe_names, path, file)
        self._renamed = [one for one in self._renamed if os.path.dirname(one[0]) != folder]
        return True

    def sync(self) -> None:
        """Make all of it safe: time has passed."""
        self._safe_names, self._renamed = dict(self._names), []
        for file in self._names.values():
            file.sync()

    # --- what is left ---------------------------------------------------------------------------

    def everything(self) -> dict[str, bytes]:
        """What is there if only the process ended."""
        return {path: bytes(file.data) for path, file in self._names.items()}

    def synced(self) -> dict[str, bytes]:
        """What is there if nothing survives but what has to."""
        return {path: file.safe for path, file in self._safe_names.items()}

    def some(self, chance: random.Random) -> dict[str, bytes]:
        """What may be there: of what was not synced, any part."""
        names = dict(self._safe_names)
        for path, file in self._renamed[: chance.randint(0, len(self._renamed))]:
            _name(names, path, file)
        return {path: self._part(file, chance) for path, file in names.items()}

    def _part(self, file: File, chance: random.Random) -> bytes:
        data = bytearray(file.safe)
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        for change in file.pending:
            if isinstance(change, int):
                if chance.random() < share:
                    _apply(data, change)
                continue
            at, written = change
            for start in range(0, len(written), SECTOR):
                if chance.random() < share:
                    _apply(data, (at + start, written[start : start + SECTOR]))
        return bytes(data)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in memory, if there is such a file system: a real fsync would prove nothing."""
    memory = "/dev/shm"
    where = memory if os.access(memory, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="letitcrash-", dir=where) as folder:
        yield Path(folder)


def lay_out(files: dict[str, bytes], old: Path, new: Path) -> None:
    """Write files of the disk's folder into another one."""
    new.mkdir(parents=True)
    for path, data in files.items():
        target = new / Path(path).relative_to(old)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)


def _apply(data: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del data[change:]
        data.extend(bytes(change - len(data)))
        return
    at, written = change
    data.extend(bytes(max(0, at - len(data))))
    data[at : at + len(written)] = written


def _name(names: dict[str, File], path: str, file: File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file
