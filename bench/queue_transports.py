"""What carries the messages of a run: a queue of ours, one of the peers', or bare sockets.

A transport is made anew for each run, and told in which process it works: `producer` and
`consumer` are called in processes of their own, forked after `open`.
"""

import itertools
import os
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from supervisor.channel import pair
from supervisor.definition import QueueDefinition
from supervisor.link import Context, WorkerLink
from workers import Consumer, Producer
from workers.queues.broker import broker

#: Messages that a queue holds; what bounds the peers too.
CAPACITY = 1000
#: Messages in a batch.
BATCH = 100
#: Ends a consumer. Messages are never None.
END = None

Handle = Callable[[Any], None]


class Transport:
    """One way from a producer to consumers."""

    def open(self, consumers: int) -> None:
        """Make what both sides need."""

    def consumer(self, index: int, ready: Callable[[], None], handle: Handle) -> None:
        """Handle messages until END comes."""
        raise NotImplementedError

    def producer(self, ready: Callable[[], None], messages: Iterable[Any], consumers: int) -> None:
        """Put the messages, and one END for each consumer; return when they are on their way."""
        raise NotImplementedError

    def check(self, messages: int) -> None:
        """Look whether the books say what has to be true after a run."""

    def cpu(self) -> float:
        """Seconds of processor time that whatever is in the middle has taken."""
        return 0.0

    def close(self) -> None:
        """End what was started."""


def fork(work: Callable[[], None]) -> int:
    """Do it in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


# --- ours ---------------------------------------------------------------------------------------


class Ours(Transport):
    """The queue of this package, between a Producer and Consumers as an app has them.

    Args:
        batch: messages of one put_many, and of handle_many at most; 1: put and handle, one by one.
        confirm: wait for each put until the broker has it.
        queue: options of the queue.

    """

    def __init__(self, batch: int = 1, confirm: bool = False, **queue: Any) -> None:
        self._batch, self._confirm = batch, confirm
        self._queue = QueueDefinition("bench", **{"capacity": CAPACITY, **queue})

    def open(self, consumers: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        path = os.path.join(self._directory.name, "queues")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(64)
        self._path = os.open(path, os.O_PATH)
        self._ours, theirs = pair()
        state = os.path.join(self._directory.name, "state")
        argument = broker_argument([self._queue], state)

        def serve() -> None:
            link = WorkerLink(theirs, Context("broker", 1))
            broker.main(link, argument, {"listener": self._listener.fileno()})

        self.broker = fork(serve)
        self._ours.recv(100)  # it is ready
        theirs.close()
        self._before = cpu_of(self.broker)

    def _link(self, path: str) -> WorkerLink:
        self._kept, mine = pair()
        context = Context(path, 1, queue="bench", fds={"queues": self._path})
        return WorkerLink(mine, context)

    def consumer(self, index: int, ready: Callable[[], None], handle: Handle) -> None:
        class One(Consumer):
            def connect(self) -> None:
                super().connect()
                ready()

            def handle(self, message: Any) -> None:
                if message is END:
                    self.finish()
                else:
                    handle(message)

        class Many(Consumer):
            batch = BATCH

            def connect(self) -> None:
                super().connect()
                ready()

            def handle_many(self, batch: Any) -> None:
                for message in batch:
                    if message is END:
                        self.finish()
                    else:
                        handle(message)

        (One if self._batch == 1 else Many)().supervised(self._link(f"consumer.{index}"))

    def producer(self, ready: Callable[[], None], messages: Iterable[Any], consumers: int) -> None:
        batch, confirm = self._batch, self._confirm

        class Source(Producer):
            def connect(self) -> None:
                super().connect()
                ready()

            def run(self) -> None:
                put = self.put
                if batch > 1:
                    self.put_many(messages)
                elif confirm:
                    for message in messages:
                        put(message, confirm=True)
                else:
                    for message in messages:
                        put(message)
                for _ in range(consumers):  # one for each: confirmed, so in chunks of their own
                    put(END)
                    self.flush()

        Source().supervised(self._link("producer"))

    def check(self, messages: int) -> None:
        deadline = time.monotonic() + 10
        while True:  # the last acknowledgements may be on their way
            found = stat(f"/proc/self/fd/{self._path}")
            if (found["accepted_total"], found["settled_total"]) == (messages, messages):
                break
            assert time.monotonic() < deadline, (messages, found)
        assert (found["depth"], found["dead_total"], found["redelivered_total"]) == (0, 0, 0), found

    def cpu(self) -> float:
        return cpu_of(self.broker) - self._before

    def close(self) -> None:
        os.kill(self.broker, signal.SIGKILL)
        os.waitpid(self.broker, 0)
        self._ours.close()
        self._listener.close()
        os.close(self._path)
        self._directory.cleanup()


def broker_argument(queues: list[QueueDefinition], directory: str) -> bytes:
    """What the broker is told when it starts."""
    return msgspec.msgpack.encode(broker.Argument(queues, directory))


def stat(path: str) -> dict[str, Any]:
    """Ask a broker for the statistics of its only queue."""
    from workers.queues.client.door import Door
    from workers.queues.frames import Command, Hello, Kind, frame

    door = Door(path, Hello("observer"))
    door.connect()
    door.send(frame(Kind.MANAGE, msgspec.msgpack.encode(Command("stats", "bench"))))
    for kind, _count, _argument, body in door.frames(block=True, deadline=time.monotonic() + 10):
        assert kind == Kind.MANAGED
        found = msgspec.msgpack.decode(body)
        door.break_off()
        return found[0] if isinstance(found, list) else found
    raise TimeoutError("no statistics came")


# --- peers --------------------------------------------------------------------------------------


class Peer(Transport):
    """A queue object with put and get, made before the fork."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def open(self, consumers: int) -> None:
        self._queue = self._make()

    def consumer(self, index: int, ready: Callable[[], None], handle: Handle) -> None:
        get = self._queue.get
        ready()
        while (message := get()) is not END:
            handle(message)

    def producer(self, ready: Callable[[], None], messages: Iterable[Any], consumers: int) -> None:
        put = self._queue.put
        ready()
        for message in messages:
            put(message)
        for _ in range(consumers):
            put(END)
        if hasattr(self._queue, "join_thread"):
            self._queue.close()
            self._queue.join_thread()

    def close(self) -> None:
        self._queue.close()


