"""A worker that SIGKILLs random workers of its own app.

Run: supervisor run examples.chaos_monkey:tree
See: a sleeper is killed twice a second and is back within milliseconds; Ctrl-C says how many.
"""

import os
import random
import signal
import time
from typing import Any

from supervisor import Child, Supervisor
from supervisor.control.client import get_snapshot
from supervisor.observe.snapshot import WorkerStatus
from workers import Worker


class ChaosMonkey(Worker):
    """Kills one process of the Child at `path` about `rate` times a second."""

    def __init__(self, path: str, rate: float) -> None:
        self.path, self.rate, self.killed = path, rate, set[int]()

    def run(self) -> None:
        while not self.link.wait(random.expovariate(self.rate)):
            ready = {w.pid for w in self.workers() if w.pid and w.state == "ready"}
            victims = sorted(ready - self.killed)  # what is seen may be a moment old
            if victims:
                self.kill(random.choice(victims))

    def kill(self, pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)  # from here on the number cannot come to mean another process
            if pid in [worker.pid for worker in self.workers()]:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                self.killed.add(pid)
            os.close(fd)
        except ProcessLookupError:
            pass

    def workers(self) -> list[WorkerStatus]:
        nodes: list[Any] = [get_snapshot(os.environ["SUPERVISOR_CONTROL"]).tree]
        while nodes:
            node = nodes.pop()
            if node.path == self.path:
                return list(node.workers)
            nodes.extend(getattr(node, "children", []))
        return []

    def terminate(self) -> None:
        restarts = sum(worker.restarts for worker in self.workers())
        print(f"chaos: killed {len(self.killed)} workers, {restarts} were restarted")


tree = Supervisor("zoo", intensity=1000, children=[
    Child("sleeper", time.sleep, args=(3600,), count=3),
    Child("monkey", ChaosMonkey, args=("zoo/sleeper", 2.0)),
])  # fmt: skip
