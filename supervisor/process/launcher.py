"""The supervisor's end of a template: starting one, and talking to it without ever blocking."""

import os
import socket
import subprocess
import sys
from collections import deque

import msgspec

from supervisor.channel import Channel, pair
from supervisor.descriptors import NO_DESCRIPTORS
from supervisor.process import messages
from supervisor.process.family import wake_with_parent

#: Requests that may wait for a template that does not read; beyond, it counts as gone.
MAX_WAITING = 100_000
#: Replies taken in one go.
MAX_REPLIES = 32


class TemplateGone(Exception):  # noqa: N818 - a state, said as it is
    """The connection is closed: the template has ended, and all its processes with it."""


class TemplateClient:
    """One connection to a template. Descriptors given to it are copied if they have to wait."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._channel: Channel[messages.Reply] = Channel(sock, messages.Reply, large=True)
        self._waiting: deque[tuple[messages.Request, tuple[int, ...]]] = deque()
        self._ended = False  # and what came before was returned

    def fileno(self) -> int:
        """The descriptor, for the loop."""
        return self._channel.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether requests wait until the template reads."""
        return bool(self._waiting)

    def load(self, app: str, arguments: list[str]) -> None:
        """Ask it to import an app; answered by Loaded or LoadFailed."""
        self._send(messages.Load(app, arguments))

    def spawn(self, serial: int, launch: bytes, fds: list[int]) -> None:
        """Ask for a process; ``fds``: link, stacks, stdout, stderr, declared ones."""
        self._send(messages.Spawn(serial, launch), tuple(fds))

    def spare(
        self, serial: int, link: int, stacks: int, kind: bytes = b"", *, at_once: bool = False
    ) -> None:
        """Ask for a process that waits on its link to be told who it is.

        ``kind``: of child that it is likely to become; ``at_once``: before long.
        """
        self._send(messages.Spawn(serial, kind=kind, at_once=at_once), (link, stacks))

    def bequeath(self, heir: int, processes: list[int], word: int | None) -> None:
        """Make a spare the heir of these processes, if there are any: see `messages.Bequeath`."""
        self._send(messages.Bequeath(heir, processes), () if word is None else (word,))

    def signal(self, serial: int, signum: int, group: bool = False) -> None:
        """Send a signal to a process or its group; nothing happens if it is gone."""
        self._send(messages.Signal(serial, signum, group))

    def open(self, token: int) -> None:
        """Ask for another connection; answered by Opened with its descriptor."""
        self._send(messages.Open(token))

    def close_opened(self, token: int) -> None:
        """Have a connection ended, with all that was asked for over it; answered by Closed."""
        self._send(messages.Close(token))

    def receive(self, most: int = MAX_REPLIES) -> list[tuple[messages.Reply, list[int]]]:
        """Take the replies that are there, but not more than so many.

        Raises:
            TemplateGone: at the end of the connection (what came before was returned), or of its
                sense: a template runs the author's code, and is not believed that much.

        """
        replies: list[tuple[messages.Reply, list[int]]] = []
        if self._ended:
            raise TemplateGone
        while len(replies) < most:
            try:
                received = self._channel.receive()
            except BlockingIOError:
                break
            except (OSError, msgspec.DecodeError):
                received = None
            if received is not None and not _is_sound(*received):
                received = None
            if received is None:
                if replies:
                    self._ended = True
                    break
                raise TemplateGone
            replies.append(received)
        return replies

    def flush(self) -> None:
        """Send what waits, as far as the template takes it.

        Raises:
            TemplateGone: there is nobody to take it.
            OSError: no descriptors are left, and the next request needs one; it still waits.

        """
        while self._waiting:
            request, fds = self._waiting[0]
            try:
                self._channel.send(request, fds)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:  # a large request needs one more
                    raise
                raise TemplateGone from error
            self._waiting.popleft()
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        """Close the connection: the template kills what was asked for over it."""
        self._channel.close()
        for _, fds in self._waiting:
            for fd in fds:
                os.close(fd)
        self._waiting.clear()

    def _send(self, request: messages.Request, fds: tuple[int, ...] = ()) -> None:
        if not self._waiting:
            try:
                self._channel.send(request, fds)
                return
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:  # a large request needs one more
                    raise
                return  # its end is read next
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((request, tuple(os.dup(fd) for fd in fds)))


def _is_sound(reply: messages.Reply, fds: list[int]) -> bool:
    """Whether a reply has the descriptors that it should have; closes any others."""
    if len(fds) == (1 if isinstance(reply, messages.Opened) else 0):
        return True
    for fd in fds:
        os.close(fd)
    return False


def start_template(*preload: str) -> tuple[int, TemplateClient]:
    """Execute a template; returns its pid and the first connection to it.

    ``preload`` names modules that its processes will need: imported once, before the first fork.
    It is our child, to be reaped by us; it ends when the connection is closed.

    Raises:
        OSError: there is no descriptor for it, or no process.

    """
    ours, theirs = pair()
    module = ["-X", "utf8", "-m", "supervisor.process"]  # whatever the locale says
    try:
        process = subprocess.Popen(
            [sys.executable, *module, str(theirs.fileno()), *preload],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # Stopped before it gets to this itself it would stay so. We have a single thread.
            preexec_fn=wake_with_parent,  # noqa: PLW1509
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    process.returncode = 0  # Popen must not wait for it: root reaps by itself
    return process.pid, TemplateClient(ours)
