"""Compression of closed log files: zstd where the interpreter or a package has it, else gzip."""

import gzip
import importlib
import os
import time
import zlib
from collections.abc import Callable
from typing import IO, Any

#: Modules with the interface of Python 3.14's `compression.zstd`.
_ZSTD = ("compression.zstd", "backports.zstd")
ZSTD_LEVEL, GZIP_LEVEL = 3, 1
#: Bytes that are compressed in one go: within a millisecond.
CHUNK = 64 * 1024
#: So many times the processor time of each piece is rested after it. Whoever wakes on the processor
#: meanwhile waits for the end of a piece at most, not for the kernel to take the processor away
#: (4 ms, in which a flood fills a pipe); and the memory is the others' for most of the time.
REST = 7.0


def zstd() -> Any | None:
    """Return the module that does zstd, if there is one."""
    for name in _ZSTD:
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    return None


def best() -> str:
    """Return the codec that is used: "zstd" or "gzip"."""
    return "gzip" if zstd() is None else "zstd"


def compress(source: int, target: int, codec: str) -> None:
    """Compress one file into another, both open, and make the outcome last.

    Takes its time: it is for a process that works behind others.
    """
    engine = _compressor(codec)
    offset, worked = 0, time.process_time()
    while piece := os.pread(source, CHUNK, offset):
        offset += len(piece)
        _write(target, engine.compress(piece))
        before, worked = worked, time.process_time()
        time.sleep(REST * (worked - before))
    _write(target, engine.flush())
    os.fsync(target)


def _compressor(codec: str) -> Any:
    if codec == "gzip":
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    module = zstd()
    assert module is not None
    return module.ZstdCompressor(level=ZSTD_LEVEL)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def damages() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file may raise."""
    module = zstd()
    return (EOFError, OSError, zlib.error, *(() if module is None else (module.ZstdError,)))


def reader(codec: str) -> Callable[[IO[bytes]], Any]:
    """Return what makes a readable file of a compressed one.

    Raises:
        LookupError: there is nothing here that can.

    """
    if codec == "gzip":
        return lambda file: gzip.open(file, "rb")
    module = zstd()
    if module is None:
        raise LookupError("it is compressed with zstd: pip install 'letitcrash[zstd]'")
    return lambda file: module.ZstdFile(file, mode="rb")
