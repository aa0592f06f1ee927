"""A template as its supervisor sees it: a connection that may be replaced, and a few spares.

Requests made while there is no connection wait for the next one. When a connection is lost, the
processes behind it are gone: the template killed them, or they died with it.

A template that is replaced as planned (`take_over`) lingers: it stays the parent of its processes
until the last one has gone, and then closes its connection.
"""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from supervisor.channel import pair
from supervisor.loop import READ, WRITE, Loop
from supervisor.process import messages
from supervisor.process.launcher import MAX_REPLIES, TemplateClient, TemplateGone
from supervisor.shell.spare import Spare
from supervisor.shell.spares import Spares
from supervisor.shell.stacks import make as make_stacks

#: Seconds until requests that need a descriptor, when there was none, are made again.
SEND_AGAIN = 0.1


class Owner(Protocol):
    """Who asked for a process and hears of it."""

    def spawned(self, pid: int) -> None:
        """The process exists."""

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """There is no process. ``transient``: trying again may help."""

    def exited(self, message: messages.Exited) -> None:
        """The process has ended and left nothing behind."""

    def suspended(self, stopped: bool) -> None:
        """The process was stopped (SIGSTOP) or continued."""

    def lost(self) -> None:
        """The template is gone, and with it the process."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One that may have to wait. ``needs``: descriptors that nobody needs once it was made."""

    send: Callable[[TemplateClient], None]
    needs: Sequence[int] = ()

    def over(self) -> None:
        """It was made, or never will be."""
        for fd in self.needs:
            os.close(fd)


