"""Writes the crash reports: the janitor's part, which may wait for a disk.

What cannot be written is counted, and that is all that comes of it.
"""

import logging
import os
import platform
import re
import socket
import time
from collections.abc import Mapping

import msgspec

from supervisor.crashes import place, shelf
from supervisor.crashes.at_hand import AtHand
from supervisor.crashes.background import Background
from supervisor.crashes.death import Death, Untold
from supervisor.crashes.feed import take
from supervisor.crashes.register import REGISTER, Known, Register
from supervisor.crashes.report import CrashReport, Where, compose, fingerprint
from supervisor.janitor.task import Outcome
from supervisor.shortage import reason

log = logging.getLogger("supervisor.janitor")

#: Seconds between two looks of the recycler, and that one may take.
EVERY, DEADLINE = 600.0, 60.0
#: Characters of a text that are left where a report is too large.
SHORTENED = 10_000


class Clerk:
    """Writes down what root has to tell of deaths.

    Args:
        reader: where it tells.
        directory: the runtime directory.
        app: "module:attribute".
        environments: the variables that children declare, by their paths.

    """

    def __init__(
        self,
        reader: socket.socket,
        directory: str,
        app: str,
        environments: Mapping[str, Mapping[str, str | None]] | None = None,
    ) -> None:
        self._reader, self._directory = reader, directory
        self._background = Background(directory, environments or {})
        self._reports = place.below(directory)
        self._where = Where(app, socket.gethostname(), platform.python_version())
        self._register = Register(since=time.time())
        self._kept: list[shelf.Kept] | None = None  # not looked at yet

    def fileno(self) -> int:
        """Readable when there is something to write."""
        return self._reader.fileno()

    def work(self) -> None:
        """Write down all that was told so far, and say what there is now."""
        while words := take(self._reader):
            for word in words:
                if isinstance(word, AtHand):
                    self._background.note(word)
            for word in words:
                if isinstance(word, Death):
                    self._write(word)
                elif isinstance(word, Untold):
                    self._count(skipped=self._register.skipped + word.count)
        self.post()

    def post(self) -> None:
        """Say what there is."""
        kept = self._kept or []
        self._register = msgspec.structs.replace(
            self._register,
            kept=len(kept),
            bytes=sum(one.size for one in kept),
            known=[Known(one.path, one.at, one.id) for one in kept if one.fingerprint],
        )
        try:
            REGISTER.post(self._directory, self._register)
        except OSError as error:  # nobody will see it, that is all
            log.warning("no register of crash reports", extra={"problem": str(error)})

    def _write(self, death: Death) -> None:
        try:
            report = self._composed(death)
            content = _encoded(report)
            name = _name_of(report)
            shelf.write(self._reports, name, content)
        except OSError as error:
            self._failed(reason(error, self._reports))
            return
        self._count(written=self._register.written + 1, problem="")
        assert self._kept is not None
        self._kept.append(shelf.summary(name, content))
        self._let_go()

    def _composed(self, death: Death) -> CrashReport:
        if self._kept is None or not os.path.isdir(self._reports):
            self._look()
        kind, kept = fingerprint(death), self._kept or []
        before = max((one.count for one in kept if one.fingerprint == kind), default=0)
        identity, context = f"cr-{os.urandom(4).hex()}", self._background.of(death, kept)
        return compose(death, identity, self._where, before + 1, context)

    def look(self) -> None:
        """Look at what is there: of those before us, and after others have removed some."""
        try:
            self._look()
        except OSError as error:
            log.warning("no look at crash reports", extra={"problem": str(error)})
        self.post()

    def _look(self) -> None:
        try:
            shelf.remove_unfinished(self._reports)
            self._kept = shelf.listed(self._reports)
        except FileNotFoundError:  # it was removed: it is made with the next report
            self._kept = []

    def _let_go(self) -> None:
        assert self._kept is not None
        if gone := shelf.doomed(self._kept, time.time()):
            shelf.remove(self._reports, [one.file for one in gone])
            self._kept = [one for one in self._kept if one not in gone]

    def _failed(self, problem: str) -> None:
        seen = self._register
        if not seen.problem:
            log.warning("crash report cannot be written", extra={"problem": problem})
        self._count(skipped=seen.skipped + 1, failed=seen.failed + 1, problem=problem)

    def _count(self, **counts: object) -> None:
        self._register = msgspec.structs.replace(self._register, **counts)


def _encoded(report: CrashReport) -> bytes:
    content = msgspec.json.encode(report)
    if len(content) > shelf.MAX_BYTES - 2048:  # characters that are escaped take more
        cut = {
            name: text[-SHORTENED:]
            for name in ("traceback", "stacks", "message")
            if (text := getattr(report, name))
        }
        report = msgspec.structs.replace(report, log=[])
        content = msgspec.json.encode(msgspec.structs.replace(report, **cut))
    return content


def _name_of(report: CrashReport) -> str:
    """Name the file: when, who, and the id, by which it is found."""
    when = re.sub(r"[-:]|\.\d+", "", report.time)
    child = re.sub(r"[^a-z0-9_.]+", "-", report.child.rpartition("/")[2].lower())[:64]
    return f"{when}-{child}-{report.slot}-{report.id}{shelf.ENDING}"


def recycle(directory: str) -> Outcome:
    """Remove the reports that are too many: those of leaks, too, which others write.

    Args:
        directory: the runtime directory.

    Raises:
        OSError: the reports cannot be read.

    """
    reports = place.below(directory)
    try:
        kept = shelf.listed(reports)
    except FileNotFoundError:
        return Outcome()
    gone = shelf.doomed(kept, time.time())
    problems = shelf.remove(reports, [one.file for one in gone])
    problem = f"{problems} files cannot be removed" if problems else ""
    size = sum(one.size for one in gone)
    return Outcome(len(gone) - problems, size, None, len(kept) - len(gone), problem)
