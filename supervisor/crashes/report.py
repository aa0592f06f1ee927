"""Crash reports: what is written of one death. Pure: from what was told of it.

Only what is known is in it. Of the environment there is nothing at all.
"""

import hashlib
import os
import re
from typing import Any

import msgspec

from supervisor.crashes.at_hand import Message
from supervisor.crashes.death import Death
from supervisor.logs.record import timestamp

SCHEMA = "supervisor.crash/1"
#: Frames that tell one crash from another; they are the innermost of the author's.
FRAMES = 5
#: How a cause is put in the headline; others are quoted.
_WORDS = {
    "heartbeat": "killed by its supervisor: no heartbeat",
    "stalled": "killed by its supervisor: no progress",
    "start_timeout": "killed by its supervisor: not ready in time",
    "suspended": "killed by its supervisor: suspended for too long",
    "protocol": "killed by its supervisor: it said what cannot be understood",
    "control_lost": "killed by its supervisor: it had closed its link",
    "stop_timeout": "killed by its supervisor: it did not end when it was asked to",
    "memory_hard": "ended for having more than memory_hard",
    "oom": "killed by the kernel for want of memory",
    "template_lost": "went with its template",
    "unkillable": "was left behind: SIGKILL did not end it",
    "exit:0 unfinished": "left with status 0 in the middle of its work",
}
_FRAME = re.compile(r'^ *File "([^"]+)", line \d+,? in (.+)$', re.MULTILINE)
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: Of frames that are not the author's.
_FOREIGN = re.compile(
    rf"/(site|dist)-packages/|/lib/python3|^<frozen|^{re.escape(_PACKAGES)}/(supervisor|workers)/"
)
#: In what faulthandler writes; a traceback goes the other way.
_INNERMOST_FIRST = "(most recent call first)"


class Usage(msgspec.Struct, frozen=True):
    """What a process has used; None: not known."""

    user_seconds: float | None
    system_seconds: float | None
    max_rss_bytes: int | None  # shared pages included


class Where(msgspec.Struct, frozen=True):
    """Where it was. ``python``: the version of its interpreter."""

    app: str
    host: str
    python: str


class Work(msgspec.Struct, frozen=True):
    """The messages of a queue that a consumer was handling: ``count`` of them, the first named."""

    queue: str
    count: int
    messages: list[Message]


class Grown(msgspec.Struct, frozen=True):
    """What the arbiter has seen of a process last. Bytes; ``time``: RFC 3339.

    ``samples``: of one that grows, seconds before ``time`` and private bytes, the last one last.
    """

    time: str
    private: int
    soft: int
    hard: int
    baseline: int | None
    growth_per_second: float | None
    fds: int | None  # None: they were not ours to see
    threads: int
    samples: list[tuple[float, int]]


class Other(msgspec.Struct, frozen=True):
    """Another death shortly before; ``id``: of its report. ``seconds_before`` this one."""

    id: str
    path: str
    cause: str
    seconds_before: float


class Context(msgspec.Struct, frozen=True):
    """What others know of a process that has ended.

    Args:
        others: deaths shortly before.
        work: what it was handling.
        memory: what it had when it was looked at last.
        log: its last lines.

    """

    others: list[Other] = []
    work: Work | None = None
    memory: Grown | None = None
    log: list[dict[str, Any]] = []


_NOTHING = Context()


class CrashReport(msgspec.Struct, frozen=True):
    """One death. Times are RFC 3339 in UTC, ``at`` is Unix seconds; None: not known.

    Args:
        recent: crashes of the slot within ten minutes up to this one; 100: that or more.
        fingerprint: the same for crashes of the same kind.
        count: which it was of its kind, of those that were told of.
        phase: "starting" or "ready".
        others: deaths of the app within a few seconds before, the last one last.
        work: the messages that it was handling.
        memory: what it had when it was looked at last.
        log: its last lines, as they were kept, the last one last.

    """

    id: str
    headline: str
    time: str
    at: float
    path: str
    child: str
    slot: int
    generation: int
    pid: int | None
    cause: str
    exit_code: int | None
    signal: str | None
    evidence: list[str]
    phase: str
    started_at: str | None
    uptime_seconds: float | None
    exception: str | None
    message: str | None
    traceback: str | None
    stacks: str | None
    usage: Usage
    decision: str
    recent: int
    fingerprint: str
    count: int
    code: str | None
    where: Where
    others: list[Other] = []
    work: Work | None = None
    memory: Grown | None = None
    log: list[dict[str, Any]] = []
    schema: str = SCHEMA


