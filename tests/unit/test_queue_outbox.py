"""What waits for a peer that reads slowly, and the heap that holds it."""

import os
import socket
import subprocess
import sys

from workers.queues.broker.connection import Connection
from workers.queues.broker.outbox import ENOUGH
from workers.queues.core.chunk import Chunk
from workers.queues.frames import PREFIX, FrameReader, Kind

CHURN = """
import resource
from workers.queues import heap
if {keep}:
    heap.keep()
def churn(rounds):
    for _ in range(rounds):
        blocks = [bytes([65 + number]) * 65536 for number in range(16)]
churn(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn(100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    """Page faults of taking and freeing a megabyte a hundred times, in a process of its own."""
    command = [sys.executable, "-c", CHURN.format(keep=keep)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_heap_that_keeps_faults_in_no_page_twice() -> None:
    """Without it, each round of messages is faulted in anew."""
    assert faults(keep=True) < 500 < 5000 < faults(keep=False)


def test_what_a_slow_peer_reads_bit_by_bit_arrives_whole_and_in_order() -> None:
    """Bodies of more than a socket takes, cut wherever it takes no more, are joined again."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection = Connection(ours, os.getpid(), 1)
    connection.out.limit = 1 << 30
    bodies = [bytes([number]) * size for number, size in enumerate((1 << 20, 10, 70_000) * 5)]
    for number, body in enumerate(bodies, 1):
        connection.deliver(Chunk(number, 1, body), now=0.0)
    assert sum(map(len, bodies)) > 4 * ENOUGH
    reader, found = FrameReader(), []
    while len(found) < len(bodies):
        connection.flush()
        reader.received(theirs.recv_into(reader.space))
        while (frame := reader.next()) is not None:
            kind, count, chunk, body = frame
            assert (kind, count, chunk) == (Kind.DELIVER, 1, len(found) + 1)
            found.append(bytes(body[PREFIX.size :]))
    assert found == bodies
    assert not connection.wants_write
    connection.close()
    theirs.close()
