"""A recorded history of a queue under fire, and what has to be true of it.

Every process appends records to one file, by one write each: what it is about to put, what was
confirmed, which message a handler begins and which it has handled.
"""

import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

#: What, attempt, stream, number. A power of two bytes: a write that crosses a page may be cut in
#: two by a kill, and all that follows would be read askew.
RECORD = struct.Struct("<BBII6x")


class What(IntEnum):
    """What is recorded. ``number`` is of the message, or of the first one that is not meant."""

    PUTTING = 1
    CONFIRMED = 2
    BEGUN = 3
    HANDLED = 4


class Recorder:
    """Appends to a history; to be made in each process anew."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def record(self, what: What, stream: int, number: int, attempt: int = 0) -> None:
        """Append one record."""
        os.write(self._fd, RECORD.pack(what, min(attempt, 255), stream, number))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


@dataclass
class Verdict:
    """What a history comes to. All of it has to be empty, or it is a bug."""

    lost: list[tuple[int, int]] = field(default_factory=list)
    invented: list[tuple[int, int]] = field(default_factory=list)
    repeated: list[tuple[int, int]] = field(default_factory=list)  # without saying so

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.invented or self.repeated)


def records(path: str) -> Iterator[tuple[int, int, int, int]]:
    """Read a history."""
    with open(path, "rb") as file:
        yield from RECORD.iter_unpack(file.read())


def judge(path: str, dead: set[tuple[int, int]]) -> Verdict:
    """Check a history, after the queue was emptied.

    Every confirmed message was handled, or is a dead letter. Nothing was handled that nobody meant
    to put. Only once was a message begun as a first attempt, whoever was killed in between. (In
    which order its attempts begin is left open: what a killed broker had sent ahead is handled on a
    while.)
    """
    verdict = Verdict()
    meant: dict[int, int] = defaultdict(int)
    confirmed: dict[int, int] = defaultdict(int)
    begun: set[tuple[int, int]] = set()  # as a first attempt
    handled: set[tuple[int, int]] = set()
    for what, attempt, stream, number in records(path):
        message = stream, number
        match what:
            case What.PUTTING:
                meant[stream] = max(meant[stream], number)
            case What.CONFIRMED:
                confirmed[stream] = max(confirmed[stream], number)
            case What.HANDLED:
                handled.add(message)
            case What.BEGUN:
                if number >= meant[stream]:
                    verdict.invented.append(message)
                if attempt == 1 and message in begun:
                    verdict.repeated.append(message)
                if attempt == 1:
                    begun.add(message)
    for stream, count in confirmed.items():
        all_of_it = {(stream, number) for number in range(count)}
        verdict.lost += sorted(all_of_it - handled - dead)
    return verdict
