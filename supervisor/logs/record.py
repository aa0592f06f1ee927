"""Structured records: how every process of a tree writes them, authors' and the runtime's alike.

A record is one line on the process's standard error: the byte 0x1E (RFC 7464's record separator),
a JSON object, a newline, written with a single call. Any other line there is raw text. Who wrote it
is known by the pipe it came through, not by what it says.

Two kinds of writers share this:

- `stderr`, of a worker: a full pipe makes it wait for `PATIENCE` seconds, that is the back
  pressure; then records are dropped, and counted in the next one that is taken. In a process that
  a worker forked, it hands its records to the worker (see `supervisor.logs.multiprocess`).
- `record_writer`, of a supervisor: must never wait, so what does not fit is dropped, and counted in
  the next record that does.
"""

import fcntl
import logging
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

RECORD_SEPARATOR = b"\x1e"
#: Bytes of a record at most, as the pump takes them; longer texts in it are cut.
MAX_RECORD = 64 * 1024
#: Characters that are kept of each text in a record that is too long; the first that does it.
CUTS = (32_000, 8_000, 1_000)
#: Fields that are kept of such a record: with the last cut it always fits.
CUT_FIELDS = 8
CUT_KEY = 100
#: Seconds that a worker waits for a full pipe before it drops.
PATIENCE = 1.0
#: Bytes of pipe asked for by a supervisor: a thousand children may end in one pass of its loop.
SUPERVISOR_PIPE = 1 << 20

#: The levels of a record, and what they are worth to a filter.
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

#: Say what this process is working on: fields of every record that it writes then.
at_hand: list[Callable[[], dict[str, Any]]] = []

_encode_json = msgspec.json.Encoder(enc_hook=repr).encode


def timestamp(when: float) -> str:
    """Write Unix seconds as RFC 3339 in UTC with microseconds, as in all log lines."""
    global _second
    whole = int(when)
    second, text = _second
    if second != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = whole, text  # one assignment: threads may meet here
    return "%s.%06dZ" % (text, (when - whole) * 1e6)  # noqa: UP031 - half the time of a format


_second = (-1, "")


def encode(record: dict[str, Any]) -> bytes:
    """Write a record as one line, whatever is in it: what is no JSON becomes its ``repr``."""
    try:
        body = _encode_json(record)
    except Exception:  # lone surrogates, cycles, a __repr__ that raises: the author's objects
        body = _encode_json({key_text(key): _plain(value) for key, value in record.items()})
    for limit in CUTS:
        if len(body) <= MAX_RECORD - 1:
            break
        body = _encode_json(_cut(record, limit))
    return RECORD_SEPARATOR + body + b"\n"


def key_text(key: object) -> str:
    """Make a text of a key, or of anything, that UTF-8 can carry."""
    return str(key).encode("utf-8", "backslashreplace").decode()


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else "<a very large number>"
    try:
        return key_text(value if isinstance(value, str) else repr(value))
    except Exception as error:
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"


def _cut(record: dict[str, Any], limit: int) -> dict[str, Any]:
    """Keep the fields that come first, and the beginning of their texts; of a traceback the end."""
    cut: dict[str, Any] = {}
    for key, value in list(record.items())[:CUT_FIELDS]:
        plain = _plain(value)
        if isinstance(plain, str) and len(plain) > limit:
            more = f"({len(plain) - limit} more characters)"
            is_traceback = key == "traceback"
            plain = f"{more} …{plain[-limit:]}" if is_traceback else f"{plain[:limit]}… {more}"
        cut[key_text(key)[:CUT_KEY]] = plain
    cut["cut"] = True
    return cut


