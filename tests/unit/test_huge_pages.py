"""Huge pages: dense memory moves into them, sparse memory does not, and its contents stay."""

import mmap
import re
import subprocess
import sys

#: Maps 8 MiB, writes to some of its pages, collapses; prints what the kernel says of the mapping.
PROGRAM = """
import ctypes, mmap, sys
from supervisor.process import huge_pages
written = int(sys.argv[1])
memory = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_DONTDUMP)  # so that it is not joined with its neighbours
for page in range(written):
    memory[page * mmap.PAGESIZE] = page % 256
huge_pages.collapse()
assert all(memory[page * mmap.PAGESIZE] == page % 256 for page in range(written))
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
inside = False
for line in open("/proc/self/smaps"):
    if not line.split()[0].endswith(":"):
        begin, end = (int(word, 16) for word in line.split()[0].split("-"))
        inside = begin <= address < end
    elif inside:
        print(line, end="")
print("refused:", huge_pages._LIBC.madvise(None, 0, huge_pages.MADV_COLLAPSE))
"""


def _collapsed(pages: int) -> dict[str, int]:
    """Write to so many pages; what is then resident, and in huge pages, in KiB."""
    command = [sys.executable, "-c", PROGRAM, str(pages)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\w+): +(-?\d+)", said, re.M)}


def test_dense_memory_is_moved_into_huge_pages() -> None:
    """All of it that is aligned, unless the kernel does not know how; its contents stay."""
    found = _collapsed((8 << 20) // mmap.PAGESIZE)
    assert found["AnonHugePages"] >= 6 << 10 or found["refused"]


def test_sparse_memory_is_left_alone() -> None:
    """A mapping that is hardly used does not take more memory than before."""
    found = _collapsed(100)
    assert found["AnonHugePages"] == 0
    assert found["Rss"] < 1024
