"""What a queue says of itself: for health, metrics and people."""

import msgspec

from workers.queues.broker.host import QueueHost
from workers.queues.core.dedupe import MAX_KEYS

Value = int | float | str | bool


def statistics(host: QueueHost) -> dict[str, Value]:
    """Return the state of one queue: messages, bytes, seconds; totals since its broker started."""
    core, keeping, waits, now = host.core, host.keeping, host.waits, host.now
    definition, books, letters = core.definition, core.books, core.burial.letters
    oldest = core.oldest_put()
    found: dict[str, Value] = {
        "name": definition.name,
        "depth": books.depth,
        "capacity": books.capacity,
        "bytes": books.bytes,
        "bytes_capacity": books.max_bytes,
        "oldest_age_s": 0.0 if oldest is None else round(max(0.0, now - oldest), 3),
        "leased": core.leased,
        "consumers": len(core.delivery.consumers),
        "busy": sum(bool(one.leased) for one in core.delivery.consumers.values()),
        "blocked": len(waits),
        "blocked_longest_seconds": round(waits.longest(now), 3),
        "blocked_seconds_total": round(waits.total(now), 3),
        "dead": len(letters),
        "dead_capacity": letters.most,
        "dead_full": letters.full,
        "calls": len(core.calls),
        "keys": len(core.intake.window),
        "keys_capacity": MAX_KEYS,
        "paused": core.delivery.paused,
        "squeezed": core.delivery.squeezed,
        "closed": core.intake.shut,
        "durable": definition.durable,
        "store": "" if keeping is None else keeping.trouble or "ok",
        "damage": 0 if keeping is None else keeping.damage,
    }
    totals = msgspec.structs.asdict(core.counts)
    found.update({f"{name}_total": value for name, value in totals.items() if name != "late_acks"})
    found["late_acks_total"] = core.counts.late_acks
    found["half_frames_total"] = host.cut
    return found
