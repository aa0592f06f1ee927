"""What a log pump waits for, and in which pipes."""

import os
import select

from supervisor.logs.ledger import Ledger, Note, descriptors
from supervisor.logs.peek import Peeker, widen
from supervisor.logs.room import SOME, WIDE, WIDEST, Room
from supervisor.logs.waiting import Waiting


def test_a_nap_hears_everything_but_the_pipes(fds: list[int]) -> None:
    """Root's word ends it; lines do not, and are told of afterwards."""
    waiting = Waiting()
    pipe, write = os.pipe()
    root = os.eventfd(0)
    fds += [pipe, write, root]
    waiting.add_pipe(pipe)
    waiting.others.register(root, select.EPOLLIN)
    os.write(write, b"line\n")
    assert waiting.nap(0.001) == []
    os.eventfd_write(root, 1)
    assert waiting.nap(60.0) == [root]
    assert sorted(waiting.wait(60.0)) == sorted([pipe, root])
    os.eventfd_read(root)
    assert waiting.wait(0.0) == []
    os.write(write, b"line\n")
    assert waiting.wait(60.0) == [pipe]
    waiting.remove_pipe(pipe)
    os.write(write, b"line\n")
    assert waiting.wait(0.0) == []


def test_a_resting_pipe_is_watched_again_from_what_is_in_it_on(fds: list[int]) -> None:
    """Nothing tells of it while it rests, and nothing that came meanwhile is missed."""
    waiting = Waiting()
    pipe, write = os.pipe()
    fds += [pipe, write]
    waiting.add_pipe(pipe)
    waiting.rest([pipe])
    os.write(write, b"line\n")
    assert waiting.wait(0.0) == []
    waiting.rest([pipe])
    waiting.watch(pipe)
    assert waiting.wait(60.0) == [pipe]
    waiting.watch(pipe)
    waiting.rest([pipe])
    waiting.remove_pipe(pipe)
    assert waiting.wait(0.0) == []


def test_pipes_are_widened_in_two_steps_and_only_some_to_the_last(fds: list[int]) -> None:
    """All become wide, `SOME` become as wide as may be, and a closed one leaves its place."""
    room = Room()
    pipes = [os.pipe() for _ in range(SOME + 1)]
    fds += [fd for pair in pipes for fd in pair]
    held = [room.look(read) for read, _ in pipes]
    assert max(held) < WIDE
    held = [room.widen(read, before) for (read, _), before in zip(pipes, held, strict=True)]
    assert held == [WIDE] * (SOME + 1)
    held = [room.widen(read, before) for (read, _), before in zip(pipes, held, strict=True)]
    assert held == [WIDEST] * SOME + [WIDE]
    room.forget(held[0])
    assert room.widen(pipes[-1][0], WIDE) == WIDEST
    assert room.widen(pipes[-1][0], WIDEST) == WIDEST


def test_a_pump_s_successor_takes_over_all_that_was_staged(fds: list[int]) -> None:
    """However much it was: a block of a wide pipe is more than one look at a slot's pipe."""
    kept = descriptors()
    pipe, write = os.pipe()
    fds += [pipe, write, *kept.values()]
    widen(write)
    block = b"".join(b"%d\n" % number for number in range(100_000))
    os.write(write, block)
    ledger = Ledger(kept)
    ledger.note(Note("shop/a.0", "stdout"))
    assert ledger.stage(pipe, len(block)) == len(block)
    note, found, written = Ledger(kept).recover(Peeker())
    assert (note.path, found == block, written) == ("shop/a.0", True, False)
