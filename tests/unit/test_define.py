"""Every mistake in a tree is refused before a start, with the value, the rule and the place."""

import functools
import math
import os
import sys

import pytest

from supervisor import Child, Queue, Supervisor
from supervisor.declare.define import MAX_DEPTH, define
from supervisor.definition import ChildDefinition, SupervisorDefinition
from supervisor.errors import DefinitionError


def work() -> None:
    """Stand for an author's function."""


async def work_async() -> None:
    """Stand for an author's coroutine function."""


class Charge:
    """Stand for an author's worker."""

    def supervised(self, link: object) -> None:
        """Do nothing."""


def child_of(**options: object) -> ChildDefinition:
    """Define a tree of one child with these options."""
    definition = define(Supervisor("shop", [Child("web", **{"target": work, **options})]))
    child = definition.children[0]
    assert isinstance(child, ChildDefinition)
    return child


def refused(tree: object) -> DefinitionError:
    """Return the error that a tree is refused with."""
    with pytest.raises(DefinitionError) as caught:
        define(tree)
    return caught.value


def test_a_whole_tree_becomes_data() -> None:
    """Everything declared arrives in the definition, in order, with units and places resolved."""
    orders = Queue("orders", 10, max_bytes="1MiB")
    tree = Supervisor(
        "shop",
        strategy="rest_for_one",
        queues=[orders],
        children=[
            Child(
                "charge", Charge, queue=orders, count=4, shutdown="infinity", restart="transient"
            ),
            Supervisor("inner", [Child("a", work_async, shutdown="brutal_kill", queue="orders")]),
            Child("sh", command=["sh", "-c", "true"], ready="tcp:6390", rlimits={"nofile": 64}),
        ],
    )
    definition = define(tree)
    charge, inner, shell = definition.children
    assert definition.strategy == "rest_for_one"
    assert definition.queues[0].max_bytes == 1 << 20
    assert definition.where.startswith(__file__)
    assert isinstance(charge, ChildDefinition)
    assert isinstance(shell, ChildDefinition)
    assert isinstance(inner, SupervisorDefinition)
    assert (charge.queue, charge.count, charge.shutdown) == ("orders", 4, math.inf)
    assert charge.target == f"{__name__}:Charge"
    assert inner.shutdown == math.inf
    assert isinstance(inner.children[0], ChildDefinition)
    assert inner.children[0].shutdown is None
    assert (shell.command, shell.ready) == (["sh", "-c", "true"], "tcp:6390")
    assert shell.settings.rlimits == {"nofile": (64, 64)}


def test_defaults_are_those_of_the_declaration() -> None:
    """A child with a name and a target is permanent, ready by init, stopped by SIGTERM in 5 s."""
    child = child_of()
    assert (child.restart, child.ready, child.stop_signal, child.shutdown) == (
        "permanent",
        "init",
        15,
        5.0,
    )
    assert child_of(target=None, command=["true"]).ready == "exec"