class Zmq(Transport):
    """pyzmq PUSH/PULL over ipc; it acknowledges nothing, and loses what a dead consumer had."""

    def open(self, consumers: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self._address = f"ipc://{self._directory.name}/socket"

    def consumer(self, index: int, ready: Callable[[], None], handle: Handle) -> None:
        import zmq

        pull = zmq.Context().socket(zmq.PULL)
        pull.set_hwm(CAPACITY)
        pull.connect(self._address)
        ready()
        get = pull.recv_pyobj
        while (message := get()) is not END:
            handle(message)

    def producer(self, ready: Callable[[], None], messages: Iterable[Any], consumers: int) -> None:
        import zmq

        context = zmq.Context()
        push = context.socket(zmq.PUSH)
        push.set_hwm(CAPACITY)
        push.bind(self._address)
        time.sleep(0.05 * consumers)  # it deals messages to whoever is connected by now
        ready()
        put = push.send_pyobj
        for message in messages:
            put(message)
        for _ in range(consumers):
            put(END)
        push.close(linger=10_000)
        context.term()

    def close(self) -> None:
        self._directory.cleanup()


# --- floors -------------------------------------------------------------------------------------


class Relay(Transport):
    """The floor: two socketpairs and a process that passes bytes on, unread.

    One consumer. What is put is encoded, framed and sent in chunks of so many messages; nothing is
    bounded, acknowledged or written down.
    """

    HEAD = struct.Struct("<I")

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk

    def open(self, consumers: int) -> None:
        assert consumers == 1
        self._into, source = socket.socketpair()
        sink, self._out = socket.socketpair()

        def relay() -> None:
            self._into.close()
            self._out.close()
            buffer = bytearray(1 << 18)
            while size := source.recv_into(buffer):
                sink.sendall(memoryview(buffer)[:size])

        self._relay = fork(relay)
        source.close()
        sink.close()
        self._before = cpu_of(self._relay)

    def consumer(self, index: int, ready: Callable[[], None], handle: Handle) -> None:
        self._into.close()
        decode = msgspec.msgpack.Decoder(list).decode
        ready()
        buffer, start, end = bytearray(1 << 22), 0, 0
        view = memoryview(buffer)
        while True:
            while end - start >= 4:
                stop = start + 4 + self.HEAD.unpack_from(buffer, start)[0]
                if stop > end:
                    break
                for message in decode(view[start + 4 : stop]):
                    if message is END:
                        return
                    handle(message)
                start = stop
            view[: end - start] = bytes(view[start:end])
            start, end = 0, end - start
            end += self._out.recv_into(view[end:])

    def producer(self, ready: Callable[[], None], messages: Iterable[Any], consumers: int) -> None:
        encode = msgspec.msgpack.Encoder().encode
        ready()
        for chunk in chunked(itertools.chain(messages, [END]), self._chunk):
            body = encode(chunk)
            self._into.sendall(self.HEAD.pack(len(body)) + body)

    def cpu(self) -> float:
        return cpu_of(self._relay) - self._before

    def close(self) -> None:
        self._into.close()
        self._out.close()
        os.waitpid(self._relay, 0)


def chunked(messages: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Cut what comes, when it comes."""
    rest = iter(messages)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk
