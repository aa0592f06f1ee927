"""Workers that share 200 MiB with their template, and have next to nothing of their own."""

from supervisor import Child, Supervisor
from workers import Worker

SHARED = b"\x01" * (200 << 20)


class Reader(Worker):
    """Reads the shared bytes, over and over."""

    def run(self) -> None:
        """Read until stopped."""
        while not self.link.wait(0.05):
            sum(SHARED[:: 1 << 12])


tree = Supervisor("shared", [Child("reader", Reader, count=2, memory_soft="30MiB", min_lifetime=0)])