BAD_OPTIONS = [
    ({"restart": "permanant"}, '"permanant"', 'did you mean "permanent"?'),
    ({"restart": True}, "True", "use one of"),
    ({"shutdown": "infinite"}, '"infinite"', 'did you mean "infinity"?'),
    ({"shutdown": -1}, "-1", "shutdown=5.0"),
    ({"shutdown": math.nan}, "nan", "shutdown=5.0"),
    ({"shutdown": True}, "True", "shutdown=5.0"),
    ({"significant": 1}, "significant is 1", "True or False"),
    ({"significant": True}, "permanent", "transient"),
    ({"significant": True, "restart": "transient"}, 'auto_shutdown="never"', "any_significant"),
    ({"target": None}, "neither a target nor a command", 'Child("web"'),
    ({"command": ["true"]}, "both a target and a command", "keep one"),
    ({"target": 3}, "3, which cannot be called", "module:function"),
    ({"target": Queue("q")}, "is a Queue", "queue="),
    ({"target": Supervisor("s")}, "is a Supervisor", "children=[...]"),
    ({"target": dict}, "builtins:dict, which is no Worker", "Consumer"),
    ({"target": Charge, "args": (1,)}, "cannot be called with (1)", "args=(...)"),
    ({"target": "json.dumps"}, '"json.dumps"', "package.module:function"),
    ({"target": "json:du mps"}, '"json:du mps"', "package.module:function"),
    ({"target": "jason:dumps"}, "ModuleNotFoundError", "spelling"),
    ({"target": "json:dump_s"}, 'has no "dump_s"', 'did you mean "dumps"?'),
    ({"target": "jason:dumps", "preload": False}, "No module named", "spelling"),
    ({"target": None, "command": "redis-server --port 1"}, "no shell", "['redis-server', "),
    ({"target": None, "command": []}, "[]", "redis-server"),
    ({"target": None, "command": ["true", 3]}, "3", "redis-server"),
    ({"target": None, "command": ["true"], "args": (1,)}, "args are for a target", "command="),
    ({"target": None, "command": ["no-such-program"]}, '"no-such-program"', "searched: "),
    ({"target": None, "command": ["./no/such"]}, '"./no/such"', "executable"),
    ({"target": None, "command": ["true", "a\0b"]}, "NUL", "file"),
    ({"args": "abc"}, '"abc"', "args=(value,)"),
    ({"args": (1, 2)}, "cannot be called with (1, 2)", "args=(...)"),
    ({"ready": "tcp:0"}, "1 to 65535", "tcp:6390"),
    ({"ready": "tcp:65536"}, "1 to 65535", "tcp:6390"),
    ({"ready": "tcp:http"}, "1 to 65535", "tcp:6390"),
    ({"ready": "notfy"}, '"notfy"', 'did you mean "notify"?'),
    ({"ready": "exec"}, "for commands", "leave it out"),
    ({"target": None, "command": ["true"], "ready": "init"}, "for Python targets", "leave it out"),
    ({"stop_signal": "SIGTREM"}, '"SIGTREM"', "SIGINT"),
    ({"stop_signal": "term"}, '"term"', 'did you mean "SIGTERM"?'),
    ({"stop_signal": 9}, '"SIGKILL"', "brutal_kill"),
    ({"user": "no-such-user"}, '"no-such-user" does not exist', "create it"),
    ({"group": "zzzzzzzzz"}, '"zzzzzzzzz" does not exist', "create it"),
    ({"user": -5}, "-5 does not exist", "numeric id"),
    ({"umask": 0o1777}, "umask is 1023", "0 to 511"),
    ({"nice": 99}, "nice is 99", "39"),
    ({"rlimits": {"nofiles": 4}}, '"nofiles"', 'did you mean "nofile"?'),
    ({"rlimits": {"nofile": "4"}}, '"4"', "whole number"),
    ({"rlimits": {"nofile": (8, 4)}}, "soft limit is above", "(soft, hard)"),
    ({"rlimits": {"nofile": (1, 2, 3)}}, "(1, 2, 3)", "(soft, hard)"),
    ({"rlimits": 5}, "rlimits is 5", "nofile"),
    ({"private_tmp": 1}, "private_tmp is 1", "True or False"),
    ({"private_tmp": True, "user": os.geteuid()}, "private_tmp=True with user", "TMPDIR"),
    ({"cpu_affinity": [4096]}, "[4096]", "usable processors"),
    ({"cpu_affinity": []}, "[]", "usable processors"),
    ({"cpu_affinity": [True]}, "[True]", "usable processors"),
    ({"env": {"A": 1}}, 'env["A"] is 1', '{"A": "1"}'),
    ({"env": {"A=B": "x"}}, '"A=B"', 'without "="'),
    ({"env": "A=B"}, '"A=B"', "env="),
    ({"cwd": "/no/such/directory"}, "no directory", "create"),
    ({"start_timeout": 0}, "start_timeout is 0", "start_timeout=30.0"),
    ({"start_timeout": math.inf}, "inf", "finite number above 0"),
    ({"start_timeout": True}, "True", "start_timeout=30.0"),
    ({"heartbeat": -1.0}, "-1.0", "heartbeat=30.0"),
    ({"target": None, "command": ["true"], "heartbeat": 1.0}, "no work loop", "leave heartbeat"),
    ({"target": None, "command": ["true"], "stall_timeout": 1.0}, "no work loop", "leave stall"),
    ({"stall_timeout": 0}, "0", "stall_timeout=30.0"),
    ({"give_up_after": 0}, "0", ""),
    ({"backoff": 3}, "backoff is 3", "(0.1, 30.0)"),
    ({"backoff": (5, 1)}, "base is above the cap", "(base, cap)"),
    ({"backoff": (0, 1)}, "backoff is 0", "seconds"),
    ({"count": 0}, "count is 0", "from 1 to 10000"),
    ({"count": 10_001}, "count is 10001", "from 1 to 10000"),
    ({"count": True}, "count is True", "from 1 to 10000"),
    ({"count": 2.0}, "count is 2.0", "from 1 to 10000"),
    ({"preload": "no"}, 'preload is "no"', "True or False"),
    ({"target": None, "command": ["true"], "queue": "q"}, "for Python targets", "leave queue out"),
    ({"queue": "orders"}, '"orders" is unknown', "queues=[...] of the root"),
    ({"queue": Queue("orders")}, "is not listed", "queues=[...] of the root"),
]


