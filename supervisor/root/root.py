"""Root: the top supervisor of an app, and the keeper of everything that must not die with a child.

    LOADING ──app imported──► SERVING ──services up──► STARTING ──tree up──► RUNNING
       │                         │                        │                    │
       └──────────── a stop is asked for, or something cannot start ───────────┘
                                 ▼
                    STOPPING: the tree, then the services, then the templates

It hosts two actors: the author's tree and, outside of it, the supervisor of the runtime's own
processes. It runs no code of the author's, serves no HTTP and opens no database.
"""

import os
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from traceback import format_exc

import msgspec

import supervisor
from supervisor.config import RunOptions
from supervisor.control.messages import Reply
from supervisor.core.events import Boot, Report, ReportContext, Shutdown
from supervisor.core.exits import SHUTDOWN, ExitReason
from supervisor.definition import SupervisorDefinition
from supervisor.errors import DefinitionError, UnusableLogs
from supervisor.logs.record import record_writer
from supervisor.loop import Loop
from supervisor.observe import judge
from supervisor.observe.snapshot import QueueFacts, Snapshot
from supervisor.process.family import has_orphans, sweep_orphans
from supervisor.process.messages import Loaded, LoadFailed
from supervisor.root import descriptors, forking, log_files
from supervisor.root.clock import ClockWatch
from supervisor.root.console import say
from supervisor.root.interrupts import Interrupts
from supervisor.root.reload import Reload
from supervisor.root.services import Services
from supervisor.root.succession import Succession
from supervisor.root.template_keeper import Hooks, TemplateKeeper, reap
from supervisor.shell.actor import Actor
from supervisor.shell.commands import Commander
from supervisor.shell.plan import supervisor_spec
from supervisor.shell.reports import write
from supervisor.shell.status import Board, supervisor_status
from supervisor.shell.surroundings import ERROR, INFO, WARNING, Shell
from supervisor.shell.templates import Template
from supervisor.shell.uplink import SupervisorRecord
from supervisor.shortage import reason

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_GAVE_UP = 70
EXIT_INTERRUPTED = 130
#: Seconds that an ending root waits for its templates, which wait for what they have killed.
FAREWELL = 2.0
#: Seconds for what templates have left behind that were killed.
SWEPT_WITHIN = 0.5