class Template:
    """One template: spawns, signals and opens connections through whichever connection is there."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.name = name
        self._loop = loop
        self._client: TemplateClient | None = None
        self._serial = 0
        self._owners: dict[int, Owner] = {}
        self._opened: dict[int, Callable[[int], None]] = {}
        self._closed: dict[int, Callable[[], None]] = {}
        self._backlog: dict[int, _Request] = {}
        self.spares = Spares(loop, self._fork_spare, self._bequeath, self._kill_spare)
        self.code = ""  # which version of the app it has imported, if it has
        self._lingers = False
        self.on_attach: list[Callable[[Template], None]] = []
        self.on_lost: Callable[[], None] = lambda: None

    # --- the connection -----------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None

    @property
    def processes(self) -> int:
        """How many processes, and supervisors' connections, it is needed for; spares are not."""
        return len(self._owners) - len(self.spares) + len(self._closed)

    def attach(self, client: TemplateClient) -> None:
        """Use this connection from now on; what waited is sent."""
        self._client = client
        self._loop.watch(client, self._on_event, READ)
        self._send_backlog()
        for callback in list(self.on_attach):
            callback(self)
        self.spares.refill_later()

    def take_over(self, old: "Template") -> None:
        """Make all new starts in the place of another one, which lingers."""
        self.on_attach, old.on_attach = old.on_attach, []
        for callback in list(self.on_attach):
            callback(self)
        self.spares.succeed(old.spares)
        old._linger()

    def _linger(self) -> None:
        self._lingers = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._lingers and not self._owners and not self._closed:
            self.close()

    def close(self) -> None:
        """Close the connection: the template kills everything that was asked for over it."""
        if self._client is not None:
            self._loop.unwatch(self._client)
            self._client.close()
            self._client = None

    def _lose(self) -> None:
        self.close()
        backlog, self._backlog = self._backlog, {}  # the next one is not asked for these
        for request in backlog.values():
            request.over()
        owners, self._owners = self._owners, {}
        self.spares.discard()
        self._opened.clear()
        closed, self._closed = self._closed, {}
        for owner in owners.values():
            owner.lost()
        for callback in closed.values():
            callback()
        self.on_lost()

    def _on_event(self, mask: int) -> None:
        client = self._client
        if client is None:
            return
        if mask & WRITE:
            self._flush()
        if mask & READ:
            # One now, and what it calls for is done before the others are looked for: somebody
            # waits for a restart, and mostly there are none.
            self._read(client, 1)
            self._loop.post(lambda: self._read(client, MAX_REPLIES))

    def _read(self, client: TemplateClient, most: int) -> None:
        if self._client is not client:
            return
        try:
            for reply, fds in client.receive(most):
                self._on_reply(reply, fds)
        except TemplateGone:
            if self._client is client:
                self._lose()
        self._close_if_done()

    def _on_reply(self, reply: messages.Reply, fds: list[int]) -> None:
        match reply:
            case messages.Exited():
                self._on_exited(reply)
            case messages.Spawned():
                if owner := self._owners.get(reply.serial):
                    owner.spawned(reply.pid)
            case messages.SpawnFailed():
                if owner := self._owners.pop(reply.serial, None):
                    owner.spawn_failed(reply.problem, reply.transient)
            case messages.Stopped():
                if owner := self._owners.get(reply.serial):
                    owner.suspended(reply.stopped)
            case messages.Opened():
                callback = self._opened.pop(reply.token, None)
                if callback is None:
                    os.close(fds[0])
                else:
                    callback(fds[0])
            case messages.Closed():
                if done := self._closed.pop(reply.token, None):
                    done()
            case messages.Loaded() | messages.LoadFailed():
                pass  # root loads before it attaches

    def _on_exited(self, message: messages.Exited) -> None:
        owner = self._owners.pop(message.serial, None)
        if message.heir and not self.spares.woken(message.heir, message.serial):
            let_go = self.spare(message.heir)
            if let_go is not None and owner is not None:
                # Nothing is left of what was in the slot when this has ended as well.
                let_go.on_end = lambda: owner.exited(message)
                return
        if owner is not None:
            owner.exited(message)
        if message.heir:  # after what has been decided
            self._loop.post(lambda: self.spares.reject(message.heir))

    def _send_backlog(self) -> None:
        client = self._client
        while client is not None and self._backlog:
            key, request = next(iter(self._backlog.items()))
            try:
                request.send(client)
            except OSError:  # no descriptors are left
                self._loop.call_later(SEND_AGAIN, self._send_backlog)
                break
            request.over()
            del self._backlog[key]
        self._flush()

    def _send(self, key: int, request: _Request) -> None:
        if self._client is None or self._backlog:
            self._backlog[key] = request
            return
        request.send(self._client)
        request.over()
        self._flush()

    def _flush(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            client.flush()
        except TemplateGone:  # its end of file is read in the next pass
            return
        except OSError:  # no descriptors are left; it would take the requests, again and again
            self._loop.watch(client, self._on_event, READ)
            self._loop.call_later(SEND_AGAIN, self._flush)
            return
        self._loop.watch(client, self._on_event, READ | WRITE if client.wants_write else READ)

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    # --- processes ----------------------------------------------------------------------------

    def spawn(self, owner: Owner, launch: bytes, fds: list[int], close: list[int]) -> int:
        """Ask for a process. ``close``: descriptors that are not needed here after that.

        Returns:
            the serial, for `signal`.

        """
        serial = self._next()
        self._owners[serial] = owner
        self._send(serial, _Request(lambda client: client.spawn(serial, launch, fds), close))
        return serial

    def adopt(self, owner: Owner, serial: int) -> None:
        """A spare has become somebody: tell that owner of it from now on."""
        self._owners[serial] = owner

    def signal(self, serial: int, signum: int, *, group: bool = False) -> None:
        """Send a signal to a process, if it is still there."""
        waiting = self._backlog.pop(serial, None)
        if waiting is not None:  # never asked for: there is nothing to signal
            waiting.over()
            owner = self._owners.pop(serial)
            self._loop.post(lambda: owner.spawn_failed("stopped before it was started"))
        elif self._client is not None and serial in self._owners:
            self._client.signal(serial, signum, group)
            self._flush()

    # --- connections for nested supervisors ---------------------------------------------------

    def open(self, opened: Callable[[int], None], closed: Callable[[], None]) -> int:
        """Make a connection for a nested supervisor.

        Args:
            opened: called with its descriptor, to be taken over.
            closed: called when it is closed and all its processes are gone.

        """
        token = self._next()
        self._opened[token] = opened
        self._closed[token] = closed
        self._send(token, _Request(lambda client: client.open(token)))
        return token

    def close_opened(self, token: int) -> None:
        """End one of them, and all that was asked for over it; it is told when that is gone."""
        if self._client is not None:
            self._client.close_opened(token)
            self._flush()

    # --- spares -------------------------------------------------------------------------------

    def spare(self, serial: int) -> Spare | None:
        """Return the spare with that serial, while it has become nobody and has not ended."""
        owner = self._owners.get(serial)
        return owner if isinstance(owner, Spare) else None

    def _bequeath(self, heir: int, processes: list[int], word: int | None) -> None:
        if self._client is not None:
            self._client.bequeath(heir, processes, word)
            self._flush()

    def _kill_spare(self, serial: int) -> None:
        self.signal(serial, signal.SIGKILL, group=True)

    def _fork_spare(self, kind: bytes, at_once: bool) -> Spare | None:
        client = self._client
        if client is None or self._lingers or (at_once and self._backlog):
            return None
        made = make_stacks()
        try:
            ours, theirs = pair()
        except OSError:
            os.close(made)
            raise
        ours.setblocking(False)
        spare = Spare(self._next(), ours, made, kind)
        self._owners[spare.serial] = spare
        client.spare(spare.serial, theirs.fileno(), made, kind, at_once=at_once)
        theirs.close()
        self._flush()
        return spare
