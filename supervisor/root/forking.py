"""Whether workers are forked from the template that has the app, or import it afresh; and why."""

from supervisor.definition import SupervisorDefinition
from supervisor.process.messages import Loaded
from supervisor.shell.surroundings import WARNING, Log

#: What an author can do about it.
THREADS_HELP = "start them in the worker, in its `init` or when first needed"
OPEN_HELP = "open them in the worker, in its `init` or when first used"
ELSE = "; or declare preload=False, and it is meant so"


def may_fork(reply: Loaded, definition: SupervisorDefinition, log: Log) -> bool:
    """Decide it for an app that has been loaded; warn if it means to fork and must not."""
    if reply.threads and is_meant(definition):
        event = "app starts threads: workers import it afresh"
        log(WARNING, event, threads=reply.threads, help=THREADS_HELP + ELSE)
    if reply.left_open and is_meant(definition):
        event = "app leaves descriptors open: workers import it afresh"
        log(WARNING, event, descriptors=reply.left_open, help=OPEN_HELP + ELSE)
    return not refusal(reply)


def refusal(reply: Loaded) -> str:
    """Say why nothing can be forked from a template; "" if it can."""
    if reply.threads:
        return f"the app has started threads: {', '.join(reply.threads)}"
    if reply.left_open:
        return f"the app has left descriptors open: {', '.join(reply.left_open)}"
    return ""


def is_meant(definition: SupervisorDefinition) -> bool:
    """Whether any child would be forked from the template that has the app."""
    return any(
        is_meant(child)
        if isinstance(child, SupervisorDefinition)
        else child.preload and child.command is None
        for child in definition.children
    )
