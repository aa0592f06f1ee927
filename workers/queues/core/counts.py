"""What a queue has done so far, in messages, since its broker started."""

import msgspec


class Counts(msgspec.Struct):
    """Totals. Each message that is accepted is settled, dropped, dead, or still there."""

    accepted: int = 0
    settled: int = 0
    redelivered: int = 0  # returned with one attempt more
    retried: int = 0  # of them, because their handler asked for it
    dead: int = 0
    expired: int = 0
    dropped: int = 0  # by overflow, expiry, purge or the end of a caller
    discarded: int = 0  # dead letters that were discarded, by hand or by age
    replayed: int = 0  # dead letters that were put again
    refused: int = 0  # puts that were rejected
    late_acks: int = 0  # of a lease that was over
    leases_over: int = 0
