"""A broker and its clients, each a process of its own: forked, ended by pid, waited for by events.

A forked process keeps no descriptor but those it needs: the end of a connection is seen at once.
"""

import fcntl
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from supervisor.channel import Channel, pair
from supervisor.definition import QueueDefinition
from supervisor.link import Context, FromWorker, WorkerLink
from workers.queues.broker import broker
from workers.queues.client.reader import Delivery, QueueReader
from workers.queues.client.writer import QueueWriter
from workers.queues.frames import Command, FrameReader, Hello, Kind, frame

#: Seconds until a test gives up waiting.
PATIENCE = 20.0


class Reports:
    """Lines (space-separated numbers) that processes write into one pipe.

    It is small: who writes is at most a few hundred lines ahead of the test.
    """

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, 4096)
        self._rest = b""

    def lines(self, patience: float = PATIENCE) -> list[list[int]]:
        """Wait for lines; none if nothing came in time."""
        if not select.select([self.read_fd], [], [], patience)[0]:
            return []
        *whole, self._rest = (self._rest + os.read(self.read_fd, 1 << 16)).split(b"\n")
        return [[int(number) for number in line.split()] for line in whole]

    def take(self, count: int) -> list[list[int]]:
        """Wait for so many lines."""
        found: list[list[int]] = []
        while len(found) < count:
            more = self.lines()
            assert more, f"{len(found)} of {count} lines came: {found[-3:]}"
            found += more
        return found

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_fd)
        os.close(self.write_fd)


