"""Checks of recyclers: what may be swept, how often, for how long."""

import os

from supervisor.declare import checks
from supervisor.declare.checks import Subject, shown
from supervisor.declare.recycler import Recycler
from supervisor.declare.targets import runs_when_called
from supervisor.declare.tree import Supervisor
from supervisor.definition import RecyclerDefinition

MAX_RECYCLERS = 1_000
MAX_FILES = 1 << 40
#: Directories that no recycler may have: sweeping them removes what others need.
FORBIDDEN = frozenset(
    "/" + name
    for name in (
        "", "bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "run",
        "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/local", "var", "var/lib",
        "var/log", "var/tmp",
    )
)  # fmt: skip


def recyclers(subject: Subject, declared: Supervisor, *, is_root: bool) -> list[RecyclerDefinition]:
    """Check the recyclers of an app."""
    if not isinstance(declared.recyclers, list | tuple):
        raise subject.error(
            f"recyclers is {shown(declared.recyclers)}; allowed: a list of Recycler",
            'write recyclers=[Recycler("uploads", path=..., max_age=...)]',
        )
    if declared.recyclers and not is_root:
        raise subject.error(
            "recyclers are declared on the root only", "move them to the root supervisor"
        )
    if len(declared.recyclers) > MAX_RECYCLERS:
        raise subject.error(f"it has {len(declared.recyclers)} recyclers; at most {MAX_RECYCLERS}")
    definitions: list[RecyclerDefinition] = []
    for recycler in declared.recyclers:
        if not isinstance(recycler, Recycler):
            name = getattr(recycler, "__name__", "purge")
            raise subject.error(
                f"recyclers holds {shown(recycler)}, which is no Recycler",
                f"write @recycle(every=300) above def {name}()",
            )
        definition = _recycler(recycler)
        if any(one.name == definition.name for one in definitions):
            raise Subject(f"recycler {shown(recycler.name)}", recycler.where).error(
                "its name is taken by another recycler", "give each one a name of its own"
            )
        definitions.append(definition)
    return definitions


def _recycler(recycler: Recycler) -> RecyclerDefinition:
    subject = Subject(f"recycler {shown(recycler.name)}", recycler.where)
    name = checks.name(subject, recycler.name)
    path = _directory(subject, recycler)
    given = (recycler.max_age, recycler.max_bytes, recycler.max_files)
    if path is not None and all(limit is None for limit in given):
        raise subject.error(
            "it has no limit", "give at least one of max_age, max_bytes and max_files"
        )
    age, files = recycler.max_age, recycler.max_files
    size = recycler.max_bytes
    return RecyclerDefinition(
        name=name,
        where=recycler.where,
        path=path,
        max_age=None if age is None else checks.seconds(subject, "max_age", age),
        max_bytes=None if size is None else checks.size(subject, "max_bytes", size),
        max_files=None
        if files is None
        else checks.whole(subject, "max_files", files, 0, MAX_FILES),
        every=checks.seconds(subject, "every", recycler.every),
        deadline=checks.seconds(subject, "deadline", recycler.deadline),
    )


def _directory(subject: Subject, recycler: Recycler) -> str | None:
    value = recycler.path
    if recycler.call is not None:
        runs_when_called(subject, recycler.call, coroutines=False)
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise subject.error(
            f"path is {shown(value)}; allowed: a directory",
            "give the directory that it keeps small, or make it of a function with @recycle",
        )
    path = os.path.abspath(os.fsdecode(value))
    if os.path.realpath(path) in FORBIDDEN or path == os.path.expanduser("~"):
        raise subject.error(
            f"path is {shown(path)}: others keep their files there",
            "give it a directory of its own",
        )
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        raise subject.error(f"path is {shown(path)}, which is no directory", "name a directory")
    return path
