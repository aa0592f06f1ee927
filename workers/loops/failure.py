"""What becomes of a message whose handler raised: pure."""

import traceback
from dataclasses import dataclass

from supervisor.errors import summary_of
from workers.queues.errors import Reject, Retry
from workers.queues.frames import Nack

#: What a consumer does after an exception of its handler, once the message was given back.
POLICIES = ("crash", "retry")


@dataclass(frozen=True, slots=True)
class Failure:
    """``nack``: what the broker is told. ``crashes``: the exception is raised on.

    ``answers``: if the message is a call, its caller is told instead, and it is settled.
    """

    nack: Nack
    crashes: bool
    answers: bool


def failure(error: BaseException, on_error: str) -> Failure:
    """Judge an exception.

    A handler that asks for it is no failure: `Retry` and `Reject` end nobody. Anything else goes
    with its message, so that the dead letter it may become says why; and ends the process, by the
    policy "crash".
    """
    if isinstance(error, Retry):
        return Failure(Nack("retry", error.after, error.reason or "asked for", ""), False, False)
    if isinstance(error, Reject):
        return Failure(Nack("dead", None, error.reason or "rejected", ""), False, False)
    text = "".join(traceback.format_exception(error))
    crashes = on_error == "crash"
    nack = Nack("retry", None, "failed", summary_of(error), text, crashes)
    return Failure(nack, crashes, True)