def compose(
    death: Death, identity: str, where: Where, count: int, context: Context = _NOTHING
) -> CrashReport:
    """Make the report of a death.

    Args:
        death: what was told of it.
        identity: the report's id.
        where: where the app runs.
        count: which of its kind it is.
        context: what others know of it.

    """
    end, started = death.end, death.started_at
    return CrashReport(
        id=identity,
        headline=headline(death, context.work),
        time=timestamp(end.at),
        at=end.at,
        path=death.path,
        child=death.child,
        slot=death.slot,
        generation=end.incarnation,
        pid=death.pid,
        cause=end.cause,
        exit_code=end.exit_code,
        signal=end.signal,
        evidence=death.evidence,
        phase="ready" if death.was_ready else "starting",
        started_at=None if started is None else timestamp(started),
        uptime_seconds=None if started is None else round(max(0.0, end.at - started), 3),
        exception=death.exception or None,
        message=death.message or None,
        traceback=death.traceback or None,
        stacks=death.stacks or None,
        usage=Usage(end.user_seconds, end.system_seconds, end.max_rss_bytes),
        decision=death.decision,
        recent=death.recent,
        fingerprint=fingerprint(death),
        count=count,
        code=death.code or None,
        where=where,
        others=context.others,
        work=context.work,
        memory=context.memory,
        log=context.log,
    )


def headline(death: Death, work: Work | None = None) -> str:
    """Say in one sentence who died of what, how often that happens, and what became of it."""
    who = f"{death.child.rpartition('/')[2]}[{death.slot}]"
    if death.pid is not None:
        who += f" pid {death.pid}"
    often = f"{ordinal(death.recent)} crash in 10 min"
    return f"{who} {_what(death)}{_over(work)}, {often}; {death.decision}"


def _over(work: Work | None) -> str:
    if work is None or not work.messages:
        return ""
    if work.count > 1:
        return f" while handling {work.count} messages of {work.queue}"
    [message] = work.messages
    return f" while handling {message.id} (attempt {message.attempt})"


def _what(death: Death) -> str:
    cause = death.end.cause
    if cause in _WORDS:
        return _WORDS[cause]
    if death.exception and cause.startswith("exception:"):
        first = death.message.strip().partition("\n")[0][:200]
        return f"failed with {death.exception}" + (f": {first}" if first else "")
    if death.end.signal is not None:
        return f"killed by {death.end.signal}"
    if cause.startswith("spawn:"):
        return f"could not be started: {cause.removeprefix('spawn:').strip()[:200]}"
    if death.end.exit_code is not None:
        return f"exited with status {death.end.exit_code}"
    return f"ended: {cause}"


def ordinal(number: int) -> str:
    """Write 1st, 2nd, 3rd, 4th, ... 11th, ..."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def fingerprint(death: Death) -> str:
    """Return what crashes of a kind have in common: their child, cause, exception, and frames."""
    frames = own_frames(death.traceback or death.stacks)
    parts = [death.child, death.end.cause, death.exception, *frames]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]


def own_frames(text: str) -> list[str]:
    """Return the author's innermost frames in a traceback or in stacks, the innermost first.

    As "file:function", without lines. Of a text without any, those that there are.
    """
    found = [(file, f"{file}:{function}") for file, function in _FRAME.findall(text)]
    if _INNERMOST_FIRST not in text:
        found.reverse()
    own = [frame for file, frame in found if not _FOREIGN.search(file)]
    return (own or [frame for _, frame in found])[:FRAMES]
