"""Workers around a scene's broker: real Consumer and Producer classes, each in its own process."""

import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from supervisor.channel import Channel, pair
from supervisor.link import Beat, Context, FromWorker, WorkerLink
from tests.crash.queue_harness import PATIENCE, Make, Scene, scenes
from workers import Worker
from workers.queues.client.writer import QueueWriter
from workers.queues.frames import Command, Hello, Kind, frame


@dataclass
class Running:
    """A worker that runs: its process, and the supervisor's end of its link."""

    pid: int
    link: socket.socket

    def beats(self) -> Iterator[Beat]:
        """Wait for its beats, and yield them."""
        self.link.settimeout(PATIENCE)
        channel: Channel[FromWorker] = Channel(self.link, FromWorker)
        while (received := channel.receive()) is not None:
            if isinstance(received[0], Beat):
                yield received[0]

    def drain(self) -> None:
        """Throw away what it has said so far."""
        while select.select([self.link], [], [], 0)[0]:
            self.link.recv(1 << 16)


class Crew:
    """Starts workers, and closes their links at the end.

    Args:
        scene: the broker.

    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._door = os.open(scene.path, os.O_PATH)
        self._links: list[socket.socket] = []

    def start(
        self, worker: type[Worker], incarnation: int = 1, heartbeat: float | None = None
    ) -> Running:
        """Start a worker; with a heartbeat, its `beats` are to be read."""
        ours, theirs = pair()
        if heartbeat is None:  # nobody reads what workers say: they must not wait for it
            ours.shutdown(socket.SHUT_RD)
        self._links.append(ours)
        fds = {"queues": self._door}
        context = Context("app/worker.0", incarnation, queue="q", heartbeat=heartbeat, fds=fds)

        def live() -> None:
            sys.stdout = open(os.devnull, "w")  # pytest's own is closed here
            link = WorkerLink(theirs, context)
            link.stop_on_signal()
            worker().supervised(link)

        pid = self.scene.fork(live, keep=(theirs.fileno(), self._door))
        theirs.close()
        return Running(pid, ours)

    def close(self) -> None:
        """Close what it has open."""
        os.close(self._door)
        for link in self._links:
            link.close()


Start = Callable[..., tuple[Scene, Crew]]


def crews(where: Path) -> Iterator[Start]:
    """Make what makes a scene and a crew for it, and end both when it is done with."""
    made = scenes(where)
    make: Make = next(made)
    crew: list[Crew] = []

    def begin(**queue: Any) -> tuple[Scene, Crew]:
        scene = make(**{"retry_backoff": (0.01, 0.02), **queue})
        crew.append(Crew(scene))
        return scene, crew[0]

    yield begin
    for one in crew:
        one.close()
    next(made, None)


def managed(scene: Scene, command: Command) -> Any:
    """Have the broker carry out a command."""
    with scene.raw(Hello("observer")) as observer:
        observer.send(frame(Kind.MANAGE, msgspec.msgpack.encode(command)))
        return msgspec.msgpack.decode(observer.expect(Kind.MANAGED)[1])


def letters(scene: Scene) -> list[dict[str, Any]]:
    """Return the dead letters, whole."""
    listed = managed(scene, Command("dead_list", "q"))["letters"]
    found: list[dict[str, Any]] = managed(
        scene, Command("dead_show", "q", [one["id"] for one in listed])
    )["letters"]
    return found


def put(scene: Scene, *messages: Any, **options: Any) -> None:
    """Put messages, and wait until they are in the queue."""
    with QueueWriter("q", scene.path) as writer:
        for message in messages:
            writer.put(message, **options)
