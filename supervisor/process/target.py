"""Running what a Launch names: the author's target, a program, or a process of the runtime."""

import _signal  # type: ignore[import-not-found]
import errno
import importlib
import inspect
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from supervisor import link as links
from supervisor.declare.tree import Child
from supervisor.errors import StartError
from supervisor.logs.setup import configure, write_as
from supervisor.process.app import LoadedApp, child_at, load
from supervisor.process.launch import Command, Entry, Kind, Node, decode_kind
from supervisor.process.messages import LoadFailed

_HINTS = {
    errno.ENOENT: "there is no such program (or the interpreter on its first line is missing)",
    errno.EACCES: "it may not be executed: check its mode, and its user",
    errno.ENOEXEC: "it is not a program: a script needs #! on its first line",
    errno.E2BIG: "its arguments and environment are too large for the kernel",
}


#: Runs the author's code over a link; returns the exit code, raises what the code raises.
Run = Callable[[links.WorkerLink], int]


def _nothing() -> None:
    pass


class Plan(NamedTuple):
    """How a kind of child is run: found without consequences, so that a template does it ahead.

    ``arm`` is what can be done before it is known which slot it is for, ``run`` is what is left.
    """

    kind: Kind
    run: Run
    arm: Callable[[], None] = _nothing


def plan(kind: Kind, app: LoadedApp | None) -> Plan:
    """Find how a kind is run.

    Raises:
        LookupError: this version of the app has no such child.

    """
    match kind.run:
        case Command() as command:
            return Plan(kind, lambda _link: execute(command))
        case Entry(function=function, argument=argument):
            return Plan(kind, lambda link: _enter(function, argument, link))
        case Node(path=path):
            if app is not None and app.name == kind.app:
                return _plan_child(child_at(app.tree, path), kind)
            return Plan(kind, lambda link: _load_and_run(path, kind, link))


@lru_cache(8)
def planned(kind: bytes, app: LoadedApp | None) -> Plan:
    """Return the `plan` of an encoded kind: a template asks before it forks, the fork has it."""
    return plan(decode_kind(kind), app)


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
    found = _plan_child(child_at(loaded.tree, path), kind)
    found.arm()
    return found.run(link)


def _plan_child(child: Child, kind: Kind) -> Plan:
    # To find or to make a target may be the author's code already.
    is_there = not isinstance(child.target, str | type)
    is_worker = is_there and hasattr(child.target, "supervised")
    stop_signals: set[int] = {_signal.SIGTERM, _stop_signal(child)}
    foresee = getattr(child.target, "_foresee", None)  # a consumer's
    if foresee is not None:
        foresee()

    def arm() -> None:
        configure(kind.log_level)
        if is_there and not is_worker:
            _exit_on(stop_signals)

    def run(link: links.WorkerLink) -> int:
        write_as(link.context.path, link.context.incarnation)
        target: Any = child.target if is_there else _made(child)
        if is_worker or (not is_there and hasattr(target, "supervised")):
            link.stop_on_signal(*stop_signals)
            target.supervised(link)
            return 0
        if not is_there:
            _exit_on(stop_signals)
        if kind.ready == "init":
            link.ready(begun=False)
        result = target(*child.args)
        if inspect.iscoroutine(result):
            _run_async(result, stop_signals)
        return 0

    return Plan(kind, run, arm)


def _made(child: Child) -> Any:
    target = find(child.target) if isinstance(child.target, str) else child.target
    return target(*child.args) if isinstance(target, type) else target


def _exit_on(signals: set[int]) -> None:
    for signum in signals:
        _signal.signal(signum, _exit_in_order)  # not signal's: it makes an Enum of what was there


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
