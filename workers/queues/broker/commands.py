"""What observers have the broker do: to one queue, or with what is known of a worker."""

from collections.abc import Iterable, Mapping
from typing import Any

from workers.queues.broker.connection import Connection
from workers.queues.broker.host import QueueHost
from workers.queues.broker.management import CommandError, manage
from workers.queues.broker.standing import Standing
from workers.queues.broker.statistics import statistics
from workers.queues.frames import Command, name_of


class Commands:
    """Carries them out.

    Args:
        hosts: the queues, by name.
        connections: all there are, by number.
        touched: told of each queue that may have something to do after it.
        standing: keeps what holds until it is said otherwise; the queues do what it has kept.

    """

    def __init__(
        self,
        hosts: Mapping[str, QueueHost],
        connections: Mapping[int, Connection],
        touched: dict[str, QueueHost],
        standing: Standing,
    ) -> None:
        self._hosts, self._connections = hosts, connections
        self._touched, self._standing = touched, standing
        self._places = {name: place for place, name in enumerate(hosts)}
        for name, host in hosts.items():
            standing.restore(self._places[name], host.core)

    def do(self, command: Command) -> Any:
        """Carry out a command; an answer with "error" if it cannot be."""
        match command.name:
            case "stats":
                return self._statistics()
            case "over_memory":
                return self._over_memory(command.ids)
            case "out_of_memory":
                return self._out_of_memory(command.worker)
        host = self._hosts.get(command.queue)
        if host is None:
            known = ", ".join(self._hosts)
            why = f"there is no queue {command.queue!r}; there are: {known}"
            return {"error": why, "code": "no-such-queue"}
        try:
            answer = manage(host.core, command, host.now)
        except CommandError as error:
            return {"error": str(error), "code": error.code}
        for letter in answer.get("letters", ()):
            number = letter.pop("number")
            known = name_of(host.name, host.welcome.epoch, number) if number else ""
            letter["message_id"] = known
        self._standing.keep(self._places[host.name], host.core)
        self._touched[host.name] = host
        return answer

    def _statistics(self) -> list[dict[str, Any]]:
        """What each queue holds and has done."""
        return [statistics(host) for host in self._hosts.values()]

    def _over_memory(self, pids: Iterable[int]) -> dict[str, Any]:
        """Learn of processes that they are going to be ended for their memory."""
        ended = set(pids)
        for connection in self._connections.values():
            connection.over_memory |= connection.pid in ended
        return {}

    def _out_of_memory(self, worker: str) -> dict[str, Any]:
        """Learn what a worker that is gone has died of."""
        for host in self._hosts.values():
            host.core.out_of_memory(worker, host.now)
        self._touched.update(self._hosts)
        return {}