@pytest.mark.parametrize(
    ("options", "problem", "advice"), BAD_OPTIONS, ids=[str(row[0])[:50] for row in BAD_OPTIONS]
)
def test_a_bad_option_of_a_child_is_refused(
    options: dict[str, object], problem: str, advice: str
) -> None:
    """The message names the child, the value, the way out, and the line of the declaration."""
    line = sys._getframe().f_lineno + 1
    child = Child("web", **{"target": work, **options})
    error = refused(Supervisor("shop", [child]))
    assert 'child "web": ' in error.problem or 'supervisor "' in error.problem
    assert problem in error.problem
    assert advice in error.help + error.problem
    assert error.where == f"{__file__}:{line}"
    assert error.exit_code == 78


BAD_FLAGS = [
    ({"strategy": "one_for_al"}, '"one_for_al"', 'did you mean "one_for_all"?'),
    ({"strategy": "simple_one_for_one"}, "no dynamic children", "count=N"),
    ({"intensity": -1}, "intensity is -1", "from 0"),
    ({"intensity": True}, "intensity is True", "from 0"),
    ({"period": 0}, "period is 0", "from 1"),
    ({"period": 0.5}, "period is 0.5", "from 1"),
    ({"auto_shutdown": "all"}, '"all"', "use one of"),
    ({"auto_shutdown": "any-significant"}, '"any-significant"', '"any_significant"'),
    ({"children": 3}, "children is 3", "children=["),
    ({"children": [work]}, "children holds", 'Child("work", work)'),
    ({"children": [Charge]}, "children holds", 'Child("charge", Charge)'),
    ({"children": [Queue("q")]}, 'the queue "q"', "queues=[...]"),
    ({"children": [[]]}, "children holds []", "*more"),
    ({"children": ["web"]}, '"web"', 'Child("name"'),
    ({"queues": 3}, "queues is 3", "queues=[orders]"),
    ({"queues": ["orders"]}, '"orders"', 'Queue("orders")'),
    ({"restart": "always"}, '"always"', "use one of"),
    ({"shutdown": ()}, "()", "shutdown=5.0"),
    ({"start_timeout": "1"}, '"1"', "start_timeout=30.0"),
    ({"name": "Shop 1"}, '"Shop 1"', 'for example "shop-1"'),
    ({"name": "a/b"}, '"a/b"', 'for example "a-b"'),
    ({"name": "a" * 64}, "aaa", "at most 63"),
    ({"name": ""}, '""', "63"),
    ({"name": None}, "None", "63"),
    ({"name": "shop\n"}, "'shop\\n'", "63"),
    ({"name": "runtime"}, '"runtime" is the runtime', "another name"),
]


@pytest.mark.parametrize(
    ("options", "problem", "advice"), BAD_FLAGS, ids=[row[1] for row in BAD_FLAGS]
)
def test_a_bad_option_of_a_supervisor_is_refused(
    options: dict[str, object], problem: str, advice: str
) -> None:
    """The message names the supervisor, the value, the way out, and the place."""
    error = refused(Supervisor(**{"name": "shop", **options}))
    assert problem in error.problem
    assert advice in error.help
    assert error.where.startswith(__file__)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"capacity": 0}, "capacity is 0"),
        ({"capacity": True}, "capacity is True"),
        ({"max_bytes": "64 parsecs"}, '"64 parsecs"'),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"name": "Orders"}, '"Orders"'),
    ],
)
def test_a_bad_option_of_a_queue_is_refused(options: dict[str, object], problem: str) -> None:
    """The message names the queue and the value."""
    error = refused(Supervisor("shop", queues=[Queue(**{"name": "orders", **options})]))
    assert error.problem.startswith('queue "')
    assert problem in error.problem


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 << 20), ("1k", 1000), ("2 KB", 2000), ("1.5GiB", 3 << 29), (7, 7), ("9", 9)],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    """Binary units count in 1024, others in 1000."""
    tree = Supervisor("shop", queues=[Queue("q", max_bytes=text)])
    assert define(tree).queues[0].max_bytes == size


