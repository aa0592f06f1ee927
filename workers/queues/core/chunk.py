"""A chunk: messages that travel together, with one set of options."""

import msgspec

from workers.queues.frames import Options, Suspicion

_options = msgspec.msgpack.Decoder(Options)


class Chunk(msgspec.Struct, gc=False):
    """Messages that travel together. ``done``: so many of them, from the first, are settled.

    ``id`` is the epoch of a lease too: a chunk that comes back gets a new one. ``origin``: the
    number of its first message, the others follow: it stays with a message for ever, and says where
    it stands in the queue. ``attempt``: one more than the tries that are known to have failed.
    Times are seconds since 1970, by the broker's clock, which never goes back while the broker
    lives; 0: none.
    """

    id: int
    count: int
    body: bytes
    options: bytes = b""  # encoded; empty: the default ones
    attempt: int = 1
    done: int = 0
    put_at: float = 0.0
    expires: float = 0.0
    not_before: float = 0.0
    origin: int = 0
    # What follows is not stored.
    caller: int = 0  # the connection that waits for its result; 0: none
    holder: int = 0  # the consumer that has it; 0: none
    extra: Options | None = None  # the options, decoded, unless they are the default ones
    memory_ends: int = 0  # consumers that were ended over it for want of memory
    suspect: int = 0  # a `Suspicion`
    restored: bool = False  # from a store, which does not know what has been delivered
    ready_at: float = 0.0  # it waits since then: returned, woken, restored; 0: since it was put
    watched: bool = False  # its stock will say when it expires

    @property
    def left(self) -> int:
        """Messages that are not settled."""
        return self.count - self.done

    @property
    def void(self) -> bool:
        """Whether nothing is left of it: whoever finds it skips it."""
        return self.done >= self.count

    @property
    def told(self) -> int:
        """The attempt that a consumer is told: above 1 if any may have been made before.

        Who is told 1 need not ask whether the message has had its effect already.
        """
        return self.attempt + self.restored

    def failed(self, how: Suspicion) -> None:
        """A try has failed so; who has survived it does not clear it of the ends before."""
        self.suspect = max(how, min(self.suspect, Suspicion.CHARGED))

    @property
    def key(self) -> str:
        """Its key; empty: none."""
        return "" if self.extra is None else self.extra.key

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.body) + len(self.options)


def decode_options(encoded: bytes) -> Options | None:
    """Decode options; None for the default ones.

    Raises:
        msgspec.DecodeError: they are none.

    """
    return _options.decode(encoded) if encoded else None
