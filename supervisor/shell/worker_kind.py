"""What all processes of a worker are started with, and from which template."""

import msgspec

from supervisor.definition import ChildDefinition
from supervisor.process.launch import Command, Kind, Node
from supervisor.shell.plan import ChildStart, Service
from supervisor.shell.surroundings import Shell
from supervisor.shell.templates import Template
from supervisor.shell.verdict import Ending

#: Seconds of heartbeat by which a work loop that must only say how many messages it has done says
#: it: four times as often. Its silence means nothing.
COUNTING = 8.0


def worker_kind(
    shell: Shell, start: ChildStart, environment: dict[str, str | None], fds: list[str]
) -> Kind:
    """Make it. ``environment``: what the child's way of being ready adds to its own."""
    definition = start.definition
    assert isinstance(definition, ChildDefinition)
    settings = definition.settings
    run: Node | Command = Node(start.owner)
    if definition.command is not None:
        run = Command(definition.command)
    counting = COUNTING if definition.limits.max_messages else None
    if environment:
        settings = msgspec.structs.replace(settings, env={**settings.env, **environment})
    return Kind(
        run=run,
        app=shell.app,
        code=shell.release.code if template_of(shell, start) is shell.runtime else "",
        settings=settings,
        ready=definition.ready,
        heartbeat=definition.heartbeat or counting,
        stall_timeout=definition.stall_timeout,
        queue=definition.queue,
        fds=fds,
        log_level=shell.log_level,
    )


def is_command(definition: object) -> bool:
    """Whether it runs a program, and no Python of ours."""
    return isinstance(definition, ChildDefinition) and definition.command is not None


def is_preparable(definition: object) -> bool:
    """Whether a spare may get ready for it ahead: it runs in Python, and is always alike."""
    if not isinstance(definition, ChildDefinition):
        return False
    return definition.command is None and definition.ready != "notify"


def is_succeeded(definition: object, ending: Ending) -> bool:
    """Whether a process that seems to have ended will most likely be followed by one alike."""
    if not is_preparable(definition) or ending.finished or ending.stop_requested:
        return False
    assert isinstance(definition, ChildDefinition)
    return definition.restart != "temporary" and not ending.kill_cause


def template_of(shell: Shell, start: ChildStart) -> Template:
    """Return the template that a child is forked from: the release's, where it has the app."""
    definition = start.definition
    if isinstance(definition, Service):
        return shell.release if definition.needs_app and shell.preload else shell.runtime
    if not isinstance(definition, ChildDefinition) or definition.command is not None:
        return shell.runtime
    fresh = not definition.preload or not shell.preload
    return shell.runtime if fresh else shell.release
