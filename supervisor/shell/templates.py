"""A template as its supervisor sees it: a connection that may be replaced, and a few spares.

Requests made while there is no connection wait for the next one. When a connection is lost, the
processes behind it are gone: the template killed them, or they died with it.

A template that is replaced as planned (`take_over`) lingers: it stays the parent of its processes
until the last one has gone, and then closes its connection.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from supervisor.channel import pair
from supervisor.loop import READ, WRITE, Loop
from supervisor.process import messages
from supervisor.process.launcher import MAX_REPLIES, TemplateClient, TemplateGone
from supervisor.shell.stacks import make as make_stacks

#: Spares a supervisor keeps of one template, at most.
MAX_SPARES = 4
#: Seconds after a spare was used until the next one is forked: not in the way of other restarts.
REFILL_DELAY = 0.02
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


@dataclass(slots=True)
class Spare:
    """A forked process that waits on its link to be told who it is."""

    serial: int
    link: socket.socket
    stacks: int  # memfd that its faulthandler writes to
    kind: bytes = b""  # of child that it has got ready for, if any
    pid: int | None = None  # None: it is being forked, or gone
    gone: bool = False

    def discard(self) -> None:
        """It is not wanted any more: it ends when its link is closed."""
        self.link.close()
        os.close(self.stacks)

    def spawned(self, pid: int) -> None:
        """It exists."""
        self.pid = pid

    def spawn_failed(self, problem: str, transient: bool = False) -> None:
        """It does not."""
        self.gone = True

    def exited(self, message: messages.Exited) -> None:
        """It died waiting."""
        self.gone = True

    def suspended(self, stopped: bool) -> None:
        """Nobody cares."""

    def lost(self) -> None:
        """It went with its template."""
        self.gone = True


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
        self._spares: list[Spare] = []
        self._refill_due = False
        self._expected = b""  # the kind of child that is started next, most likely: the last one
        self.target_spares = 0
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
        return len(self._owners) - len(self._spares) + len(self._closed)

    def attach(self, client: TemplateClient) -> None:
        """Use this connection from now on; what waited is sent."""
        self._client = client
        self._loop.watch(client, self._on_event, READ)
        self._send_backlog()
        for callback in list(self.on_attach):
            callback(self)
        self._refill_later()

    def take_over(self, old: "Template") -> None:
        """Make all new starts in the place of another one, which lingers."""
        self.on_attach, old.on_attach = old.on_attach, []
        for callback in list(self.on_attach):
            callback(self)
        self._expected = old._expected
        self.fill_spares(old.target_spares)
        old._linger()

    def _linger(self) -> None:
        self._lingers, self.target_spares = True, 0
        for spare in self._spares:
            spare.discard()
        self._spares.clear()
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
        for spare in self._spares:
            spare.discard()
        self._spares.clear()
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
                owner = self._owners.pop(reply.serial, None)
                if owner is not None:
                    owner.exited(reply)
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

    # --- spares -------------------------------------------------------------------------------

    def take_spare(self, kind: bytes, *, expect: bool) -> Spare | None:
        """Take a process that is ready to be told who it is, if there is one.

        Args:
            kind: of child that it is to become.
            expect: whether another one may get ready for the same.

        """
        if expect:
            self._expected = kind
        usable = [spare for spare in self._spares if spare.kind in (kind, b"")]
        for spare in sorted(usable, key=lambda spare: spare.kind != kind):
            self._spares.remove(spare)
            self._loop.post(self._refill_later)  # the spare has work first
            if not spare.gone:
                return spare
            spare.discard()
        return None

    def fill_spares(self, count: int) -> None:
        """Keep this many spares from now on."""
        self.target_spares = min(count, MAX_SPARES)
        self._refill_later()

    def _refill_later(self) -> None:
        if not self._refill_due and len(self._spares) != self.target_spares:
            self._refill_due = True
            self._loop.call_later(REFILL_DELAY, self._refill)

    def _refill(self) -> None:
        """Fork what is missing. Half of the spares get ready for what was started last."""
        self._refill_due = False
        if self._client is None:
            return
        for spare in [spare for spare in self._spares if spare.kind not in (self._expected, b"")]:
            self._spares.remove(spare)
            spare.discard()
        while len(self._spares) > self.target_spares:
            self._spares.pop(0).discard()
        try:
            while len(self._spares) < self.target_spares:
                ready = sum(bool(spare.kind) for spare in self._spares)
                kind = self._expected if ready < (self.target_spares + 1) // 2 else b""
                self._spares.append(self._new_spare(self._client, kind))
        except OSError:  # no descriptors are left: the next start asks again
            pass
        self._flush()

    def hurry(self, kind: bytes) -> None:
        """Fork already what will take the place of a child of this kind, which has died, it seems.

        The fork is then under way while the end is still reported and decided over.
        """
        client, many = self._client, len(self._spares) >= MAX_SPARES
        if client is None or self._backlog or self._lingers or many:
            return
        if any(spare.kind == kind for spare in self._spares):
            return
        try:
            self._spares.append(self._new_spare(client, kind, at_once=True))
        except OSError:  # no descriptors are left
            return
        self._flush()
        self._refill_later()

    def _new_spare(self, client: TemplateClient, kind: bytes, *, at_once: bool = False) -> Spare:
        stacks = make_stacks()
        try:
            ours, theirs = pair()
        except OSError:
            os.close(stacks)
            raise
        ours.setblocking(False)
        spare = Spare(self._next(), ours, stacks, kind)
        self._owners[spare.serial] = spare
        client.spare(spare.serial, theirs.fileno(), stacks, kind, at_once=at_once)
        theirs.close()
        return spare
