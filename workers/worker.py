"""A worker: what runs in one process, from its initialisation to its orderly end."""

from typing import Any

from supervisor.link import WorkerLink


class Worker:
    """Base of all worker classes. Override what is needed.

    The life of a worker: it is made, `init` connects it (it counts as started when that returns),
    `run` works until it returns or the worker is asked to stop, `terminate` cleans up. What
    `init` or `run` raises ends the process: its supervisor knows what to do.
    """

    link: WorkerLink
    #: Whether its Child has to name a queue: then one without is an error of the declaration.
    needs_queue = False

    def init(self) -> None:
        """Prepare. Raise `supervisor.Ignore` to decline to start."""

    def run(self) -> None:
        """Work; check `stopping` often, and return when it is true."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def terminate(self) -> None:
        """Clean up after an orderly end or an exception (not after a SIGKILL, of course)."""

    @property
    def stopping(self) -> bool:
        """Whether this worker was asked to stop."""
        return self.link.stopping

    def supervised(self, link: WorkerLink) -> None:
        """Live: called by the runtime."""
        self.link = link
        self.init()
        try:
            self.connect()
            link.ready()
            self.run()
        finally:
            self.terminate()

    def connect(self) -> None:
        """Connect to the queue, in workers that have one; after `init`, before it is ready."""


def queue_address(link: WorkerLink) -> str:
    """Return the path by which this process reaches the broker.

    Raises:
        LookupError: the app has no queues.

    """
    fd = link.context.fds.get("queues")
    if fd is None:
        raise LookupError("this app has no queues: list them in Supervisor(..., queues=[...])")
    return f"/proc/self/fd/{fd}"


def queue_name(worker: Any, link: WorkerLink) -> str:
    """Return the name of the queue that a worker was given.

    Raises:
        LookupError: its Child has no ``queue=``.

    """
    if link.context.queue is None:
        name = type(worker).__name__
        child = link.context.path.rpartition("/")[2].rpartition(".")[0]
        raise LookupError(f'{name} needs a queue: Child("{child}", {name}, queue=...)')
    return link.context.queue
