"""Paths as users write them, resolved against the paths that there are."""

import difflib
from collections.abc import Collection

from supervisor.errors import NoSuchChild

#: Known paths that a suggestion is looked for in: comparing is quadratic in their length.
MAX_COMPARED = 2000


def resolve(path: str, known: Collection[str], root: str) -> str:
    """Find the path that is meant: "shop/web", or "web" for short.

    Raises:
        NoSuchChild: there is none; with the closest one there is, if one is close.

    """
    wanted = path.rstrip("/")
    for candidate in (wanted, f"{root}/{wanted}"):
        if candidate in known:
            return candidate
    raise NoSuchChild(f'no child has the path "{path}"\nhelp: {_advice(wanted, known, root)}')


def _advice(wanted: str, known: Collection[str], root: str) -> str:
    by_last = {name.rpartition("/")[2]: name for name in known}
    compared = list(known)[:MAX_COMPARED]
    full = wanted if wanted.startswith(f"{root}/") else f"{root}/{wanted}"
    close = difflib.get_close_matches(full, compared, 1, 0.8)
    if not close:
        last = difflib.get_close_matches(wanted.rpartition("/")[2], list(by_last)[:MAX_COMPARED], 1)
        close = [by_last[last[0]]] if last else []
    return f'did you mean "{close[0]}"?' if close else 'see them with "supervisor tree"'
