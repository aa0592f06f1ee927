"""The records of processes that a worker itself starts with multiprocessing, or forks.

Used only inside a worker: a worker and its own children are one user and one blast radius.

    child ──one packet a record──► SOCK_SEQPACKET ──► thread in the worker ──► the worker's log

`multiprocessing-logging` does this with a shared `multiprocessing.Queue`. Its lock dies with the
process that holds it: a SIGKILL of a writer silences all of them for good, its buffer has no limit,
and the parent unpickles what its children send. So this keeps the handler and replaces the queue:

- a packet arrives whole or not at all, whenever its sender is killed; there is no lock;
- nothing is pickled: a packet is a record's JSON line, or a small msgpack struct;
- the socket is the only buffer. When it is full, a child *waits*, at most `PATIENCE` seconds; then
  its record is dropped, and the next one says how many were;
- when the worker is gone, a child writes to the standard error it inherited.

The socket is made before the first fork and the thread started after it: a worker that never
forks has neither.

Start methods: "fork" works by inheritance. Children started with "spawn" or "forkserver" are fresh
interpreters that know nothing of this; what they write to standard error is captured as raw
lines.
"""

import logging
import os
import select
import socket
import struct
import threading
from typing import Any

import msgspec
from multiprocessing_logging import MultiProcessingHandler  # type: ignore[import-untyped]

from supervisor.errors import summary_of
from supervisor.logs.handler import RecordHandler, traceback_text
from supervisor.logs.record import MAX_RECORD, key_text, stderr

#: Seconds a child waits for the worker to take its record before it drops it.
PATIENCE = 5.0
#: Seconds `close` waits for the thread to take what is still in the socket.
CLOSE_PATIENCE = 2.0
#: Bytes of a packet: the longest record, and its tag.
MAX_PACKET = MAX_RECORD + 2
#: Packets taken between two looks at whether to end; more than the socket holds.
BATCH = 1000
#: Characters of a message, and of a traceback, that cross; the rest is cut, with a mark.
MAX_TEXT = 12_000

_LINE, _RECORD = b"L", b"R"


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """What crosses of a `logging` record when its handler is not the worker's own."""

    level: int
    name: str
    text: str
    created: float
    pid: int
    process: str
    traceback: str | None = None
    dropped: int = 0


class _Told(msgspec.Struct):
    """What a record's line says of those dropped before it."""

    dropped_before: int = 0


_decode_told = msgspec.json.Decoder(_Told).decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packet).decode


