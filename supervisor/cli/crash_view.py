"""What `supervisor crashes` prints. Pure: reports in, text out; nothing moves the cursor."""

from collections.abc import Sequence
from typing import Any

import msgspec

from supervisor.cli.text import clean, duration, line, table
from supervisor.crashes.report import CrashReport, Grown, Other, Work, ordinal
from supervisor.crashes.shelf import Kept
from supervisor.logs.entry import entry
from supervisor.logs.record import timestamp
from supervisor.logs.render import PrettyRenderer
from supervisor.recycling.leaks import LeakReport

COLUMNS = ["TIME", "ID", "CHILD", "CAUSE", "COUNT", "HEADLINE"]
_MIB = 1 << 20


def reports_text(found: Sequence[Kept]) -> str:
    """List reports, one a line. ``COUNT``: which it is of how many of its kind."""
    if not found:
        return "no crash reports"
    counts: dict[str, int] = {}
    for one in found:
        counts[one.fingerprint] = max(counts.get(one.fingerprint, 0), one.count)
    rows = [COLUMNS]
    for one in found:
        number = f"{one.count} of {counts[one.fingerprint]}" if one.fingerprint else ""
        headline = line(one.headline, 160)
        rows.append(
            [_second(one.at), line(one.id), line(one.path), line(one.cause, 40), number, headline]
        )
    return "\n".join("  ".join(row).rstrip() for row in table(rows))


def show_text(content: bytes) -> str:
    """Write out one report, of a crash or a leak, as it is in its file.

    Raises:
        msgspec.DecodeError: it is neither.

    """
    try:
        return _crash(msgspec.json.decode(content, type=CrashReport))
    except msgspec.ValidationError:
        return _leak(msgspec.json.decode(content, type=LeakReport))


def _crash(one: CrashReport) -> str:
    used, where = one.usage, one.where
    up = "" if one.uptime_seconds is None else f", up {duration(one.uptime_seconds)}"
    facts = {
        "time": one.time,
        "process": f"{one.path}, generation {one.generation}, pid {one.pid or '-'}",
        "started": f"{one.started_at or '-'}{up}, was {one.phase}",
        "cause": one.cause,
        "exit": one.signal or (f"status {one.exit_code}" if one.exit_code is not None else "-"),
        "evidence": "; ".join(one.evidence) or "-",
        "decision": one.decision,
        "kind": f"{one.fingerprint}, the {ordinal(one.count)} that was told of",
        "used": _used(used.user_seconds, used.system_seconds, used.max_rss_bytes),
        "code": one.code or "-",
        "where": f"{where.app} on {where.host}, Python {where.python}",
    }
    if one.others:
        facts["before"] = "; ".join(map(_other, one.others))
    if one.work is not None:
        facts["work"] = _work(one.work)
    if one.memory is not None:
        facts["memory"] = _grown(one.memory)
    lines = [line(one.headline, 400), *_facts(facts)]
    if one.exception:
        lines += ["", line(f"{one.exception}: {one.message or ''}", 1200)]
    for title, text in (("traceback", one.traceback), ("stacks", one.stacks)):
        if text:
            lines += ["", f"{title}:", clean(text.rstrip())]
    if one.log:
        lines += ["", "last lines of its log:", *map(_logged, one.log)]
    return "\n".join(lines)


def _other(other: Other) -> str:
    return f"{other.path} {other.cause} {other.seconds_before:.1f} s before ({other.id})"


def _work(work: Work) -> str:
    named = ", ".join(f"{one.id} (attempt {one.attempt})" for one in work.messages)
    more = work.count - len(work.messages)
    return f"{named} of {work.queue}" + (f", and {more} more" if more else "")


def _grown(memory: Grown) -> str:
    rate = memory.growth_per_second
    grows = "" if rate is None else f", +{rate / _MIB:.2f} MiB a second"
    base = "-" if memory.baseline is None else f"{memory.baseline / _MIB:.1f}"
    fds = "-" if memory.fds is None else memory.fds
    return (
        f"{memory.private / _MIB:.1f} MiB private at {memory.time}{grows}; fresh {base}, soft "
        f"{memory.soft / _MIB:.1f}, hard {memory.hard / _MIB:.1f}; {fds} descriptors, "
        f"{memory.threads} threads"
    )


def _logged(fields: dict[str, Any]) -> str:
    content = msgspec.json.encode(fields)
    shown = entry(content).shown(PrettyRenderer(colour=False))
    return clean(shown.decode("utf-8", "replace").rstrip("\n"))


def _used(user: float | None, system: float | None, most: int | None) -> str:
    if user is None or system is None or most is None:
        return "-"
    return f"{user:.3f} s user, {system:.3f} s system, at most {most / _MIB:.1f} MiB resident"


def _leak(one: LeakReport) -> str:
    head = f"{one.path} is recycled over and over; held off for {duration(one.held_off)}"
    lines = [line(head, 400), *_facts({"time": timestamp(one.at)}), ""]
    rows = [["GENERATION", "WHY", "AGE", "PRIVATE", "BASELINE", "FDS", "THREADS"]]
    for life in one.lives:
        base = "-" if life.baseline is None else f"{life.baseline / _MIB:.1f} MiB"
        private = f"{life.private / _MIB:.1f} MiB"
        age = duration(life.age)
        number, fds, threads = str(life.generation), str(life.fds), str(life.threads)
        rows.append([number, line(life.why), age, private, base, fds, threads])
    return "\n".join([*lines, *("  ".join(row).rstrip() for row in table(rows))])


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"  {name:<9} {line(text, 400)}" for name, text in facts.items()]


def _second(at: float) -> str:
    return timestamp(at).partition(".")[0] + "Z"
