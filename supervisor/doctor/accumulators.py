"""Everything of a running app that accumulates, who recycles it, how much there is, and may be.

*Release It!*: for every mechanism that accumulates a resource, some other mechanism must recycle
that resource. Here they are listed, so that one that is missing shows.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.caches import summed
from supervisor.doctor.sizes import bytes_below
from supervisor.janitor.journal import JOURNAL, TEMP, Entry
from supervisor.logs import place
from supervisor.logs.figures import FIGURES
from supervisor.observe.judge import children
from supervisor.observe.snapshot import Snapshot
from supervisor.process import sample
from supervisor.recycling import report as reports
from supervisor.recycling.temp_files import living

#: The part of its limit from which on something is worth a look.
HIGH = 0.9
DAY = 86_400.0
#: The folder of the durable queues in the state directory.
QUEUES = "queues"
#: What a queue has, who recycles it, and where the broker says how much it is and may be.
_OF_A_QUEUE = (
    ("messages of queue", "broker: back pressure", "depth", "capacity", "messages"),
    ("bytes of queue", "broker: back pressure", "bytes", "bytes_capacity", "bytes"),
    ("dead letters of queue", "broker: capacity, age", "dead", "dead_capacity", "messages"),
    ("calls of queue", "broker: answered, or their caller gone", "calls", "capacity", "messages"),
    ("keys for dedupe of queue", "broker: dedupe_window", "keys", "keys_capacity", "keys"),
)


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One thing that grows. ``size`` and ``limit`` are in ``unit``; None: not known, or none."""

    name: str
    recycler: str
    size: float | None
    limit: float | None
    unit: str = "bytes"
    note: str = ""

    @property
    def is_high(self) -> bool:
        """Whether it is near its limit, or its recycler has failed."""
        if self.note.startswith("failed"):
            return True
        return bool(self.size is not None and self.limit and self.size >= HIGH * self.limit)


def accumulators(snapshot: Snapshot, directory: str) -> list[Accumulator]:
    """List them. ``directory``: the runtime directory of the app."""
    return [
        *_memory(snapshot, directory),
        *_handles(snapshot),
        *_files(snapshot, directory),
        *_temp_files(snapshot, directory),
        *_queues(snapshot),
        *_caches(snapshot),
        *_recyclers(directory),
    ]


def _memory(snapshot: Snapshot, directory: str) -> Iterator[Accumulator]:
    report = reports.read(directory, time.time())
    if report is None:
        yield Accumulator("memory", "arbiter", None, None, note="failed: no report of now")
        return
    yield Accumulator("memory of the app", "arbiter: budget", report.used, report.budget)
    of_runtime = sum(report.runtime.values()) or None
    yield Accumulator("memory of the runtime", "bounded by design", of_runtime, None)
    for one in report.templates:
        how = "arbiter: another one takes over" if one.state == "serving" else "its last worker"
        note = f"{one.state}, {one.processes} processes"
        yield Accumulator(f"memory of template {one.pid}", how, one.own, one.limit, note=note)
    for child in children(snapshot.tree):
        slots = [report.slots[w.path] for w in child.workers if w.path in report.slots]
        if slots:
            largest = max(slots, key=lambda slot: slot.private / max(1, slot.soft))
            how = "arbiter: trim, recycle"
            size = largest.private if largest.is_known else None
            yield Accumulator(f"memory of {child.path}", how, size, largest.limits[0])


def _handles(snapshot: Snapshot) -> Iterator[Accumulator]:
    found, most = sample.descriptors(snapshot.pid), sample.nofile(snapshot.pid)
    yield Accumulator("descriptors of root", "closed with their slots", found, most, "")
    templates = sample.children_of(snapshot.pid)
    pids = [pid for template in templates for pid in sample.children_of(template)]
    zombies = sum(sample.vitals(pid) is None for pid in pids)
    yield Accumulator("zombies", "templates reap them", zombies, None, "")


def _files(snapshot: Snapshot, directory: str) -> Iterator[Accumulator]:
    yield Accumulator(
        "runtime directory", "a few files, each replaced", bytes_below(directory), None
    )
    logs = place.pointed(directory)
    if logs is not None:
        known = FIGURES.read(directory)
        most = known.budget if known is not None else None
        yield Accumulator("log files", "pump: rotation, budget", bytes_below(logs), most)


def _temp_files(snapshot: Snapshot, directory: str) -> Iterator[Accumulator]:
    """Show what the largest of a child's workers has; its directory goes with it."""
    entry = (JOURNAL.read(directory) or {}).get(TEMP)
    if entry is None or entry.path is None:
        return
    report = reports.read(directory, time.time())
    places = living(entry.path)
    for child in children(snapshot.tree):
        sizes = [bytes_below(places[w.pid]) for w in child.workers if w.pid in places]
        slots = report.slots if report is not None else {}
        limit = max((slots[w.path].max_temp for w in child.workers if w.path in slots), default=0)
        if limit or any(sizes):
            how = "arbiter: recycle" if limit else "janitor, once it has ended"
            largest = max(sizes, default=0)
            yield Accumulator(f"temp files of {child.path}", how, largest, limit or None)


def _queues(snapshot: Snapshot) -> Iterator[Accumulator]:
    for queue in snapshot.queues:
        name = queue.get("name")
        for what, how, size, most, unit in _OF_A_QUEUE:
            found, limit = queue.get(size), queue.get(most)
            if isinstance(found, int) and isinstance(limit, int):
                yield Accumulator(f"{what} {name}", how, found, limit, unit)
        folder = os.path.join(snapshot.state_dir, QUEUES, str(name))
        if queue.get("durable") and os.path.isdir(folder):
            how = "broker: capacity, checkpoints"
            yield Accumulator(f"files of queue {name}", how, bytes_below(folder), None)


def _caches(snapshot: Snapshot) -> Iterator[Accumulator]:
    for child in children(snapshot.tree):
        for one in summed([worker.caches for worker in child.workers]):
            name, how = f"cache {one.name} of {child.path}", "least recently used, ttl"
            asked = one.hits + one.misses
            note = f"{one.hits / asked:.0%} hits" if asked else ""
            yield Accumulator(name, how, one.bytes, one.max_bytes or None, note=note)


def _recyclers(directory: str) -> Iterator[Accumulator]:
    for name, entry in (JOURNAL.read(directory) or {}).items():
        note = f"failed: {entry.problem}" if entry.problem else _kept(entry)
        size = entry.size if entry.path is None else bytes_below(entry.path)
        yield Accumulator(name, "janitor", size, entry.limit, note=note)


def _kept(entry: Entry) -> str:
    """Say what a recycler keeps beside bytes, and what it has removed."""
    words = [] if entry.max_files is None else [f"{entry.max_files} files at most"]
    if (age := entry.max_age) is not None:
        words.append(f"none older than {f'{age / DAY:g} days' if age >= DAY else f'{age:g} s'}")
    return ", ".join([*words, f"{entry.removed} removed so far"])
