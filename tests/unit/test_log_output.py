"""What the pump prints of what it reads."""

import os
import select
from collections import deque

import pytest

from supervisor.logs.messages import PumpOptions
from supervisor.logs.output import Output
from supervisor.logs.record import encode
from supervisor.logs.render import Origin
from supervisor.logs.source import Block
from supervisor.logs.terminal import Terminal


@pytest.mark.parametrize("order", [("shop", "shop/a"), ("shop/a", "shop")])
def test_of_several_changed_levels_that_of_the_longest_path_counts(order: tuple[str, str]) -> None:
    """Whichever was said first: the workers take it so, too."""
    read, write = os.pipe()
    with select.epoll() as epoll:
        output = Output(Terminal(write), PumpOptions(), epoll)
        for path in order:
            output.set_floor(path, {"shop": "error", "shop/a": "debug"}[path])
        for path in ("shop/a.0", "shop/b.0"):
            record = encode({"level": "debug", "event": path})
            origins = deque([Origin(path, "stderr")])
            output.print(Block(record, 1, origins, None), b"", 0.0)
        assert b"shop/b.0" not in (printed := os.read(read, 4096))
        assert b"shop/a.0" in printed
        os.close(output.fd)
    os.close(read)


def test_what_a_terminal_took_before_it_was_full_is_not_printed_again(
    monkeypatch: pytest.MonkeyPatch, fds: list[int]
) -> None:
    """It belongs to another user and is shared: it is not ours to change."""

    def refuse(*_arguments: object) -> int:
        raise PermissionError

    read, write = os.pipe2(os.O_NONBLOCK)
    fds += [read, write]
    monkeypatch.setattr(os, "open", refuse)
    terminal = Terminal(write)
    taken: list[bytes] = []

    def write_one(_fd: int, data: bytes) -> int:
        if taken:
            raise BlockingIOError
        taken.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write_one)
    assert terminal.write(b"x" * 2000) == len(taken[0]) == 512
