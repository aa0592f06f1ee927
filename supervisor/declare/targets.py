"""Checks of what a Child runs: a Python target or a program, and how it gets ready.

A "module:function" string is imported here, so that a typo shows before anything is started.
"""

import functools
import importlib
import importlib.util
import inspect
import os
import re
import zlib
from collections.abc import Sequence
from typing import Any

from supervisor.declare.checks import Subject, did_you_mean, shown
from supervisor.declare.tree import Child, Queue, Supervisor
from supervisor.errors import summary_of

KINDS_OF_READY = ("init", "exec", "notify", "tcp:PORT")
MAX_ARGV = 1024
#: What a default ``repr`` says of where an object is: another place each time.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def target(subject: Subject, child: Child) -> tuple[str, list[str] | None]:
    """Check that there is exactly one of target and command; return its description and argv."""
    if child.target is not None and child.command is not None:
        raise subject.error("it has both a target and a command", "keep one of the two")
    if child.command is not None:
        argv = command(subject, child)
        return " ".join(argv), argv
    if child.target is None:
        raise subject.error(
            "it has neither a target nor a command",
            f'name what it runs: Child("{child.name}", function), or command=["program", "arg"]',
        )
    if isinstance(child.target, str):
        return named(subject, child.target, imported=bool(child.preload)), None
    return described(subject, child.target), None


def described(subject: Subject, value: object) -> str:
    """Check a target given as an object; return "module:qualname", for people."""
    if isinstance(value, Supervisor | Queue):
        kind = type(value).__name__
        advice = {
            "Supervisor": "put the Supervisor itself into children=[...]",
            "Queue": "write queue=..., and give the worker as the target",
        }
        raise subject.error(f"its target is a {kind}", advice[kind])
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited
        raise subject.error(
            "its target is a coroutine: the async function was already called",
            "give the function itself, without parentheses; its arguments go into args=(...)",
        )
    runs_when_called(subject, value)
    if isinstance(value, type) and not _can_run(value):
        raise subject.error(
            f"its target is the class {qualified_name(value)}, which is no Worker",
            "derive it from workers.Worker, Consumer or Producer, or give a function",
        )
    made = value if isinstance(value, type) else type(value)
    if hasattr(made, "supervised"):
        for method in ("init", "run", "terminate"):  # called, whatever they are
            runs_when_called(subject, getattr(made, method, None), coroutines=False)
    if isinstance(value, type) or callable(value):
        return qualified_name(value)
    if _can_run(type(value)):
        return qualified_name(type(value))
    raise subject.error(
        f"its target is {shown(value)}, which cannot be called",
        'give a Worker class or instance, a function, or "module:function"',
    )


def runs_when_called(subject: Subject, function: object, *, coroutines: bool = True) -> None:
    """Check that to call a function runs it: a call that only makes something is no work.

    Args:
        subject: what it is of.
        function: anything.
        coroutines: whether what ``async def`` makes is run.

    """
    name = getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise subject.error(
            f"{shown(name)} has a yield: it would never be run",
            "return instead, or loop over it in a function of its own",
        )
    if not coroutines and inspect.iscoroutinefunction(function):
        raise subject.error(
            f"{shown(name)} is async def: nobody would await it",
            "write a plain def, that calls asyncio.run if it has to",
        )


def _can_run(kind: type) -> bool:
    """Tell whether instances can be run: workers have ``supervised``, others are called."""
    return hasattr(kind, "supervised") or any("__call__" in base.__dict__ for base in kind.__mro__)


def qualified_name(value: Any) -> str:
    """Name an object for people: "shop.workers:Charge"."""
    while isinstance(value, functools.partial):
        value = value.func
    if not hasattr(value, "__qualname__"):
        value = type(value)
    return f"{value.__module__}:{value.__qualname__}"


def named(subject: Subject, value: str, *, imported: bool) -> str:
    """Check a "module:function" string by importing it.

    With ``imported`` False (the child asked to import afresh in each worker) the module is only
    looked for, because importing it may do what the author keeps out of the shared process.
    """
    module_name, colon, attribute = value.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise subject.error(
            f"its target is {shown(value)}",
            'write "package.module:function", or a program as command=[...]',
        )
    try:
        if not imported:
            if importlib.util.find_spec(module_name) is None:
                raise ModuleNotFoundError(f"No module named {module_name!r}", name=module_name)
            return value
        found: object = importlib.import_module(module_name)
    except Exception as error:
        raise subject.error(
            f"its target {shown(value)} cannot be imported: {summary_of(error)}",
            "check the spelling, and that the module can be imported from where you start",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in dir(found) if not name.startswith("_")]
            raise subject.error(
                f'its target {shown(value)} is not there: "{module_name}" has no "{attribute}"',
                did_you_mean(part, names, f"define {attribute} in {module_name}"),
            )
        found = getattr(found, part)
    described(subject, found)
    return value


