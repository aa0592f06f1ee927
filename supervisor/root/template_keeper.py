"""Root's keeper of the template processes: execs them, loads the app, replaces those that die."""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.loop import READ, WRITE, Loop, TimerHandle
from supervisor.process.launcher import TemplateClient, TemplateGone, start_template
from supervisor.process.messages import Loaded, LoadFailed
from supervisor.shell.surroundings import ERROR, WARNING, Log
from supervisor.shell.templates import Template

#: Templates may be replaced this often in `PERIOD` seconds; one more ends the app.
INTENSITY = 5
PERIOD = 60.0
#: Seconds until a template that could not be started is tried again.
START_AGAIN = 1.0
#: Seconds that a template may stay stopped (SIGSTOP): nobody is restarted or stopped meanwhile.
SUSPENDED_LIMIT = 10.0
#: Seconds that a killed one may take to be dead.
KILLED_WITHIN = 0.5
#: What the runtime's template imports ahead: a nested supervisor starts in 10 ms, not 80.
RUNTIME = (
    "supervisor.shell.nested",
    "supervisor.recycling.arbiter",
    "supervisor.janitor.janitor",
)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told: of the first load, of its failure, and that a template cannot be kept up."""

    loaded: Callable[[Loaded], None]
    load_failed: Callable[[LoadFailed], None]
    gave_up: Callable[[str], None]


class TemplateKeeper:
    """Keeps one template process running.

    Args:
        loop: root's loop.
        template: what the process is used through.
        app: "module:attribute" for the template of a release; None for the runtime's.
        app_args: what the app finds in ``sys.argv[1:]``.
        hooks: who is told.
        log: root's log.

    """

    def __init__(
        self,
        loop: Loop,
        template: Template,
        app: str | None,
        app_args: list[str],
        hooks: Hooks,
        log: Log,
    ) -> None:
        self._loop, self.template, self._hooks, self._log = loop, template, hooks, log
        self._app, self._app_args = app, app_args
        self.pid = 0
        self.pids: set[int] = set()  # of all the processes it has had
        self.reaped = True  # then the number may be another's
        self._starts: deque[float] = deque(maxlen=INTENSITY + 1)
        self.started_at = 0.0
        self._client: TemplateClient | None = None  # while it loads
        self._loaded_once = False
        self._closing = self.retired = False  # retired: it lingers, or was never used
        self._suspended: TimerHandle | None = None
        template.on_lost = self._lost

    def start(self) -> None:
        """Execute the process; it is attached once it has loaded the app.

        Raises:
            OSError: there is no descriptor for it, or no process.

        """
        self.pid, client = start_template(*(RUNTIME if self._app is None else ()))
        self.started_at = time.monotonic()
        self._starts.append(self.started_at)
        self.pids.add(self.pid)
        self.reaped = False
        if self._app is None:
            self.template.attach(client)
            return
        self._client = client
        client.load(self._app, self._app_args)
        self._loop.watch(client, self._on_loading, READ | WRITE)

    def close(self) -> None:
        """Close the connection: the template kills all that is left, and ends."""
        self._closing = True
        if self._client is not None:
            self._loop.unwatch(self._client)
            self._client.close()
            self._client = None
            self._kill()  # busy with the author's import, it would not see that we are gone
        self.template.close()
        self._signal(signal.SIGCONT)  # one that somebody has stopped could not end

    def changed(self, status: int) -> None:
        """Take what the kernel says of the process: it was stopped, continued, or has ended."""
        if self._suspended is not None:
            self._suspended.cancel()
            self._suspended = None
        self.reaped = os.WIFEXITED(status) or os.WIFSIGNALED(status)
        if os.WIFSTOPPED(status):
            self._log(WARNING, "template stopped", template=self.template.name, pid=self.pid)
            self._suspended = self._loop.call_later(SUSPENDED_LIMIT, self._kill)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the process, once closed; kill it after so long."""
        if self.reaped:
            return
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:  # it was never started, or the kernel has no such call
            return
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            self._kill()
            poll.poll(KILLED_WITHIN * 1000)
        os.close(fd)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, signum: int) -> None:
        if self.reaped:
            return
        try:
            os.kill(self.pid, signum)  # our child: not another's number until we reap it
        except ProcessLookupError:
            pass

    def _on_loading(self, _mask: int) -> None:
        client = self._client
        assert client is not None
        try:
            client.flush()
            replies = client.receive()
        except TemplateGone:
            self._loop.unwatch(client)
            client.close()
            self._client = None
            problem = f"the process that imports {self._app} died while importing it"
            self._failed(LoadFailed(problem, help="it may have crashed or called os._exit"))
            return
        self._loop.watch(client, self._on_loading, READ | WRITE if client.wants_write else READ)
        for reply, _fds in replies:
            if isinstance(reply, Loaded):
                self._loop.unwatch(client)
                self._client = None
                self._loaded(client, reply)
                return
            if isinstance(reply, LoadFailed):
                self._failed(reply)
                return

    def _loaded(self, client: TemplateClient, reply: Loaded) -> None:
        before, self.template.code = self.template.code, reply.code
        if self._loaded_once and reply.code != before:
            self._log(WARNING, "code on disk has changed", old=before, new=reply.code)
        self.template.attach(client)
        if not self._loaded_once:
            self._loaded_once = True
            self._hooks.loaded(reply)

    def _failed(self, reply: LoadFailed) -> None:
        if not self._loaded_once:
            self._hooks.load_failed(reply)
        else:  # the code on disk is broken now; the running workers are gone with the template
            self._log(ERROR, "app no longer loads", problem=reply.problem, where=reply.where)
            self._hooks.gave_up(f"the app no longer loads: {reply.problem}")

    def _lost(self) -> None:
        if self._closing:
            return
        self._log(WARNING, "template died", template=self.template.name, pid=self.pid)
        if self.retired:
            return
        now = time.monotonic()
        if len(self._starts) > INTENSITY and now - self._starts[0] <= PERIOD:
            self._hooks.gave_up(f"template {self.template.name} died {INTENSITY + 1} times")
        else:
            self._start_again()

    def _start_again(self) -> None:
        """Replace a process that has died; later, if there is nothing to make one of now."""
        if self._closing:
            return
        try:
            self.start()
        except OSError as error:
            name = self.template.name
            self._log(WARNING, "template cannot be started", template=name, error=error.strerror)
            self._loop.call_later(START_AGAIN, self._start_again)


def reap(keepers: list[TemplateKeeper]) -> None:
    """Reap template processes that have ended, and see which were stopped or continued."""
    for keeper in keepers:
        if keeper.reaped:
            continue
        try:
            while True:
                pid, status = os.waitpid(keeper.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
                if pid == 0:
                    break
                keeper.changed(status)
        except ChildProcessError:
            pass
