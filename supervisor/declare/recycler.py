"""What an author declares for everything that accumulates: a directory, or a function that purges.

Plain declarations, as in `tree`; listed in ``Supervisor(recyclers=[...])`` of the root.
All durations are float seconds; sizes are bytes or strings such as "200MiB".
"""

from collections.abc import Callable
from os import PathLike
from typing import Any

from supervisor.errors import place_of_caller


class Recycler:
    """Keeps one thing that accumulates within its limits; the janitor runs it.

    Args:
        name: `[a-z0-9][a-z0-9_-]{0,62}`, unique in the app.
        path: a directory. Of the regular files below it, the oldest are removed until what is left
            keeps the limits; symbolic links are never followed, empty directories that are older
            than `max_age` go as well.
        max_age: seconds since a file was last written to (default None: any age).
        max_bytes: of all files together (default None: any size).
        max_files: of them (default None: any number).
        every: seconds between two runs (default 300.0).
        deadline: seconds that a run may take; then it is killed (default 60.0).

    """

    def __init__(
        self,
        name: str,
        *,
        path: str | PathLike[str] | None = None,
        max_age: float | None = None,
        max_bytes: int | str | None = None,
        max_files: int | None = None,
        every: float = 300.0,
        deadline: float = 60.0,
    ) -> None:
        self.name = name
        self.path = path
        self.max_age = max_age
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.every = every
        self.deadline = deadline
        self.call: Callable[[], Any] | None = None
        self.where = place_of_caller()

    def __call__(self) -> Any:
        """Call the function that it was made of."""
        assert self.call is not None, f"{self.name} is no function"
        return self.call()


def recycle(
    every: float = 300.0, *, name: str | None = None, deadline: float = 60.0
) -> Callable[[Callable[[], Any]], Recycler]:
    """Make a recycler of a function that purges something in bounded batches.

        @recycle(every=600)
        def old_sessions() -> int: ...

        tree = Supervisor("shop", recyclers=[old_sessions], children=[...])

    It runs in a process of its own, forked from the janitor, that is killed at the deadline.

    Args:
        every: seconds between two runs (default 300.0).
        name: default: the function's, with "-" for "_".
        deadline: seconds that a run may take (default 60.0).

    Returns:
        A decorator. The function may return how many things it has removed.

    """

    def decorate(function: Callable[[], Any]) -> Recycler:
        own = name or getattr(function, "__name__", "recycler").strip("_").replace("_", "-")
        recycler = Recycler(own, every=every, deadline=deadline)
        recycler.call, recycler.where = function, place_of_caller()
        return recycler

    return decorate