def command(subject: Subject, child: Child) -> list[str]:
    """Check an argv, and that its program is there and may be executed."""
    argv = child.command
    if isinstance(argv, str):
        raise subject.error(
            f"command is the string {shown(argv)}: there is no shell to split it",
            f"write a list: command={argv.split()!r}",
        )
    if not _is_list_of_strings(argv) or not argv or not argv[0]:
        raise subject.error(
            f"command is {shown(argv)}; allowed: a list of strings, the program first",
            'write for example command=["redis-server", "--port", "6390"]',
        )
    if len(argv) > MAX_ARGV or any("\0" in word for word in argv):
        raise subject.error(
            f"command has a NUL character or more than {MAX_ARGV} arguments",
            "pass long data through a file or the environment",
        )
    if child.args:
        raise subject.error("args are for a target", "put them into command=[...]")
    _program(subject, child, argv[0])
    return list(argv)


def _program(subject: Subject, child: Child, program: str) -> None:
    import shutil  # brings the compressors: every fork would carry their pages

    env = child.env if isinstance(child.env, dict) else {}
    search = env.get("PATH") or os.environ.get("PATH", os.defpath)
    if "/" in program:
        found = shutil.which(os.path.join(child.cwd or ".", program))
        advice = "check the path (relative to cwd), and that the file is executable"
    else:
        found = shutil.which(program, path=search)
        advice = f"install it, or give its full path; searched: {search}"
    if found is None:
        raise subject.error(f"the program {shown(program)} is not found", advice)


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(word, str) for word in value)


def args(subject: Subject, child: Child) -> None:
    """Check positional arguments, and against the target's signature where it has one."""
    if isinstance(child.args, str | bytes) or not isinstance(child.args, Sequence):
        raise subject.error(
            f"args is {shown(child.args)}; allowed: a list or tuple", "write args=(value,)"
        )
    if not inspect.isfunction(child.target) and not isinstance(child.target, type):
        return
    try:
        signature = inspect.signature(child.target)
    except ValueError:
        return  # of the kind that has none to look at
    try:
        signature.bind(*child.args)
    except TypeError as error:
        given = ", ".join(shown(value) for value in child.args)
        raise subject.error(
            f"{qualified_name(child.target)} cannot be called with ({given}): {error}",
            "give its positional arguments in args=(...)",
        ) from error


def fingerprint(child: Child) -> int:
    """Return a checksum of a target's arguments and, of an instance, its attributes.

    It tells a reload that they have changed. What has no stable ``repr`` counts as changed.
    """
    state = getattr(child.target, "__dict__", {}) if not callable(child.target) else child.target
    try:
        said = repr((list(child.args), state))
    except Exception as error:  # the author's __repr__
        said = repr(type(error))
    return zlib.crc32(_ADDRESS.sub("", said).encode(errors="backslashreplace"))


def ready(subject: Subject, value: object, *, is_command: bool) -> str:
    """Check what makes the child count as started; None stands for the default of its kind."""
    if value is None:
        return "exec" if is_command else "init"
    if value == "exec" and not is_command:
        raise subject.error(
            'ready="exec" is for commands', 'use "init", "notify" or "tcp:PORT", or leave it out'
        )
    if value == "init" and is_command:
        raise subject.error(
            'ready="init" is for Python targets',
            'use "exec", "notify" or "tcp:PORT", or leave it out',
        )
    if isinstance(value, str) and value in KINDS_OF_READY[:3]:
        return value
    if isinstance(value, str) and value.startswith("tcp:"):
        port = value[4:]
        if port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535:
            return f"tcp:{int(port)}"
        raise subject.error(
            f"ready is {shown(value)}; allowed ports: 1 to 65535",
            'write for example ready="tcp:6390" (it is tried at 127.0.0.1)',
        )
    words = ", ".join(f'"{kind}"' for kind in KINDS_OF_READY)
    raise subject.error(
        f"ready is {shown(value)}; allowed: {words}",
        did_you_mean(value, KINDS_OF_READY, f"use one of {words}"),
    )
