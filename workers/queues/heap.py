"""The C library's heap, for who takes large messages and lets go of them all the time.

glibc gives the top of the heap back to the kernel as soon as 128 KiB of it are free, and takes it
again for the next message: each page is then faulted in, and cleared, anew. Half of the processor
time of messages of 64 KiB was that (measured: 9 faults a message in each of three processes).
"""

#: Bytes that are worth it.
LARGE = 1 << 15
#: Bytes of a block that is given back once: of the top of the heap, twice that may then stay free.
BLOCK = 1 << 23

_kept = False


def keep() -> None:
    """Have the heap keep what is given back, up to 16 MiB of it; of no effect the second time.

    glibc learns it from a block of that size that is allocated and freed (see `M_MMAP_THRESHOLD` in
    mallopt(3)); it is never touched, so it costs no memory. A request to trim still empties it.
    """
    global _kept
    if not _kept:
        _kept = True
        bytes(BLOCK)
