"""The template: a single-threaded process that has imported what is needed, and forks.

    python -m supervisor.process FD [MODULE ...]

Theory of operation. Supervisors are connected to it (FD is the first connection, root's) and ask
for processes; each process belongs to the connection that asked for it:

* it is told of its end (`Exited`) once nothing descended from it is left; if a spare has been
  named its heir, that is woken just before (`heirs`);
* when the connection closes, the processes are killed, and so are the connections that were opened
  over it (those of nested supervisors); the opener hears `Closed` when all that is gone.

When root's connection closes, the template kills what is left and ends. It never polls: it wakes
for requests, for SIGCHLD, and for a deadline while it hunts descendants of a dead process.

It must stay single-threaded: a fork copies only the thread that forks, with the locks of all the
others held for ever. An app that starts threads when it is imported is found out (`threads`), as is
one that leaves files or sockets open (`left_open`); its workers are then started elsewhere,
importing it afresh.
"""

import contextlib
import gc
import importlib
import io
import os
import signal
import socket
import sys
from dataclasses import replace

import msgspec

from supervisor.channel import Channel, decoder_of
from supervisor.link import ToWorker
from supervisor.logs.setup import prepare
from supervisor.loop import READ, WRITE, Loop
from supervisor.priority import go_with_the_others
from supervisor.process import (
    app,
    bootstrap,
    huge_pages,
    left_open,
    messages,
    roster,
    target,
    threads,
)
from supervisor.process.child_signal import ChildSignal
from supervisor.process.connection import Connection, Process
from supervisor.process.family import (
    become_subreaper,
    children,
    die_with,
    first_tag,
    set_tag,
    sweep_orphans,
    wake_with_parent,
)
from supervisor.process.fork_hooks import fork
from supervisor.process.reaper import Reaper

#: Seconds that an ending template waits for what it killed.
FAREWELL = 1.5
#: Seconds that one which has survived its root gives to other templates.
OTHERS_END = 0.4


