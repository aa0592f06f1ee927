"""What the loops of a consumer ask of it."""

from typing import Any, Protocol

from workers.queues.client.reader import Delivered


class Handler(Protocol):
    """A consumer, as its loop sees it; `Consumer` says what these are."""

    on_error: str
    batch: int
    batch_wait: float
    index: int
    finished: bool

    def handle(self, message: Any, /) -> Any:
        """Handle one message."""

    def handle_many(self, batch: Any, /) -> Any:
        """Handle several."""

    def at(self, chunk: Delivered, index: int) -> None:
        """The message at ``index`` of a chunk is handled from now on."""
