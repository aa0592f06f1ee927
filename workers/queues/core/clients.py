"""What producers have put before, by the names of clients: what is sent again is known."""

from collections import OrderedDict

from workers.queues.core.journal import Sequenced

#: Clients that are remembered at most.
MAX_CLIENTS = 10_000
#: Rejected puts that are remembered of one client: as many as it may not know of yet.
MAX_GAPS = 1_024


class Sent:
    """The puts of one client that were decided: all up to ``last``; ``gaps`` were rejected."""

    __slots__ = ("client", "gaps", "last")

    def __init__(self, client: str, last: int = 0) -> None:
        self.client, self.last = client, last
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
    """Remembers clients over their reconnections, those that came last."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def restore(self, sequences: dict[str, Sequenced]) -> None:
        """Know again what the store has kept."""
        for client, known in sequences.items():
            sent = self.of(client)  # it may have come before the store could be opened
            sent.last = max(sent.last, known.sequence)
            sent.gaps = dict.fromkeys(known.gaps, "store") | sent.gaps

    def changes(self) -> dict[str, Sequenced]:
        """Say all this to a store."""
        return {client: sent.change() for client, sent in self._sent.items()}

    def of(self, client: str) -> Sent:
        """Return what a client has sent; it is changed in place."""
        sent = self._sent.get(client)
        if sent is None:
            sent = self._sent[client] = Sent(client)
            if len(self._sent) > MAX_CLIENTS:
                self._sent.popitem(last=False)
        else:
            self._sent.move_to_end(client)
        return sent