class Template:
    """The template process: its connections, and the processes it has forked."""

    def __init__(self, first: socket.socket) -> None:
        self.loop = Loop()
        self.reaper = Reaper(self.loop, self._ended, self._suspended)
        self._child_signal = ChildSignal()
        self._connections: set[Connection] = set()
        self._app: app.LoadedApp | None = None
        self._starters = threads.Starters()
        self._left_open: list[str] = []  # by the app
        self._problem: str | None = None  # that keeps it from forking; None: to be looked for
        self._root = os.getppid()
        self._first = self._connect(first, None, 0)
        self._tags = first_tag()
        self._ending = False

    def run(self) -> None:
        """Serve until root is gone."""
        self._listen_for_children()
        self.freeze()
        self.loop.run()
        if roster.is_ending(self._root):  # else it looks after what other templates have left
            roster.sweep(patience=OTHERS_END)

    def _listen_for_children(self) -> None:
        self._child_signal.hold()
        self.loop.watch(self._child_signal, self._on_child)
        self.loop.post(self.reaper.reap)  # who has ended before

    def _on_child(self, _mask: int) -> None:
        self._child_signal.clear()
        if self._ending and not self._connections:
            self._sweep()
        else:
            self.loop.post(self.reaper.reap)  # requests first: somebody waits for them

    def freeze(self) -> None:
        """Do once what every child would have to do; then keep it out of the collector's sight.

        The marks that a collection makes would unshare the pages.
        """
        prepare()
        bootstrap.prepare()
        decoder_of(ToWorker)
        gc.collect()
        gc.freeze()
        gc.disable()
        huge_pages.collapse()

    # --- connections --------------------------------------------------------------------------

    def _connect(self, sock: socket.socket, opener: Connection | None, token: int) -> Connection:
        sock.setblocking(False)
        channel: Channel[messages.Request] = Channel(sock, messages.Request, large=True)
        connection = Connection(channel, opener, token)
        self._connections.add(connection)
        self._watch(connection)
        return connection

    def _watch(self, connection: Connection) -> None:
        mask = READ | WRITE if connection.waiting else READ
        self.loop.watch(connection.channel, lambda mask: self._on_event(connection, mask), mask)

    def _on_event(self, connection: Connection, mask: int) -> None:
        self._problem = None
        try:
            if mask & READ:
                for request, fds in connection.receive():
                    self._serve(connection, request, fds)
            if mask & WRITE:
                connection.flush()
        except (msgspec.DecodeError, OSError):
            self._disconnect(connection)
            return
        if mask & WRITE and not connection.closed:
            self._watch(connection)

    def _send(self, connection: Connection, reply: messages.Reply, fd: int | None = None) -> None:
        connection.send(reply, fd)
        if connection.overflowed:
            self.loop.post(lambda: self._disconnect(connection))
        elif connection.waiting and not connection.closed:
            self._watch(connection)

    def _disconnect(self, connection: Connection) -> None:
        """A supervisor is gone, or talks nonsense: end all that is its own."""
        if connection.closed:
            return
        self.loop.unwatch(connection.channel)
        connection.close()
        for process in connection.processes.values():
            self.reaper.kill_group(process.pid)
        for opened in self._opened_by(connection):
            self._disconnect(opened)
        self._forget_if_empty(connection)
        if connection is self._first:
            self._end()

    def _opened_by(self, connection: Connection) -> list[Connection]:
        return [one for one in self._connections if one.opener is connection]

    def _forget_if_empty(self, connection: Connection) -> None:
        if not connection.closed or connection.processes or connection not in self._connections:
            return
        if self._opened_by(connection):
            return
        self._connections.discard(connection)
        opener = connection.opener
        if opener is not None and not opener.closed:
            self._send(opener, messages.Closed(connection.token))
        elif opener is not None:
            self._forget_if_empty(opener)
        if self._ending and not self._connections:
            self._finish()

    # --- requests -----------------------------------------------------------------------------

    def _serve(self, connection: Connection, request: messages.Request, fds: list[int]) -> None:
        match request:
            case messages.Spawn():
                self._spawn(connection, request, fds)
            case messages.Bequeath():
                self._bequeath(connection, request, fds)
            case messages.Signal():
                process = connection.processes.get(request.serial)
                if process is not None:
                    self.reaper.signal(process.pid, request.signum, group=request.group)
            case messages.Open():
                self._open(connection, request.token)
            case messages.Close():
                for opened in self._opened_by(connection):
                    if opened.token == request.token:
                        self._disconnect(opened)
            case messages.Load():
                self._send(connection, self._load(request))

    def _bequeath(self, connection: Connection, request: messages.Bequeath, fds: list[int]) -> None:
        heir = connection.processes.get(request.heir)
        if heir is not None and fds:
            connection.heirs.name(heir.serial, heir.pid, fds.pop(), request.processes)
        else:  # it is let go, or has died waiting
            connection.heirs.disinherit(request.heir)
        for fd in fds:
            os.close(fd)

    def _open(self, connection: Connection, token: int) -> None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            self._send(connection, messages.Closed(token))
            return
        self._connect(ours, connection, token)
        self._send(connection, messages.Opened(token), theirs.detach())

    def _load(self, request: messages.Load) -> messages.Reply:
        sys.argv = [request.app, *request.arguments]
        self._child_signal.release()
        die_with(self._root)  # an import that hangs does not see it go
        with threads.watched() as self._starters, left_open.watched() as imports:
            loaded = app.load(request.app)
        wake_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, bootstrap.BLOCKED)  # the app may have changed it
        self._listen_for_children()
        self._problem = None
        if isinstance(loaded, messages.LoadFailed):
            return loaded
        left = imports.left()
        shared = tuple(fd for fd, target in left.items() if left_open.is_harmless(fd, target))
        self._app = replace(loaded, shared=shared)
        self._left_open = imports.named({fd: left[fd] for fd in left if fd not in shared})
        self.freeze()
        try:
            definition = msgspec.msgpack.encode(loaded.definition)
        except UnicodeEncodeError as error:
            problem = f"the tree has text that is not UTF-8: {error.object!a}"
            return messages.LoadFailed(problem, help="write it as text; bytes belong into a file")
        return messages.Loaded(definition, self._starters.names(), loaded.code, self._left_open)

    def _spawn(self, connection: Connection, request: messages.Spawn, fds: list[int]) -> None:
        if self._problem is None:
            self._problem = threads.problem(self._starters) or left_open.problem(self._left_open)
        if self._problem:
            failed = messages.SpawnFailed(request.serial, self._problem, transient=False)
            self._send(connection, failed)
        elif len(fds) < (4 if request.launch else 2):
            problem = "no free descriptors in the template"
            self._send(connection, messages.SpawnFailed(request.serial, problem))
        else:
            self._tags += 1
            self._fork(connection, request, fds)
        for fd in fds:
            os.close(fd)

    def _fork(self, connection: Connection, request: messages.Spawn, fds: list[int]) -> None:
        if request.kind:
            with contextlib.suppress(Exception):  # the fork will say it
                target.planned(request.kind, self._app)
        enter, us = bootstrap.enter, os.getpid()
        set_tag(self._tags)  # a fork inherits it
        try:
            pid = fork()
        except OSError as error:
            set_tag(first_tag())
            self._send(connection, messages.SpawnFailed(request.serial, f"fork: {error.strerror}"))
            return
        if pid == 0:
            enter(request, fds, us, self._app)  # never returns
        set_tag(first_tag())  # or we would be taken for one of its descendants
        process = Process(request.serial, pid, self._tags, connection)
        connection.processes[request.serial] = process
        self.reaper.processes[pid] = process
        if request.launch or request.at_once:
            os.sched_yield()  # to the fork, if it is in our way: somebody waits for it
        self._send(connection, messages.Spawned(request.serial, pid))
        if not (request.launch or request.at_once):  # nobody waits for a spare
            self.loop.post(lambda: self._rehearse(process))

    def _rehearse(self, process: Process) -> None:
        """Write to the pages that an end will have us write to: see `Reaper.rehearse`."""
        self._on_child(READ)
        self.reaper.rehearse(process)

    # --- what becomes of processes ------------------------------------------------------------

    def _ended(self, process: Process, exited: messages.Exited) -> None:
        connection = process.connection
        connection.processes.pop(process.serial, None)
        connection.heirs.disinherit(process.serial)
        if connection.closed:
            self._forget_if_empty(connection)
        else:
            self._send(connection, exited)

    def _suspended(self, process: Process, stopped: bool) -> None:
        if not process.connection.closed:
            self._send(process.connection, messages.Stopped(process.serial, stopped))

    # --- the end ------------------------------------------------------------------------------

    def _end(self) -> None:
        """Root is gone. Leave when nothing is left, or when waiting has no point any more."""
        self._ending = True
        self.loop.call_later(FAREWELL, self.loop.stop)
        if not self._connections:
            self._finish()

    def _finish(self) -> None:
        """Leave once nothing is left of what the app may have started when it was imported."""
        self._sweep()

    def _sweep(self) -> None:
        while children():
            if not sweep_orphans(set()):
                return
        self.loop.stop()


