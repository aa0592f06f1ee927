"""The runtime's own processes: which there are, and what each is given.

    runtime (one_for_one)
    ├─ pump       writes every process's log lines
    ├─ broker     the queues, if the tree has any
    └─ observer   the health page, if it is wanted

They start before the tree and stop after it, the pump last, so that no line is lost. Root makes
and keeps the sockets on which broker and observer listen: a restart of either loses nobody.
"""

import os
import socket
import sys
from collections.abc import Callable

import msgspec

from supervisor.config import RunOptions
from supervisor.definition import QueueDefinition
from supervisor.errors import DefinitionError
from supervisor.plan import Service

#: Connections that may wait while the broker or the observer is being restarted.
BACKLOG = 512


def queue_listener(directory: str) -> tuple[socket.socket, int]:
    """Make the broker's socket; returns it and an O_PATH descriptor for the workers.

    A worker connects to /proc/self/fd/N of that descriptor: that works after it gave up its
    privileges, though the directory is closed to it, which is why the socket itself is open to all.
    """
    path = os.path.join(directory, "queues.sock")
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(BACKLOG)
    return listener, os.open(path, os.O_PATH | os.O_CLOEXEC)


def health_listener(address: tuple[str, int]) -> socket.socket:
    """Make the observer's socket.

    Raises:
        DefinitionError: the address cannot be used.

    """
    host, port = address
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise DefinitionError(
            f"cannot serve health on {host}:{port}: {error.strerror}",
            help="choose another with --health HOST:PORT, or --no-health",
        ) from error
    listener.listen(BACKLOG)
    return listener


def pump_service(options: RunOptions, announce: Callable[[], None]) -> Service:
    """Describe the log pump; it prints on root's standard output. ``announce`` tells it of the pipes."""
    pretty = options.log_format == "pretty" or (
        options.log_format is None and os.isatty(sys.stdout.fileno())
    )
    argument = {
        "format": "pretty" if pretty else "json",
        "colour": pretty and os.isatty(sys.stdout.fileno()) and not os.environ.get("NO_COLOR"),
        "level": options.log_level,
    }
    terminal = {"terminal": sys.stdout.fileno()}
    encoded = msgspec.msgpack.encode(argument)
    return Service("pump", "supervisor.logs.pump:main", encoded, terminal, announce)


def broker_service(queues: list[QueueDefinition], listener: socket.socket) -> Service:
    """Describe the queue broker."""
    argument = msgspec.msgpack.encode(queues)
    fds = {"listener": listener.fileno()}
    return Service("broker", "workers.queues.broker:main", argument, fds)


def observer_service(name: str, control: str, listener: socket.socket) -> Service:
    """Describe the health observer."""
    host, port = listener.getsockname()[:2]
    argument = msgspec.msgpack.encode(
        {"host": host, "port": port, "control": control, "name": name}
    )
    fds = {"listener": listener.fileno()}
    return Service("observer", "supervisor.observe.observer:main", argument, fds)
