"""The log pump: reads every process's pipe, keeps the lines in files and prints them.

    pipes of slots ──peek──► blocks of lines ──► child's file, terminal ──► taken out of the pipe

Root holds the pipes: a pump that dies loses nothing, and its successor goes on where it stopped.
`Turns.ready` are the pipes that may have more. Each pass looks once into each of them, at most
`peek.CHUNK` bytes, so that no flood delays the others, and may be followed by a nap
(`supervisor.logs.pace`). With nothing to read it sleeps until some file is too old.
"""

import math
import os
import select
import time
from collections import defaultdict, deque
from enum import Enum

import msgspec

from supervisor.channel import Channel
from supervisor.link import DirectoryMade, StopRequest, WorkerLink
from supervisor.logs.bucket import Flow, Gate
from supervisor.logs.delivery import Delivery
from supervisor.logs.ledger import Ledger
from supervisor.logs.lines import MAX_LINE
from supervisor.logs.memory import keep_freed_blocks
from supervisor.logs.messages import Floor, Forget, Process, PumpOptions, Source, ToPump
from supervisor.logs.output import Output
from supervisor.logs.pace import Pace
from supervisor.logs.peek import CHUNK, Peeker
from supervisor.logs.raw import RawDelivery
from supervisor.logs.record import record_writer
from supervisor.logs.room import Room
from supervisor.logs.sink import FileSink
from supervisor.logs.source import LAST_BYTES, Block, LogPipe
from supervisor.logs.tally import Tally
from supervisor.logs.terminal import Terminal
from supervisor.logs.turns import Turns
from supervisor.logs.waiting import Waiting
from supervisor.priority import interrupt_nobody

#: Seconds after which the beginning of a line is printed without its end.
PARTIAL_AFTER = 2.0
#: Messages of root's that are read in one pass.
MAX_MESSAGES = 256


class Turn(Enum):
    """What came of a pipe's turn."""

    MORE = "more"  # there may be more
    BEHIND = "behind"  # there is more
    NOTHING = "nothing"  # no whole line is there
    LATER = "later"  # it has to wait


