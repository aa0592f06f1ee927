"""A world of real processes: the shell as it is, templates, links, signals and all.

The root supervisor is an Actor on a loop in this process; its children are processes forked from
a real template, nested supervisors among them. What happens is read from one trace that all
supervisors write to (``real_tap``); the world waits for it and for answers, never for time.
"""

import json
import os
import pickle
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from supervisor.core.events import (
    Boot,
    ChangeSpec,
    Report,
    ReportContext,
    Request,
    Shutdown,
    StartChild,
)
from supervisor.core.exits import SHUTDOWN, ExitKind, ExitReason
from supervisor.core.results import Error
from supervisor.core.spec import SupervisorSpec
from supervisor.loop import Loop
from supervisor.process.launcher import start_template
from supervisor.shell.status import Board
from supervisor.shell.surroundings import Shell
from supervisor.shell.templates import Template
from tests.conformance import specs
from tests.conformance.fake import refused
from tests.conformance.real_tap import TappedActor, at_rest, checked, plain, states
from tests.conformance.real_worker import Place
from tests.conformance.world import Trace

#: Seconds that anything may take.
DEADLINE = 10.0
#: Rounds without news after which everything is at rest.
ROUNDS = 2
OPEN = object()  # the answer of a call that was not answered yet


class Engine:
    """The loop and the two templates; they serve many worlds, one after the other."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.templates = {name: Template(self.loop, name) for name in ("runtime", "release")}
        self._pids: list[int] = []
        for template in self.templates.values():
            pid, client = start_template("tests.conformance.real_tap")
            self._pids.append(pid)
            template.attach(client)

    def close(self) -> None:
        """End the templates, and with them all that is left."""
        for template in self.templates.values():
            template.close()
        self.loop.close()
        for pid in self._pids:
            os.waitpid(pid, 0)


class RealWorld:
    """See the module. Implements ``world.World``."""

    def __init__(self, engine: Engine, site: Path) -> None:
        self.engine, self.loop, self.site = engine, engine.loop, str(site)
        self.traces: list[Trace] = []
        self.reports: list[tuple[str, Report]] = []
        self.holders: dict[str, str] = {}
        self.live: set[str] = set()
        self.ends: dict[str, str] = {}
        self.counts: dict[tuple[str, str], int] = {}  # (start or attempt, id)
        self.simple: dict[str, Any] = {}  # the templates of simple_one_for_one supervisors
        self.said: dict[str, dict[str, str]] = {}
        self.root: TappedActor | None = None
        self.quit: ExitReason | None = None
        self._answers: list[Any] = []
        self._lines = 0
        self._unread = b""
        os.mkfifo(site / "trace")
        self._trace = os.open(site / "trace", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.loop.watch(self._trace, lambda _mask: self.loop.stop())

    # --- what a scenario does ------------------------------------------------------------------

    def boot(self, tree: Any) -> str:
        """Start the root supervisor, here."""
        self.plan(tree)
        spec = checked(tree, "root", self.site)
        if not isinstance(spec, SupervisorSpec):
            self.traces.append(Trace("fail", "root", 1))
            return f"error:{refused(spec)}"
        actor = TappedActor(
            self._shell(), spec, "root", self._up, self._quit, self._report, self.loop.stop
        )
        self.root = actor
        actor.deliver(Boot())
        self._wait(lambda: "root" in self.live or self.quit is not None)
        self.settle()
        if self.quit is not None:
            return f"error:{self.quit.cause}"
        return "ok"

    def plan(self, raw: Any) -> None:
        """Write down what a child and all below it is to do."""
        Place(self.site, raw["id"]).file("plan").write_text(json.dumps(raw))
        children = raw.get("children", [])
        if raw.get("strategy") == "simple_one_for_one":
            self.simple[raw["id"]] = children[0]
            return
        for child in children:
            self.plan(child)

    def running(self, child: str) -> bool:
        """Whether it has started and not ended since."""
        return child in self.live

    def end(self, child: str, reason: str, during: Sequence[tuple[str, Request | None]]) -> None:
        """Make a process end by itself, or kill it."""
        assert not during
        place = Place(self.site, child)
        gone = self.counts.get(("stop", child), 0)
        if reason == "kill":
            os.kill(int(place.file("pid").read_text()), signal.SIGKILL)
        else:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto(reason.encode(), str(place.file("sock")))
        self._wait(lambda: self.counts.get(("stop", child), 0) > gone)

    def call(self, supervisor: str, request: Request) -> None:
        """Send a request, and wait for its answer."""
        if isinstance(request, StartChild):
            self._plan_child(supervisor, request.spec)
        elif isinstance(request, ChangeSpec) and request.spec is not None:
            for spec in request.spec["children"]:
                self._plan_child("", spec)
        here = supervisor == "root"
        answer = self._ask_root(request) if here else self._ask(supervisor, request)
        nobody = isinstance(answer, Error) and answer.code == "noproc"
        self._answers.append(None if nobody else answer)

    def shut_down(self) -> None:
        """Ask root to end."""
        assert self.root is not None
        self.root.deliver(Shutdown(SHUTDOWN))
        self._wait(lambda: self.quit is not None)
        self._answers.append(self.quit)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        self.loop.call_later(seconds, self.loop.stop)
        self._wait(lambda: time.monotonic() >= end)

    def settle(self) -> list[Any]:
        """Ask every supervisor until nothing new has come for some rounds."""
        quiet = 0
        while quiet < ROUNDS:
            before = self._lines
            rested = self._rest("root")
            self._read()
            if not rested and before == self._lines:
                self._wait(lambda n=before: self._lines > n)  # type: ignore[misc]
            quiet = quiet + 1 if rested and before == self._lines else 0
        answers, self._answers = self._answers, []
        return answers

    def status(self, supervisor: str) -> str:
        """Alive, dead or never up."""
        return "alive" if supervisor in self.live else self.ends.get(supervisor, "none")

    def states(self, supervisor: str) -> dict[str, str]:
        """What a supervisor said of its children when it was at rest."""
        return self.said.get(supervisor, {}) if supervisor in self.live else {}

    def attempts(self, child: str) -> int:
        """How many processes have begun to start, by their own count."""
        return Place(self.site, child).attempts

    def holder(self, child: str) -> str | None:
        """The supervisor that last had a process of this id."""
        return self.holders.get(child)

    def close(self) -> None:
        """Stop what is left."""
        if self.root is not None and self.quit is None:
            self.shut_down()
        if self.root is not None:
            self.root.shell.starts.close()
        self.loop.unwatch(self._trace)
        os.close(self._trace)

    # --- root ----------------------------------------------------------------------------------

    def _shell(self) -> Shell:
        return Shell(
            loop=self.loop,
            app="",
            runtime=self.engine.templates["runtime"],
            release=self.engine.templates["release"],
            board=Board(),
            log=lambda *_args, **_fields: None,
            pipes=lambda _path, _stream, fd: os.close(fd),
            pipes_gone=lambda _path: None,
            process_up=lambda *_who: None,
            runtime_dir=self.site,
            spares=0,
        )

    def _up(self) -> None:
        self._note("start", "root")

    def _quit(self, reason: ExitReason, _failed: str | None) -> None:
        self._read()
        self._note("stop" if "root" in self.live else "fail", "root", reason.kind.value)
        self.quit = reason
        assert self.root is not None
        self.root.close()
        self.loop.stop()

    def _note(self, kind: str, child: str, value: str = "") -> None:
        os.write(self._trace, json.dumps(["", kind, child, value]).encode() + b"\n")

    def _report(self, report: Report) -> None:
        assert self.root is not None
        self.root.report(report)

    # --- asking --------------------------------------------------------------------------------

    def _plan_child(self, supervisor: str, spec: Any) -> None:
        start = spec.get("start") if isinstance(spec, dict) else None
        if isinstance(start, specs.Plan) and "id" in start.raw:
            self.plan({**self.simple.get(supervisor, {}), **start.raw})

    def _ask_root(self, request: Request) -> Any:
        if self.root is None or "root" not in self.live:
            return None
        answers: list[Any] = []
        self.root.ask(request, answers.append)
        self._wait(lambda: bool(answers))
        return plain(answers[0])

    def _ask(self, supervisor: str, request: Request | str) -> Any:
        """Ask a nested supervisor; None if it is not there, or ends before it answers."""
        answers: list[Any] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            try:
                sock.connect(str(Place(self.site, supervisor).file("ctl")))
                sock.send(pickle.dumps(request))
            except OSError:
                return None
            self.loop.watch(sock, lambda _mask: self._answered(sock, answers))
            try:
                self._wait(lambda: bool(answers))
            finally:
                self.loop.unwatch(sock)
        return answers[0]

    def _answered(self, sock: socket.socket, answers: list[Any]) -> None:
        answers.append(_received(sock))
        self.loop.stop()

    def _rest(self, supervisor: str) -> bool:
        """Wait until a supervisor and those below it rest; False if one ends meanwhile."""
        if supervisor == "root":
            root = self.root
            if root is None or self.quit is not None:
                return True
            self._wait(lambda: self.quit is not None or at_rest(root.state))
            self._turn()
            said: Any = states(root.state)
        else:
            said = self._ask(supervisor, "rest")
        if said is None:
            return False
        self.said[supervisor] = said
        below = [child for child, state in said.items() if state == "running"]
        return all(self._rest(c) for c in below if Place(self.site, c).supervises)

    def _turn(self) -> None:
        """Let what root has posted be served: reports, what it sent itself."""
        turned: list[bool] = []

        def turn() -> None:
            turned.append(True)
            self.loop.stop()

        self.loop.post(turn)
        self._wait(lambda: bool(turned))

    def _wait(self, done: Callable[[], bool]) -> None:
        """Serve the loop until something is so."""
        deadline = time.monotonic() + DEADLINE
        timer = self.loop.call_later(DEADLINE, self.loop.stop)
        self._read()
        while not done():
            if time.monotonic() >= deadline:
                raise TimeoutError("the world does not come to rest")
            self.loop.run()
            self._read()
        timer.cancel()

    # --- the trace -----------------------------------------------------------------------------

    def _read(self) -> None:
        while select.select([self._trace], [], [], 0)[0]:
            self._unread += os.read(self._trace, 1 << 16)
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._lines += 1
            self._take(*json.loads(line))

    def _take(self, supervisor: str, kind: str, child: str, value: Any) -> None:
        if kind == "report":
            context, reason, cause, count = value
            told = ExitReason(ExitKind(reason), cause)
            self.reports.append((supervisor, Report(ReportContext(context), child, told, count)))
            return
        if kind == "stop":
            group = supervisor if supervisor in self.simple else None
            self._count("stop", child)
            self.traces.append(Trace("stop", child, value, group))
            if Place(self.site, child).supervises:
                self.ends[child] = f"dead:{value}"
            self._gone(child)
            return
        self.holders[child] = supervisor
        attempt = self._count("attempt", child)
        if kind == "start":
            self.live.add(child)
            self.traces.append(Trace("start", child, self._count("start", child)))
        else:
            self.traces.append(Trace(kind, child, attempt))

    def _count(self, what: str, child: str) -> int:
        self.counts[what, child] = self.counts.get((what, child), 0) + 1
        return self.counts[what, child]

    def _gone(self, child: str) -> None:
        """It is no more, nor what was below it."""
        self.live.discard(child)
        for below in [c for c in self.live if self.holders.get(c) == child]:
            self._gone(below)
            if Place(self.site, below).supervises:
                self.ends[below] = "dead:killed"


def _received(sock: socket.socket) -> Any:
    try:
        packet = sock.recv(1 << 17)
    except OSError:
        packet = b""
    return pickle.loads(packet) if packet else None
