"""Workers that need more than their author has allowed them, from the start."""

from supervisor import Child, Supervisor
from workers import Worker

MIB = 1 << 20


class Needy(Worker):
    """Takes 60 MiB as it starts, and no more."""

    def init(self) -> None:
        """Take it."""
        self.kept = b"\1" * (60 * MIB)

    def run(self) -> None:
        """Wait."""
        self.link.wait(1e6)


tree = Supervisor(
    "needy",
    [
        Child("soft", Needy, memory_soft="20MiB", memory_hard="1GiB", min_lifetime=0),
        Child("hard", Needy, count=2, memory_soft="20MiB", memory_hard="25MiB", min_lifetime=0),
    ],
)
