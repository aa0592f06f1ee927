"""The observer as a process: what it serves, and what outlives it."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from supervisor.channel import Channel, pair
from supervisor.control.frames import HEADER_BYTES, MAX_REPLY_BYTES, frame
from supervisor.control.messages import SnapshotReply, encode
from supervisor.link import FromWorker, Ready, StopRequest
from tests.e2e.observed import GET, current, exchange

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import socket, sys
from supervisor.link import Context, WorkerLink
from supervisor.observe.observer import main
end, listener = map(int, sys.argv[1:3])
link = WorkerLink(socket.socket(fileno=end), Context("runtime/observer.0", 1))
main(link, bytes.fromhex(sys.argv[3]), {"listener": listener})
"""


class FakeRoot:
    """A control socket that answers every request with a snapshot, until it is told to hang."""

    def __init__(self, path: str) -> None:
        self.answering = True
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.answering:
                self._held.append(client)
                continue
            with closing(client):
                size = int.from_bytes(client.recv(HEADER_BYTES), "big")
                client.recv(size)
                client.sendall(frame(encode(SnapshotReply(current())), MAX_REPLY_BYTES))

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for client in self._held:
            client.close()


def start_observer(listener: socket.socket, control: str) -> tuple[Any, Channel[FromWorker]]:
    """Start a real observer process on a socket that is kept here, as root does."""
    ours, theirs = pair()
    argument = msgspec.msgpack.encode({"host": "127.0.0.1", "port": 0, "control": control})
    process = subprocess.Popen(
        [
            sys.executable, "-c", PROGRAM,
            str(theirs.fileno()), str(listener.fileno()), argument.hex(),
        ],
        pass_fds=(theirs.fileno(), listener.fileno()),
        cwd=ROOT,
    )  # fmt: skip
    theirs.close()
    channel: Channel[FromWorker] = Channel(ours, FromWorker)
    received = channel.receive()
    assert received is not None
    assert isinstance(received[0], Ready)
    return process, channel


def test_the_observer_serves_what_root_says_and_its_port_outlives_it(tmp_path: Path) -> None:
    """A real process: a hanging root is a 503; killed, its successor answers who waited."""
    control = os.path.join(tmp_path, "control.sock")
    root = FakeRoot(control)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    process, channel = start_observer(listener, control)
    try:
        status, _, body = exchange(socket.create_connection(address, 10), GET % b"/healthz")
        assert status == 200
        assert msgspec.json.decode(body)["supervisor"]["instance"]["name"] == "shop"
        process.kill()
        process.wait(10)
        channel.close()
        waiting = socket.create_connection(address, 10)
        process, channel = start_observer(listener, control)
        root.answering = False
        status, _, body = exchange(waiting, GET % b"/livez")
        assert (status, msgspec.json.decode(body)["status"]) == (503, "fail")
        channel.send(StopRequest(5.0))
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        channel.close()
        root.close()
        listener.close()
