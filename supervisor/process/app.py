"""The author's app: imported and checked in a template, or afresh in a worker."""

import importlib
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from supervisor.declare.checks import did_you_mean
from supervisor.declare.define import define
from supervisor.declare.tree import Child, Queue, Supervisor
from supervisor.definition import SupervisorDefinition
from supervisor.errors import DefinitionError, escaped, summary_of, text_of
from supervisor.process.code import identity
from supervisor.process.messages import LoadFailed

#: Characters of a traceback that are sent on; of the words with which an app has left.
MAX_DETAIL, MAX_WORDS = 20_000, 500
#: Exit codes of an app that are passed on: --help, and a mistake in its arguments (argparse).
PASSED_ON = (0, 2)
_UNKNOWN_PARAMETER = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_DECLARATIONS = {one.__name__: one for one in (Child, Supervisor, Queue)}
PACKAGE = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedApp:
    """An imported app: the author's objects, what they say as data, and which code it is.

    ``shared``: descriptors that it has left open and forks keep (`left_open.is_harmless`).
    """

    name: str
    tree: Supervisor
    definition: SupervisorDefinition
    code: str
    shared: tuple[int, ...] = ()


def load(app: str) -> LoadedApp | LoadFailed:
    """Import "module:attribute" and check the tree that it names, or makes when called."""
    loaded = _load(app)
    if isinstance(loaded, LoadFailed):  # what is no text, as the names of files may be, is escaped
        problem, where = escaped(loaded.problem), escaped(loaded.where)
        help_text, detail = escaped(loaded.help), escaped(loaded.detail)
        return LoadFailed(problem, where, help_text, detail, loaded.exit_code)
    return loaded


def _load(app: str) -> LoadedApp | LoadFailed:
    module_name, _, attribute = app.partition(":")
    try:
        here = os.getcwd()
    except OSError as error:  # it was removed, or is nobody's of ours
        problem = f"the directory that this was started in cannot be used: {error.strerror}"
        return LoadFailed(problem, help="change to the directory that holds the app")
    if "" not in sys.path and here not in sys.path:  # PYTHONSAFEPATH
        sys.path.insert(0, here)
    try:
        tree: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            tree = getattr(tree, part)
        if callable(tree) and not isinstance(tree, type):
            tree = tree()
        definition = define(tree)
        assert isinstance(tree, Supervisor)
        return LoadedApp(app, tree, definition, identity(module_name))
    except DefinitionError as error:
        return LoadFailed(error.problem, error.where, error.help, traceback.format_exc())
    except BaseException as error:  # SystemExit too: argparse in the app ends so
        return _failure(app, module_name, attribute, error)


def child_at(tree: Supervisor, path: str) -> Child:
    """Return the author's Child at a path such as "shop/payments/charge".

    Raises:
        LookupError: this version of the app has none there.

    """
    node: Supervisor | Child | None = tree
    for name in path.split("/")[1:]:
        below = node.children if isinstance(node, Supervisor) else ()
        node = next((child for child in below if child.name == name), None)
    if not isinstance(node, Child):
        raise LookupError(f"this version of the app has no child {path}")
    return node


def _failure(app: str, module: str, attribute: str, error: BaseException) -> LoadFailed:
    detail = traceback.format_exc()[-MAX_DETAIL:]
    where = _place(error.__traceback__)
    if isinstance(error, SystemExit):
        return _left(app, error, where, detail)
    if isinstance(error, ModuleNotFoundError) and error.name in _prefixes(module):
        help_text = f"run this from the directory that holds it; looked in {os.getcwd()}"
        if module.endswith(".py"):
            help_text = f"write the module without .py: {module.removesuffix('.py')}:{attribute}"
        return LoadFailed(f"there is no module {error.name!r}", "", help_text, detail)
    if isinstance(error, AttributeError) and not where:
        loaded = sys.modules.get(module)
        found = [
            name for name, value in vars(loaded or error).items() if isinstance(value, Supervisor)
        ]
        names = (
            ", ".join(f"{module}:{name}" for name in found) or "none; write tree = Supervisor(...)"
        )
        return LoadFailed(f"{module} has no {attribute!r}", "", f"its trees: {names}", detail)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
    if misspelt := _misspelt(error):
        problem, help_text = misspelt
        return LoadFailed(problem, where, help_text, detail)
    problem = f"importing {app} failed: {summary_of(error)}"
    return LoadFailed(problem, where, "the module must import without errors", detail)


def _left(app: str, leaving: SystemExit, where: str, detail: str) -> LoadFailed:
    """Say that an app has called sys.exit, and what it has said to that."""
    problem, code = f"{app} exited while it was imported", leaving.code
    if code is None or code in PASSED_ON:
        return LoadFailed(problem, where, "", detail, int(code or 0))
    words = f"status {code}" if isinstance(code, int) else text_of(leaving)[:MAX_WORDS]
    help_text = "an app must not leave while it is imported: what a worker needs it checks in init"
    return LoadFailed(f"{problem}: {words}", where, help_text, detail)


def _misspelt(error: BaseException) -> tuple[str, str] | None:
    """Say which parameter of a declaration there is none of, and which one was meant."""
    found = _UNKNOWN_PARAMETER.match(str(error)) if isinstance(error, TypeError) else None
    if found is None or found[1] not in _DECLARATIONS:
        return None
    import inspect  # only for a mistake: every fork would carry its pages

    known = list(inspect.signature(_DECLARATIONS[found[1]]).parameters)
    advice = did_you_mean(found[2], known, f"it has {', '.join(known)}")
    return f'{found[1]} has no parameter "{found[2]}"', advice


def _prefixes(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts) + 1)}


def _place(trace: TracebackType | None) -> str:
    """Return file:line of the innermost frame that is the author's."""
    place = ""
    for frame in traceback.extract_tb(trace):
        if (
            not frame.filename.startswith((PACKAGE, "<frozen"))
            and "importlib" not in frame.filename
        ):
            place = f"{frame.filename}:{frame.lineno}"
    return place
