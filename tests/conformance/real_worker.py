"""A worker of the real world: a process that does what its plan in the scenario says.

A *site* is the directory of one scenario. In it, by id: ``ID.plan`` (the child as the scenario
gives it), ``ID.attempts`` (a byte for each start attempt), ``ID.pid`` (of the latest process) and
``ID.sock`` (where a running worker is told to end).
"""

import json
import os
import select
import signal
import socket
from pathlib import Path
from typing import Any, NoReturn

from supervisor.errors import Ignore, StartError
from supervisor.link import WorkerLink

#: Exit status of a worker that crashes.
CRASH = 3


class Place:
    """What one id has in the site."""

    def __init__(self, site: str, name: str) -> None:
        self._site, self._name = Path(site), name

    def file(self, kind: str) -> Path:
        """Name one of its files."""
        return self._site / f"{self._name}.{kind}"

    @property
    def plan(self) -> dict[str, Any]:
        """The child as the scenario gives it."""
        plan: dict[str, Any] = json.loads(self.file("plan").read_text())
        return plan

    @property
    def supervises(self) -> bool:
        """Whether it is a supervisor."""
        path = self.file("plan")
        return path.exists() and (self.plan.get("type") == "supervisor" or self._name == "root")

    @property
    def attempts(self) -> int:
        """How often a start was attempted."""
        path = self.file("attempts")
        return path.stat().st_size if path.exists() else 0

    def begin(self) -> dict[str, Any]:
        """Count this attempt, and fail or decline if the plan says so; the plan otherwise."""
        with self.file("attempts").open("ab") as attempts:
            attempts.write(b".")
        plan = self.plan
        outcomes = plan.get("start") or ["ok"]
        outcome = outcomes[min(self.attempts, len(outcomes)) - 1]
        if outcome == "fail":
            raise StartError("the plan says so")
        if outcome == "ignore":
            raise Ignore("the plan says so")
        self.file("pid").write_text(str(os.getpid()))
        return plan


def main(link: WorkerLink, argument: bytes, _fds: dict[str, int]) -> None:
    """Start as the plan says, then wait to be told to end."""
    site, name = argument.decode().split("\n")
    place = Place(site, name)
    plan = place.begin()
    place.file("sock").unlink(missing_ok=True)
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(place.file("sock")))
    link.stop_on_signal()
    link.ready()
    reason = _wait(link, told)
    if reason == "crash":
        raise SystemExit(CRASH)
    if reason == "stop":
        _shut_down(plan.get("on_shutdown", "obey"))


def _wait(link: WorkerLink, told: socket.socket) -> str:
    poll = select.poll()
    for source in (link.fileno(), link.wakeup_fd, told.fileno()):
        poll.register(source, select.POLLIN)
    while not link.stopping:
        for source, _ in poll.poll():
            if source == told.fileno():
                return told.recv(100).decode()
    return "stop"


def _shut_down(way: Any) -> None:
    """End as the plan says a request to stop is met."""
    if way == "ignore":
        _endure()
    if way == "crash":
        raise SystemExit(CRASH)
    if isinstance(way, dict):
        select.poll().poll(way["delay"])


def _endure() -> NoReturn:
    while True:
        signal.pause()
