"""One block of lines at a time, from its pipe into the child's file and onto the terminal.

The order of the steps is what makes a kill between any two of them harmless; see
`supervisor.logs.ledger`. Raw files need none of it: there the kernel moves the bytes.
"""

import time
from collections import deque

import msgspec

from supervisor.logs.ledger import Ledger, Note
from supervisor.logs.lines import Splitter
from supervisor.logs.logfile import LogFile
from supervisor.logs.output import Output
from supervisor.logs.peek import Peeker
from supervisor.logs.render import Origin
from supervisor.logs.sink import FileSink
from supervisor.logs.source import Block, LogPipe, attributed


class Delivery:
    """Delivers blocks.

    Args:
        output: the terminal; None: nothing is printed.
        sink: the files; None: nothing is kept.
        ledger: what outlives this process.
        peeker: looks into pipes.

    """

    def __init__(
        self, output: Output | None, sink: FileSink | None, ledger: Ledger, peeker: Peeker
    ) -> None:
        self._output, self._sink = output, sink
        self._ledger, self._peeker = ledger, peeker

    @property
    def accepting(self) -> bool:
        """Whether the next block may come: the terminal has the last, or is not waited for."""
        return self._output is None or self._output.clear or self._output.dropping

    def deliver(self, pipe: LogPipe, block: Block, count: int) -> None:
        """Deliver a block.

        Args:
            pipe: where it is.
            block: the lines.
            count: how many of its bytes are still in the pipe.

        """
        pipe.took(count)
        if self._sink is not None and self._sink.raw:
            self._deliver_raw(pipe, block, count)
            return
        now = time.time()
        text = block.as_json(now) if self._wants_json else b""
        file = self._prepare(pipe, block, text)
        if self._ledger.stage(pipe.fd, count) < count:  # it had more parts than the staging pipe
            pipe.take(count - self._ledger.staged)
        self._keep(file, pipe.source.path, block, text)
        self._print(block, text, now)
        self.settle()

    @property
    def _wants_json(self) -> bool:
        return self._sink is not None or (self._output is not None and self._output.is_json)

    def _prepare(self, pipe: LogPipe, block: Block, text: bytes) -> LogFile | None:
        path = pipe.source.path
        child = child_of(path)
        file = None
        if self._sink is not None:
            self._mark_lost(pipe)
            file = self._sink.prepare(child, len(text))
        origin = block.origin
        self._ledger.note(
            Note(
                path,
                pipe.source.stream,
                origin.pid,
                origin.incarnation,
                -1 if file is None else file.inode,
                0 if file is None else file.size,
                block.continuation,
                pipe.splitter.continues,
            )
        )
        return file

    def _keep(self, file: LogFile | None, path: str, block: Block, text: bytes) -> None:
        if self._sink is None:
            return
        if file is None:
            self._sink.keep(child_of(path), path, text, block.count)
        else:
            self._sink.write(file, text, path, block.count)
        self._ledger.written()

    def _print(self, block: Block, text: bytes, now: float) -> None:
        if self._output is not None:
            self._output.print(block, text, now)

    def settle(self) -> None:
        """Be done with the block, when the terminal took it: only now, so that no kill loses it."""
        if self._ledger.staged and self.accepting:
            self._ledger.clear()

    def give_up(self) -> None:
        """Be done with the block, whether it was taken or not."""
        self._ledger.clear()

    def _deliver_raw(self, pipe: LogPipe, block: Block, count: int) -> None:
        assert self._sink is not None
        path = pipe.source.path
        child = child_of(path)
        self._mark_lost(pipe)
        file = self._sink.prepare(child, len(block.data) + 1)
        data = block.data
        whole = data.endswith(b"\n")
        if file is None or len(data) > count:  # part of it was taken out of the pipe before
            pipe.take(count)
            data = data if whole else data + b"\n"
            if file is None:
                self._sink.keep(child, path, data, block.count)
            else:
                self._sink.write(file, data, path, block.count)
        else:
            moved = self._sink.splice(file, pipe.fd, count) or 0
            rest = data[moved:] if whole else data[moved:] + b"\n"
            if rest:
                pipe.take(count - moved)
                self._sink.write(file, rest, path, block.count)
        self._print(block, b"", time.time())

    def drop(self, pipe: LogPipe, count: int, lines: int) -> None:
        """Throw lines away, and count them."""
        path = pipe.source.path
        self._ledger.lost[path] = self._ledger.lost.get(path, 0) + lines
        self._ledger.note_lost()
        pipe.dropped += lines
        pipe.take(count)
        pipe.took(count)

    def mark_dropped(self, pipe: LogPipe) -> None:
        """Say what was dropped, where it would have been."""
        self._mark_lost(pipe)
        if pipe.dropped and self._output is not None and self._output.clear:
            self._output.mark(pipe.source.path, pipe.dropped)
        pipe.dropped = 0

    def _mark_lost(self, pipe: LogPipe) -> None:
        path = pipe.source.path
        if self._sink is not None and path in self._ledger.lost:
            self._sink.mark_lost(child_of(path), path, "rate" if pipe.dropped else "disk")
            if not self._ledger.staged:
                self._ledger.note_lost()

    # --- after a kill -------------------------------------------------------------------------

    def recover(self) -> Note:
        """Finish what a predecessor was doing when it was killed."""
        note, data, written = self._ledger.recover(self._peeker)
        if data:
            block = _block_again(note, data)
            now = time.time()
            text = block.as_json(now) if self._wants_json else b""
            if self._sink is not None and not written:
                child = child_of(note.path)
                self._sink.undo(child, note.inode, note.offset)
                file = self._sink.prepare(child, len(text))
                self._ledger.note(_still_there(note, file))
                self._keep(file, note.path, block, text)
            self._print(block, text, now)
            self.settle()
        if self._sink is not None:
            for path in list(self._ledger.lost):
                self._sink.mark_lost(child_of(path), path, "pump killed")
            if not self._ledger.staged:
                self._ledger.note_lost()
        return note


def _still_there(note: Note, file: LogFile | None) -> Note:
    if file is None:
        return msgspec.structs.replace(note, inode=-1)
    return msgspec.structs.replace(note, inode=file.inode, offset=file.size)


def _block_again(note: Note, data: bytes) -> Block:
    """Split a block as the predecessor did."""
    origin = Origin(note.path, note.stream, note.pid, note.incarnation)
    lines, used = Splitter(note.stream == "stderr", note.continuation).split(data, final=True)
    if lines and note.continues:
        lines[-1] = msgspec.structs.replace(lines[-1], partial=False)
    origins = deque([Origin(note.path, note.stream), origin])
    return Block(data[:used], len(lines), origins, attributed(lines, origins))


def child_of(path: str) -> str:
    """Return the path of the Child that a slot belongs to: where its lines are kept."""
    above, _, last = path.rpartition("/")
    name = last.partition(".")[0]
    return f"{above}/{name}" if above else name
