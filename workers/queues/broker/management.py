"""What people do to a queue by hand: pause, drain, purge, look, and deal with dead letters."""

from itertools import islice
from typing import Any

from workers.queues.core.chunk import Chunk, decode_options
from workers.queues.core.dead_letter import DeadLetter
from workers.queues.core.queue import QueueCore
from workers.queues.frames import Command

#: Messages or letters in one answer, at most; longer ones are asked for page by page.
MAX_PAGE = 1_000
#: Chunks that are dropped in one go: some ten milliseconds.
PURGED = 5_000
#: Bytes of a message that are shown in a list.
SHOWN_BYTES = 4_096


class CommandError(ValueError):
    """A command cannot be carried out. ``code``: why, as a stable word."""

    code = ""


class UnknownCommandError(CommandError):
    """There is no such command."""

    code = "no-such-command"


class UnknownLetterError(CommandError):
    """There is no dead letter of that number."""

    code = "no-such-letter"


class ClosedError(CommandError):
    """The queue was drained: it takes nothing in."""

    code = "queue-closed"


def manage(queue: QueueCore, command: Command, now: float) -> dict[str, Any]:
    """Carry out a command; return the answer.

    Raises:
        CommandError: there is no such command or dead letter, or the queue is closed to it.

    """
    action = COMMANDS.get(command.name)
    if action is None:
        raise UnknownCommandError(f"no command {command.name!r}; there are: {', '.join(COMMANDS)}")
    return action(queue, command, now)


def _pause(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    queue.delivery.paused = True
    return {"paused": True}


def _resume(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    queue.delivery.paused = False
    return {"paused": False}


def _squeeze(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    """Let consumers have half of what they ask for: the machine is short of memory."""
    queue.delivery.squeeze(True)
    return {"squeezed": True}


def _relax(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    queue.delivery.squeeze(False)
    return {"squeezed": False}


def _drain(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    """Refuse whoever puts; ``left`` says how far it is: ask again for statistics."""
    queue.intake.closed = True
    return {"closed": True, "left": queue.books.depth}


def _hold(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    """Hold who puts back, as if the queue were full; ``left``: ask again for statistics."""
    queue.intake.held = True
    return {"closed": True, "left": queue.books.depth}


def _reopen(queue: QueueCore, _command: Command, _now: float) -> dict[str, Any]:
    queue.intake.closed = queue.intake.held = False
    return {"closed": False}


def _purge(queue: QueueCore, command: Command, _now: float) -> dict[str, Any]:
    """Drop some of what nobody has; callers are told. If there is ``more``: ask again.

    ``offset``: the last message that is meant; 0: the last one there is, and that is the answer's
    ``upto``. So it ends, however much is put meanwhile.
    """
    upto = command.offset or queue.books.last_chunk
    meant = (chunk for chunk in queue.stock if chunk.origin <= upto)
    page = list(islice(meant, PURGED))
    dropped = sum(queue.drop(chunk) for chunk in page)
    more = len(page) == PURGED
    return {"dropped": dropped, "left": queue.books.depth, "upto": upto, "more": more}


def _peek(queue: QueueCore, command: Command, _now: float) -> dict[str, Any]:
    chosen: list[dict[str, Any]] = []
    skip, limit = max(0, command.offset), min(command.limit, MAX_PAGE)
    for chunk in queue.stock:
        if skip >= chunk.left:
            skip -= chunk.left
            continue
        first = chunk.done + skip
        skip = 0
        messages = queue.books.opened(chunk)[first : first + limit - len(chosen)]
        chosen += [_shown(chunk, index, m) for index, m in enumerate(messages, start=first)]
        if len(chosen) >= limit:
            break
    return {"messages": chosen, "depth": queue.books.depth, "leased": queue.leased}


def _shown(chunk: Chunk, index: int, message: bytes) -> dict[str, Any]:
    extra = chunk.extra
    return {
        "id": f"{chunk.id}.{index}",
        "message": message[:SHOWN_BYTES],
        "size": len(message),
        "attempt": chunk.told,
        "put_at": chunk.put_at,
        "expires": chunk.expires,
        "not_before": chunk.not_before,
        "priority": 0 if extra is None else extra.priority,
        "key": chunk.key,
    }


# --- dead letters ---------------------------------------------------------------------------------


def _dead_list(queue: QueueCore, command: Command, _now: float) -> dict[str, Any]:
    letters = queue.burial.letters
    page = letters.page(max(0, command.offset), min(command.limit, MAX_PAGE))
    return {"letters": [_letter(one, SHOWN_BYTES, 0) for one in page], "total": len(letters)}


def _dead_show(queue: QueueCore, command: Command, _now: float) -> dict[str, Any]:
    found = [_found(queue, number) for number in command.ids]
    return {"letters": [_letter(one, len(one.message), len(one.traceback)) for one in found]}


def _dead_replay(queue: QueueCore, command: Command, now: float) -> dict[str, Any]:
    """Put letters again, as new messages, as far as there is room; ``left``: those that are not."""
    chosen = _chosen(queue, command)
    if queue.intake.shut:
        name = queue.definition.name
        raise ClosedError(
            f"queue {name!r} was drained, and takes nothing in: open it first, by "
            f"`supervisor queue reopen {name}`"
        )
    replayed = 0
    for letter in chosen:
        if not letter.whole:
            continue
        extra = decode_options(letter.options)
        body = queue.books.body([letter.message])
        if not queue.books.fits(1, len(body) + len(letter.options)):
            break
        queue.burial.discard(letter.id)
        queue.put(1, body, now, letter.options, extra)
        replayed += 1
    queue.counts.replayed += replayed
    return {"replayed": replayed, "left": len(chosen) - replayed}


def _dead_discard(queue: QueueCore, command: Command, _now: float) -> dict[str, Any]:
    chosen = _chosen(queue, command)
    for letter in chosen:
        queue.burial.discard(letter.id)
    queue.counts.discarded += len(chosen)
    return {"discarded": len(chosen), "left": len(queue.burial.letters)}


def _chosen(queue: QueueCore, command: Command) -> list[DeadLetter]:
    """Return the letters that a command names: all, page by page, if none."""
    if command.ids:
        return [_found(queue, number) for number in dict.fromkeys(command.ids)]
    return queue.burial.letters.page(max(0, command.offset), min(command.limit, MAX_PAGE))


def _found(queue: QueueCore, number: int) -> DeadLetter:
    letter = queue.burial.letters.get(number)
    if letter is None:
        raise UnknownLetterError(f"queue {queue.definition.name!r} has no dead letter {number}")
    return letter


def _letter(letter: DeadLetter, message: int, traceback: int) -> dict[str, Any]:
    return {
        "id": letter.id,
        "message": letter.message[:message],
        "size": len(letter.message),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "error": letter.error,
        "traceback": letter.traceback[:traceback],
        "first_put": letter.first_put,
        "died": letter.died,
        "whole": letter.whole,
        "number": letter.number,
        "worker": letter.worker,
        "process": letter.process,
    }


COMMANDS = {
    "pause": _pause,
    "resume": _resume,
    "squeeze": _squeeze,
    "relax": _relax,
    "drain": _drain,
    "hold": _hold,
    "reopen": _reopen,
    "purge": _purge,
    "peek": _peek,
    "dead_list": _dead_list,
    "dead_show": _dead_show,
    "dead_replay": _dead_replay,
    "dead_discard": _dead_discard,
}
