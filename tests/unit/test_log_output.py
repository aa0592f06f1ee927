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
