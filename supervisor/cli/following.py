"""What is written to a set of children from a moment on, after what there was before."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from supervisor.errors import SupervisorError
from supervisor.logs.catalog import children, choose
from supervisor.logs.entry import Entry, Matcher
from supervisor.logs.follower import Follower
from supervisor.logs.record import timestamp
from supervisor.logs.shelf import Shelf

#: Seconds between looks at files that are followed, and at which there are.
POLL, LOOK_FOR_NEW = 0.1, 1.0
#: Lines that are so many seconds older than the following may be read in both ways.
OVERLAP = 1.0


class Following:
    """What is written to a set of children from its making on, new children included."""

    def __init__(self, root: str, paths: tuple[str, ...], shelves: list[Shelf]) -> None:
        self._root, self._paths = root, paths
        self._followers = {shelf.path: Follower(shelf) for shelf in shelves}
        self._look_at = time.monotonic() + LOOK_FOR_NEW
        self._since = timestamp(time.time() - OVERLAP)
        self._shown: Counter[bytes] = Counter()

    def join(self, lines: Iterable[Entry], matches: Matcher, limit: int | None) -> Iterator[Entry]:
        """Add what was written since we began to lines that were read otherwise, each once.

        Of that it may be a part already, so that of the last lines only those remain.
        """
        for line in lines if limit is None else ():
            self._note_shown(line)
            yield line
        if limit:
            known = list(lines)
            for line in known:
                self._note_shown(line)
            known += self._new(matches)
            known.sort(key=lambda line: line.time)
            yield from known[-limit:]

    def _note_shown(self, line: Entry) -> None:
        if line.time >= self._since:
            self._shown[line.text] += 1

    def _new(self, matches: Matcher) -> list[Entry]:
        """Return what was added since the last time."""
        found = [line for one in self._followers.values() for line in filter(matches, one.poll())]
        found.sort(key=lambda line: line.time)
        if self._shown:
            found = [line for line in found if not _taken(self._shown, line.text)]
            if not self._behind:
                self._shown.clear()
        return found

    @property
    def _behind(self) -> bool:
        return any(one.behind for one in self._followers.values())

    def run(
        self, matches: Matcher, show: Callable[[Entry], None], flush: Callable[[], None]
    ) -> None:
        """Show lines until interrupted; ``flush``: let them be seen now."""
        while True:
            for line in self._new(matches):
                show(line)
            flush()
            if not self._behind:
                time.sleep(POLL)
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_FOR_NEW
                self._look_for_new()

    def _look_for_new(self) -> None:
        try:
            chosen, _ = choose(children(self._root), self._paths)
        except SupervisorError:  # all was deleted: it may come again
            return
        for child in chosen:
            if child not in self._followers:
                self._followers[child] = Follower(Shelf(self._root, child), from_start=True)


def _taken(counted: Counter[bytes], text: bytes) -> bool:
    """Take one from a count; False: there is none left."""
    counted[text] -= 1
    return counted[text] >= 0