class Phase(Enum):
    """Where an app is in its life."""

    LOADING = "loading"
    SERVING = "serving"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"

    @property
    def shown(self) -> str:
        """The phase as users know it: starting, running or stopping."""
        return "starting" if self in (Phase.LOADING, Phase.SERVING) else self.value


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run of which app this is. ``directory``: its runtime directory, locked by us."""

    name: str
    directory: str
    options: RunOptions
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: float = field(default_factory=time.time)


class Root:
    """One running app."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.loop = Loop()
        self.phase = Phase.LOADING
        self.problem: LoadFailed | None = None  # why the app cannot be loaded
        self.definition: SupervisorDefinition | None = None
        self.tree: Actor | None = None
        self.commander: Commander | None = None
        self.services = Services()
        self._reloads = Reload(self)
        self._exit_code = EXIT_OK
        self.shell = self._make_shell()
        self._runtime = self._keeper(None, self.shell.runtime, self._hooks)
        make = partial(self._keeper, identity.options.app)
        self.release = Succession(self.shell, make, self._hooks)

    # --- composition --------------------------------------------------------------------------

    def _make_shell(self) -> Shell:
        options, sources = self.identity.options, self.services.sources
        read, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        sources.add("root", "stderr", read)
        self.loop.guard(write_end, self._lagged)
        self.loop.on_wake = ClockWatch(time.time, self._clock_set).look
        shell = Shell(
            loop=self.loop,
            app=options.app,
            runtime=Template(self.loop, "runtime"),
            release=Template(self.loop, "release"),
            board=Board(self.services.stirred),
            log=record_writer(write_end, "root"),
            pipes=sources.add,
            pipes_gone=sources.forget,
            process_up=sources.process,
            runtime_dir=self.identity.directory,
            spares=options.spares,
            say_death=self.services.deaths.send,
        )
        shell.oom_kills.begin()
        return shell

    @property
    def _hooks(self) -> Hooks:
        return Hooks(self._loaded, self._load_failed, self._give_up)

    def _keeper(self, app: str | None, template: Template, hooks: Hooks) -> TemplateKeeper:
        arguments = list(self.identity.options.app_args)
        return TemplateKeeper(self.loop, template, app, arguments, hooks, self.shell.log)

    @property
    def _keepers(self) -> list[TemplateKeeper]:
        return [self._runtime, *self.release.keepers]

    # --- the run ------------------------------------------------------------------------------

    def run(self) -> int:
        """Run the app to its end; returns the exit code."""
        Interrupts(self.stop, self.stop_now, self._hung_up).listen(self.loop)
        self.loop.on_signal(signal.SIGCHLD, self._reap)
        for keeper in self._keepers:
            keeper.start()
        try:
            self.loop.run()
        except Exception as error:  # crash-only: report, end everything, exit 70
            self._exit_code = EXIT_GAVE_UP
            say(f"internal error, ending {self.identity.name}: {error!r}\n{format_exc()}")
            if self.identity.options.debug:
                raise
        finally:
            self._close()
        return self._exit_code

    def stop(self) -> None:
        """Stop the tree in order, then everything else. Idempotent."""
        if self.phase is Phase.STOPPING:
            return
        before, self.phase = self.phase, Phase.STOPPING
        if before is Phase.LOADING:
            self.loop.stop()
        elif self.tree is not None:
            self.tree.deliver(Shutdown(SHUTDOWN))
        else:
            self.services.stop()

    def leave(self, exit_code: int) -> None:
        """Stop in order, and end with this code; one that stops already goes on with that."""
        if self.phase is not Phase.STOPPING:
            self._exit_code = exit_code
            self.stop()

    def reload(self, everything: bool, answer: Callable[[Reply], None]) -> None:
        """Load the app anew and replace what has changed; see `supervisor.root.reload`."""
        self._reloads.ask(everything, answer)

    def _hung_up(self, done: Callable[[], None]) -> None:
        self.reload(False, lambda _reply: done())

    def stop_now(self) -> None:
        """End everything at once: the templates kill whatever is left."""
        self._exit_code = EXIT_INTERRUPTED
        self.loop.stop()

    def _close(self) -> None:
        for keeper in self._keepers:
            keeper.close()
        deadline = time.monotonic() + FAREWELL
        for keeper in self._keepers:  # whoever waits for us may rely on it that all is gone
            keeper.wait(deadline - time.monotonic())
        reap(self._keepers)
        self._leave_nobody()

    def _lagged(self, seconds: float) -> None:
        self.shell.log(WARNING, "loop was blocked", seconds=round(seconds, 3))

    def _clock_set(self, seconds: float) -> None:
        self.shell.log(WARNING, "clock step", seconds=round(seconds, 3))

    def _reap(self) -> None:
        reap(self._keepers)
        self.release.prune()
        self._sweep()

    def _sweep(self) -> None:
        """Kill what a template has left behind by its own death."""
        sweep_orphans(*self._templates)

    @property
    def _templates(self) -> tuple[set[int], set[int]]:
        """The templates that there are, and all that there have been."""
        keepers = self._keepers
        return {keeper.pid for keeper in keepers}, set().union(*(one.pids for one in keepers))

    def _leave_nobody(self) -> None:
        """Sweep until there is nobody: what we leave behind now nobody will look for."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        deadline = time.monotonic() + SWEPT_WITHIN
        self._sweep()
        while has_orphans(*self._templates) and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait([signal.SIGCHLD], left)
            self._sweep()

    # --- loading ------------------------------------------------------------------------------

    def _loaded(self, reply: Loaded) -> None:
        definition = msgspec.msgpack.decode(reply.definition, type=SupervisorDefinition)
        self.definition = definition
        self.shell.preload = forking.may_fork(reply, definition, self.shell.log)
        self.phase = Phase.SERVING
        options = self.identity.options
        slots = descriptors.all_slots(definition)
        self.shell.starts.allow(slots, options.restart_burst, options.restart_rate)
        logs = log_files.settled(options.logs, definition.logs)
        self.shell.log_level = logs.level or log_files.LEVEL
        self.shell.marks = logs.format != "raw"  # whose files are to be the very bytes
        try:
            descriptors.require(definition)
            files = log_files.kept(logs, self.identity.name)
            self.services.start(
                self.shell,
                options,
                definition,
                files,
                self._services_up,
                self._services_ended,
            )
        except DefinitionError as error:
            self._load_failed(LoadFailed(error.problem, error.where, error.help))
        except UnusableLogs as error:
            self._load_failed(LoadFailed(error.problem, help=error.help))
        except OSError as error:  # what the services need cannot be made
            why = reason(error, self.identity.directory)
            self._load_failed(LoadFailed(f"{self.identity.directory} cannot be used: {why}"))

    def _load_failed(self, reply: LoadFailed) -> None:
        self.problem = reply
        self._exit_code = reply.exit_code
        self.loop.stop()

    # --- the services -------------------------------------------------------------------------

    def _services_up(self) -> None:
        if self.phase is not Phase.SERVING:
            return
        assert self.definition is not None
        self.phase = Phase.STARTING
        path = self.definition.name
        spec = supervisor_spec(self.definition, path)
        self._show_tree("starting")
        self.tree = Actor(
            self.shell, spec, path, self._tree_up, self._tree_ended, self._report, self._stepped
        )
        self.commander = Commander(self.tree)
        self.tree.deliver(Boot())

    def _services_ended(self, reason: ExitReason, failed: str | None) -> None:
        if self.phase is not Phase.STOPPING:  # they gave up, or never came up
            self.shell.log(ERROR, "runtime services ended", cause=reason.cause, failed=failed)
            say(f"runtime service {failed or ''} ended: {reason.cause}")
            self._exit_code = EXIT_GAVE_UP
        self.loop.stop()

    # --- the tree -----------------------------------------------------------------------------

    def _tree_up(self) -> None:
        self.phase = Phase.RUNNING
        self.shell.release.spares.fill(self.shell.spares)
        self._show_tree("ready")
        self.shell.log(
            INFO, "up", app=self.identity.options.app, name=self.identity.name, pid=os.getpid()
        )

    def _tree_ended(self, reason: ExitReason, failed: str | None) -> None:
        if failed is not None and self.phase is not Phase.STOPPING:
            self._exit_code = EXIT_FAILED
            self.shell.log(ERROR, "could not start", child=failed, cause=reason.cause)
        self.phase = Phase.STOPPING
        self._show_tree("stopped")
        self.shell.obituaries.tell()
        if left := judge.left_behind(self.snapshot()):
            say(judge.unkillable(left))
        self.shell.log(INFO, "down", name=self.identity.name, exit_code=self._exit_code)
        self.services.stop()

    def _report(self, report: Report) -> None:
        if report.context is ReportContext.SHUTDOWN:
            self._exit_code = EXIT_GAVE_UP
        assert self.tree is not None
        write(self.shell, self.tree.path, report)

    def _stepped(self) -> None:
        assert self.tree is not None
        self.shell.board.set_restart_times(self.tree.path, self.tree.state.restarts)

    def _show_tree(self, state: str) -> None:
        assert self.definition is not None
        self.shell.board.set_supervisor(
            SupervisorRecord(
                self.definition.name,
                state,
                pid=os.getpid(),
                generation=1,
                started_at=self.identity.started_at,
            )
        )

    def _give_up(self, problem: str) -> None:
        say(problem)
        self._exit_code = EXIT_GAVE_UP
        self.loop.stop()

    @property
    def name(self) -> str:
        """The app's name."""
        return self.identity.name

    @property
    def state(self) -> str:
        """Where it is in its life, as users know it."""
        return self.phase.shown

    # --- looking ------------------------------------------------------------------------------

    def snapshot(self, queues: list[QueueFacts] | None = None) -> Snapshot:
        """Return the state of the whole app as it is known now; ``queues``: of its broker."""
        assert self.definition is not None
        return Snapshot(
            name=self.identity.name,
            app=self.identity.options.app,
            phase=self.phase.shown,
            pid=os.getpid(),
            run_id=self.identity.run_id,
            version=supervisor.__version__,
            time=time.time(),
            started_at=self.identity.started_at,
            tree=supervisor_status(
                self.shell.board, self.definition, self.definition.name, time.monotonic()
            ),
            services=[
                worker
                for name in ("pump", "broker", "observer", "arbiter", "janitor")
                for worker in self.shell.board.slots(f"runtime/{name}")
            ],
            loop_longest_pass=self.loop.longest_pass,
            queues=queues or [],
            health_address=self.services.health_address,
            templates=self.release.status(),
            state_dir=self.services.state_dir,
            reloading=self._reloads.under_way,
            out_of_descriptors_at=self.shell.exhaustion.at,
        )