class RecordStream:
    """A worker's own stream of records, safe to use from all its threads.

    ``forward`` is set in processes forked by the worker: it takes the lines instead, and returns
    None when it cannot, so that they are written here after all; False: it had to drop the line.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.incarnation = 0
        self.dropped = 0
        self.forward: Callable[[bytes], bool | None] | None = None
        self._impatient = False  # the last one was not taken in time: wait for none until one is
        self._is_pipe: bool | None = None  # to be found out by the first write
        self._lock = threading.RLock()  # a signal handler may log while its thread logs

    def after_fork(self) -> None:
        """Forget a lock that a thread of the parent held at the fork."""
        self._lock = threading.RLock()

    def look(self) -> None:
        """Find out anew what the descriptor is: it was replaced."""
        self._is_pipe = None

    def write(self, record: dict[str, Any]) -> None:
        """Write one record. Waits for a full pipe, but not for long; never raises."""
        if self.forward is not None:
            record.setdefault("pid", os.getpid())
        dropped, self.dropped = self.dropped, 0
        if dropped:
            record["dropped_before"] = dropped
        record["incarnation"] = self.incarnation  # last: the pump looks for it there
        if not self.write_line(encode(record)) and dropped:
            self.dropped += dropped  # nobody was told

    def write_line(self, line: bytes) -> bool:
        """Write one encoded record; False: it was dropped."""
        if self.forward is not None and (taken := self.forward(line)) is not None:
            return taken
        with self._lock:
            try:
                written = self._write_now(line)
                if written != len(line):
                    return self._write_rest(line[written:])
            except BlockingIOError:
                return self._write_rest(line)
            except OSError:  # closed by the author: the worker goes on
                self.dropped += 1
                return False
            self._impatient = False
            return True

    def _write_now(self, data: bytes) -> int:
        """Write what is taken at once. A pipe that others expect to block is not made otherwise."""
        if self._is_pipe is None:
            self._is_pipe = _is_pipe(self.fd)
        if not self._is_pipe:
            return os.write(self.fd, data)
        try:
            return os.pwritev(self.fd, [data], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            raise
        except OSError:  # a kernel that cannot, or it is no pipe any more
            self._is_pipe = False
            return os.write(self.fd, data)

    def _write_rest(self, rest: bytes) -> bool:
        """Go on where the pipe took only a part, while patience lasts; False: it is over."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        deadline = time.monotonic() + (0.0 if self._impatient else PATIENCE)
        while rest:
            try:
                rest = rest[self._write_now(rest) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    self.dropped += 1
                    self._impatient = True
                    return False
        self._impatient = False
        return True


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


#: The stream of this process.
stderr = RecordStream(2)
os.register_at_fork(after_in_child=stderr.after_fork)


def record_writer(fd: int, logger: str) -> Callable[..., None]:
    """Return a function (level, event, **fields) that writes records and never waits."""
    sink = _NeverWaiting(fd)

    def write(level: int, event: str, /, **fields: Any) -> None:
        record = {
            "time": timestamp(time.time()),
            "level": logging.getLevelName(level).lower(),
            "logger": logger,
            "event": event,
            **fields,
        }
        sink.write(record)

    return write


class _NeverWaiting:
    """Writes to a pipe, or to whatever it is given, only what it takes at once.

    The descriptor may be the user's terminal, or shared with a process that expects it to block,
    so it is asked before each write instead of being made non-blocking: a pipe that polls as
    writable takes PIPE_BUF bytes.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""  # of a record of which a part was taken
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, SUPERVISOR_PIPE)
        except OSError:  # over the user's limit: the usual size will do
            pass

    def write(self, record: dict[str, Any]) -> None:
        if self._dropped:
            record["dropped_before"] = self._dropped
        line = encode(record)
        if self._rest:
            self._rest = self._push(self._rest)
        rest = line if self._rest else self._push(line)
        if len(rest) == len(line):
            self._dropped += 1
            return
        self._dropped = 0
        self._rest = rest

    def _push(self, data: bytes) -> bytes:
        while data:
            try:
                if not self._poll.poll(0):
                    return data
                data = data[os.write(self._fd, data[: select.PIPE_BUF]) :]
            except BlockingIOError:
                return data
            except OSError:  # nobody reads any more
                return b""
        return b""
