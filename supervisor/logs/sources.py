"""Root's register of log pipes: who reads them may die, what was written to them may not.

Root keeps a descriptor of the read end of every pipe in the tree. A new pump is given all of them.
"""

import os
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from supervisor.logs.messages import REMEMBERED, Floor, Forget, Process, Source

#: Sends one message, with or without a descriptor, to the pump, if there is one.
Send = Callable[[msgspec.Struct, int | None], None]


@dataclass(frozen=True, slots=True)
class _Pipe:
    source: Source
    fd: int


class LogSources:
    """Every log pipe of the tree, by path and stream, and who writes to it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pipes: dict[str, dict[str, _Pipe]] = {}
        self._writers: defaultdict[str, deque[Process]] = defaultdict(_few_processes)
        self._floors: dict[str, Floor] = {}
        self._next = 0

    def add(self, path: str, stream: str, fd: int) -> None:
        """Register a pipe; takes over the descriptor. One of the same name is forgotten."""
        pipes = self._pipes.setdefault(path, {})
        if stream in pipes:
            self._drop(pipes.pop(stream))
        self._next += 1
        pipe = pipes[stream] = _Pipe(Source(self._next, path, stream), fd)
        self._send(pipe.source, fd)

    def process(self, path: str, pid: int, incarnation: int, marked: bool) -> None:
        """Note who writes to the pipes of that path. ``marked``: it says so there itself."""
        process = Process(path, pid, incarnation)
        self._writers[path].append(process)
        if not marked:
            self._send(process, None)

    def forget(self, path: str) -> None:
        """Drop a path's pipes or, when it ends with "/", those of all below it."""
        below = [p for p in self._pipes if p.startswith(path)] if path.endswith("/") else [path]
        for name in below:
            self._writers.pop(name, None)
            for pipe in self._pipes.pop(name, {}).values():
                self._drop(pipe)

    def show(self, path: str, level: str | None) -> None:
        """Have records of this level and above of a path printed; None: as those of others."""
        self._floors.pop(path, None)
        if level is not None:
            self._floors[path] = Floor(path, level)
        self._send(Floor(path, level), None)

    def resend(self) -> None:
        """Tell a new pump everything."""
        for floor in self._floors.values():
            self._send(floor, None)
        for path, pipes in self._pipes.items():
            writers = list(self._writers.get(path, ()))
            for pipe in pipes.values():
                self._send(msgspec.structs.replace(pipe.source, writers=writers), pipe.fd)

    def _drop(self, pipe: _Pipe) -> None:
        os.close(pipe.fd)
        self._send(Forget(pipe.source.id), None)


def _few_processes() -> deque[Process]:
    return deque(maxlen=REMEMBERED)
