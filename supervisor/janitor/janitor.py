"""The janitor's process: runs each recycler when it is due, one after the other.

It also writes the crash reports (`supervisor.crashes`), as root tells it of deaths: it may wait for
a disk, which root and the supervisors must not.

It is forked where the author's app is imported, because it calls functions of the author's. Each
run is a process of its own: what it leaks, breaks or forgets to end goes with it, and one that
hangs is killed at its deadline and keeps the others from nothing but their turn.
"""

import logging
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial

import msgspec

from supervisor.crashes import clerk, place, shelf
from supervisor.crashes.clerk import Clerk
from supervisor.declare.recycler import Recycler
from supervisor.definition import RecyclerDefinition
from supervisor.errors import StartError
from supervisor.janitor import leftovers
from supervisor.janitor.journal import CORES, CRASHES, JOURNAL, TEMP, Entry
from supervisor.janitor.sweep import Keep, sweep
from supervisor.janitor.task import Outcome, Task
from supervisor.link import LONGEST_WAIT, WorkerLink
from supervisor.logs.handler import RecordHandler
from supervisor.logs.record import stderr
from supervisor.process.app import LoadedApp, load

log = logging.getLogger("supervisor.janitor")

#: The recyclers of what processes leave behind when they end.
OF_THE_DEAD = (TEMP, CORES)

#: Seconds after the start until the first runs: an app that starts has other things to do.
FIRST_AFTER = 1.0


class Options(msgspec.Struct, frozen=True):
    """What a janitor is told: the app, its runtime directory, its recyclers.

    ``temp``: where workers have their temp directories; None: they have none of their own.
    ``cwds``: the directories that workers run in, of whose core files ``cores`` are kept; 0: all.
    ``environments``: the variables that children declare, by their paths.
    """

    app: str
    directory: str
    recyclers: list[RecyclerDefinition]
    temp: str | None = None
    cwds: list[bytes] = []  # a path may be any bytes
    cores: int = 0
    environments: dict[str, dict[str, str | None]] = {}


class Janitor:
    """Runs recyclers.

    Args:
        directory: the runtime directory.
        recyclers: which.
        functions: of those that are functions, by name.
        clerk: writes the crash reports.

    """

    def __init__(
        self,
        directory: str,
        recyclers: list[RecyclerDefinition],
        functions: dict[str, Callable[[], Outcome]],
        clerk: Clerk,
    ) -> None:
        self._directory = directory
        self._recyclers = {one.name: one for one in recyclers}
        self._functions = functions
        self._clerk = clerk
        first = time.monotonic() + FIRST_AFTER
        self._due = dict.fromkeys(self._recyclers, first)
        self._leftovers_at = first  # after the last nudge
        self._entries: dict[str, Entry] = {}

    def run(self, link: WorkerLink) -> None:
        """Go on until asked to stop."""
        while True:
            name = min(self._due, key=lambda name: self._due[name])
            if self._wait(self._due[name], link):
                break
            if link.nudged():
                self._expect_leftovers()
                continue
            outcome = self._run_one(self._recyclers[name], link)
            if outcome is None:
                break
            self._plan(name, outcome)
        self._clerk.work()  # of those that died last

    def _plan(self, name: str, outcome: Outcome) -> None:
        """Say when a recycler that has run is to run again."""
        now = time.monotonic()
        self._due[name] = now + self._recyclers[name].every
        if name in OF_THE_DEAD and (outcome.more or outcome.problem):
            self._due[name] = now + leftovers.SOON
        elif name in OF_THE_DEAD and self._leftovers_at > now:  # ends after a nudge are not told
            self._due[name] = self._leftovers_at

    def _expect_leftovers(self) -> None:
        """Look soon, for something has ended. While nothing does there is nothing to look for."""
        self._leftovers_at = time.monotonic() + leftovers.SOON
        for name in self._due.keys() & set(OF_THE_DEAD):
            self._due[name] = min(self._due[name], self._leftovers_at)

    def _wait(self, until: float, link: WorkerLink) -> bool:
        """Wait until a monotonic time or a nudge, or a request to stop: then return True."""
        while not link.stopping:
            left = until - time.monotonic()
            if left <= 0 or link.is_nudged:
                return False
            self._listen(link, left)
        return True

    def _listen(self, link: WorkerLink, seconds: float, *fds: int) -> None:
        """Wait for anything to be said; of deaths, write it down."""
        poll = select.poll()
        for fd in (self._clerk.fileno(), link.fileno(), link.wakeup_fd, *fds):
            poll.register(fd, select.POLLIN)
        found = poll.poll(min(seconds, LONGEST_WAIT) * 1000)
        if any(fd == self._clerk.fileno() for fd, _ in found):
            self._clerk.work()

    def _run_one(self, recycler: RecyclerDefinition, link: WorkerLink) -> Outcome | None:
        """Run one recycler; None if we were asked to stop meanwhile: then it is killed."""
        began = time.monotonic()
        try:
            task = Task(self._work(recycler), recycler.deadline)
        except OSError as error:  # the machine has no process for it; the next time perhaps
            failed = Outcome(problem=f"it was not begun: {error.strerror}")
            self._note(recycler, failed, 0)
            return failed
        while (outcome := task.outcome()) is None:
            if link.stopping:
                task.kill("stopped")
                return None
            self._listen(link, task.left, task.fileno())
        self._note(recycler, outcome, time.monotonic() - began)
        return outcome

    def _work(self, recycler: RecyclerDefinition) -> Callable[[], Outcome]:
        function = self._functions.get(recycler.name)
        if function is not None:
            return function
        assert recycler.path is not None
        return partial(_sweep, recycler.path, recycler)

    def _note(self, recycler: RecyclerDefinition, outcome: Outcome, seconds: float) -> None:
        before = self._entries.get(recycler.name, Entry(0, 0, 0))
        failed = bool(outcome.problem)
        self._entries[recycler.name] = Entry(
            at=time.time(),
            seconds=round(seconds, 4),
            runs=before.runs + 1,
            failures=before.failures + failed,
            removed=before.removed + outcome.removed,
            removed_bytes=before.removed_bytes + outcome.removed_bytes,
            size=outcome.size,
            files=outcome.files,
            problem=outcome.problem,
            limit=recycler.max_bytes,
            path=recycler.path if outcome.size is None else None,
            max_files=recycler.max_files,
            max_age=recycler.max_age,
        )
        fields = {"recycler": recycler.name, "removed": outcome.removed}
        if failed:
            log.warning("recycler failed", extra={**fields, "problem": outcome.problem})
        elif outcome.removed:
            log.info("recycled", extra={**fields, "bytes": outcome.removed_bytes})
        if recycler.name == CRASHES:
            self._clerk.look()
        self._post_journal()

    def post(self) -> None:
        """Write down all that there is to be known of us."""
        self._clerk.post()
        self._post_journal()

    def _post_journal(self) -> None:
        try:
            JOURNAL.post(self._directory, self._entries)
        except OSError as error:  # nobody will see it, that is all
            log.warning("no journal", extra={"problem": str(error)})


