"""`restart`, `recycle`, `stop`, `start`, `scale`, `reload`: give orders to a running app."""

import os
import time
from collections.abc import Callable

import click

from supervisor.cli.app import (
    control_path,
    debug_option,
    json_option,
    name_option,
    options,
    timeout_option,
)
from supervisor.cli.drain import drain_all
from supervisor.cli.report import Facts, Problem, print_json, report
from supervisor.cli.units import PATH
from supervisor.control.client import ControlClient, accepted, ask, wait_for_end
from supervisor.control.errors import NoAnswer
from supervisor.control.messages import (
    MAX_SLOTS,
    Done,
    RecycleChildren,
    Reload,
    Request,
    RestartChildren,
    Scale,
    StartChildren,
    StopChildren,
)
from supervisor.errors import NotRunning, SupervisorError

EXIT_PARTLY = 5

common = options(name_option, timeout_option, json_option, debug_option)
paths_argument = click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")


@click.command()
@paths_argument
@common
def restart(
    paths: tuple[str, ...], name: str | None, timeout: float, as_json: bool, debug: bool
) -> int:
    """Stop and start what is at each PATH: a slot, a child with all its slots, a supervisor.

    It waits until everything is ready again. It does not count for the intensity.
    """
    return _each(paths, RestartChildren, control_path(name), timeout, as_json)


@click.command()
@paths_argument
@common
def recycle(
    paths: tuple[str, ...], name: str | None, timeout: float, as_json: bool, debug: bool
) -> int:
    """Replace the processes at each PATH, slot by slot, without a gap.

    The new process is ready, and has stayed so for two seconds, before the old one finishes what
    it is doing and goes. A new one that fails leaves the old one in place.
    """
    return _each(paths, RecycleChildren, control_path(name), timeout, as_json)


@click.command()
@paths_argument
@common
def start(
    paths: tuple[str, ...], name: str | None, timeout: float, as_json: bool, debug: bool
) -> int:
    """Start what was stopped, or has ended, at each PATH; waits until it is ready."""
    return _each(paths, StartChildren, control_path(name), timeout, as_json)


@click.command()
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("--drain", is_flag=True, help="First let the queues of the app become empty.")
@common
def stop(
    paths: tuple[str, ...],
    drain: bool,
    name: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> int:
    """Stop what is at each PATH until it is started again; without PATH, the whole app.

    With --drain, who puts is held back, and the app is stopped when its queues are empty. If
    something is left after --timeout the app is not stopped, goes on, and this exits with 6.
    """
    if drain and paths:
        raise click.UsageError("--drain is for the whole app")
    control = control_path(name)
    if drain:
        drain_all(control, timeout, as_json)
    if paths:
        return _each(paths, StopChildren, control, timeout, as_json)
    done = _stop_app(control, timeout)
    _print(done, as_json)
    return 0


@click.command()
@click.argument("child", metavar="PATH=N | PATH N", nargs=-1, type=PATH, required=True)
@common
def scale(
    child: tuple[str, ...], name: str | None, timeout: float, as_json: bool, debug: bool
) -> int:
    """Give the child at PATH N slots: scale web=4, or scale web 4."""
    counts = _counts(child)
    control = control_path(name)
    return _each(tuple(counts), lambda path: Scale(path, counts[path]), control, timeout, as_json)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Replace all workers, changed or not.")
@common
def reload(everything: bool, name: str | None, timeout: float, as_json: bool, debug: bool) -> int:
    """Load the app's code anew and replace what has changed, without a gap.

    Children whose code or declaration has changed are replaced a few at a time, the new process
    being ready before the old one goes; children that are new are started, those that are gone are
    stopped. If the app does not load, nothing changes. SIGHUP asks for the same.
    """
    done = ask(control_path(name), Reload(everything), timeout)
    _print(done, as_json)
    return 0


def _counts(words: tuple[str, ...]) -> dict[str, int]:
    pairs = [(path, count) for path, equals, count in (w.rpartition("=") for w in words) if equals]
    if len(words) == 2 and not pairs:
        pairs = [(words[0], words[1])]
    elif len(pairs) != len(words):
        raise click.UsageError('write "PATH=N", for example: supervisor scale web=4')
    for path, count in pairs:
        if not (count.isascii() and count.isdigit() and int(count[:9]) <= MAX_SLOTS and path):
            raise click.UsageError(f'"{count}" is no number of slots; allowed: 0 to {MAX_SLOTS}')
    return {path: int(count) for path, count in pairs}


def _each(
    paths: tuple[str, ...],
    request: Callable[[str], Request],
    control: str,
    timeout: float,
    as_json: bool,
) -> int:
    """Give one order after the other. One that fails does not keep the others from being given."""
    changed: list[str] = []
    failed: dict[str, str] = {}
    codes: list[int] = []
    for path in paths:
        try:
            done = ask(control, request(path), timeout)
        except SupervisorError as error:
            if len(paths) == 1:
                raise
            codes.append(error.exit_code)
            failed[path] = Facts(error).message
            if not as_json:
                report(error)
            continue
        changed += done.changed or [path]
        failed.update(done.failed)
        if done.failed:
            codes.append(EXIT_PARTLY)
        if not as_json:
            _print(done, as_json)
    if as_json:
        print_json({"schema": "supervisor.command/1", "changed": changed, "failed": failed})
    if not codes:
        return 0
    return EXIT_PARTLY if changed or len(set(codes)) > 1 else codes[0]


def _print(done: Done, as_json: bool) -> None:
    if as_json:
        print_json(
            {"schema": "supervisor.command/1", "changed": done.changed, "failed": done.failed}
        )
        return
    from supervisor.cli.text import clean

    click.echo(clean(done.message))
    for path, why in done.failed.items():
        report(Problem(f"{path}: {why}"))


def _stop_app(control: str, timeout: float) -> Done:
    """Ask root to end, and wait for the end of its process: the answer comes before that."""
    deadline = time.monotonic() + timeout
    with ControlClient(control, timeout) as client:
        try:
            pidfd = os.pidfd_open(client.peer.pid)
        except OSError as error:
            raise Problem(f"the process of the app is not to be seen: {error}") from error
        try:
            reply = _stopping(client)
            if not wait_for_end(pidfd, max(0.0, deadline - time.monotonic())):
                raise NoAnswer(
                    f"the app is still stopping after {timeout:g} s",
                    'see what it waits for with "supervisor status"; --timeout waits longer',
                )
        finally:
            os.close(pidfd)
    return reply


def _stopping(client: ControlClient) -> Done:
    try:
        reply = accepted(client.request(StopChildren()))
    except NotRunning:  # it ended before it could answer: that is what was asked for
        reply = None
    return Done("stopped", reply.changed if isinstance(reply, Done) else [])
