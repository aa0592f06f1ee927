"""What a supervisor tells of a death, after the restart: words on their way to who writes them.

supervisor ──uplink──► root ──feed──► janitor: a file
                     broker ──feed──►
"""

import msgspec

from supervisor.crashes.at_hand import AtHand
from supervisor.observe.snapshot import LastExit


class Death(msgspec.Struct, frozen=True, tag="death", omit_defaults=True):
    """One process that ended, and nobody had asked it to.

    Args:
        path: its slot's.
        child: the path of its Child, the same for all slots.
        slot: its number.
        pid: None: there never was a process.
        end: how it ended.
        started_at: Unix seconds.
        was_ready: whether its start had succeeded.
        decision: what its supervisor did about it.
        code: which version of the app it had; "": not known.
        exception: that it has reported itself, with ``message`` and ``traceback``.
        stacks: of its threads, as it wrote them on a fault, or when it was asked before a kill.
        evidence: what speaks for the cause, a sentence each.
        recent: ends like this one in the slot within ten minutes, this one included.

    """

    path: str
    child: str
    slot: int
    pid: int | None
    end: LastExit
    started_at: float | None = None
    was_ready: bool = True
    decision: str = ""
    code: str = ""
    exception: str = ""
    message: str = ""
    traceback: str = ""
    stacks: str = ""
    evidence: list[str] = []
    recent: int = 1


class Untold(msgspec.Struct, frozen=True, tag="untold"):
    """So many deaths were not told of, because there were too many."""

    count: int


Word = Death | Untold

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Word | AtHand).decode
