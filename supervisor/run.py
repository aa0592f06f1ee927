"""Run an app: the composition root of `supervisor run`.

Order matters: the lock on the name first, so that a second run of the same name touches nothing;
then the control socket; then the processes.
"""

import errno
import gc
import os
import re
import signal
from dataclasses import replace

from supervisor.config import RunOptions
from supervisor.control import runtime_dir
from supervisor.control.errors import UnsafeDirectory
from supervisor.control.server import ControlServer
from supervisor.descriptors import use_all_descriptors
from supervisor.errors import AppLoadError, DefinitionError
from supervisor.priority import go_first
from supervisor.process import roster, tempdir
from supervisor.process.family import become_subreaper
from supervisor.process.messages import LoadFailed
from supervisor.root.console import say
from supervisor.root.ports import require_free
from supervisor.root.premises import Premises
from supervisor.root.requests import Requests
from supervisor.root.root import Identity, Root
from supervisor.root.state_dir import state_dir
from supervisor.shortage import reason


def run_root(options: RunOptions) -> int:
    """Run an app to its end.

    Returns:
        the exit code: 0 after an orderly end, 1 when a child could not be started, 70 when the
        tree gave up, 130 after a second interrupt.

    Raises:
        AlreadyRunning, UnsafeDirectory: before anything was started.
        DefinitionError: health cannot be served where it was asked for; nothing was imported.
        AppLoadError: the app cannot be used; nothing of it was started.

    """
    name = options.name or default_name(options.app)
    claim = runtime_dir.claim(name)
    roster.sweep(claim.directory)
    roster.forget(claim.directory)
    try:
        options = with_free_health(options)
        use_all_descriptors()
        become_subreaper()
        go_first()
        unblock_signals()
        # For workers that look at their own tree: chaos, dashboards.
        os.environ["SUPERVISOR_CONTROL"] = runtime_dir.socket_path(claim.directory)
        identity = Identity(name, claim.directory, replace(options, name=name))
        temp = os.path.join(state_dir(name, options.state), "tmp")
        if problem := tempdir.begin(temp, identity.run_id):
            say(f"workers have no temp directories of their own: {problem}")
        try:
            root = Root(identity)
            handle, exhausted = Requests(root).handle, root.shell.exhaustion.noticed
            server = ControlServer(root.loop, claim.listen(), handle, exhausted)
        except OSError as error:
            raise unusable(claim.directory, error) from error
        premises = Premises(root, claim, server)
        gc.freeze()  # what was imported stays: to look through it would be 30 ms of silence
        try:
            exit_code = root.run()
        finally:
            premises.close()
            server.close()
    finally:
        roster.forget(claim.directory)
        claim.release()
    if root.problem is not None and root.problem.exit_code != 0:
        raise load_error(root.problem)
    return exit_code


def with_free_health(options: RunOptions) -> RunOptions:
    """Do without health where its address is taken, unless somebody has asked for that address.

    Raises:
        DefinitionError: they have; it says who has it.

    """
    try:
        if options.health is not None:
            require_free(options.health)
    except DefinitionError as error:
        if options.health_required:
            raise
        say(f"{error.problem}; running without: {error.help}")
        return replace(options, health=None)
    return options


def unusable(directory: str, error: OSError) -> UnsafeDirectory:
    """Say why nothing can be made in the runtime directory."""
    problem = f"{directory} cannot be used: {reason(error, directory)}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return UnsafeDirectory(problem, "raise the limit of open files: ulimit -n")
    return UnsafeDirectory(problem, "set SUPERVISOR_RUNTIME_DIR")


def load_error(failed: LoadFailed) -> AppLoadError:
    """Say why an app cannot be used, with the exit code that it asked for."""
    error = AppLoadError(failed.problem, where=failed.where, help=failed.help, detail=failed.detail)
    error.exit_code = failed.exit_code
    return error


def default_name(app: str) -> str:
    """Return the name of an app that was given none: the last part of its module's name."""
    module = app.partition(":")[0].rpartition(".")[2]
    return re.sub(r"[^a-z0-9_-]", "-", module.lower()).lstrip("_-")[:63] or "app"


def unblock_signals() -> None:
    """Undo a signal mask that we were started with: it would make us deaf to requests to stop."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
