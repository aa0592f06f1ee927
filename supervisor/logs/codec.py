"""Compression of closed log files: zstd where the interpreter or a package has it, else gzip."""

import gzip
import importlib
import os
import zlib
from collections.abc import Callable
from typing import IO, Any

#: Modules with the interface of Python 3.14's `compression.zstd`.
_ZSTD = ("compression.zstd", "backports.zstd")
ZSTD_LEVEL, GZIP_LEVEL = 3, 1
CHUNK = 256 * 1024


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
    """Compress one file into another, both open, and make the outcome last."""
    engine = _compressor(codec)
    offset = 0
    while piece := os.pread(source, CHUNK, offset):
        offset += len(piece)
        _write(target, engine.compress(piece))
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
