"""Children that hang, say nonsense, or do not want to stop; each is told when by its first life."""

import array
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Callable

from supervisor import Child, Ignore, Supervisor, link
from supervisor.link import Beat, WorkerLink, current
from supervisor.shell.uplink import Ended, Statuses

PAUSE = threading.Event()


def life() -> int:
    """Which process in its slot this is, from 1 on."""
    here = current()
    assert here is not None
    return here.context.incarnation


def beat_until_stopped() -> None:
    """Work in order."""
    count = 0
    while not link.stopping():
        count += 1
        link.beat(count)
        PAUSE.wait(0.05)


def once(fault: Callable[[], object]) -> Callable[[], None]:
    """Commit a fault in the first life, work in order in later ones."""

    def run() -> None:
        print("pid", os.getpid(), flush=True)
        if life() == 1:
            link.beat(1)
            fault()
        beat_until_stopped()

    return run


# --- hanging ----------------------------------------------------------------------------------


def hold_gil() -> None:
    """Sleep in C without letting any other thread of Python run."""
    library = ctypes.PyDLL(None)
    while True:
        library.sleep(60)


def deadlock() -> None:
    """Take a lock twice, while a helper thread lives happily."""
    threading.Thread(target=PAUSE.wait, daemon=True).start()
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def spin() -> None:
    """Use a processor, and get nowhere."""
    while True:
        pass


def ignore_sigterm() -> None:
    """Ignore the request to stop, together with a child in the same group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, b"%d" % os.getpid())
        while True:
            signal.pause()
    print("helper", os.read(read, 20).decode(), flush=True)
    while True:
        signal.pause()


# --- nonsense on the link ---------------------------------------------------------------------


def own_link() -> WorkerLink:
    """Return the link of this process."""
    here = current()
    assert here is not None
    return here


def send_garbage() -> None:
    """Send what is no message."""
    own_link().socket.send(b"\xc1\xff not msgpack")
    PAUSE.wait()


def send_oversize() -> None:
    """Send more than a packet may hold."""
    SO_SNDBUFFORCE = 32  # noqa: N806
    sock = own_link().socket
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.send(b"x" * 150_000)
    PAUSE.wait()


def forge_end() -> None:
    """Say what only a nested supervisor may say."""
    own_link()._say(Ended("normal", "forged"))
    PAUSE.wait()


def forge_status() -> None:
    """Report on somebody else."""
    own_link()._say(Statuses(gone=["watched/steady.0"]))
    PAUSE.wait()


def send_descriptors() -> None:
    """Send descriptors that nobody has asked for, again and again."""
    packet = link.msgspec.msgpack.encode(Beat(1))
    sock = own_link().socket
    sock.setblocking(True)
    fds = array.array("i", [0] * 16)
    for _ in range(500):
        sock.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    print("sent", flush=True)


def flood() -> None:
    """Say the same as fast as the kernel takes it."""
    packet = link.msgspec.msgpack.encode(Beat(1))
    sock = own_link().socket
    sock.setblocking(True)
    print("flooding", flush=True)
    while True:
        sock.send(packet)


def flood_and_raise() -> None:
    """Say too much, and then why it ends."""
    packet = link.msgspec.msgpack.encode(Beat(1))
    sock = own_link().socket
    sock.setblocking(True)
    for _ in range(3000):
        sock.send(packet)
    raise ValueError("after the flood")


# --- exceptions that are hard to tell ---------------------------------------------------------


class Unspeakable(Exception):  # noqa: N818
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raise_unspeakable() -> None:
    """Raise what cannot be shown."""
    raise Unspeakable


def raise_surrogate() -> None:
    """Raise with a file name that is not UTF-8."""
    raise ValueError(os.fsdecode(b"caf\xe9"))


def raise_long() -> None:
    """Raise with a very long text."""
    raise ValueError("€" * 300_000)


def raise_without_streams() -> None:
    """Raise when the traceback can be written nowhere."""
    os.close(1)
    os.close(2)
    raise ValueError("unheard")


# --- objects that run themselves: hooks -------------------------------------------------------


class Hooks:
    """A worker whose hooks misbehave: ``plan`` says in which life, and how."""

    def __init__(self, init: dict[int, str], terminate: str = "") -> None:
        self.init, self.terminate = init, terminate

    def supervised(self, link: WorkerLink) -> None:
        """Start, work, stop; as planned."""
        self.act(self.init.get(life(), ""))
        link.ready()
        print("ready", os.getpid(), flush=True)
        if life() == 1 and self.init:
            os._exit(1)
        while not link.stopping:
            PAUSE.wait(0.02)
        self.act(self.terminate)

    def act(self, how: str) -> None:
        """Misbehave."""
        if how == "raise":
            raise RuntimeError("hook")
        if how == "hang":
            PAUSE.wait()
        if how == "leave":
            raise SystemExit(0)
        if how == "ignore":
            raise Ignore("not today")


def beating(name: str, fault: Callable[[], object]) -> Child:
    """Declare a child that has to beat."""
    return Child(name, once(fault), heartbeat=0.4)


def quick(name: str, fault: Callable[[], object]) -> Child:
    """Declare a child that has to do nothing."""
    return Child(name, once(fault))


tree = Supervisor(
    "watched",
    intensity=1000,
    children=[
        beating("steady", beat_until_stopped),
        beating("stopped", beat_until_stopped),
        quick("paused", beat_until_stopped),
        beating("gil", hold_gil),
        beating("deadlock", deadlock),
        beating("spin", spin),
        Child("stubborn", once(ignore_sigterm), shutdown=0.3),
        quick("garbage", send_garbage),
        quick("oversize", send_oversize),
        quick("forge-end", forge_end),
        quick("forge-status", forge_status),
        quick("descriptors", send_descriptors),
        quick("unspeakable", raise_unspeakable),
        quick("surrogate", raise_surrogate),
        quick("long", raise_long),
        quick("unheard", raise_without_streams),
        Child("init-raises", Hooks({2: "raise", 3: "raise"})),
        Child("init-leaves", Hooks({2: "leave"})),
        Child("init-hangs", Hooks({2: "hang"}), start_timeout=0.4),
        Child("init-ignores", Hooks({2: "ignore"})),
        Child("terminate-raises", Hooks({}, "raise")),
        Child("terminate-hangs", Hooks({}, "hang"), shutdown=0.3),
    ],
)

flooding = Supervisor(
    "flooding",
    intensity=1000,
    children=[
        Child("steady", beat_until_stopped),
        Child("ends", once(flood_and_raise)),
        Child("flood", flood, count=2),
    ],
)
