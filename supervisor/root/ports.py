"""Whether an address can be listened on, found out before an app is imported and started."""

import socket

from supervisor.errors import DefinitionError


def require_free(address: tuple[str, int]) -> None:
    """Try to listen on an address.

    Raises:
        DefinitionError: it cannot be; names who has it, where that is to be seen.

    """
    host, port = address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise DefinitionError(
                f"cannot serve health on {host}:{port}: {error.strerror}{_owner(port)}",
                help="choose another with --health HOST:PORT (port 0 takes a free one), "
                "or --no-health",
            ) from error


def _owner(port: int) -> str:
    # Here, because it is slow to import and only needed for this message.
    import psutil  # type: ignore[import-untyped]

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                if connection.pid is None:
                    break
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
