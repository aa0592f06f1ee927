"""Check a declared Queue and turn it into data."""

from supervisor.declare import checks
from supervisor.declare.checks import Subject, is_number, shown
from supervisor.declare.tree import Queue
from supervisor.definition import QueueDefinition

MAX_CAPACITY = 100_000_000
MAX_ATTEMPTS = 10_000
MAX_DEAD = 10_000_000
MAX_RATE = 10_000_000.0
MAX_PRIORITIES = 10
#: Characters of a field's name.
MAX_FIELD = 200
OVERFLOWS = ("block", "reject", "drop_oldest", "shed")
ACKS = ("late", "early")
EXPIRIES = ("dead", "drop")
SERIALIZERS = ("msgspec", "bytes", "pickle")
DURABLE = {False: "", True: "full", "full": "full", "process": "process"}


def define_queue(queue: Queue) -> QueueDefinition:
    """Check a queue.

    Raises:
        DefinitionError: the first thing that is wrong.

    """
    subject = Subject(f"queue {shown(queue.name)}", queue.where)
    fair_by = _field(subject, "fair_by", queue.fair_by)
    if queue.rate_per_key is not None and fair_by is None:
        raise subject.error(
            "rate_per_key is set, and fair_by is not: there are no keys",
            'name the field that has the key, for example fair_by="tenant"',
        )
    return QueueDefinition(
        name=checks.name(subject, queue.name),
        where=queue.where,
        capacity=checks.whole(subject, "capacity", queue.capacity, 1, MAX_CAPACITY),
        max_bytes=checks.size(subject, "max_bytes", queue.max_bytes),
        overflow=checks.choice(subject, "overflow", queue.overflow, OVERFLOWS),
        max_attempts=checks.whole(subject, "max_attempts", queue.max_attempts, 1, MAX_ATTEMPTS),
        lease=_seconds(subject, "lease", queue.lease),
        ack=checks.choice(subject, "ack", queue.ack, ACKS),
        retry_backoff=_backoff(subject, queue.retry_backoff),
        retry_budget=_ratio(subject, queue.retry_budget),
        ttl=_seconds(subject, "ttl", queue.ttl),
        on_expired=checks.choice(subject, "on_expired", queue.on_expired, EXPIRIES),
        priorities=checks.whole(subject, "priorities", queue.priorities, 1, MAX_PRIORITIES),
        fair_by=fair_by,
        dedupe_by=_field(subject, "dedupe_by", queue.dedupe_by),
        dedupe_window=checks.seconds(subject, "dedupe_window", queue.dedupe_window),
        rate=_rate(subject, "rate", queue.rate),
        rate_per_key=_rate(subject, "rate_per_key", queue.rate_per_key),
        durable=_durable(subject, queue.durable),
        serializer=checks.choice(subject, "serializer", queue.serializer, SERIALIZERS),
        max_dead=checks.whole(subject, "max_dead", queue.max_dead, 1, MAX_DEAD),
        dead_ttl=_seconds(subject, "dead_ttl", queue.dead_ttl),
    )


def _seconds(subject: Subject, field: str, value: object) -> float | None:
    return None if value is None else checks.seconds(subject, field, value)


def _field(subject: Subject, field: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value) <= MAX_FIELD and checks.is_text(value):
        return value
    raise subject.error(
        f"{field} is {shown(value)}; allowed: the name of a field of its messages, or None",
        f'write for example {field}="tenant"',
    )


def _backoff(subject: Subject, value: object) -> tuple[float, float]:
    if isinstance(value, list | tuple) and len(value) == 2:
        base, cap = (checks.seconds(subject, "retry_backoff", part) for part in value)
        if base <= cap:
            return base, cap
    raise subject.error(
        f"retry_backoff is {shown(value)}; allowed: (base, cap) in seconds, base not above cap",
        "write for example retry_backoff=(0.1, 60.0)",
    )


def _ratio(subject: Subject, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and is_number(value) and 0 <= value <= 1:
        return float(value)
    raise subject.error(
        f"retry_budget is {shown(value)}; allowed: a number from 0 to 1, or None",
        "write for example retry_budget=0.1: one retry for ten first deliveries",
    )


def _rate(subject: Subject, field: str, value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    if isinstance(value, int | float) and is_number(value) and 0 < value <= MAX_RATE:
        value = value, max(1.0, value / 10)
    if isinstance(value, list | tuple) and len(value) == 2:
        rate, burst = value
        if (
            is_number(rate)
            and is_number(burst)
            and 0 < rate <= MAX_RATE
            and 1 <= burst <= MAX_CAPACITY
        ):
            return float(rate), float(burst)
    raise subject.error(
        f"{field} is {shown(value)}; allowed: messages a second, above 0, or (that, burst), a "
        "burst being at least 1",
        f"write for example {field}=100, or {field}=(100, 20)",
    )


def _durable(subject: Subject, value: object) -> str:
    if isinstance(value, bool | str) and value in DURABLE:
        return DURABLE[value]
    raise subject.error(
        f'durable is {shown(value)}; allowed: False, True, "process"',
        'use True to survive a loss of power too, or "process" for the end of processes only',
    )
