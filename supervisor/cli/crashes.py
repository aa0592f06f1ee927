"""`crashes`: the reports of unplanned deaths, and of leaks; also those of an app that has ended."""

import os

import click
import msgspec

from supervisor.cli.app import debug_option, json_option, name_option, options
from supervisor.cli.broker import EXIT_NO_SUCH
from supervisor.cli.crash_view import reports_text, show_text
from supervisor.cli.report import Problem, print_json
from supervisor.control import runtime_dir
from supervisor.crashes import place, shelf
from supervisor.errors import NotRunning
from supervisor.observe.extension import timestamp
from supervisor.root.state_dir import state_dir

common = options(
    name_option,
    click.option(
        "--state", metavar="DIR", envvar="SUPERVISOR_STATE_DIR",
        help="The state directory of an app that has ended, if it is not the default.",
    ),
    json_option,
    debug_option,
)  # fmt: skip


@click.group(invoke_without_command=True)
@common
@click.pass_context
def crashes(
    context: click.Context, name: str | None, state: str | None, as_json: bool, debug: bool
) -> None:
    """List crash reports, the oldest first; show one with: supervisor crashes show ID."""
    if context.invoked_subcommand is not None:
        return
    found = _listed(_directory(name, state))
    if as_json:
        reports = [_told(one) for one in found]
        print_json({"schema": "supervisor.crashes/1", "reports": reports, "groups": _groups(found)})
    else:
        click.echo(reports_text(found))


@crashes.command()
@click.argument("report_id", metavar="ID")
@common
@click.pass_context
def show(
    context: click.Context,
    report_id: str,
    name: str | None,
    state: str | None,
    as_json: bool,
    debug: bool,
) -> None:
    """Show a report: what died of what, its traceback or stacks, what it had used."""
    assert context.parent is not None
    above = context.parent.params
    directory = _directory(name or above["name"], state or above["state"])
    file = _file_of(report_id, _listed(directory))
    try:
        content = shelf.read(directory, file)
    except OSError as error:
        raise Problem(f"the report cannot be read: {error.strerror}: {file}") from error
    if as_json or above["as_json"]:
        print_json(msgspec.json.decode(content))
    else:
        click.echo(show_text(content))


def _directory(name: str | None, state: str | None) -> str:
    """Find the reports of the app that is meant."""
    if state is not None:
        return os.path.join(os.path.abspath(state), place.CRASHES)
    name = name or os.environ.get("SUPERVISOR_NAME")
    try:
        return place.below(runtime_dir.choose(name))
    except NotRunning as error:
        given, places = os.environ.get("SUPERVISOR_RUNTIME_DIR"), []
        if name:
            state = os.path.join(state_dir(name, None), place.CRASHES)
            places = [place.below(runtime_dir.locate(name)), state]
        elif given:
            places = [place.below(os.path.abspath(given))]
        found = next(filter(os.path.isdir, places), None)
        if found is None:
            problem = str(error).partition("\n")[0]
            hint = "of an app that has ended: name it with --name, or its --state DIR"
            raise Problem(problem, hint, "not-running", error.exit_code) from error
        return found


def _listed(directory: str) -> list[shelf.Kept]:
    try:
        return shelf.listed(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Problem(f"{directory} cannot be read: {error.strerror}") from error


def _file_of(report_id: str, found: list[shelf.Kept]) -> str:
    files = {one.id: one.file for one in found}
    file = files.get(report_id) or files.get(f"cr-{report_id}")
    if file is None:
        hint = "see those that are kept with: supervisor crashes"
        problem = f'there is no crash report "{report_id}"'
        raise Problem(problem, hint, "no-such-report", EXIT_NO_SUCH)
    return file


def _told(one: shelf.Kept) -> dict[str, object]:
    return {"time": timestamp(one.at), **msgspec.structs.asdict(one)}


def _groups(found: list[shelf.Kept]) -> list[dict[str, object]]:
    """Sum up the kinds of crashes. ``count``: of those that were told of; ``ids``: those kept."""
    kinds: dict[str, list[shelf.Kept]] = {}
    for one in found:
        if one.fingerprint:
            kinds.setdefault(one.fingerprint, []).append(one)
    return [
        {
            "fingerprint": kind,
            "child": of[-1].child,
            "cause": of[-1].cause,
            "count": max(one.count for one in of),
            "first": timestamp(of[0].at),
            "last": timestamp(of[-1].at),
            "ids": [one.id for one in of],
        }
        for kind, of in kinds.items()
    ]
