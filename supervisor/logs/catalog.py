"""Which children have log files in a directory, and which of them somebody means."""

import os

from supervisor.control.paths import resolve
from supervisor.errors import UnusableLogs
from supervisor.logs.rotation import parse


def children(root: str) -> list[str]:
    """List the paths of all children that have files.

    Raises:
        UnusableLogs: there is no such directory, or it may not be read.

    """
    try:
        os.listdir(root)
    except OSError as error:
        raise UnusableLogs(f"there are no logs in {root}: {error.strerror}") from error
    found = []
    for place, _, names in os.walk(root):
        if any(parse(name) for name in names) and place != root:
            found.append(os.path.relpath(place, root))
    return sorted(found)


def choose(known: list[str], paths: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """Find the children that paths mean: a child, a slot of one, or all below a supervisor.

    Returns:
        the children, and the slots of them that are meant alone.

    Raises:
        NoSuchChild: there is nothing of that name.

    """
    if not paths:
        return known, ()
    whole: set[str] = set()
    parted: dict[str, set[str]] = {}  # slots, and the children that have their lines
    for path in paths:
        child, dot, slot = path.rstrip("/").rpartition(".")
        is_slot = bool(dot) and slot.isdecimal()
        found = _resolved(child if is_slot else path, known)
        fitting = {one for one in known if one == found or one.startswith(found + "/")}
        if is_slot:
            parted[f"{found}.{slot}"] = fitting
        else:
            whole |= fitting
    slots = tuple(slot for slot, fitting in parted.items() if not fitting <= whole)
    return sorted(whole.union(*parted.values())), slots


def _resolved(path: str, known: list[str]) -> str:
    """Find the full path that is meant by one without its beginning."""
    everything = set(known)
    for one in known:
        while one := one.rpartition("/")[0]:
            everything.add(one)
    tops = sorted({one.partition("/")[0] for one in known})
    wanted = path.rstrip("/")
    for top in tops:
        if f"{top}/{wanted}" in everything and wanted not in everything:
            return f"{top}/{wanted}"
    main = next((top for top in tops if top not in ("root", "runtime")), "")
    return resolve(wanted, sorted(everything), main)
