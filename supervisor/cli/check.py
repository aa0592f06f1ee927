"""`check`: import and check an app as `run` would, and start nothing."""

import os
import select
import signal
import time

import click
import msgspec

from supervisor.cli.app import debug_option, json_option, options
from supervisor.cli.report import Problem, print_json
from supervisor.cli.run import PASS_ON, app_args_argument, app_argument
from supervisor.cli.text import plural
from supervisor.cli.tree_view import definition_text
from supervisor.control.client import wait_for_end
from supervisor.definition import SupervisorDefinition
from supervisor.errors import AppLoadError
from supervisor.process.messages import Loaded, LoadFailed
from supervisor.root import descriptors

#: Seconds that importing an app may take.
LOAD_TIMEOUT = 60.0
#: Seconds in which a template ends by itself.
END_TIMEOUT = 2.0


@click.command(context_settings=PASS_ON)
@app_argument
@app_args_argument
@options(json_option, debug_option)
def check(app: str, app_args: tuple[str, ...], as_json: bool, debug: bool) -> None:
    """Import APP (MODULE:TREE), check every declaration and print the tree.

    It runs in a process of its own, exactly as for `run`; nothing is started.
    """
    definition, loaded = load(app, app_args)
    descriptors.require(definition)
    if as_json:
        document = {"schema": "supervisor.check/1", "tree": msgspec.to_builtins(definition)}
        found = {"threads": loaded.threads, "left_open": loaded.left_open}
        print_json({**document, **found, "open_files": descriptors.needed(definition)})
        return
    click.echo(definition_text(definition))
    for queue in definition.queues:
        click.echo(f"queue {queue.name}: at most {plural(queue.capacity, 'message')}")
    left = [f"{thread} runs" for thread in loaded.threads]
    left += [f"{descriptor} is open" for descriptor in loaded.left_open]
    for one in left:
        click.echo(f"warning: {one} after the import: workers import the app afresh", err=True)
    click.echo("ok")


def load(app: str, app_args: tuple[str, ...]) -> tuple[SupervisorDefinition, Loaded]:
    """Have a release template import and check an app; return its tree and what else it says."""
    from supervisor.process.launcher import TemplateGone, start_template

    pid, client = start_template()
    try:
        client.load(app, list(app_args))
        poller = select.poll()
        poller.register(client.fileno(), select.POLLIN)
        deadline = time.monotonic() + LOAD_TIMEOUT
        while True:
            client.flush()
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                problem = f"{app} is not imported after {LOAD_TIMEOUT:g} s"
                raise Problem(problem, "what it does on import must end", "timed-out", 6)
            for reply, _fds in client.receive():
                if isinstance(reply, Loaded):
                    tree = msgspec.msgpack.decode(reply.definition, type=SupervisorDefinition)
                    return tree, reply
                if isinstance(reply, LoadFailed):
                    raise _failure(reply)
    except TemplateGone:
        problem = f"the process that imports {app} died while importing it"
        raise AppLoadError(problem, help="it may have crashed or called os._exit") from None
    finally:
        client.close()
        _end(pid)


def _failure(reply: LoadFailed) -> Exception:
    if reply.exit_code == 0:  # the app did what it was asked on import: --help, --version
        return click.exceptions.Exit(0)
    error = AppLoadError(reply.problem, where=reply.where, help=reply.help, detail=reply.detail)
    error.exit_code = reply.exit_code
    return error


def _end(pid: int) -> None:
    """See a template off: it ends when its connection does, unless the import hangs in it."""
    pidfd = os.pidfd_open(pid)
    try:
        if not wait_for_end(pidfd, END_TIMEOUT):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
    finally:
        os.close(pidfd)