def _sweep(path: str, recycler: RecyclerDefinition) -> Outcome:
    keep = Keep(recycler.max_age, recycler.max_bytes, recycler.max_files)
    swept = sweep(path, keep, time.time())
    problem = f"{swept.problems} files cannot be removed" if swept.problems else ""
    return Outcome(swept.removed, swept.removed_bytes, swept.bytes, swept.files, problem)


def _call(function: Recycler) -> Outcome:
    returned = function()
    is_count = isinstance(returned, int) and not isinstance(returned, bool)
    return Outcome(removed=max(0, returned) if is_count else 0)


def functions_of(app: str) -> dict[str, Callable[[], Outcome]]:
    """Import the app, and return its recyclers that are functions."""
    loaded = load(app)
    if not isinstance(loaded, LoadedApp):
        raise StartError(f"{loaded.problem} ({loaded.where})")
    calls = [one for one in loaded.tree.recyclers if one.call is not None]
    return {one.name: partial(_call, one) for one in calls}


def made_of(options: Options, deaths: socket.socket) -> Janitor:
    """Make a janitor with the author's recyclers and our own; it hears of ``deaths`` there."""
    recyclers = list(options.recyclers)
    is_called = any(one.path is None for one in recyclers)
    functions = functions_of(options.app) if is_called else {}
    recyclers.append(
        RecyclerDefinition(
            CRASHES,
            path=place.below(options.directory),
            max_age=shelf.KEEP.max_age,
            max_bytes=shelf.KEEP.max_bytes,
            max_files=shelf.KEEP.max_files,
            every=clerk.EVERY,
            deadline=clerk.DEADLINE,
        )
    )
    functions[CRASHES] = partial(clerk.recycle, options.directory)
    if options.temp is not None:
        recyclers.append(
            RecyclerDefinition(
                TEMP, path=options.temp, every=leftovers.EVERY, deadline=leftovers.DEADLINE
            )
        )
        functions[TEMP] = partial(leftovers.remove_abandoned, options.temp)
    if options.cores:
        recyclers.append(
            RecyclerDefinition(
                CORES,
                max_bytes=leftovers.MAX_CORES,
                max_files=options.cores,
                every=leftovers.EVERY,
                deadline=leftovers.DEADLINE,
            )
        )
        cwds = [os.fsdecode(directory) for directory in options.cwds]
        functions[CORES] = partial(leftovers.prune_cores, cwds, options.cores)
    writer = Clerk(deaths, options.directory, options.app, options.environments)
    return Janitor(options.directory, recyclers, functions, writer)


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run a janitor until it is told to stop."""
    options = msgspec.msgpack.decode(argument, type=Options)
    stderr.incarnation = link.context.incarnation
    logging.getLogger().handlers = [RecordHandler()]
    logging.getLogger().setLevel(logging.INFO)
    link.stop_on_signal()
    janitor = made_of(options, socket.socket(fileno=fds["deaths"]))
    link.on_directory_made = janitor.post
    link.ready()
    janitor.run(link)