class Scene:
    """A listener, the broker behind it and the processes around it."""

    def __init__(self, where: Path, **queue: Any) -> None:
        self.path = str(where / "queues.sock")
        self.state = str(where)
        self.queue = QueueDefinition("q", **queue)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(128)
        self.standing = os.memfd_create("standing")  # root keeps one for its brokers
        self.reports = Reports()
        self._alive: set[int] = set()
        self._links: list[socket.socket] = []
        self.broker = self.start_broker()

    # --- processes --------------------------------------------------------------------------------

    def fork(self, work: Callable[..., None], *arguments: Any, keep: tuple[int, ...] = ()) -> int:
        """Start a process that does ``work``; its status is 1 if that raised."""
        pid = os.fork()
        if pid:
            self._alive.add(pid)
            return pid
        status = 1
        try:
            gc.freeze()  # what the test had open is closed here, and must not be closed again
            _close_all_but({0, 1, 2, self.reports.write_fd, *keep})
            _speak_on_stderr()
            work(*arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def start_broker(self) -> int:
        """Start a broker on the listener, and wait until it is ready."""
        ours, theirs = pair()
        keep = (self.listener.fileno(), self.standing, theirs.fileno())
        self.broker = self.fork(self._broker, theirs, keep=keep)
        theirs.close()
        self._links.append(ours)
        ours.settimeout(PATIENCE)
        channel: Channel[FromWorker] = Channel(ours, FromWorker)
        assert channel.receive() is not None
        return self.broker

    def _broker(self, link: socket.socket) -> None:
        argument = msgspec.msgpack.encode(broker.Argument([self.queue], self.state))
        worker_link = WorkerLink(link, Context("broker", 1))
        fds = {"listener": self.listener.fileno(), "standing": self.standing}
        broker.main(worker_link, argument, fds)

    def consumer(self, handle: Callable[[Delivery], None] | None = None, **options: Any) -> int:
        """Start a consumer that reports (message, attempt, its pid) and goes on for ever."""
        return self.fork(self._consume, handle, options)

    def _consume(self, handle: Callable[[Delivery], None] | None, options: dict[str, Any]) -> None:
        reader = QueueReader("q", self.path, **options)
        while True:
            for delivery in reader.receive():
                self.report(delivery.message, delivery.attempt, os.getpid())
                if handle is not None:
                    handle(delivery)
                reader.done(delivery)

    def report(self, *numbers: int) -> None:
        """Write one line, whole, into the reports."""
        os.write(self.reports.write_fd, b"%s\n" % b" ".join(b"%d" % one for one in numbers))

    def producer(self, count: int) -> int:
        """Start a producer of the numbers below ``count``, that ends when all are confirmed."""
        return self.fork(self._produce, count)

    def _produce(self, count: int) -> None:
        with QueueWriter("q", self.path) as writer:
            for number in range(count):
                writer.put(number)

    def kill(self, pid: int) -> None:
        """SIGKILL one of our processes, and reap it."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._alive.discard(pid)

    def ended(self, pid: int, patience: float = PATIENCE) -> int:
        """Wait for the end of one of our processes; return its wait status as an exit code."""
        fd = os.pidfd_open(pid)
        try:
            assert select.select([fd], [], [], patience)[0], f"{pid} goes on"
        finally:
            os.close(fd)
        self._alive.discard(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def alive(self, pid: int) -> bool:
        """Whether one of our processes has not ended."""
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def rss(self) -> int:
        """Return the broker's resident bytes."""
        with open(f"/proc/{self.broker}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    # --- the wire ---------------------------------------------------------------------------------

    def raw(self, hello: Hello | None = None) -> "Raw":
        """Connect without a client library; greet, if there is a hello."""
        return Raw(self.path, hello)

    def stat(self) -> dict[str, Any]:
        """Return the broker's statistics of the queue."""
        with self.raw(Hello("observer")) as observer:
            observer.send(frame(Kind.MANAGE, msgspec.msgpack.encode(Command("stats"))))
            body = observer.expect(Kind.MANAGED)[1]
        found: dict[str, Any] = msgspec.msgpack.decode(body)[0]
        return found

    def until(self, **wanted: object) -> dict[str, Any]:
        """Wait until the statistics say so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.stat()
            if all(found[name] == value for name, value in wanted.items()):
                return found
            assert time.monotonic() < deadline, f"wanted {wanted}, there is {found}"
            select.select([], [], [], 0.005)

    def close(self) -> None:
        """End everything."""
        for pid in list(self._alive):
            self.kill(pid)
        for link in self._links:
            link.close()
        self.listener.close()
        os.close(self.standing)
        self.reports.close()


Make = Callable[..., Scene]


def scenes(where: Path) -> Iterator[Make]:
    """Yield what makes scenes, and end what is in them: the body of a fixture."""
    made: list[Scene] = []

    def make(**queue: Any) -> Scene:
        made.append(Scene(where, **{"capacity": 1000, "max_attempts": 3, **queue}))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


class Raw:
    """A connection that sends what it is told to."""

    def __init__(self, path: str, hello: Hello | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self._frames = FrameReader()
        if hello is not None:
            self.send(frame(Kind.HELLO, msgspec.msgpack.encode(hello)))
            self.expect(Kind.WELCOME)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (kind, argument, body) until the broker closes the connection."""
        while True:
            found = self._frames.next()
            if found is not None:
                yield found[0], found[2], bytes(found[3])
                continue
            try:
                size = self.socket.recv_into(self._frames.space)
            except ConnectionError:
                return
            if not size:
                return
            self._frames.received(size)

    def expect(self, wanted: Kind) -> tuple[int, bytes]:
        """Wait for a frame of this kind; return its argument and body."""
        kind, argument, body = next(self.frames())
        assert kind == wanted, (kind, body)
        return argument, body

    def closed(self) -> str:
        """Wait until the broker closes the connection; return what it said why."""
        said = [body.decode() for kind, _, body in self.frames() if kind == Kind.REFUSED]
        return said[0] if said else ""


def _speak_on_stderr() -> None:
    """Log to descriptor 2: the test runner's handlers and streams have numbers that were closed.

    Those numbers are given anew, to connections and files: a line would go into the middle of them.
    """
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False)
    root = logging.getLogger()
    root.handlers = [logging.StreamHandler(sys.stderr)]


def _close_all_but(keep: set[int]) -> None:
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:  # the listing's own
                pass
