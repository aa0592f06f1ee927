"""The health observer: answers HTTP with what root says over its control socket.

It serves from a process of its own, so that no client can slow root, and a root that hangs shows:
then /livez fails. Clients on this machine see the whole document; others see status and the names
of the checks, nothing of paths, processes and errors.
"""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from supervisor.channel import Channel
from supervisor.control import client
from supervisor.control.errors import CommandFailed
from supervisor.crashes.register import REGISTER, Register, with_reports
from supervisor.errors import SupervisorError
from supervisor.link import StopRequest, ToWorker, WorkerLink
from supervisor.logs.figures import FIGURES
from supervisor.logs.handler import RecordHandler
from supervisor.logs.record import stderr
from supervisor.observe import health
from supervisor.observe.extension import Document
from supervisor.observe.host import facts
from supervisor.observe.http import Answer, Refused, Request, Server
from supervisor.observe.judge import FAIL, PASS, Burials, Downtime
from supervisor.observe.snapshot import Snapshot
from supervisor.recycling.report import Report, read

#: Seconds that root has to answer.
FETCH_DEADLINE = 1.0
#: Seconds that an answer of root's is used again: bounds what clients can cost it.
FRESH = 0.5
#: Connections that wait to be accepted, if the socket is made here.
BACKLOG = 128
TREE, READY = "/healthz/tree/", "/readyz/"
#: The JSON schema of what /healthz answers.
SCHEMA_FILE = Path(__file__).with_name("health.schema.json")
#: Checks that one request may exclude.
MAX_EXCLUDED = 64

FetchSnapshot = Callable[[], Awaitable[Snapshot]]
_encode = msgspec.json.Encoder().encode


class Options(msgspec.Struct, frozen=True):
    """What an observer is told.

    ``control``: root's socket; ``name``: the app's; ``hosts``: more names this server is known by.
    """

    host: str
    port: int
    control: str
    name: str = ""
    hosts: list[str] = []


