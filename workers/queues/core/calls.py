"""Calls: messages whose producer waits for the result."""

from dataclasses import dataclass

from workers.queues.core.chunk import Chunk
from workers.queues.frames import Reply


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call, for the connection that waits for it."""

    caller: int
    correlation: int
    reply: Reply


class Calls:
    """The calls that are not answered. Each is answered once, or given up by its caller."""

    def __init__(self) -> None:
        self._open: dict[int, dict[int, Chunk]] = {}  # caller -> correlation -> its message
        self.answers: list[Answer] = []

    def opened(self, chunk: Chunk) -> None:
        """A call was put, or its message has come back under a new number."""
        if chunk.caller and chunk.extra is not None:
            self._open.setdefault(chunk.caller, {})[chunk.extra.reply] = chunk

    def answer(self, chunk: Chunk, reply: Reply) -> None:
        """Answer a call, unless its caller has given it up."""
        if chunk.extra is None:
            return
        if self.give_up(chunk.caller, chunk.extra.reply) is not None:
            self.answers.append(Answer(chunk.caller, chunk.extra.reply, reply))

    def give_up(self, caller: int, correlation: int) -> Chunk | None:
        """Forget a call; return its message, if it is there."""
        of_caller = self._open.get(caller)
        if of_caller is None:
            return None
        chunk = of_caller.pop(correlation, None)
        if not of_caller:
            del self._open[caller]
        return chunk

    def leave(self, caller: int) -> list[Chunk]:
        """Forget all calls of a caller; return their messages."""
        return list(self._open.pop(caller, {}).values())

    def take(self) -> list[Answer]:
        """Return the answers that were given since."""
        answers, self.answers = self.answers, []
        return answers

    def __len__(self) -> int:
        """Count the calls that are not answered."""
        return sum(map(len, self._open.values()))
