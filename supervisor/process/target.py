"""Running what a Launch names: the author's target, a program, or a process of the runtime."""

import errno
import importlib
import inspect
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from supervisor import link as links
from supervisor.errors import StartError
from supervisor.logs.setup import configure
from supervisor.process.app import LoadedApp, child_at, load
from supervisor.process.launch import Command, Entry, Launch, Node
from supervisor.process.messages import LoadFailed
from supervisor.tree import Child

_HINTS = {
    errno.ENOENT: "there is no such program (or the interpreter on its first line is missing)",
    errno.EACCES: "it may not be executed: check its mode, and its user",
    errno.ENOEXEC: "it is not a program: a script needs #! on its first line",
    errno.E2BIG: "its arguments and environment are too large for the kernel",
}


def run(launch: Launch, link: links.WorkerLink, app: LoadedApp | None) -> int:
    """Run it; returns the exit code. Raises what the author's code raises."""
    links.install(link)
    match launch.run:
        case Command():
            execute(launch.run)
        case Entry(function=function, argument=argument):
            find(function)(link, argument, link.context.fds)
        case Node(path=path):
            configure(launch.path, launch.incarnation, launch.log_level)
            _run_child(child_at(_tree(launch, app), path), launch, link)
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


def _tree(launch: Launch, app: LoadedApp | None) -> Any:
    if app is not None and app.name == launch.app:
        return app.tree
    loaded = load(launch.app)
    if isinstance(loaded, LoadFailed):
        raise StartError(f"{loaded.problem} ({loaded.where})\n{loaded.detail}")
    return loaded.tree


def _run_child(child: Child, launch: Launch, link: links.WorkerLink) -> None:
    target = find(child.target) if isinstance(child.target, str) else child.target
    if isinstance(target, type):
        target = target(*child.args)
    stop_signals = {signal.SIGTERM, _stop_signal(child)}
    if hasattr(target, "supervised"):
        link.stop_on_signal(*stop_signals)
        target.supervised(link)
        return
    assert callable(target)
    if launch.ready == "init":
        link.ready()
    if _is_async(target):
        _run_async(target(*child.args), stop_signals)
        return
    for signum in stop_signals:
        signal.signal(signum, _exit_in_order)
    result = target(*child.args)
    if inspect.iscoroutine(result):
        _run_async(result, stop_signals)


def _stop_signal(child: Child) -> signal.Signals:
    """Return what asks this child to stop; `supervisor.settings` has checked it."""
    value: str | int = child.stop_signal
    if isinstance(value, int):
        return signal.Signals(value)
    return signal.Signals["SIG" + value.removeprefix("SIG")]


def _is_async(target: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(
        getattr(target, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def _run_async(work: Coroutine[Any, Any, Any], stop_signals: set[signal.Signals]) -> None:
    """Run a coroutine; a stop signal cancels it, and that is an orderly end."""
    import asyncio  # 10 ms and 60 mappings: only for those who need it

    async def until_stopped() -> None:
        task = asyncio.ensure_future(work)
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        for signum in stop_signals:
            asyncio.get_running_loop().add_signal_handler(signum, stop)
        try:
            await task
        except asyncio.CancelledError:
            if not stopped:
                raise

    asyncio.run(until_stopped())


def _exit_in_order(_signum: int, _frame: object) -> None:
    """End a plain callable through its ``finally`` blocks."""
    raise SystemExit(0)
