"""Calls: a message is put, and whoever put it waits for what its handler returns."""

import itertools
import os
import threading
import time
from typing import Any

import msgspec
from msgspec import structs

from supervisor.link import WorkerLink
from workers.queues.client.door import Door
from workers.queues.client.draft import whole
from workers.queues.client.serializers import batch_encoder_of, decoder_of
from workers.queues.errors import CallFailed, CallTimeout, MessageTooLarge, QueueError, rejection
from workers.queues.frames import Hello, Kind, Options, Rejected, Reply, frame


class Caller:
    """One connection that calls, one call at a time.

    Args:
        queue: its name.
        address: path of the broker's socket.
        link: the worker's link, when waiting is to end with a request to stop.

    """

    def __init__(self, queue: str, address: str, link: WorkerLink | None = None) -> None:
        self.queue = queue
        name = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._door = Door(address, Hello("producer", queue, name), link)
        self._sequences = itertools.count(1)
        self._door.connect()
        serializer = self._door.welcome.serializer
        self._encode_into = batch_encoder_of(serializer)
        self._decode = decoder_of(serializer, Any)

    def call(self, message: Any, options: Options, timeout: float | None) -> Any:
        """Put a message, and wait for its result; see `QueueWriter.call`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        number = next(self._sequences)
        ttl = options.ttl or timeout or 0.0
        sent = structs.replace(options, reply=number, ttl=ttl)
        put = whole([message], msgspec.msgpack.encode(sent), number, self._encode_into)
        if len(put) > self._door.welcome.max_body:
            raise MessageTooLarge(f"{len(put)} bytes; {self.queue!r} takes less")
        if not self._door.send(put):  # the broker was replaced: none has all of it
            self._door.connect(deadline)
            self._door.send(put)
        try:
            return self._result(self._wait(number, deadline))
        except (CallTimeout, QueueError):
            self._door.send(frame(Kind.CANCEL, argument=number))
            raise

    def close(self) -> None:
        """Close the connection: a call that was given up is taken back."""
        self._door.break_off()

    def _wait(self, number: int, deadline: float | None) -> Reply:
        while self._door.connected:
            for kind, _count, argument, body in self._door.frames(block=True, deadline=deadline):
                if argument != number:  # of a call that was given up
                    continue
                if kind == Kind.RESULT:
                    return msgspec.msgpack.decode(body, type=Reply)
                if kind == Kind.REJECTED:
                    raise rejection(self.queue, msgspec.msgpack.decode(body, type=Rejected), 1)
            if deadline is not None and time.monotonic() >= deadline:
                raise CallTimeout(f"no result from {self.queue!r} in time")
        raise CallFailed("the broker has gone: whether the call was handled is not known")

    def _result(self, reply: Reply) -> Any:
        if not reply.ok and reply.error == "expired":
            raise CallTimeout(f"no result from {self.queue!r} in time")
        if not reply.ok:
            raise CallFailed(reply.error)
        return self._decode(reply.body)


class Callers:
    """A `Caller` for each thread that calls, made when it does so first.

    Those of threads that have ended are closed when another thread calls for the first time.
    """

    def __init__(self, queue: str, address: str, link: WorkerLink | None) -> None:
        self._arguments = queue, address, link
        self._lock = threading.Lock()
        self._all: dict[threading.Thread, Caller] = {}

    def call(self, message: Any, options: Options, timeout: float | None) -> Any:
        """Call, by this thread's connection."""
        caller = self._all.get(threading.current_thread())
        if caller is None:
            caller = Caller(*self._arguments)
            self._add(caller)
        return caller.call(message, options, timeout)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for caller in self._all.values():
                caller.close()

    def _add(self, caller: Caller) -> None:
        with self._lock:
            for thread in [one for one in self._all if not one.is_alive()]:
                self._all.pop(thread).close()
            self._all[threading.current_thread()] = caller
