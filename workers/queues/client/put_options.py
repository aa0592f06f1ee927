"""What a put may say beside its message, and what a queue reads out of the message itself."""

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypedDict, cast

import msgspec

from workers.queues.frames import MAX_PRIORITY, Options

_encode = msgspec.msgpack.Encoder().encode


class PutOptions(TypedDict, total=False):
    """Options of a put. Times are seconds from now.

    priority: 0 (normal) to 9; higher ones go first, in a queue with ``priorities``.
    key: whose message it is, in a queue with ``fair_by`` or ``rate_per_key`` (default: the field of
        the message that ``fair_by`` names).
    ttl: it is of no use afterwards, and will not be handled (default: the queue's).
    delay: before it may be handled.
    dedupe: it is dropped, as put, if one with the same was accepted within the queue's window
        (default: the field of the message that ``dedupe_by`` names).
    headers: carried along; `Consumer.headers` gives them to the handler.
    traceparent: W3C trace context; travels as a header of that name.
    """

    priority: int
    key: str
    ttl: float
    delay: float
    dedupe: str
    headers: dict[str, str]
    traceparent: str


NONE = PutOptions()


class Routing:
    """Makes `Options` of what the author says and of what the queue reads out of messages.

    Args:
        fair_by: names the field of messages that is their key; None: none.
        dedupe_by: names the field that says which ones are the same.

    """

    def __init__(self, fair_by: str | None = None, dedupe_by: str | None = None) -> None:
        self._fair_by, self._dedupe_by = fair_by, dedupe_by

    def __bool__(self) -> bool:
        """Whether messages have to be looked into."""
        return self._fair_by is not None or self._dedupe_by is not None

    def of(self, message: Any, options: PutOptions) -> Options:
        """Return the options of one message.

        Raises:
            ValueError: one of them is out of its range.

        """
        found = dict(options)
        if self._fair_by is not None and "key" not in found:
            found["key"] = field(message, self._fair_by)
        if self._dedupe_by is not None and "dedupe" not in found:
            found["dedupe"] = field(message, self._dedupe_by)
        return checked(cast(PutOptions, found))


def checked(options: PutOptions) -> Options:
    """Check options.

    Raises:
        ValueError: one of them is out of its range.

    """
    found: dict[str, Any] = dict(options)
    trace = found.pop("traceparent", None)
    if trace is not None:
        found["headers"] = {**found.get("headers", {}), "traceparent": trace}
    made = Options(**found)
    if not 0 <= made.priority <= MAX_PRIORITY:
        raise ValueError(f"priority is {made.priority}; allowed: 0 to {MAX_PRIORITY}")
    if not made.ttl >= 0 or not made.delay >= 0:
        raise ValueError(f"ttl is {made.ttl}, delay {made.delay}; allowed: 0 and more seconds")
    return made


def encoded(options: Options) -> bytes:
    """Encode options; b"" for the default ones."""
    if options.headers:
        return _encode(options)
    return _encoded(options.priority, options.key, options.ttl, options.delay, options.dedupe)


@lru_cache(maxsize=1024)
def _encoded(priority: int, key: str, ttl: float, delay: float, dedupe: str) -> bytes:
    options = Options(priority, key, ttl, delay, dedupe)
    return b"" if options == Options() else _encode(options)


def field(message: Any, name: str) -> str:
    """Read a field of a message, of a mapping or an object; "" if it has none, or it is None.

    Messages without a value are no duplicates of each other.

    Raises:
        TypeError: what it has there is no single value.

    """
    mapping = isinstance(message, Mapping)
    value = message.get(name) if mapping else getattr(message, name, None)
    if value is None:
        return ""
    if dataclasses.is_dataclass(value) or isinstance(value, Mapping | list):
        raise TypeError(f"field {name!r} is a {type(value).__name__}: no key")
    return str(value)
