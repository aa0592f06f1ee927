"""What a spare does: it waits on its link to be told who it is.

It is told so when somebody is started, or ahead, as an heir: it then knows who it may become, and
its template says which of them it is when the one that it is to follow has ended.
"""

import os
import select
import socket
from typing import NamedTuple

from supervisor import link as links
from supervisor.channel import Channel, DescriptorsLost
from supervisor.logs.marks import mark
from supervisor.process import launch as launches
from supervisor.process import target


class Told(NamedTuple):
    """Who this process is; ``run`` is what is left to do, if it has got ready for that."""

    launch: launches.Launch
    pipes: tuple[int, int]  # that it is to write to: stdout, stderr
    link: links.WorkerLink
    run: target.Run | None = None


def told(
    sock: socket.socket, launch: launches.Launch, fds: list[int], run: target.Run | None = None
) -> Told:
    """Make of a launch what a process is; ``fds``: stdout, stderr, then those that are declared."""
    stdout, stderr, *declared = fds
    context = links.Context(
        path=launch.path,
        incarnation=launch.incarnation,
        app=launch.kind.app,
        queue=launch.kind.queue,
        heartbeat=launch.kind.heartbeat,
        stall_timeout=launch.kind.stall_timeout,
        fds=dict(zip(launch.kind.fds, declared, strict=True)),
    )
    return Told(launch, (stdout, stderr), links.WorkerLink(sock, context), run)


def wait(sock: socket.socket, kind: launches.Kind | None, run: target.Run | None) -> Told | None:
    """Wait; None when nobody needs us any more.

    Args:
        sock: the link.
        kind: what we have got ready for, if anything.
        run: with that.

    """
    channel: Channel[links.ToWorker] = Channel(sock, links.ToWorker, large=True)
    ahead: list[Told] = []
    word = -1
    while word < 0 or _has_something(sock, word):
        try:
            received = channel.receive()
        except DescriptorsLost:  # we may have no more: another one will be told
            return None
        if received is None:
            return None
        message, fds = received
        if isinstance(message, links.Inherit):
            word = fds[0]
        elif isinstance(message, links.Assign):
            if message.kind:
                kind = launches.decode_kind(message.kind)
            assert kind is not None
            who = message.path, message.incarnation, kind, message.marks
            one = told(sock, launches.Launch(*who), fds, run)
            if not message.ahead:
                return one
            ahead.append(one)
    return _inherit(word, ahead)


def mark_pipes(incarnation: int) -> None:
    """Say in both log pipes that we write from here on. Waits for room, as any line does."""
    said = mark(os.getpid(), incarnation)
    for fd in (1, 2):
        os.write(fd, said)


def take_pipes(told: Told) -> None:
    """Write from here on to the pipes of our slot."""
    for ours, pipe in enumerate(told.pipes, start=1):
        os.dup2(pipe, ours)
        os.close(pipe)
    if told.launch.marks:
        mark_pipes(told.launch.incarnation)


def _has_something(sock: socket.socket, word: int) -> bool:
    """Wait for both; what is on the link comes first, and be it that the supervisor is gone."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    waiting.register(word, select.POLLIN)
    return any(fd == sock.fileno() for fd, _ in waiting.poll())


def _inherit(word: int, ahead: list[Told]) -> Told:
    """Become the one that the template has woken us as."""
    us = ahead.pop(os.eventfd_read(word) - 1)
    os.close(word)
    for other in ahead:
        for fd in (*other.pipes, *other.link.context.fds.values()):
            os.close(fd)
    return us
