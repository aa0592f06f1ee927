"""What a put may say beside its message, and what a queue reads out of the message itself."""

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypedDict, cast

import msgspec

from workers.queues.frames import MAX_DELAY, MAX_OPTIONS, MAX_PRIORITY, Options

_encode = msgspec.msgpack.Encoder().encode


class PutOptions(TypedDict, total=False):
    """Options of a put. Times are seconds from now.

    priority: 0 (normal) to 9; higher ones go first, in a queue with ``priorities``.
    key: whose message it is, in a queue with ``fair_by`` or ``rate_per_key`` (default: the field of
        the message that ``fair_by`` names).
    ttl: it is of no use afterwards, and will not be handled (default: the queue's).
    delay: before it may be handled; ten years at most.
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

#: What each option has to be; and in words.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "priority": ((int,), "a whole number"),
    "key": ((str,), "a string"),
    "ttl": ((int, float), "seconds"),
    "delay": ((int, float), "seconds"),
    "dedupe": ((str,), "a string"),
    "headers": ((dict,), "a dict of strings"),
    "traceparent": ((str,), "a string"),
}

#: Types that need no closer look.
_USUAL: dict[str, tuple[type, ...]] = {
    name: types for name, (types, _) in _TYPES.items() if dict not in types
}


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
            TypeError: one of them is of another type, or there is none of that name.
            ValueError: one of them is out of its range.

        """
        found = dict(options)
        if self._fair_by is not None and "key" not in found:
            found["key"] = field(message, self._fair_by)
        if self._dedupe_by is not None and "dedupe" not in found:
            found["dedupe"] = field(message, self._dedupe_by)
        return checked(cast(PutOptions, found))


def checked(options: PutOptions) -> Options:
    """Check options: with what the broker cannot read, it would refuse all that follows, too.

    Raises:
        TypeError: one of them is of another type, or there is none of that name.
        ValueError: one of them is out of its range.

    """
    found: dict[str, Any] = dict(options)
    for name, value in found.items():
        if type(value) not in _USUAL.get(name, ()):  # or what is none of these: a subclass, a dict
            _check_type(name, value)
    trace = found.pop("traceparent", None)
    if trace is not None:
        found["headers"] = {**found.get("headers", {}), "traceparent": trace}
    made = Options(**found)
    if not 0 <= made.priority <= MAX_PRIORITY:
        raise ValueError(f"priority is {made.priority}; allowed: 0 to {MAX_PRIORITY}")
    if not made.ttl >= 0:
        raise ValueError(f"ttl is {made.ttl}; allowed: 0 and more seconds")
    if not 0 <= made.delay <= MAX_DELAY:
        raise ValueError(f"delay is {made.delay}; allowed: 0 to {MAX_DELAY:.0f} seconds")
    return made


def _check_type(name: str, value: object) -> None:
    if name not in _TYPES:
        raise TypeError(f"a put has no option {name!r}; there are: {', '.join(_TYPES)}")
    types, words = _TYPES[name]
    fits = isinstance(value, types) and not isinstance(value, bool)
    if fits and isinstance(value, dict):
        fits = all(isinstance(one, str) for pair in value.items() for one in pair)
    if not fits:
        raise TypeError(f"{name} is {value!r}; allowed: {words}")


def encoded(options: Options) -> bytes:
    """Encode options; b"" for the default ones.

    Raises:
        ValueError: they are larger than the broker takes.

    """
    if options.headers:
        said = _encode(options)
    else:
        said = _encoded(options.priority, options.key, options.ttl, options.delay, options.dedupe)
    if len(said) > MAX_OPTIONS:
        raise ValueError(f"key, dedupe and headers have {len(said)} bytes; allowed: {MAX_OPTIONS}")
    return said


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
