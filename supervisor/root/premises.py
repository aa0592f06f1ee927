"""The directories of a running app, made anew when they are wiped under it.

A tmp cleaner, or somebody with rm -rf, takes the lock and the sockets away: nobody could talk to
the app any more, and a second one could be started under its name. Whose directory it is says the
lock in it, always: if another root has taken that meanwhile, this one stops in order.
"""

import os

from supervisor.control.errors import UnsafeDirectory
from supervisor.control.removals import Removals
from supervisor.control.runtime_dir import RuntimeDirectory
from supervisor.control.server import ControlServer
from supervisor.errors import AlreadyRunning
from supervisor.loop import TimerHandle
from supervisor.process import tempdir
from supervisor.root.console import say
from supervisor.root.root import Root
from supervisor.shell.surroundings import ERROR, WARNING
from supervisor.shortage import reason

#: Seconds from the first thing that is removed to the look: who is at it gets done.
SETTLE = 0.1
#: Seconds between two looks where the kernel tells nothing, or nothing could be made.
INTERVAL = 30.0


class Premises:
    """Keeps the runtime directory of an app, and in that of its state what workers need.

    Durable queues are the broker's: it knows what was in files that are gone.

    Args:
        root: of the app.
        claim: its runtime directory, which it listens in.
        server: of its control socket.

    """

    def __init__(self, root: Root, claim: RuntimeDirectory, server: ControlServer) -> None:
        self._root, self._claim, self._server = root, claim, server
        self._temp = tempdir.base()
        self._timer: TimerHandle | None = None
        self._broken = False
        self._removals: Removals | None = None
        try:
            self._removals = Removals()
            root.loop.watch(self._removals, self._removed)
        except OSError as error:
            problem = f"looked after every {INTERVAL:g} s"
            root.shell.log(WARNING, "no inotify", error=error.strerror, directories=problem)
        self._look()

    def close(self) -> None:
        """Look after them no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._removals is not None:
            self._root.loop.unwatch(self._removals)
            self._removals.close()
            self._removals = None

    def _removed(self, _mask: int) -> None:
        assert self._removals is not None
        self._removals.forget()
        if self._timer is None or self._broken:
            self._look_in(SETTLE)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._root.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        try:
            self._keep_temp()
            self._keep_runtime()
            watched = self._watch()
        except AlreadyRunning as error:
            self._lost(error)
            return
        except UnsafeDirectory as error:
            watched = self._failed(error.problem)
        except OSError as error:
            watched = self._failed(reason(error, self._claim.directory))
        else:
            self._broken = False
        if not watched:
            self._look_in(INTERVAL)

    def _watch(self) -> bool:
        if self._removals is None:
            return False
        self._removals.watch(self._claim.directory)
        if self._temp is not None:
            self._removals.watch(os.path.dirname(self._temp))
        return True

    def _keep_runtime(self) -> None:
        if self._claim.whole:
            return
        self._claim.occupy()
        self._server.listen_at(self._claim.listen())
        self._root.services.restore(self._claim.directory)
        self._root.shell.oom_kills.begin()
        self._tell("runtime directory was wiped and is made anew", self._claim.directory)

    def _keep_temp(self) -> None:
        if self._temp is not None and not os.path.isdir(self._temp):
            os.makedirs(self._temp, 0o700, exist_ok=True)
            self._tell("state directory was wiped and is made anew", os.path.dirname(self._temp))

    def _tell(self, event: str, directory: str) -> None:
        self._root.shell.log(WARNING, event, directory=directory)

    def _failed(self, problem: str) -> bool:
        if not self._broken:
            self._root.shell.log(ERROR, "directory cannot be made anew", error=problem)
        self._broken = True
        return False

    def _lost(self, error: AlreadyRunning) -> None:
        problem = str(error).partition("\n")[0]
        self._root.shell.log(ERROR, "runtime directory was wiped and taken", problem=problem)
        say(f"the runtime directory was wiped and taken: {problem}; stopping")
        self.close()
        self._root.leave(AlreadyRunning.exit_code)
