"""The way from root and the broker to who writes crash reports: a socket that nobody waits for.

Root keeps both ends, so what was said is still there for a janitor that was started anew. What
does not fit any more is not said.
"""

import socket

from supervisor.crashes.at_hand import AtHand
from supervisor.crashes.death import Word, decode, encode

#: Bytes that a word takes at most: the texts in it are bounded.
MAX_WORD = 1 << 18
#: Words that are taken in one go.
BATCH = 64


class Feed:
    """Root's end."""

    def __init__(self) -> None:
        self.reader, self.writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.writer.setblocking(False)

    def send(self, word: Word) -> bool:
        """Say it, if there is room now; returns whether there was."""
        try:
            self.writer.send(encode(word))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Nobody is told anything any more."""
        self.reader.close()
        self.writer.close()


def take(reader: socket.socket) -> list[Word | AtHand]:
    """Return what has been said and not been taken yet, in order; at most `BATCH` words."""
    words: list[Word | AtHand] = []
    while len(words) < BATCH:
        try:
            words.append(decode(reader.recv(MAX_WORD, socket.MSG_DONTWAIT)))
        except BlockingIOError:
            break
    return words