def test_siblings_with_one_name_are_refused_with_both_places() -> None:
    """Slots would collide: "web" occupies "web.0" and so on."""
    one, two = Child("web", work), Child("web", work, count=2)
    error = refused(Supervisor("shop", [one, two]))
    assert one.where in error.problem
    assert error.where == two.where
    assert "unique among siblings" in error.help


def test_a_child_and_a_supervisor_cannot_share_a_name() -> None:
    """Both would have the same path."""
    assert "is taken" in refused(Supervisor("s", [Child("a", work), Supervisor("a")])).problem


def test_cousins_may_share_a_name() -> None:
    """Names are unique among siblings only."""
    define(Supervisor("s", [Supervisor(n, [Child("web", work)]) for n in ("a", "b")]))


def test_one_object_used_twice_is_refused() -> None:
    """The same Child object in two places is a mistake, wherever they are."""
    child = Child("web", work)
    error = refused(Supervisor("s", [Supervisor("a", [child]), Supervisor("b", [child])]))
    assert "as s/a/web and as s/b/web" in error.problem


def test_a_cycle_is_refused_with_its_path() -> None:
    """A supervisor below itself would never end starting."""
    inner = Supervisor("b")
    outer = Supervisor("a", [inner])
    inner.children = [outer]
    error = refused(Supervisor("s", [outer]))
    assert "a → b → a" in error.problem


def test_nesting_has_a_limit() -> None:
    """Depth is bounded."""
    tree = Supervisor("leaf")
    for level in range(MAX_DEPTH):
        tree = Supervisor(f"s{level}", [tree])
    assert "nested more than" in refused(tree).problem


def test_queues_belong_to_the_root() -> None:
    """A nested supervisor with queues is told where they go."""
    error = refused(Supervisor("s", [Supervisor("a", queues=[Queue("q")])]))
    assert "root only" in error.problem
    assert 'move them to "s"' in error.help


def test_two_queues_with_one_name_are_refused() -> None:
    """Also when it is the same object twice."""
    queue = Queue("q")
    assert queue.where in refused(Supervisor("s", queues=[queue, Queue("q")])).problem
    assert queue.where in refused(Supervisor("s", queues=[queue, queue])).problem


def test_an_unknown_queue_is_suggested() -> None:
    """A typo in a queue's name finds the queue meant."""
    tree = Supervisor("s", [Child("a", work, queue="order")], queues=[Queue("orders")])
    error = refused(tree)
    assert "queues of the app" in error.problem
    assert error.help == 'did you mean "orders"?'


def test_a_coroutine_instead_of_its_function_is_explained() -> None:
    """Calling the async function in the declaration is the usual slip."""
    error = refused(Supervisor("s", [Child("a", work_async())]))
    assert "already called" in error.problem


def test_instances_and_callables_are_targets() -> None:
    """A worker made by the author, a partial, a bound method and a callable object."""

    class Call:
        def __call__(self) -> None:
            """Do nothing."""

    assert child_of(target=Charge()).target == f"{__name__}:Charge"
    assert child_of(target=functools.partial(work)).target == f"{__name__}:work"
    assert child_of(target=Charge().supervised).target == f"{__name__}:Charge.supervised"
    assert child_of(target=Call()).target.endswith("Call")


def test_a_tree_that_is_no_supervisor_is_refused() -> None:
    """Naming a Child, a function or None as the tree is explained."""
    for value in (Child("a", work), work, None):
        assert "not a Supervisor" in refused(value).problem


def test_a_repr_that_raises_does_not_hide_the_message() -> None:
    """Messages are made of the author's objects, which may be broken."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "<Broken>" in refused(Supervisor("s", [Child("a", Broken())])).problem


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_may_change_identity() -> None:
    """Names and ids of users and groups that exist are accepted as root."""
    child = child_of(user="nobody", group=0, nice=-5)
    assert (child.settings.user, child.settings.group, child.settings.nice) == ("nobody", 0, -5)


def test_only_root_may_change_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user, a raised priority and a raised limit are refused before the start."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for options in ({"user": "nobody"}, {"nice": -1}, {"rlimits": {"nofile": -1}}):
        error = refused(Supervisor("s", [Child("a", work, **options)]))
        assert "root" in error.problem + error.help
