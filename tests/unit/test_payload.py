"""Messages as they are opened: whatever is in them, or in the author's types, ends nobody."""

import pickle
import sys
from dataclasses import dataclass

import pytest

from workers.queues.errors import UndecodableError
from workers.queues.payload import ChunkDecoder, Undecodable, encode


class WordlessError(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


@dataclass
class Picky:
    """Checks itself, in the author's own way."""

    number: int

    def __post_init__(self) -> None:
        """Refuse some."""
        match self.number:
            case 1:
                sys.exit("no ones")
            case 2:
                raise WordlessError
            case 3:
                raise OSError("caf\udce9")


class Leaving:
    """Ends the process of whoever unpickles it, in order."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Be made by sys.exit."""
        return sys.exit, ("bye",)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (1, "no ones"),
        (2, "<its str() raised RuntimeError>"),
        (3, "caf\\udce9"),
    ],
)
def test_a_type_may_raise_what_it_likes(number: int, why: str) -> None:
    """It is the reason why one message is a dead letter; the others of its chunk are handled."""
    decoder = ChunkDecoder(Picky)
    found = decoder.decode(encode([{"number": 0}, {"number": number}, {"number": 5}]), 3)
    assert decoder.flawed
    assert (found[0], found[2]) == (Picky(0), Picky(5))
    assert found[1] == Undecodable(why)


def test_a_pickled_object_cannot_send_its_consumer_home() -> None:
    """sys.exit while it is unpickled is one dead letter, and not the end of every consumer."""
    decoder = ChunkDecoder(serializer="pickle")
    chunk = encode([pickle.dumps(1), pickle.dumps(Leaving())])
    found = decoder.decode(chunk, 2)
    assert (len(found), found[0]) == (2, 1)
    with pytest.raises(UndecodableError, match="bye"):
        found[1]
