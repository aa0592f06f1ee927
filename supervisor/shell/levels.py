"""Log levels that were changed at run time, by path; the longest path that fits counts."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Levels:
    """Which levels were changed. A path stands for itself, its slots, and all below it."""

    changed: dict[str, str] = field(default_factory=dict)

    def change(self, path: str, level: str | None) -> None:
        """Change the level of a path; None: it is as that of others again."""
        if level is None:
            self.changed.pop(path, None)
        else:
            self.changed[path] = level

    def of(self, path: str) -> str | None:
        """Return the level of a path, if it was changed."""
        fitting = [above for above in self.changed if covers(above, path)]
        return self.changed[max(fitting, key=len)] if fitting else None


def covers(above: str, path: str) -> bool:
    """Whether a path is the other one, a slot of it, or below it."""
    return path == above or path.startswith((above + "/", above + "."))
