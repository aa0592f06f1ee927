"""The n-th system call of a process, whichever it is: something is done to it by strace.

strace counts every call by its name. So a run that nothing happens to is recorded first, and tells
which call the n-th one is, and the how manieth of its name.
"""

import re
from collections.abc import Iterable, Sequence

_CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")


def made(trace: str) -> list[str]:
    """Return the names of the calls in a record of strace, in order."""
    found = (_CALL.match(line) for line in trace.splitlines())
    return [call[1] for call in found if call]


def at(calls: Sequence[str], number: int, fault: str) -> list[str]:
    """Return strace's options that do something to one call.

    Args:
        calls: those of a run that nothing happens to.
        number: which of them, from 1.
        fault: as in "signal=SIGKILL" or "error=EIO".

    """
    name = calls[number - 1]
    nth = calls[:number].count(name)
    return ["-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={nth}"]


def since(calls: Sequence[str], number: int, fault: str, names: Iterable[str]) -> list[str]:
    """Return strace's options that do something to one call, and to all from there on.

    Args:
        calls: those of a run that nothing happens to.
        number: which of them is the first, from 1.
        fault: as above.
        names: of the calls that are meant.

    """
    options = ["-e", f"trace={','.join(names)}"]
    before = calls[: number - 1]
    for name in names:
        options += ["-e", f"inject={name}:{fault}:when={before.count(name) + 1}+"]
    return options
