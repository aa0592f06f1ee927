"""How much is logged: lines, bytes and losses by child, and what the files take of their budget.

A file in the runtime directory, which the pump replaces (`supervisor.logs.tally`): whoever looks
reads that, and asks nobody. The counts begin anew with each pump.
"""

import msgspec

from supervisor.bulletin import Bulletin


class ChildFigures(msgspec.Struct):
    """What came from one child.

    ``dropped``: lines that are in no file, over the rate or for want of a disk that takes them.
    Lines of raw files are not counted where nobody has looked at them.
    """

    lines: int = 0
    bytes: int = 0
    dropped: int = 0

    def add(self, more: "ChildFigures") -> None:
        """Add another's."""
        self.lines += more.lines
        self.bytes += more.bytes
        self.dropped += more.dropped


class Figures(msgspec.Struct, frozen=True):
    """All of it. Times are Unix seconds; bytes.

    ``since``: when counting began; ``dropped_at``: when a line was last found dropped. ``used`` and
    ``budget``: of the files, None if there are none; ``failing``: they cannot be written now.
    """

    at: float
    since: float
    children: dict[str, ChildFigures]
    dropped_at: float | None = None
    used: int | None = None
    budget: int | None = None
    failing: bool = False


FIGURES = Bulletin[Figures]("logs.json", Figures)
