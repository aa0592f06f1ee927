"""What the author of a consumer declares by its attributes and methods, and what it may be."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any

from workers.loops.failure import POLICIES
from workers.queues.frames import MAX_COUNT, MAX_LANES

#: Attributes that are numbers: of which type, from, up to (`batch_wait`: a day).
_RANGES: dict[str, tuple[tuple[type, ...], int, int]] = {
    "prefetch": ((int,), 0, 1_000_000_000),
    "batch": ((int,), 1, MAX_COUNT),
    "batch_wait": ((int, float), 0, 86_400),
    "threads": ((int,), 1, MAX_LANES),
    "concurrency": ((int,), 1, MAX_LANES),
}


def check(consumer: Any, batches: bool) -> None:
    """Check a consumer before it takes a message: what it cannot mean would lose some.

    Args:
        consumer: the instance.
        batches: whether it has a `handle_many` of its own.

    Raises:
        ValueError: an attribute is none of what it can be.
        TypeError: its handler is none that can be called for each message.

    """
    name = type(consumer).__name__
    if consumer.on_error not in POLICIES:
        allowed = " or ".join(map(repr, POLICIES))
        raise ValueError(f"{name}.on_error = {consumer.on_error!r}: it has to be {allowed}")
    for attribute, (types, least, most) in _RANGES.items():
        value = getattr(consumer, attribute)
        fits = isinstance(value, types)
        if not fits or not least <= value <= most:
            raise ValueError(f"{name}.{attribute} = {value!r}: it has to be {least} to {most}")
    if batches and consumer.threads > 1:
        raise ValueError(f"{name}.threads = {consumer.threads}: handle_many gets whole batches")
    method = "handle_many" if batches else "handle"
    _check_handler(f"{name}.{method}", getattr(consumer, method), batches)


def check_result(result: Any) -> None:
    """Check what a handler returned: what was made and is never run has not handled the message.

    Raises:
        TypeError: it is a coroutine, another awaitable or a generator.

    """
    if not isinstance(result, Awaitable | Generator | AsyncGenerator):
        return
    if isinstance(result, Coroutine | Generator):
        result.close()  # or Python warns of it, too
    kind = type(result).__name__
    raise TypeError(
        f"the handler returned a {kind}, which nobody runs, so the message was not handled: make "
        f"handle an `async def` that awaits it, or return something else"
    )


def _check_handler(name: str, handler: Callable[..., Any], batches: bool) -> None:
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise TypeError(f"{name} has a yield: it would be made, and never run")
    if batches and inspect.iscoroutinefunction(handler):
        raise TypeError(f"{name} is async def: make it a plain def, or write async def handle")
