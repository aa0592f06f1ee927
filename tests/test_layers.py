"""The layer rules, as tables: what each part may import, and what nothing may contain."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("supervisor", "workers")

#: Modules that decide and must not touch the world.
PURE = (
    "supervisor/core/", "workers/queues/core/", "workers/queues/broker/management.py",
    "workers/queues/frames.py",
)  # fmt: skip
IMPURE = {
    "asyncio", "logging", "os", "random", "select", "selectors", "signal", "socket", "subprocess",
    "threading", "time",
}  # fmt: skip

#: What workers may import of the runtime: importing a worker must not load it.
OPEN_TO_WORKERS = {
    "supervisor",
    "supervisor.caches",
    "supervisor.crashes",
    "supervisor.crashes.at_hand",
    "supervisor.declare.checks",
    "supervisor.definition",
    "supervisor.errors",
    "supervisor.link",
    "supervisor.logs",
    "supervisor.logs.record",
    "supervisor.logs.setup",
    "supervisor.memory",
    "supervisor.shortage",
}

#: Who may reach a tree only through supervisor.control.client; and what a tree is made of.
OUTSIDERS = ("supervisor/observe/", "supervisor/cli/", "examples/")
INSIDE = ("supervisor.core", "supervisor.process", "supervisor.root", "supervisor.shell")
#: What they use of it all the same: none of it reaches into a tree that runs.
BORROWED = {
    # pure: at which score a slot counts as flapping
    "supervisor/observe/judge.py": {"supervisor.core.flapping"},
    # `check` has no tree: it loads the app in a template of its own, as root does, and asks
    # whether the limit of descriptors suffices
    "supervisor/cli/check.py": {
        "supervisor.process.launcher", "supervisor.process.messages", "supervisor.root.descriptors",
    },
    # where an app keeps its state: reports outlive it
    "supervisor/cli/crashes.py": {"supervisor.root.state_dir"},
    # defaults of the options --restart-burst and --restart-rate
    "supervisor/cli/run.py": {"supervisor.core.budget"},
}  # fmt: skip

#: Who may know root: it is started by them.
ABOVE_ROOT = ("supervisor/root/", "supervisor/cli/", "supervisor/run.py")

#: Locks and queues that a dead process could hold, and ways to run data as code.
FORBIDDEN_NAMES = {
    "multiprocessing": {"Lock", "Queue", "JoinableQueue", "SimpleQueue", "Semaphore", "Condition"},
}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec"}
#: The serializer "pickle" of queues: opt-in, and decoded in the worker only.
MAY_PICKLE = ("workers/queues/client/serializers.py",)

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ATTRIBUTES = 16
#: An example is read on one screen.
MAX_EXAMPLE_LINES = 60
#: Declarations: a spec has as many attributes as there are things to say.
SPECS = {"supervisor/declare/tree.py"}


def modules(*under: str) -> list[Path]:
    """Return the Python files below these folders."""
    return sorted(path for name in under or PACKAGES for path in (ROOT / name).rglob("*.py"))


def relative(path: Path) -> str:
    """Name a file from the repository's root."""
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, with and without the imported name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def is_module(name: str) -> bool:
    """Whether a name that was imported is a module or a package of ours."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or path.is_dir()


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_pure_modules_import_nothing_that_acts(path: Path) -> None:
    """The core decides and touches nothing: no os, socket, signal, time, random, threads, logs."""
    if relative(path).startswith(PURE):
        tops = {name.partition(".")[0] for name in imports(path)}
        assert not tops & IMPURE


@pytest.mark.parametrize("path", modules("supervisor"), ids=relative)
def test_supervisor_never_imports_workers(path: Path) -> None:
    """The runtime names what it starts by "module:function"; it does not import it."""
    assert not {name for name in imports(path) if name.split(".")[0] == "workers"}


@pytest.mark.parametrize("path", modules("supervisor"), ids=relative)
def test_nothing_below_root_imports_it(path: Path) -> None:
    """Root puts the parts together; only the command line, which starts it, knows it."""
    if not relative(path).startswith(ABOVE_ROOT):
        assert not {name for name in imports(path) if name.startswith("supervisor.root")}


@pytest.mark.parametrize("path", modules("workers"), ids=relative)
def test_workers_import_no_runtime(path: Path) -> None:
    """A worker imports the link, the errors and declarations; never the runtime."""
    used = {name for name in imports(path) if name.split(".")[0] == "supervisor"}
    assert {name for name in used if is_module(name)} <= OPEN_TO_WORKERS


@pytest.mark.parametrize(
    "path", [p for p in modules("supervisor", "examples") if relative(p).startswith(OUTSIDERS)],
    ids=relative,
)  # fmt: skip
def test_outsiders_reach_the_tree_only_through_control(path: Path) -> None:
    """Observer, CLI and examples know the tree by its control socket alone."""
    used = {name for name in imports(path) if is_module(name)}
    inside = {name for name in used if name.startswith(tuple(f"{part}." for part in INSIDE))}
    assert inside == BORROWED.get(relative(path), set())


@pytest.mark.parametrize("path", modules("examples"), ids=relative)
def test_examples_are_short(path: Path) -> None:
    """At most 60 lines each."""
    assert path.read_text().count("\n") <= MAX_EXAMPLE_LINES


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_nothing_locks_across_processes_or_runs_data(path: Path) -> None:
    """No shared locks or queues, no pickle, no eval, exec or shell=True in the package."""
    used = imports(path)
    if not relative(path).startswith(MAY_PICKLE):
        assert not {name.partition(".")[0] for name in used} & FORBIDDEN_MODULES
    for module, names in FORBIDDEN_NAMES.items():
        assert not used & {f"{module}.{name}" for name in names}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS)
            assert not any(
                k.arg == "shell" and isinstance(k.value, ast.Constant) and k.value.value
                for k in node.keywords
            )


def test_there_are_no_import_cycles() -> None:
    """Imports point one way (imports made for type checkers only do not count)."""
    graph = {
        relative(path)[:-3].replace("/", ".").removesuffix(".__init__"): imports(path)
        for path in modules()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for other in sorted(graph[name] & graph.keys() - {name}):
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_files_and_functions_stay_small(path: Path) -> None:
    """A module has at most 400 lines, a function at most 50, a class at most 16 attributes."""
    text = path.read_text()
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.body[0].lineno < MAX_FUNCTION_LINES, node.name
        if isinstance(node, ast.ClassDef) and relative(path) not in SPECS:
            attributes = {
                target.attr
                for item in ast.walk(node) if isinstance(item, ast.Assign | ast.AnnAssign)
                for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
                if isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name) and target.value.id == "self"
            }  # fmt: skip
            assert len(attributes) <= MAX_ATTRIBUTES, (node.name, sorted(attributes))


@pytest.mark.parametrize("path", modules("tests"), ids=relative)
def test_tests_do_not_sleep(path: Path) -> None:
    """A test waits for the event, never for time to pass."""
    tree = ast.parse(path.read_text())
    assert "time.sleep" not in imports(path)
    assert not [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "sleep"
        and isinstance(node.value, ast.Name) and node.value.id == "time"
    ]  # fmt: skip
