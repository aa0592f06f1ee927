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
import socket
import sys
import time
import uuid
from collections.abc import Callable
from enum import Enum

import msgspec

import supervisor
from supervisor import services
from supervisor.actor import Actor
from supervisor.commands import Commander
from supervisor.config import RunOptions
from supervisor.core.events import Boot, Report, ReportContext, Shutdown
from supervisor.core.exits import SHUTDOWN, ExitReason
from supervisor.definition import SupervisorDefinition
from supervisor.errors import DefinitionError
from supervisor.logs.record import record_writer
from supervisor.logs.sources import LogSources
from supervisor.loop import Loop
from supervisor.observe.snapshot import Snapshot
from supervisor.plan import services_spec, supervisor_spec
from supervisor.process.launcher import sweep_orphans
from supervisor.process.messages import Loaded, LoadFailed
from supervisor.reports import write
from supervisor.service_process import ServiceProcess
from supervisor.shell import ERROR, INFO, WARNING, Shell
from supervisor.status import Board, supervisor_status
from supervisor.template_keeper import Hooks, TemplateKeeper, reap
from supervisor.templates import Template
from supervisor.uplink import SupervisorRecord

#: Spares that root keeps of the release template.
SPARES = 2

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_GAVE_UP = 70
EXIT_INTERRUPTED = 130


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