class Pump:
    """One pump at work."""

    def __init__(
        self, link: WorkerLink, options: PumpOptions, terminal: Terminal, ledger: Ledger
    ) -> None:
        self._channel: Channel[ToPump] = Channel(link.socket, ToPump)
        self._waiting = Waiting()
        others = self._waiting.others
        self._output = None if options.format == "none" else Output(terminal, options, others)
        self._sink: FileSink | None = None
        if options.files is not None:
            say = record_writer(2, "pump")
            self._sink = FileSink(options.files, others, ledger.lost, say)
        self._peeker = Peeker()
        kind = RawDelivery if self._sink is not None and self._sink.raw else Delivery
        self._delivery = kind(self._output, self._sink, ledger, self._peeker)
        self._pipes: dict[int, LogPipe] = {}  # by descriptor
        self._turns = Turns()
        self._rooms = Room()
        self._by_path: defaultdict[str, dict[int, LogPipe]] = defaultdict(dict)
        self._deadlines: deque[tuple[float, LogPipe]] = deque()  # all equally far away: sorted
        self._tally = Tally(options.directory)
        self._stopping = False
        self._pace = Pace()
        self._link = link
        others.register(link.fileno(), select.EPOLLIN)
        others.register(link.wakeup_fd, select.EPOLLIN)

    def succeed(self, is_new: bool) -> None:
        """Go on where the pump before died, perhaps in the middle of a line."""
        if is_new and self._output is not None:
            self._output.note("the log pump was restarted: lines before this may come again")
        self._delivery.recover()

    def run(self) -> None:
        """Work until root says stop (or is gone), and then take what is left."""
        while self._pipes or not self._stopping:
            self._collect(self._waiting.wait(self._timeout()))
            now = time.monotonic()
            if self._turns.ready and (nap := self._pace.hesitation(now)):
                self._collect(self._waiting.nap(nap))
                now = time.monotonic()
            self._tend(now)
            self._serve(now)
            self._end_partial_lines(now)
            if nap := self._pace.nap(now):
                self._waiting.rest(self._turns.ready)
                self._collect(self._waiting.nap(nap))
        output = self._output
        while output is not None and not output.clear and not output.dropping:
            self._collect(self._waiting.wait(output.timeout(time.monotonic())))
            output.check(time.monotonic())
        self._delivery.give_up()
        if self._sink is not None:
            self._sink.close()

    # --- waiting ------------------------------------------------------------------------------

    def _timeout(self) -> float | None:
        now = time.monotonic()
        late = self._output.timeout(now) if self._output is not None else None
        if not self._delivery.accepting:
            return late
        if self._turns.ready:
            return 0.0
        while self._deadlines and self._deadlines[0][1].deadline != self._deadlines[0][0]:
            self._deadlines.popleft()
        waits = [late, self._sink.timeout(now) if self._sink is not None else None]
        waits.append(self._tally.timeout(now, self._delivery.taken))
        if self._deadlines:
            waits.append(max(0.0, self._deadlines[0][0] - now))
        waits.append(self._turns.timeout(now))
        return min((wait for wait in waits if wait is not None), default=None)

    def _collect(self, fds: list[int]) -> None:
        for fd in fds:
            if fd in self._pipes:
                self._turns.give(fd)
            elif fd == self._link.fileno():
                self._read_link()
            elif fd == self._link.wakeup_fd:
                os.eventfd_read(fd)
                self._stop()
            elif self._output is not None and fd == self._output.fd:
                self._output.flush()
                self._delivery.settle()
            elif self._sink is not None:
                self._sink.take_event(fd, time.monotonic())

    def _tend(self, now: float) -> None:
        if self._output is not None:
            self._output.check(now)
            self._delivery.settle()
        if self._sink is not None:
            self._sink.tend(now)
        self._tally.tend(now, self._delivery.taken, self._pipes.values(), self._sink)
        self._turns.call(now)

    # --- root's word --------------------------------------------------------------------------

    def _read_link(self) -> None:
        for _ in range(MAX_MESSAGES):
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            except OSError:
                received = None
            if received is None:  # root is gone, and so will be our template
                self._waiting.others.unregister(self._link.fileno())
                self._stop()
                return
            self._handle(*received)

    def _handle(self, message: ToPump, fds: list[int]) -> None:
        match message:
            case Source():
                self._add(LogPipe(message, fds[0], self._gate(), self._rooms))
            case Process():
                for pipe in self._by_path.get(message.path, {}).values():
                    pipe.written_by(message)
            case Forget():
                for pipe in self._pipes.values():
                    if pipe.source.id == message.id:
                        self._end(pipe)
            case Floor():
                if self._output is not None:
                    self._output.set_floor(message.path, message.level)
            case DirectoryMade():
                self._tally.again()
            case StopRequest():
                self._stop()

    def _add(self, pipe: LogPipe) -> None:
        self._pipes[pipe.fd] = self._by_path[pipe.source.path][pipe.fd] = pipe
        self._waiting.add_pipe(pipe.fd)
        self._delivery.begin(pipe)
        self._turns.ready[pipe.fd] = None
        if self._stopping:
            self._end(pipe)

    def _stop(self) -> None:
        self._stopping = True
        for pipe in self._pipes.values():
            self._end(pipe)

    def _end(self, pipe: LogPipe) -> None:
        """Take what is still in a pipe, in its turn, and close it then."""
        if pipe.left is None:
            pipe.left = LAST_BYTES
            self._turns.ready[pipe.fd] = None

    def _gate(self) -> Gate | None:
        if self._sink is None or not self._sink.options.rate.limited:
            return None
        return Gate(self._sink.options.rate, time.monotonic())

    # --- pipes --------------------------------------------------------------------------------

    @property
    def _nobody(self) -> bool:
        """Whether lines go nowhere."""
        return self._sink is None and (self._output is None or self._output.gone)

    def _serve(self, now: float) -> None:
        for fd in list(self._turns.ready):
            if not self._delivery.accepting:
                return
            pipe = self._pipes[fd]
            del self._turns.ready[fd]  # its next turn is after all the others
            before = self._delivery.taken
            turn = self._take(pipe, now)
            if taken := self._delivery.taken - before:
                self._pace.took(taken, pipe.room, behind=turn is Turn.BEHIND)
            match turn:
                case Turn.MORE | Turn.BEHIND:
                    pipe.deadline = None
                    self._turns.ready[fd] = None
                case Turn.NOTHING if pipe.left is not None:
                    self._end_line(pipe)
                    self._close(pipe)
                case Turn.NOTHING:
                    self._waiting.watch(fd)
                    self._wait_for_the_end_of_a_line(pipe, now)
        if not self._turns.ready and self._output is not None:
            self._output.caught_up()

    def _take(self, pipe: LogPipe, now: float) -> Turn:
        """Take the lines that are there, or some of them."""
        if pipe.left is not None and pipe.left <= 0:
            return Turn.NOTHING
        if self._nobody:
            return Turn.MORE if pipe.discard(CHUNK) else Turn.NOTHING
        portion = CHUNK if self._sink is None else self._sink.portion
        if pipe.gate is None and (moved := self._delivery.move(pipe, portion)) is not None:
            if not moved:
                return Turn.NOTHING
            return Turn.MORE if moved < portion else Turn.BEHIND
        data = pipe.look(self._peeker)
        lines, size = math.inf, float(portion)
        if pipe.gate is not None and pipe.left is None:
            if not data and not pipe.dropped:
                return Turn.NOTHING
            lines, admitted = self._admitted(pipe.gate, now)
            size = min(size, admitted)
            if pipe.gate.flow is Flow.DROPPING and data:
                return self._drop(pipe, data)
            if pipe.gate.flow is not Flow.PASSING:
                self._turns.put_off(pipe.fd, pipe.gate.wake_at(self._factor))
                return Turn.LATER
        if pipe.dropped:
            self._delivery.mark_dropped(pipe)
        if not data:
            return Turn.NOTHING
        cut = pipe.cut(data, lines, size)
        if cut is None:
            cut = self._delivery.as_it_is(pipe, data)
        if cut is None:
            return Turn.MORE if pipe.hold(data) else Turn.NOTHING
        block, count = cut
        if pipe.gate is not None:
            pipe.gate.take(block.count, len(block.data))
        self._deliver(pipe, block, count)
        all_but_a_part = len(block.data) + MAX_LINE >= len(data) and len(data) < CHUNK
        return Turn.MORE if all_but_a_part else Turn.BEHIND

    def _deliver(self, pipe: LogPipe, block: Block, count: int) -> None:
        pipe.lines += block.count
        pipe.bytes += len(block.data)
        self._delivery.deliver(pipe, block, count)

    @property
    def _factor(self) -> float:
        return self._sink.factor if self._sink is not None else 1.0

    def _admitted(self, gate: Gate, now: float) -> tuple[float, float]:
        lines, size = gate.look(now, self._factor)
        if gate.flow is Flow.PASSING and (lines < 1 or size < 1):
            gate.exhausted(now)
        return lines, size

    def _drop(self, pipe: LogPipe, data: bytes) -> Turn:
        """Throw the lines away that are too many."""
        end = data.rfind(b"\n") + 1
        if not end and len(data) <= MAX_LINE and not pipe.ended:
            return Turn.NOTHING
        end = end or len(data)
        lines = max(data.count(b"\n", 0, end), -(-end // MAX_LINE))
        self._delivery.drop(pipe, end - len(pipe.carried), lines)
        pipe.restart()
        return Turn.MORE

    def _close(self, pipe: LogPipe) -> None:
        self._delivery.mark_dropped(pipe)
        self._tally.retire(pipe)
        path = pipe.source.path
        self._waiting.remove_pipe(pipe.fd)
        pipe.close()
        del self._pipes[pipe.fd], self._by_path[path][pipe.fd]
        self._turns.forget(pipe.fd)
        if not self._by_path[path]:
            del self._by_path[path]
        if not self._stopping:
            self._delivery.retire(pipe)

    # --- lines without an end -----------------------------------------------------------------

    def _wait_for_the_end_of_a_line(self, pipe: LogPipe, now: float) -> None:
        if self._nobody or not pipe.has_part(self._peeker):
            return
        if pipe.deadline is None:
            pipe.deadline = now + PARTIAL_AFTER
            self._deadlines.append((pipe.deadline, pipe))

    def _end_line(self, pipe: LogPipe) -> None:
        """Take the beginning of a line whose end is not going to come, or not soon."""
        pipe.deadline = None
        if self._nobody or (data := pipe.look(self._peeker)) == b"":
            return
        cut = pipe.cut(data, math.inf, math.inf, final=True)
        if cut is not None:
            self._deliver(pipe, *cut)

    def _end_partial_lines(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now and self._delivery.accepting:
            deadline, pipe = self._deadlines.popleft()
            if pipe.deadline == deadline and pipe.fd in self._pipes:
                self._end_line(pipe)
                self._turns.ready[pipe.fd] = None


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run a pump until it is told to stop."""
    options = msgspec.msgpack.decode(argument, type=PumpOptions)
    link.stop_on_signal()
    interrupt_nobody()
    keep_freed_blocks()
    ledger = Ledger(fds if "notes" in fds else None)
    pump = Pump(link, options, Terminal(fds["terminal"]), ledger)
    pump.succeed(link.context.incarnation > 1)
    link.ready()
    pump.run()
