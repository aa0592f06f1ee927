"""One command from root to the queue broker, over the broker's own socket.

Root knows of that protocol only the head of a frame and five kinds of frame; what is asked and
answered passes through it as it is. It never waits: a broker that is being restarted, or does not
answer, is an answer too.
"""

import socket
import struct
from collections.abc import Callable

import msgspec

from supervisor.control.messages import Failed, QueueAnswer, QueueCommand, Reply
from supervisor.loop import READ, WRITE, Loop

#: Head of a frame: size of the body, kind, count, argument.
HEADER = struct.Struct("<IHHQ")
HELLO, MANAGE = 1, 9
WELCOME, REFUSED, MANAGED = 16, 19, 22
PROTOCOL = 3
#: Bytes of an answer at most.
MAX_ANSWER = 32 << 20
READ_BYTES = 1 << 18
#: Seconds that the broker has to answer.
ANSWER_SECONDS = 30.0

EXIT_TIMED_OUT = 6
EXIT_TRY_LATER = 75


def call_broker(
    loop: Loop, path: str, command: QueueCommand, answered: Callable[[Reply], None]
) -> None:
    """Ask the broker, and give its answer to ``answered``: now or later, once.

    Args:
        loop: root's.
        path: the broker's socket.
        command: what to ask.
        answered: takes the reply.

    """
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:  # no descriptors are left
        answered(_later(f"the queue broker cannot be asked: {error.strerror}"))
        return
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        answered(_later(f"the queue broker takes no connection: {error.strerror}"))
        return
    _BrokerCall(loop, sock, _frames(command), answered)


class _BrokerCall:
    def __init__(
        self, loop: Loop, sock: socket.socket, output: bytes, answered: Callable[[Reply], None]
    ) -> None:
        self._loop, self._socket = loop, sock
        self._output = memoryview(output)
        self._input = bytearray()
        self._answered = answered
        self._timer = loop.call_later(ANSWER_SECONDS, self._overdue)
        loop.watch(sock, self._on_event, READ | WRITE)

    def _on_event(self, mask: int) -> None:
        try:
            if mask & WRITE and self._output:
                self._output = self._output[self._socket.send(self._output) :]
                if not self._output:
                    self._loop.watch(self._socket, self._on_event, READ)
            if mask & READ:
                self._read()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(_later(f"the queue broker has gone: {error.strerror}"))

    def _read(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data:
            self._end(_later("the queue broker ended before it answered"))
            return
        self._input += data
        while len(self._input) >= HEADER.size:
            size, kind, _count, _argument = HEADER.unpack_from(self._input)
            if size > MAX_ANSWER or kind not in (WELCOME, REFUSED, MANAGED):
                self._end(Failed("protocol", "the queue broker speaks another protocol"))
                return
            whole = HEADER.size + size
            if len(self._input) < whole:
                return
            body = bytes(self._input[HEADER.size : whole])
            del self._input[:whole]
            if kind == MANAGED:
                self._end(QueueAnswer(body))
                return
            if kind == REFUSED:
                self._end(Failed("refused", body.decode(errors="replace")))
                return

    def _overdue(self) -> None:
        problem = f"the queue broker did not answer within {ANSWER_SECONDS:g} s"
        self._end(Failed("timed-out", problem, "see its log", EXIT_TIMED_OUT))

    def _end(self, reply: Reply) -> None:
        self._timer.cancel()
        self._loop.unwatch(self._socket)
        self._socket.close()
        self._answered(reply)


def _frames(command: QueueCommand) -> bytes:
    hello = {"role": "observer", "protocol": PROTOCOL}
    asked = {
        "name": command.verb,
        "queue": command.queue,
        "ids": command.ids,
        "offset": command.offset,
        "limit": command.limit,
        "worker": command.worker,
    }
    return _frame(HELLO, hello) + _frame(MANAGE, asked)


def _frame(kind: int, content: object) -> bytes:
    body = msgspec.msgpack.encode(content)
    return HEADER.pack(len(body), kind, 0, 0) + body


def _later(problem: str) -> Failed:
    return Failed("try-later", problem, "try again in a moment", EXIT_TRY_LATER)
