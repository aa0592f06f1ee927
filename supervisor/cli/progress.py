"""Progress of something long: a bar on a terminal, a line per change elsewhere; on stderr.

drain orders  ████████░░░░  880/1000 · 112/s · 1 s left   Ctrl-C leaves it running
"""

import sys
import time

import click

WIDTH = 12
#: Seconds between two pictures on a terminal, and between two lines elsewhere.
EVERY, EVERY_LINE = 0.1, 2.0


class Progress:
    """How far something is.

    Args:
        what: said in front of it.
        unit: what is counted.
        total: how many; None: nobody knows.
        advice: said behind it, on a terminal.
        quiet: whether to say nothing.

    """

    def __init__(
        self,
        what: str,
        unit: str,
        total: int | None,
        advice: str = "",
        quiet: bool = False,
    ) -> None:
        self._what, self._unit, self._total, self._advice = what, unit, total, advice
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._next = self._begun + (EVERY if self._terminal else EVERY_LINE)
        self._drawn = False

    def show(self, done: int, note: str = "") -> None:
        """Say that so many are done, if it is time to."""
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (EVERY if self._terminal else EVERY_LINE)
        text = self._text(done, now - self._begun, note)
        if self._terminal:
            advice = f"   {self._advice}" if self._advice else ""
            click.echo(f"\r\x1b[K{text}{advice}", err=True, nl=False)
            self._drawn = True
        else:
            click.echo(text, err=True)

    def end(self) -> None:
        """Take the bar away: the outcome is said elsewhere."""
        if self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._drawn = False

    def _text(self, done: int, seconds: float, note: str) -> str:
        rate = done / seconds if seconds > 0 else 0.0
        parts = [f"{done} {self._unit}", f"{rate:.0f}/s"]
        bar = ""
        if self._total:
            filled = min(WIDTH, WIDTH * done // self._total)
            bar = f"{'█' * filled}{'░' * (WIDTH - filled)}  "
            parts[0] = f"{done}/{self._total} {self._unit}"
            if rate > 0:
                parts.append(f"{max(0, self._total - done) / rate:.0f} s left")
        if note:
            parts.append(note)
        return f"{self._what}  {bar}{' · '.join(parts)}"