def reset_signals() -> None:
    """Undo what root was started with (nohup, odd masks): our children shall not inherit it."""
    for signum in signal.valid_signals():
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_IGN)  # as Python has it: an error of the write instead
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # workers shall not raise KeyboardInterrupt
    # Blocked, not ignored: the template ends with its root, by nothing else, and a request to stop
    # that meets a child right after its fork waits there until the child can take it.
    signal.pthread_sigmask(signal.SIG_SETMASK, bootstrap.BLOCKED)


def write_whole_lines() -> None:
    """Let workers print a line at a time: no later, and not in pieces (PYTHONUNBUFFERED).

    In UTF-8, even where PYTHONIOENCODING says otherwise: it is what the log takes.
    """
    errors = {"<stdout>": "surrogateescape", "<stderr>": "backslashreplace"}  # as in UTF-8 mode
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)
            stream.reconfigure(encoding="utf-8", errors=errors.get(stream.name))


def main() -> None:
    """Run a template: the arguments are its connection's descriptor, and modules to preload."""
    first = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(first.fileno(), False)
    become_subreaper()
    go_with_the_others()
    set_tag(first_tag())  # for what the app starts while it is imported
    wake_with_parent()
    roster.join()
    write_whole_lines()
    reset_signals()
    for module in sys.argv[2:]:
        importlib.import_module(module)
    Template(first).run()
