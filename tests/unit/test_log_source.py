"""One log pipe: whose line an unfinished one is."""

import os

from supervisor.logs.messages import Process, Source
from supervisor.logs.source import LogPipe


def test_only_the_end_of_a_process_interrupts_its_line() -> None:
    """The pump may hear of the first process of a slot after its first bytes: they are its own."""
    read, write = os.pipe()
    pipe = LogPipe(Source(1, "shop/a.0", "stdout"), read)
    pipe.written_by(Process("shop/a.0", 100, 1))
    assert not pipe.interrupted
    pipe.written_by(Process("shop/a.0", 101, 2))
    assert pipe.interrupted
    pipe.close()
    os.close(write)
