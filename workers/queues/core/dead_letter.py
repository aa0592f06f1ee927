"""A dead letter: a message that is not tried again, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is not tried again. Times are seconds since 1970.

    Args:
        id: names it in its queue.
        message: still encoded; the body of a whole chunk if that could not be opened.
        options: of its chunk, encoded.
        reason: why it is dead: crashed, failed, rejected, expired, undecodable, corrupt ...
        attempts: its deliveries.
        error: one line: what went wrong the last time.
        traceback: of the last failure, if its consumer said.
        first_put: when it was put.
        died: when it was buried.
        whole: whether ``message`` is one message, and not a body that could not be opened.
        number: the message's own, which it had in its queue all the time; 0: not known.
        worker: who has had it last: the path of its slot, "#", and its incarnation; empty: nobody,
            or nobody who has said a name.
        process: of this one; 0: not known.

    """

    id: int
    message: bytes
    options: bytes
    reason: str
    attempts: int
    error: str = ""
    traceback: str = ""
    first_put: float = 0.0
    died: float = 0.0
    whole: bool = True
    number: int = 0
    worker: str = ""
    process: int = 0
