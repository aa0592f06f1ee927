"""A worker that dies in the middle of a line, again and again, and begins the next one in two."""

import os

from supervisor import Child, Supervisor
from workers import Worker

LIVES = 100


class Torn(Worker):
    """Says its life's number in two pieces, and dies within a line."""

    def run(self) -> None:
        """Say it; the last one lives on."""
        life = self.link.context.incarnation
        for piece in (b"be", b"gin %d\n" % life):
            os.write(1, piece)
            os.sched_yield()
        if life == LIVES:
            self.link.wait(1e6)
            return
        os.write(1, b"torn %d" % life)
        os._exit(1)


tree = Supervisor("torn", [Child("slot", Torn)], intensity=1000)
