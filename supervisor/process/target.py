"""Running what a Launch names: the author's target, a program, or a process of the runtime."""

import _signal  # type: ignore[import-not-found]
import errno
import importlib
import inspect
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from supervisor import link as links
from supervisor.declare.tree import Child
from supervisor.errors import StartError
from supervisor.logs.setup import configure, write_as
from supervisor.process.app import LoadedApp, child_at, load
from supervisor.process.launch import Command, Entry, Kind, Node
from supervisor.process.messages import LoadFailed

_HINTS = {
    errno.ENOENT: "there is no such program (or the interpreter on its first line is missing)",
    errno.EACCES: "it may not be executed: check its mode, and its user",
    errno.ENOEXEC: "it is not a program: a script needs #! on its first line",
    errno.E2BIG: "its arguments and environment are too large for the kernel",
}


#: Runs the author's code over a link; returns the exit code, raises what the code raises.
Run = Callable[[links.WorkerLink], int]


def prepare(kind: Kind, app: LoadedApp | None) -> Run:
    """Do what can be done ahead, before it is known which slot it is for; return what is left."""
    match kind.run:
        case Command() as command:
            return lambda _link: execute(command)
        case Entry(function=function, argument=argument):
            return lambda link: _enter(function, argument, link)
        case Node(path=path):
            if app is not None and app.name == kind.app:
                return _prepare_child(child_at(app.tree, path), kind)
            return lambda link: _load_and_run(path, kind, link)


def _enter(function: str, argument: bytes, link: links.WorkerLink) -> int:
    find(function)(link, argument, link.context.fds)
    return 0


def find(name: str) -> Callable[..., Any]:
    """Import "module:function"."""
    module, _, attribute = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def execute(command: Command) -> NoReturn:
    """Become another program; the link, close-on-exec, tells the supervisor that it worked."""
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python: would be inherited
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.execvp(command.argv[0], command.argv)  # noqa: S606 - an argv, never a shell
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        problem = f"cannot execute {command.argv[0]!r}: {error.strerror}"
        raise StartError(f"{problem}; {hint}" if hint else problem) from error


def _load_and_run(path: str, kind: Kind, link: links.WorkerLink) -> int:
    """Import the app afresh, which the template has not done."""
    loaded = load(kind.app)
    if isinstance(loaded, LoadFailed):
        raise StartError(f"{loaded.problem} ({loaded.where})\n{loaded.detail}")
    if kind.code and loaded.code != kind.code:
        configure(kind.log_level)
        write_as(link.context.path, link.context.incarnation)
        versions = {"old": kind.code, "new": loaded.code}
        logging.getLogger("supervisor").warning("code on disk has changed", extra=versions)
    return _prepare_child(child_at(loaded.tree, path), kind)(link)


def _prepare_child(child: Child, kind: Kind) -> Run:
    # To find or to make a target may be the author's code already.
    is_ahead = not isinstance(child.target, str | type)
    configure(kind.log_level)
    ahead = _prepare_target(child.target, child, kind) if is_ahead else None

    def run(link: links.WorkerLink) -> int:
        write_as(link.context.path, link.context.incarnation)
        return (ahead or _prepare_target(_found(child), child, kind))(link)

    return run


def _found(child: Child) -> Any:
    target = find(child.target) if isinstance(child.target, str) else child.target
    return target(*child.args) if isinstance(target, type) else target


def _prepare_target(target: Any, child: Child, kind: Kind) -> Run:
    stop_signals: set[int] = {_signal.SIGTERM, _stop_signal(child)}

    def run_supervised(link: links.WorkerLink) -> int:
        link.stop_on_signal(*stop_signals)
        target.supervised(link)
        return 0

    def call(link: links.WorkerLink) -> int:
        if kind.ready == "init":
            link.ready(begun=False)
        result = target(*child.args)
        if inspect.iscoroutine(result):
            _run_async(result, stop_signals)
        return 0

    if hasattr(target, "supervised"):
        return run_supervised
    for signum in stop_signals:
        _signal.signal(signum, _exit_in_order)  # not signal's: it makes an Enum of what was there
    return call


def _stop_signal(child: Child) -> int:
    """Return what asks this child to stop; `supervisor.declare.settings` has checked it."""
    value: str | int = child.stop_signal
    if isinstance(value, int):
        return int(value)
    found: int = getattr(_signal, "SIG" + value.removeprefix("SIG"))
    return found


def _run_async(work: Coroutine[Any, Any, Any], stop_signals: set[int]) -> None:
    """Run a coroutine; a stop signal cancels it, and that is an orderly end."""
    import asyncio  # 10 ms and 60 mappings: only for those who need it

    async def until_stopped() -> None:
        task = asyncio.ensure_future(work)
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        loop = asyncio.get_running_loop()
        for signum in stop_signals:
            loop.add_signal_handler(signum, stop)
        try:
            await task
        except asyncio.CancelledError:
            if not stopped:
                raise
        finally:  # the loop closes what a handler writes to before it takes the handler away
            for signum in stop_signals:
                loop.remove_signal_handler(signum)
                signal.signal(signum, signal.SIG_IGN)

    asyncio.run(until_stopped())


def _exit_in_order(_signum: int, _frame: object) -> None:
    """End a plain callable through its ``finally`` blocks."""
    raise SystemExit(0)
