"""What producers have put before, by the names of clients: what is sent again is known."""

from collections import OrderedDict

from workers.queues.core.journal import Sequenced

#: Clients that are remembered without a connection, at most.
MAX_CLIENTS = 10_000
#: Rejected puts that are remembered of one client: as many as it may not know of yet.
MAX_GAPS = 1_024


class Sent:
    """The puts of one client that were decided: all up to ``last``; ``gaps`` were rejected."""

    __slots__ = ("client", "connections", "gaps", "last")

    def __init__(self, client: str) -> None:
        self.client, self.last = client, 0
        self.connections = 0
        self.gaps: dict[int, str] = {}  # sequence -> why

    def rejected(self, sequence: int, reason: str) -> None:
        """A put was refused."""
        self.last = max(self.last, sequence)
        self.gaps[sequence] = reason
        if len(self.gaps) > MAX_GAPS:
            del self.gaps[next(iter(self.gaps))]

    def change(self) -> Sequenced:
        """Say this to the store."""
        return Sequenced(self.client, self.last, tuple(self.gaps))


class Clients:
    """Remembers clients over their reconnections: all that are there, and those that left last."""

    def __init__(self) -> None:
        self._sent: dict[str, Sent] = {}
        self._away: OrderedDict[str, None] = OrderedDict()  # have no connection; the longest first

    def restore(self, sequences: dict[str, Sequenced]) -> None:
        """Know again what the store has kept, in its order."""
        for client, known in sequences.items():
            sent = self._sent.get(client)  # it may have come before the store could be opened
            if sent is None:
                sent = self._sent[client] = Sent(client)
                self._is_away(client)
            sent.last = max(sent.last, known.sequence)
            sent.gaps = dict.fromkeys(known.gaps, "store") | sent.gaps

    def changes(self) -> dict[str, Sequenced]:
        """Say all this to a store."""
        return {client: sent.change() for client, sent in self._sent.items()}

    def entered(self, client: str) -> Sent:
        """A client has connected: return what it has sent, which is changed in place."""
        sent = self._sent.setdefault(client, Sent(client))
        sent.connections += 1
        self._away.pop(client, None)
        return sent

    def left(self, sent: Sent) -> None:
        """A connection of a client has ended: it may come back, and send again."""
        sent.connections -= 1
        if not sent.connections:
            self._is_away(sent.client)

    def _is_away(self, client: str) -> None:
        self._away[client] = None
        if len(self._away) > MAX_CLIENTS:
            forgotten, _ = self._away.popitem(last=False)
            del self._sent[forgotten]
