"""Redis Streams as a transport: a server of its own, every write synced before it is answered."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

from bench.queue_transports import BATCH, Handle, Transport, cpu_of

STREAM, GROUP, FIELD = "bench", "consumers", b"m"
#: What ends a consumer.
LAST = b""
#: Seconds for the server to answer the first time.
PATIENCE = 10.0


def have_redis() -> bool:
    """Whether redis-server and redis-py are installed."""
    return shutil.which("redis-server") is not None and find_spec("redis") is not None


class Redis(Transport):
    """XADD one by one, each answered when it is synced; XREADGROUP, XACK and XDEL.

    The append-only file is synced at each turn of the server's loop (``appendfsync always``), which
    is what ``durable="full"`` promises. Whoever waits for the answer of each XADD cannot have
    several in one sync: that is what one at a time means with this client. Messages that are done
    are acknowledged and deleted as they were read, up to a hundred by one command.

    Args:
        batch: messages of one pipeline of XADDs; 1: one at a time.

    """

    def __init__(self, batch: int = 1) -> None:
        self._batch = batch

    def open(self, consumers: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": self._directory.name,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        told = [word for name, value in options.items() for word in (f"--{name}", value)]
        command = [str(shutil.which("redis-server")), *told]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = self._wait_for_client()
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        client.close()
        self._before = cpu_of(self._server.pid)

    def _client(self) -> Any:
        import redis

        return redis.Redis(host="127.0.0.1", port=self._port)

    def _wait_for_client(self) -> Any:
        import redis

        deadline = time.monotonic() + PATIENCE
        while True:
            client = self._client()
            try:
                client.ping()
                return client
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def consumer(self, index: int, ready: Callable[[], None], handle: Handle) -> None:
        client = self._client()
        client.ping()
        ready()
        over = False
        while not over:
            found = client.xreadgroup(GROUP, str(index), {STREAM: ">"}, count=BATCH, block=10_000)
            for _, messages in found:
                for _, fields in messages:
                    if fields[FIELD] == LAST:
                        over = True
                    else:
                        handle(fields[FIELD])
                done = [number for number, _ in messages]
                client.pipeline().xack(STREAM, GROUP, *done).xdel(STREAM, *done).execute()

    def producer(self, ready: Callable[[], None], messages: Iterable[Any], consumers: int) -> None:
        assert consumers == 1
        client = self._client()
        client.ping()
        ready()
        add, waiting = client.xadd, client.pipeline(transaction=False)
        for message in messages:
            if self._batch == 1:
                add(STREAM, {FIELD: message})
                continue
            waiting.xadd(STREAM, {FIELD: message})
            if len(waiting) == self._batch:
                waiting.execute()
        waiting.execute()
        add(STREAM, {FIELD: LAST})

    def check(self, messages: int) -> None:
        client = self._client()
        assert (client.xlen(STREAM), client.xpending(STREAM, GROUP)["pending"]) == (0, 0)

    def cpu(self) -> float:
        return cpu_of(self._server.pid) - self._before

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()
        self._directory.cleanup()
