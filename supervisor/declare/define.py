"""Check a whole tree and turn it into data, before any process is started.

`define` runs where the app was imported. It stops at the first error, which names the value, what
is allowed, what to do, and the file and line of the declaration. Durations are float seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from supervisor.declare import checks, limits, recyclers, settings, targets
from supervisor.declare.checks import Subject, did_you_mean, shown
from supervisor.declare.define_queue import define_queue
from supervisor.declare.log_settings import log_settings
from supervisor.declare.tree import Child, Queue, Supervisor
from supervisor.definition import ChildDefinition, QueueDefinition, SupervisorDefinition

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")
#: Names of an app that the runtime uses itself: its own processes are "runtime/pump" ...
RESERVED = ("runtime",)
MAX_COUNT = 10_000
MAX_CHILDREN = 10_000
MAX_DEPTH = 32
MAX_INTENSITY = 1_000_000
MAX_PERIOD = 10 * 365 * 86_400


@dataclass(slots=True)
class _Walk:
    """What is remembered on the way through a tree."""

    queues: dict[str, Queue] = field(default_factory=dict)
    path: list[Supervisor] = field(default_factory=list)  # from the root to where we are
    seen: dict[int, str] = field(default_factory=dict)  # id of a declaration -> its path


def define(tree: object) -> SupervisorDefinition:
    """Check a tree.

    Args:
        tree: the root Supervisor of an app.

    Raises:
        DefinitionError: the first thing that is wrong.

    """
    if not isinstance(tree, Supervisor):
        kind = type(tree).__name__
        subject = Subject("the tree", getattr(tree, "where", ""))
        advice = 'write tree = Supervisor("app", children=[...])'
        raise subject.error(f"it is {shown(tree)} (a {kind}), not a Supervisor", advice)
    subject = Subject(f"supervisor {shown(tree.name)}", tree.where)
    if tree.name in RESERVED:
        raise subject.error(
            f"the name {shown(tree.name)} is the runtime's own", "give the app another name"
        )
    walk = _Walk()
    queues = _queues(subject, tree, walk)
    return _supervisor(subject, tree, walk, "never", queues)


# --- queues -----------------------------------------------------------------------------------


def _queues(subject: Subject, tree: Supervisor, walk: _Walk) -> list[QueueDefinition]:
    if not _is_list(tree.queues):
        raise subject.error(
            f"queues is {shown(tree.queues)}; allowed: a list of Queue", "write queues=[orders]"
        )
    definitions: list[QueueDefinition] = []
    for queue in tree.queues:
        if not isinstance(queue, Queue):
            raise subject.error(
                f"queues holds {shown(queue)}, which is no Queue", 'write Queue("orders")'
            )
        definition = define_queue(queue)
        if definition.name in walk.queues:
            raise Subject(f"queue {shown(queue.name)}", queue.where).error(
                f"the name is taken by the queue declared at {walk.queues[queue.name].where}",
                "give each queue a name of its own, and list it once",
            )
        walk.queues[definition.name] = queue
        definitions.append(definition)
    return definitions


def _queue_of(subject: Subject, child: Child, walk: _Walk, is_command: bool) -> str | None:
    value = child.queue
    if value is None:
        if getattr(child.target, "needs_queue", False):  # a Consumer or Producer, its class or one
            raise subject.error(
                f"{targets.qualified_name(child.target)} needs a queue, and queue is not set",
                f'write Child("{child.name}", ..., queue=orders)',
            )
        return None
    if is_command:
        raise subject.error(
            "queue is for Python targets: a command cannot reach it",
            "leave queue out, or write a Consumer that starts the program",
        )
    if isinstance(value, Queue):
        if any(value is listed for listed in walk.queues.values()):
            return value.name
        raise subject.error(
            f"its queue {shown(value.name)} (declared at {value.where}) is not listed",
            "add it to queues=[...] of the root",
        )
    if isinstance(value, str) and value in walk.queues:
        return value
    known = ", ".join(shown(name) for name in walk.queues) or "none"
    raise subject.error(
        f"its queue {shown(value)} is unknown; queues of the app: {known}",
        did_you_mean(value, walk.queues, "add it to queues=[...] of the root"),
    )


# --- supervisors and children -----------------------------------------------------------------


def _supervisor(
    subject: Subject,
    declared: Supervisor,
    walk: _Walk,
    above: str,  # auto_shutdown of the supervisor above
    queues: Sequence[QueueDefinition] = (),
) -> SupervisorDefinition:
    _refuse_cycle(subject, declared, walk)
    name = checks.name(subject, declared.name)
    if declared.queues and len(walk.path) > 1:
        raise subject.error(
            "queues are declared on the root only", f"move them to {shown(walk.path[0].name)}"
        )
    if declared.strategy == "simple_one_for_one":
        raise subject.error(
            'strategy is "simple_one_for_one": declared trees have no dynamic children yet',
            'use strategy="one_for_one" and a child with count=N; "supervisor scale" changes N',
        )
    restart = checks.restart(subject, declared.restart)
    auto_shutdown = checks.choice(subject, "auto_shutdown", declared.auto_shutdown, AUTO_SHUTDOWNS)
    timeout = declared.start_timeout
    definition = SupervisorDefinition(
        name=name,
        where=declared.where,
        strategy=checks.choice(subject, "strategy", declared.strategy, STRATEGIES),
        intensity=checks.whole(subject, "intensity", declared.intensity, 0, MAX_INTENSITY),
        period=checks.whole(subject, "period", declared.period, 1, MAX_PERIOD),
        auto_shutdown=auto_shutdown,
        queues=list(queues),
        restart=restart,
        shutdown=checks.shutdown(subject, declared.shutdown),
        significant=checks.significant(subject, declared.significant, restart, above),
        start_timeout=None
        if timeout is None
        else checks.seconds(subject, "start_timeout", timeout),
        children=_children(subject, declared, walk, auto_shutdown),
        **limits.app(subject, declared, is_root=len(walk.path) == 1),
        recyclers=recyclers.recyclers(subject, declared, is_root=len(walk.path) == 1),
        logs=log_settings(subject, declared, is_root=len(walk.path) == 1),
    )
    walk.path.pop()
    return definition


def _refuse_cycle(subject: Subject, declared: Supervisor, walk: _Walk) -> None:
    """Enter a supervisor, unless we are inside it already."""
    inside = [index for index, one in enumerate(walk.path) if one is declared]
    walk.path.append(declared)
    if inside:
        cycle = " → ".join(str(one.name) for one in walk.path[inside[0] :])
        raise subject.error(f"it contains itself: {cycle}", "take it out of its own children")
    if len(walk.path) > MAX_DEPTH:
        raise subject.error(
            f"supervisors are nested more than {MAX_DEPTH} deep", "make the tree flatter"
        )


def _children(
    subject: Subject, declared: Supervisor, walk: _Walk, auto_shutdown: str
) -> list[ChildDefinition | SupervisorDefinition]:
    if not _is_list(declared.children):
        raise subject.error(
            f"children is {shown(declared.children)}; allowed: a list of Child and Supervisor",
            'write children=[Child("web", serve), ...]',
        )
    if len(declared.children) > MAX_CHILDREN:
        raise subject.error(
            f"it has {len(declared.children)} children; at most {MAX_CHILDREN}",
            "use count=N for workers that are alike",
        )
    taken: dict[str, str] = {}
    definitions: list[ChildDefinition | SupervisorDefinition] = []
    for child in declared.children:
        if not isinstance(child, Child | Supervisor):
            raise _not_a_child(subject, child)
        kind = "child" if isinstance(child, Child) else "supervisor"
        inner = Subject(f"{kind} {shown(child.name)}", child.where)
        _refuse_twice(inner, declared, child, walk, taken)
        if isinstance(child, Child):
            definitions.append(_child(inner, child, walk, auto_shutdown))
        else:
            definitions.append(_supervisor(inner, child, walk, auto_shutdown))
    return definitions


def _refuse_twice(
    subject: Subject,
    parent: Supervisor,
    child: Child | Supervisor,
    walk: _Walk,
    taken: dict[str, str],
) -> None:
    """Refuse a declaration that is used again, and a name that a sibling has."""
    if any(one is child for one in walk.path):
        return  # a cycle, which has a better message
    path = "/".join(str(one.name) for one in walk.path) + f"/{child.name}"
    if id(child) in walk.seen:
        raise subject.error(
            f"the same object is used twice: as {walk.seen[id(child)]} and as {path}",
            "declare each child on its own, or use count=N",
        )
    walk.seen[id(child)] = path
    name = str(child.name)
    if name in taken:
        raise subject.error(
            f"its name is taken in supervisor {shown(parent.name)} by the child declared at "
            f"{taken[name]}",
            "names are unique among siblings: rename one, or use count=N for workers alike",
        )
    taken[name] = child.where


def _not_a_child(subject: Subject, value: object) -> Exception:
    name = getattr(value, "__name__", None)
    if isinstance(value, Queue):
        return subject.error(
            f"children holds the queue {shown(value.name)}", "move it to queues=[...] of the root"
        )
    if callable(value) and isinstance(name, str):
        advice = f'wrap it: Child("{name.lower().strip("_<>") or "name"}", {name})'
    elif isinstance(value, list | tuple):
        advice = "children is one flat list: write *more inside it"
    else:
        advice = 'write Child("name", target) or Supervisor("name", [...])'
    return subject.error(f"children holds {shown(value)}, which is no Child or Supervisor", advice)


def _child(subject: Subject, child: Child, walk: _Walk, auto_shutdown: str) -> ChildDefinition:
    name = checks.name(subject, child.name)
    preload = checks.flag(subject, "preload", child.preload)
    checked = settings.settings(subject, child)
    description, argv = targets.target(subject, child)
    targets.args(subject, child)
    restart = checks.restart(subject, child.restart)
    ready = targets.ready(subject, child.ready, is_command=argv is not None)
    return ChildDefinition(
        name=name,
        where=child.where,
        target=description,
        arguments=targets.fingerprint(child),
        command=argv,
        restart=restart,
        shutdown=checks.shutdown(subject, child.shutdown),
        significant=checks.significant(subject, child.significant, restart, auto_shutdown),
        count=checks.whole(subject, "count", child.count, 1, MAX_COUNT),
        queue=_queue_of(subject, child, walk, argv is not None),
        settings=checked,
        ready=ready,
        stop_signal=settings.stop_signal(subject, child.stop_signal),
        start_timeout=checks.seconds(subject, "start_timeout", child.start_timeout),
        heartbeat=_watched(subject, "heartbeat", child.heartbeat, argv is not None),
        stall_timeout=_watched(subject, "stall_timeout", child.stall_timeout, argv is not None),
        backoff=_backoff(subject, child.backoff),
        give_up_after=_give_up_after(subject, child.give_up_after),
        preload=preload,
        limits=limits.limits(subject, child, is_command=argv is not None, preload=preload),
    )


def _watched(subject: Subject, name: str, value: object, is_command: bool) -> float | None:
    if value is None:
        return None
    if is_command:
        raise subject.error(
            f"{name} is for Python targets: a command has no work loop that could beat",
            f"leave {name} out",
        )
    return checks.seconds(subject, name, value)


def _backoff(subject: Subject, value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise subject.error(
            f"backoff is {shown(value)}; allowed: None, or (base, cap) in seconds",
            "write for example backoff=(0.1, 30.0)",
        )
    base, cap = (checks.seconds(subject, "backoff", part) for part in value)
    if base > cap:
        raise subject.error(
            f"backoff is {shown(value)}: the base is above the cap", "write (base, cap)"
        )
    return base, cap


def _give_up_after(subject: Subject, value: object) -> int | None:
    if value is None:
        return None
    return checks.whole(subject, "give_up_after", value, 1, MAX_INTENSITY)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