class PacketHandler(MultiProcessingHandler):  # type: ignore[misc]
    """Wraps a handler: in the worker it is called at once, in its children by way of a socket.

    Args:
        name: of the receiving thread.
        sub_handler: the handler that does the writing, in the worker.

    """

    def __init__(self, name: str, sub_handler: logging.Handler) -> None:
        logging.Handler.__init__(self, sub_handler.level)  # not the base's, which makes the queue
        self.sub_handler = sub_handler
        self.filters = sub_handler.filters
        self.failed = 0  # records on which the sub-handler raised
        self.dropped = 0  # in this process, since the last record that got through
        self._owner = os.getpid()
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        limit = struct.pack("ll", int(PATIENCE), 0)
        self._sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_closed = False
        self._receive_thread = threading.Thread(target=self._receive, name=name, daemon=True)

    # --- in the children ----------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Become a sender; let go of the receiving end, so that the worker's death is noticed."""
        if self._owner == os.getpid() or self._receiver.fileno() < 0:
            return
        self._receiver.close()
        os.close(self._wake)
        self.dropped = 0
        stderr.forward = self.forward_line

    def forward_line(self, line: bytes) -> bool | None:
        """Send one of this process's records; False: dropped, None: the worker is gone."""
        return self._send(_LINE + line)

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a record here, or send it to the worker."""
        try:
            if os.getpid() == self._owner or isinstance(self.sub_handler, RecordHandler):
                self.sub_handler.handle(record)  # the worker's own handler forwards by itself
                return
            sent = self._send(_RECORD + _encode(self._packet(record)))
        except Exception:  # a message whose arguments do not fit it
            self.handleError(record)
            return
        if sent is None:
            self.sub_handler.handle(record)

    def _packet(self, record: logging.LogRecord) -> Packet:
        error = record.exc_info[1] if record.exc_info else None
        trace = record.exc_text if error is None else traceback_text(error)
        return Packet(
            level=record.levelno,
            name=_bounded(record.name),
            text=_bounded(record.getMessage()),
            created=record.created,
            pid=os.getpid(),
            process=_bounded(record.processName or ""),
            traceback=None if trace is None else _bounded(trace),
            dropped=self.dropped,
        )

    def _send(self, packet: bytes) -> bool | None:
        try:
            self._sender.send(packet, socket.MSG_NOSIGNAL)
        except BlockingIOError:  # PATIENCE is over
            self.dropped += 1
            stderr.dropped += 1
            return False
        except OSError:  # the worker is gone, or the handler closed
            return None
        self.dropped = 0
        return True

    # --- in the worker ------------------------------------------------------------------------

    def start(self) -> None:
        """Start receiving, unless it has begun: after the first fork, in the worker."""
        ours = self._owner == os.getpid()  # a process forked by the worker may fork, too
        if ours and not self._is_closed and not self._receive_thread.ident:
            self._receive_thread.start()

    def _receive(self) -> None:
        poll = select.poll()
        poll.register(self._receiver, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._is_closed:
            poll.poll()
            self._take_waiting()
        self._take_waiting()

    def _take_waiting(self) -> None:
        for _ in range(BATCH):
            try:
                packet = self._receiver.recv(MAX_PACKET, socket.MSG_DONTWAIT)
            except OSError:  # nothing more, or closed
                return
            if not packet:
                return
            try:
                self._take(packet)
            except Exception as error:  # one bad record or handler must not end the thread
                self._note_failure(error)

    def _take(self, packet: bytes) -> None:
        if packet[:1] == _LINE:
            if not stderr.write_line(packet[1:]):
                stderr.dropped += _decode_told(packet[2:]).dropped_before
            return
        content = _decode(packet[1:])
        fields: dict[str, Any] = {
            "levelno": content.level,
            "levelname": logging.getLevelName(content.level),
            "name": content.name,
            "msg": content.text,
            "created": content.created,
            "process": content.pid,
            "processName": content.process,
            "exc_text": content.traceback,
        }
        if content.dropped:
            fields["dropped_before"] = content.dropped
        self.sub_handler.handle(logging.makeLogRecord(fields))

    def _note_failure(self, error: Exception) -> None:
        self.failed += 1
        if self.failed == 1:
            said = summary_of(error)
            stderr.write({"level": "error", "event": "a log handler raised", "error": said})

    def close(self) -> None:
        """Stop receiving; what is in the socket is still taken. Never waits for long."""
        if self._is_closed:
            return
        self._is_closed = True
        logging.Handler.close(self)
        if os.getpid() != self._owner:
            self._sender.close()
            return
        os.eventfd_write(self._wake, 1)
        if self._receive_thread.ident and self._receive_thread is not threading.current_thread():
            self._receive_thread.join(CLOSE_PATIENCE)
        if not self._receive_thread.is_alive():
            os.close(self._wake)
        self._receiver.close()
        self._sender.close()
        self.sub_handler.close()


def _bounded(text: str) -> str:
    text = key_text(text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + f"… ({len(text)} characters)"


_handlers: list[PacketHandler] = []
_hooked = False


def install(
    name: str = "logs",
    kind: type[logging.Handler] = logging.Handler,
    logger: logging.Logger | None = None,
) -> None:
    """Wrap a logger's handlers, so that they work in processes forked from here on.

    Args:
        name: of the receiving threads.
        kind: wrap handlers of this class (default: all).
        logger: the logger (default: the root logger).

    """
    global _hooked
    target = logger or logging.getLogger()
    for old in list(target.handlers):
        if isinstance(old, kind) and not isinstance(old, MultiProcessingHandler):
            handler = PacketHandler(name, old)
            target.removeHandler(old)
            target.addHandler(handler)
            _handlers.append(handler)
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_parent=_start, after_in_child=_become_sender)


def _start() -> None:
    for handler in _handlers:
        handler.start()


def _become_sender() -> None:
    for handler in _handlers:
        handler.after_fork_in_child()
