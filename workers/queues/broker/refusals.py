"""Why a put was refused, for people: how full the queue is, and what to do. Pure."""

from workers.queues.core.queue import QueueCore


def why(reason: str, core: QueueCore, trouble: str = "") -> str:
    """Explain the reason of a refusal. ``trouble``: what is wrong with the queue's store."""
    name = core.definition.name
    match reason:
        case "full":
            return f"it holds {_holdings(core)}: see supervisor queue show {name}"
        case "shed":
            return f"it would come too late behind {_holdings(core)}: put less, or more slowly"
        case "closed":
            return (
                f"it was drained, and takes nothing in ({core.books.depth} messages are left): "
                f"open it with supervisor queue reopen {name}"
            )
        case "store":
            return f"it cannot be kept, its store is {trouble}: see supervisor queue show {name}"
        case "duplicate":
            return "the same was accepted a short while ago"
    return reason


def _holdings(core: QueueCore) -> str:
    books = core.books
    return (
        f"{books.depth} of {books.capacity} messages and {books.bytes} of {books.max_bytes} bytes"
    )