class Observer:
    """Makes the answers.

    Args:
        fetch: asks root; raises SupervisorError, OSError or TimeoutError when it does not answer.
        directory: the app's runtime directory, with the arbiter's report; "": there is none.

    """

    def __init__(self, fetch: FetchSnapshot, directory: str = "") -> None:
        self._fetch, self._directory = fetch, directory
        self._lock = asyncio.Lock()
        self._cached: tuple[float, Snapshot | None] = (-FRESH, None)
        self._downtime, self._burials = Downtime(), Burials()
        self._started = False  # latched: a complete start was seen
        self._host = facts()
        self._routes: dict[str, Callable[[Snapshot, Request], Any]] = {
            "/healthz": self._health,
            "/readyz": self._ready,
            "/startupz": self._startup,
            "/version": lambda snapshot, _: health.version(snapshot),
        }

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path == "/livez":
            return await self._live()
        if request.path == health.SCHEMA_PATH:
            return Answer(200, SCHEMA_FILE.read_bytes(), "application/schema+json")
        route = self._routes.get(request.path)
        if route is None and not request.path.startswith((TREE, READY)):
            raise Refused(404, "not found")
        try:
            snapshot = await self._snapshot()
        except CommandFailed as error:  # it has no tree yet
            return _answer({"status": FAIL, "output": str(error)})
        if snapshot is None:
            return _answer({"status": FAIL, "output": "root does not answer"})
        return _answer(route(snapshot, request) if route else self._part(snapshot, request))

    async def _live(self) -> Answer:
        try:
            return _answer(health.live(await self._snapshot(), time.time()))
        except CommandFailed:  # it answers: not with a tree, because it has none yet
            return _answer({"status": PASS})

    def _health(self, snapshot: Snapshot, request: Request) -> Any:
        since = self._downtime.since
        now = time.time()
        logs = FIGURES.read(self._directory) if self._directory else None
        report, local, found = self._report(now), request.local, self._register()
        host = self._host
        return health.health(snapshot, now, since, report, logs, found, host=host, detail=local)

    def _register(self) -> Register | None:
        return REGISTER.read(self._directory) if self._directory else None

    def _report(self, now: float) -> Report | None:
        return read(self._directory, now) if self._directory else None

    def _ready(self, snapshot: Snapshot, request: Request) -> Any:
        try:
            exclude = parse_qs(request.query, max_num_fields=MAX_EXCLUDED).get("exclude", [])
        except ValueError as error:
            raise Refused(400, f"exclude at most {MAX_EXCLUDED} checks") from error
        return _for(request, health.ready(snapshot, time.time(), exclude))

    def _startup(self, snapshot: Snapshot, request: Request) -> Any:
        return _for(request, health.started(snapshot, self._started))

    def _part(self, snapshot: Snapshot, request: Request) -> Any:
        """Answer for one part of the tree, or one check; strangers learn of none."""
        now, found = time.time(), None
        if request.local and request.path.startswith(TREE):
            path, since = request.path.removeprefix(TREE), self._downtime.since
            found = health.part(snapshot, path, now, since, self._report(now))
        elif request.local:
            found = health.ready_part(snapshot, request.path.removeprefix(READY), now)
        if found is None:
            raise Refused(404, "not found")
        return found

    async def _snapshot(self) -> Snapshot | None:
        """Ask root, at most every `FRESH` seconds; None when it does not answer."""
        async with self._lock:  # who comes meanwhile gets the same answer
            at, snapshot = self._cached
            if time.monotonic() - at < FRESH:
                return snapshot
            snapshot = await self._ask()
            self._cached = (time.monotonic(), snapshot)
            return snapshot

    async def _ask(self) -> Snapshot | None:
        try:
            async with asyncio.timeout(FETCH_DEADLINE):
                snapshot = await self._fetch()
        except CommandFailed:
            raise
        except (SupervisorError, OSError, TimeoutError):
            return None
        self._downtime.update(snapshot)
        snapshot = with_reports(self._burials.update(snapshot), self._register())
        self._started = self._started or snapshot.phase == "running"
        return snapshot


def _for(request: Request, document: Document) -> Document:
    return document if request.local else {"status": document["status"]}


def _answer(document: Any) -> Answer:
    status = document.get("status")
    return Answer(503 if status == FAIL else 200, _encode(document) + b"\n")


async def serve(fetch: FetchSnapshot, listener: socket.socket, options: Options) -> asyncio.Server:
    """Start serving on a bound socket; returns what to close."""
    bound = ipaddress.ip_address(options.host.partition("%")[0])
    server = Server(
        Observer(fetch, os.path.dirname(options.control)).handle,
        [options.host, *options.hosts],
        any_address=bound.is_unspecified,
    )
    listener.setblocking(False)
    return await asyncio.start_server(server.serve, sock=listener, backlog=BACKLOG)


def listen(host: str, port: int) -> socket.socket:
    """Make the socket, where root has not."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


async def run(link: WorkerLink, options: Options, listener: socket.socket) -> None:
    """Serve until the link says stop, or closes, or SIGTERM comes."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    channel: Channel[ToWorker] = Channel(link.socket, ToWorker)

    def read_link() -> None:
        try:
            received = channel.receive()
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None or isinstance(received[0], StopRequest):
            loop.remove_reader(link.fileno())
            stopped.set()

    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_reader(link.fileno(), read_link)
    server = await serve(
        lambda: client.snapshot(options.control, FETCH_DEADLINE), listener, options
    )
    link.ready()
    await stopped.wait()
    server.close()
    # The loop closes what the handler writes to before it takes the handler away.
    loop.remove_signal_handler(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run an observer until it is told to stop."""
    options = msgspec.msgpack.decode(argument, type=Options)
    stderr.incarnation = link.context.incarnation
    logging.getLogger().addHandler(RecordHandler())
    fd = fds.get("listener")
    listener = socket.socket(fileno=fd) if fd is not None else listen(options.host, options.port)
    asyncio.run(run(link, options, listener))