class Root:
    """One running app.

    Args:
        options: what the user asked for.
        name: the name of the running app.
        directory: its runtime directory, locked by us.
        control: a listening socket for control, to be served by `control_server`.

    """

    def __init__(self, options: RunOptions, name: str, directory: str) -> None:
        self.options, self.name, self.directory = options, name, directory
        self.loop = Loop()
        self.run_id = str(uuid.uuid4())
        self.started_at = time.time()
        self.phase = Phase.LOADING
        self.exit_code = EXIT_OK
        self.board = Board()
        self.sources = LogSources(self._to_pump)
        self.definition: SupervisorDefinition | None = None
        self.tree: Actor | None = None
        self.services: Actor | None = None
        self.commander: Commander | None = None
        self.health: socket.socket | None = None
        self._problem: LoadFailed | None = None
        self._log_pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.log = record_writer(self._log_pipe[1], "root")
        self.sources.add("root", "stderr", os.dup(self._log_pipe[0]))
        self._shell = self._make_shell()
        self._keepers = [
            self._keeper(self._shell.runtime, None),
            self._keeper(self._shell.release, options.app),
        ]

    # --- composition --------------------------------------------------------------------------------

    def _make_shell(self) -> Shell:
        return Shell(
            loop=self.loop,
            app=self.options.app,
            runtime=Template(self.loop, "runtime"),
            release=Template(self.loop, "release"),
            board=self.board,
            log=self.log,
            pipes=self.sources.add,
            pipes_gone=self.sources.forget,
            process_up=self.sources.process,
            runtime_dir=self.directory,
            log_level=self.options.log_level,
        )

    def _keeper(self, template: Template, app: str | None) -> TemplateKeeper:
        hooks = Hooks(self._loaded, self._load_failed, self._give_up)
        arguments = list(self.options.app_args)
        return TemplateKeeper(self.loop, template, app, arguments, hooks, self.log)

    # --- the run --------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run the app to its end; returns the exit code."""
        interrupts = _Interrupts(self)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            self.loop.on_signal(signum, lambda signum=signum: interrupts.arrived(signum))
        self.loop.on_signal(signal.SIGCHLD, self._reap)
        for keeper in self._keepers:
            keeper.start()
        try:
            self.loop.run()
        except Exception as error:  # crash-only: report, end everything, exit 70
            self.exit_code = EXIT_GAVE_UP
            sys.stderr.write(f"supervisor: internal error, ending {self.name}: {error!r}\n")
            if self.options.debug:
                raise
        finally:
            self._close()
        return self.exit_code

    @property
    def problem(self) -> LoadFailed | None:
        """Why the app could not be loaded, if so."""
        return self._problem

    def stop(self) -> None:
        """Stop the tree in order, then everything else. Idempotent."""
        if self.phase is Phase.STOPPING:
            return
        before, self.phase = self.phase, Phase.STOPPING
        if before is Phase.LOADING:
            self.loop.stop()
        elif self.tree is not None:
            self.tree.deliver(Shutdown(SHUTDOWN))
        elif self.services is not None:
            self.services.deliver(Shutdown(SHUTDOWN))

    def stop_now(self) -> None:
        """End everything at once: the templates kill whatever is left."""
        self.exit_code = EXIT_INTERRUPTED
        self.loop.stop()

    def _close(self) -> None:
        for keeper in self._keepers:
            keeper.close()

    def _reap(self) -> None:
        reap(self._keepers)
        sweep_orphans({keeper.pid for keeper in self._keepers})

    # --- loading --------------------------------------------------------------------------------------

    def _loaded(self, reply: Loaded) -> None:
        definition = msgspec.msgpack.decode(reply.definition, type=SupervisorDefinition)
        self.definition = definition
        if reply.threads:
            self._shell.preload = False
            self.log(WARNING, "app starts threads: workers import it afresh", threads=reply.threads)
        try:
            self._start_services(definition)
        except DefinitionError as error:
            self._load_failed(LoadFailed(error.problem, error.where, error.help))

    def _load_failed(self, reply: LoadFailed) -> None:
        self._problem = reply
        self.exit_code = reply.exit_code
        self.loop.stop()

    def _start_services(self, definition: SupervisorDefinition) -> None:
        plan = [services.pump_service(self.options, self.sources.resend)]
        if definition.queues:
            listener, door = services.queue_listener(self.directory)
            self._shell.fds["queues"] = door
            plan.append(services.broker_service(definition.queues, listener))
            self._queue_listener = listener
        if self.options.health is not None:
            self.health = services.health_listener(self.options.health)
            control = os.path.join(self.directory, "control.sock")
            plan.append(services.observer_service(self.name, control, self.health))
        self.phase = Phase.SERVING
        self.services = Actor(
            self._shell,
            services_spec(plan),
            "runtime",
            self._services_up,
            self._services_ended,
            lambda report: write(self.log, "runtime", report),
        )
        self.services.deliver(Boot())

    # --- the services -----------------------------------------------------------------------------------

    def _services_up(self) -> None:
        if self.phase is not Phase.SERVING:
            return
        assert self.definition is not None
        self.phase = Phase.STARTING
        path = self.definition.name
        spec = supervisor_spec(self.definition, path)
        self._show_tree("starting")
        self.tree = Actor(
            self._shell, spec, path, self._tree_up, self._tree_ended, self._report, self._stepped
        )
        self.commander = Commander(self.tree)
        self.tree.deliver(Boot())

    def _services_ended(self, reason: ExitReason, failed: str | None) -> None:
        if self.phase is not Phase.STOPPING:  # they gave up, or never came up
            self.log(ERROR, "runtime services ended", cause=reason.cause, failed=failed)
            sys.stderr.write(f"supervisor: runtime service {failed or ''} ended: {reason.cause}\n")
            self.exit_code = EXIT_GAVE_UP
        self.loop.stop()

    def _to_pump(self, message: msgspec.Struct, fd: int | None) -> None:
        if self.services is None:
            return
        for (name, _), process in self.services.processes.items():
            if name == "pump" and isinstance(process, ServiceProcess):
                process.send(message, fd)

    # --- the tree ---------------------------------------------------------------------------------------

    def _tree_up(self) -> None:
        self.phase = Phase.RUNNING
        self._shell.release.fill_spares(SPARES)
        self._show_tree("ready")
        self.log(INFO, "up", app=self.options.app, name=self.name, pid=os.getpid())

    def _tree_ended(self, reason: ExitReason, failed: str | None) -> None:
        if failed is not None and self.phase is not Phase.STOPPING:
            self.exit_code = EXIT_FAILED
            self.log(ERROR, "could not start", child=failed, cause=reason.cause)
        self.phase = Phase.STOPPING
        self._show_tree("stopped")
        self.log(INFO, "down", name=self.name, exit_code=self.exit_code)
        assert self.services is not None
        self.services.deliver(Shutdown(SHUTDOWN))

    def _report(self, report: Report) -> None:
        if report.context is ReportContext.SHUTDOWN:
            self.exit_code = EXIT_GAVE_UP
        assert self.tree is not None
        write(self.log, self.tree.path, report)

    def _stepped(self) -> None:
        assert self.tree is not None
        self.board.set_restart_times(self.tree.path, list(self.tree.state.restarts))

    def _show_tree(self, state: str) -> None:
        assert self.definition is not None
        self.board.set_supervisor(
            SupervisorRecord(
                self.definition.name,
                state,
                pid=os.getpid(),
                generation=1,
                started_at=self.started_at,
            )
        )

    def _give_up(self, problem: str) -> None:
        sys.stderr.write(f"supervisor: {problem}\n")
        self.exit_code = EXIT_GAVE_UP
        self.loop.stop()

    # --- looking ----------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the state of the whole app as it is known now."""
        assert self.definition is not None
        health = self.health
        return Snapshot(
            name=self.name,
            app=self.options.app,
            phase=self.phase.shown,
            pid=os.getpid(),
            run_id=self.run_id,
            version=supervisor.__version__,
            time=time.time(),
            started_at=self.started_at,
            tree=supervisor_status(
                self.board, self.definition, self.definition.name, time.monotonic()
            ),
            services=[
                worker
                for name in ("pump", "broker", "observer")
                for worker in self.board.slots(f"runtime/{name}")
            ],
            loop_longest_pass=self.loop.longest_pass,
            health_address=None if health is None else "{}:{}".format(*health.getsockname()[:2]),
        )


class _Interrupts:
    """What signals from outside mean: the first stops in order, the next one at once."""

    def __init__(self, root: Root, say: Callable[[str], object] = sys.stderr.write) -> None:
        self._root, self._say = root, say
        self._seen = 0

    def arrived(self, signum: int) -> None:
        """Act on one signal."""
        self._seen += 1
        name = signal.Signals(signum).name
        if self._seen == 1:
            self._say(f"supervisor: {name}: stopping in order; again to stop at once\n")
            self._root.stop()
        else:
            self._say(f"supervisor: {name} again: killing everything\n")
            self._root.stop_now()
