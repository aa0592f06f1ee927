"""One block of lines at a time, from its pipe into the child's file and onto the terminal.

The order of the steps is what makes a kill between any two of them harmless; see
`supervisor.logs.ledger`. Raw files are in `supervisor.logs.raw`.
"""

import time
from collections import Counter, deque

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
        self._homes: Counter[str] = Counter()  # pipes, by where their lines are kept
        self.taken = 0  # bytes, so far

    def home(self, path: str, _stream: str) -> str:
        """Return the directory of the file that a stream's lines are kept in."""
        return child_of(path)

    def move(self, _pipe: LogPipe, _most: int) -> int | None:
        """Move bytes of a pipe without a look at them; None: that is not how it is done."""
        return None

    def as_it_is(self, _pipe: LogPipe, _data: bytes) -> tuple[Block, int] | None:
        """Return an unfinished line as a block that may be delivered; None: it has to wait."""
        return None

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
        self._took(pipe, count)
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

    def _took(self, pipe: LogPipe, count: int) -> None:
        pipe.took(count)
        self.taken += count

    def drop(self, pipe: LogPipe, count: int, lines: int) -> None:
        """Throw lines away, and count them."""
        key = self._key(pipe.source.path, pipe.source.stream)
        self._ledger.lost[key] = self._ledger.lost.get(key, 0) + lines
        self._ledger.note_lost()
        pipe.dropped += lines
        pipe.lost += lines
        pipe.take(count)
        self._took(pipe, count)

    def mark_dropped(self, pipe: LogPipe) -> None:
        """Say what was dropped, where it would have been."""
        self._mark_lost(pipe)
        if pipe.dropped and self._output is not None and self._output.clear:
            self._output.mark(pipe.source.path, pipe.dropped)
        pipe.dropped = 0

    def _mark_lost(self, pipe: LogPipe) -> None:
        path, stream = pipe.source.path, pipe.source.stream
        key = self._key(path, stream)
        if self._sink is not None and key in self._ledger.lost:
            self._sink.mark_lost(self.home(path, stream), key, "rate" if pipe.dropped else "disk")
            if not self._ledger.staged:
                self._ledger.note_lost()

    def begin(self, pipe: LogPipe) -> None:
        """Note that a pipe is delivered from now on."""
        self._homes[self.home(pipe.source.path, pipe.source.stream)] += 1

    def retire(self, pipe: LogPipe) -> None:
        """Close the file of a pipe that is gone, unless another one shares it."""
        home = self.home(pipe.source.path, pipe.source.stream)
        self._homes[home] -= 1
        if not self._homes[home]:
            del self._homes[home]
            if self._sink is not None:
                self._sink.retire(home)

    def _key(self, path: str, _stream: str) -> str:
        """Return the name under which lost lines are counted."""
        return path

    def _home_of(self, key: str) -> str:
        return child_of(key)

    # --- after a kill -------------------------------------------------------------------------

    def recover(self) -> None:
        """Finish what a predecessor was doing when it was killed."""
        note, data, written = self._ledger.recover(self._peeker)
        if data:
            self._finish(note, data, written)
            self.settle()
        if self._sink is not None:
            for key in list(self._ledger.lost):
                self._sink.mark_lost(self._home_of(key), key, "pump killed")
            if not self._ledger.staged:
                self._ledger.note_lost()

    def _finish(self, note: Note, data: bytes, written: bool) -> None:
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
