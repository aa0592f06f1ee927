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
    """One connection that calls, one call at a time. ``given_up``: it is not to be used any more.

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
        self.given_up = False
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
            most = self._door.welcome.max_body
            raise MessageTooLarge(f"{len(put)} bytes; {self.queue!r} takes {most} at most")
        if not self._door.send(put):  # the broker was replaced: none has all of it
            self._door.connect(deadline)
            if self.given_up:  # meanwhile: another connection than this one was ended
                raise CallFailed("the call was given up")
            self._door.send(put)
        try:
            return self._result(self._wait(number, deadline))
        except (CallTimeout, QueueError):
            self._door.send(frame(Kind.CANCEL, argument=number))
            raise

    def give_up(self) -> None:
        """End the call that another thread is waiting in."""
        self.given_up = True
        self._door.shut()

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
    """Connections that call, as many as there were calls at once."""

    def __init__(self, queue: str, address: str, link: WorkerLink | None) -> None:
        self._arguments = queue, address, link
        self._lock = threading.Lock()
        self._idle: list[Caller] = []
        self._busy: set[Caller] = set()
        self._closed = False

    def take(self) -> Caller:
        """Return one that nobody has; errors are those of `Caller`."""
        with self._lock:
            caller = self._idle.pop() if self._idle else None
        caller = caller or Caller(*self._arguments)
        with self._lock:
            self._busy.add(caller)
        return caller

    def give_back(self, caller: Caller) -> None:
        """Nobody has it any more."""
        with self._lock:
            self._busy.discard(caller)
            if not (self._closed or caller.given_up):
                self._idle.append(caller)
                return
        caller.close()

    def close(self) -> None:
        """Close all connections; calls end with CallFailed."""
        with self._lock:
            self._closed = True
            for caller in self._busy:
                caller.give_up()
            while self._idle:
                self._idle.pop().close()


class Calling:
    """One call, which another thread than the one that waits for its result may give up.

    Args:
        callers: the connections.
        message: what is put.
        options: of it.
        timeout: seconds to wait for the result; None: as long as it takes.

    """

    def __init__(
        self, callers: Callers, message: Any, options: Options, timeout: float | None
    ) -> None:
        self._callers, self._put = callers, (message, options, timeout)
        self._lock = threading.Lock()
        self._caller: Caller | None = None
        self._given_up = False

    def run(self) -> Any:
        """Call; see `QueueWriter.call`."""
        caller = self._callers.take()
        try:
            with self._lock:
                if self._given_up:
                    raise CallFailed("the call was given up")
                self._caller = caller
            return caller.call(*self._put)
        finally:
            with self._lock:
                self._caller = None
            self._callers.give_back(caller)

    def give_up(self) -> None:
        """End it: it is taken back, unless somebody handles it."""
        with self._lock:
            self._given_up = True
            if self._caller is not None:
                self._caller.give_up()
