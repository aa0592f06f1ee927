"""Who is put under the killer: queues between a producer and consumers, each a process.

A contestant starts processes on request, and says which of them the killer may hit. What they do
they report in records of nine bytes: a message was put, or was handled.
"""

import multiprocessing
import os
import signal
import socket
import struct
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Semaphore
from typing import Any

import msgspec

from bench.queue_transports import fork
from supervisor.channel import pair
from supervisor.definition import QueueDefinition
from supervisor.link import Context, WorkerLink
from workers import Consumer
from workers.queues.broker import broker
from workers.queues.client.writer import QueueWriter

CAPACITY = 1000
CONSUMERS = 3
RECORD = struct.Struct("<cQ")
PUT, HANDLED, BROKEN = b"p", b"h", b"b"

_context = multiprocessing.get_context("fork")


class Stop:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _signum: int, _frame: Any) -> None:
        self.came = True


class Contestant:
    """A queue under the killer.

    Args:
        reports: the pipe that records are written to.

    """

    def __init__(self, reports: int) -> None:
        self._reports = reports

    def say(self, kind: bytes, number: int) -> None:
        os.write(self._reports, RECORD.pack(kind, number))

    def open(self) -> None:
        """Make what all sides need."""

    def consumer(self) -> int:
        """Start a consumer; return its pid."""
        return fork(self._consume)

    def producer(self) -> int:
        """Start a producer that puts numbers until SIGTERM; return its pid."""
        return fork(self._produce)

    def others(self) -> list[int]:
        """Processes that may be hit beside the consumers."""
        return []

    def replaced(self, pid: int) -> None:
        """One of the others was hit, and has ended."""

    def dead(self) -> int:
        """Messages that the queue has given up, and says so."""
        return 0

    def close(self) -> None:
        """End what it has started itself, and give back what is left of it."""

    def _consume(self) -> None:
        raise NotImplementedError

    def _produce(self) -> None:
        raise NotImplementedError


class Multiprocessing(Contestant):
    """multiprocessing.Queue."""

    def open(self) -> None:
        self._queue: Any = _context.Queue(CAPACITY)

    def _consume(self) -> None:
        while True:
            self.say(HANDLED, self._queue.get())

    def _produce(self) -> None:
        stop, number = Stop(), 0
        while not stop.came:
            self._queue.put(number)
            self.say(PUT, number)
            number += 1
        self._queue.close()
        self._queue.join_thread()


class Joinable(Multiprocessing):
    """multiprocessing.JoinableQueue."""

    def open(self) -> None:
        self._queue = _context.JoinableQueue(CAPACITY)

    def _consume(self) -> None:
        while True:
            self.say(HANDLED, self._queue.get())
            self._queue.task_done()


class Pool(Contestant):
    """concurrent.futures.ProcessPoolExecutor: its workers are its own, and so is their restart."""

    def consumer(self) -> int:
        return 0

    def _produce(self) -> None:
        stop, number, room = Stop(), 0, Semaphore(CAPACITY)
        with ProcessPoolExecutor(CONSUMERS, _context) as pool:
            try:
                while not stop.came:
                    room.acquire()
                    done = pool.submit(self.say, HANDLED, number)
                    done.add_done_callback(lambda _: room.release())
                    self.say(PUT, number)
                    number += 1
            except BrokenProcessPool:
                self.say(BROKEN, number)


class Ours(Contestant):
    """The queue of this package; only its consumers are hit."""

    durable = ""

    def open(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self._path = os.path.join(self._directory.name, "queues")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._path)
        self._listener.listen(64)
        self._queue = QueueDefinition("q", capacity=CAPACITY, durable=self.durable)
        self._broker = self._start()

    def _start(self) -> int:
        ours, theirs = pair()
        state = os.path.join(self._directory.name, "state")
        argument = msgspec.msgpack.encode(broker.Argument([self._queue], state))

        def serve() -> None:
            link = WorkerLink(theirs, Context("broker", 1))
            broker.main(link, argument, {"listener": self._listener.fileno()})

        pid = fork(serve)
        theirs.close()
        ours.recv(100)  # it is ready
        self._link = ours  # its end would end the broker
        return pid

    def _consume(self) -> None:
        say = self.say

        class Reporting(Consumer):
            def handle(self, message: int) -> None:
                say(HANDLED, message)

        kept, mine = pair()
        fd = os.open(self._path, os.O_PATH)
        Reporting().supervised(WorkerLink(mine, Context("c", 1, queue="q", fds={"queues": fd})))
        kept.close()

    def _produce(self) -> None:
        stop, number = Stop(), 0
        with QueueWriter("q", self._path) as writer:
            while not stop.came:
                writer.put(number)
                self.say(PUT, number)
                number += 1
            writer.flush(30.0)

    def dead(self) -> int:
        from bench.queue_transports import stat

        return int(stat(self._path)["dead"])

    def close(self) -> None:
        os.kill(self._broker, signal.SIGKILL)
        os.waitpid(self._broker, 0)
        self._link.close()
        self._listener.close()
        self._directory.cleanup()


class OursDurable(Ours):
    """The durable queue of this package: its consumers are hit, and its broker."""

    durable = "full"

    def others(self) -> list[int]:
        return [self._broker]

    def replaced(self, pid: int) -> None:
        self._link.close()
        self._broker = self._start()


CONTESTANTS: dict[str, type[Contestant]] = {
    "multiprocessing.Queue": Multiprocessing,
    "multiprocessing.JoinableQueue": Joinable,
    "ProcessPoolExecutor": Pool,
    "ours": Ours,
    "ours, durable, its broker killed too": OursDurable,
}
