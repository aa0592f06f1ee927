"""The log pump: reads every process's pipe and prints the lines.

    pipes of slots ──peek──► lines ──render──► terminal ──printed──► take out of the pipe

Root holds the pipes: a pump that dies loses nothing, and its successor goes on where it stopped.
One epoll, in which pipes are edge-triggered, because what was seen may stay in them; `_ready` are
those that may have more. Each pass looks once into each of them, at most `peek.CHUNK` bytes, so
that no flood delays the others. With nothing to read it sleeps for ever.
"""

import os
import select
import time
from collections import defaultdict, deque

import msgspec

from supervisor.link import Channel, StopRequest, WorkerLink
from supervisor.logs.messages import Forget, Process, PumpOptions, Source, ToPump
from supervisor.logs.output import Output
from supervisor.logs.peek import CHUNK, Peeker
from supervisor.logs.source import LAST_BYTES, LogPipe
from supervisor.logs.terminal import Terminal

#: Seconds after which the beginning of a line is printed without its end.
PARTIAL_AFTER = 2.0
#: Messages of root's that are read in one pass.
MAX_MESSAGES = 256
#: Processes remembered of a path whose pipes are not known yet, or any more.
REMEMBERED = 4


class Pump:
    """One pump at work."""

    def __init__(self, link: WorkerLink, options: PumpOptions, terminal: Terminal) -> None:
        self._channel: Channel[ToPump] = Channel(link.socket, ToPump)
        self._epoll = select.epoll()
        self._output = Output(terminal, options, self._epoll)
        self._peeker = Peeker()
        self._pipes: dict[int, LogPipe] = {}  # by descriptor
        self._ready: dict[int, None] = {}  # descriptors, in the order of their turns
        self._by_path: defaultdict[str, dict[int, LogPipe]] = defaultdict(dict)
        self._writers: defaultdict[str, deque[Process]] = defaultdict(_few_processes)
        self._deadlines: deque[tuple[float, LogPipe]] = deque()  # all equally far away: sorted
        self._unconsumed: LogPipe | None = None  # whose lines wait for the terminal
        self._stopping = False
        self._link = link
        self._epoll.register(link.fileno(), select.EPOLLIN)
        self._epoll.register(link.wakeup_fd, select.EPOLLIN)

    def say_it_is_new(self) -> None:
        """Mark the place where the pump before died, perhaps in the middle of a line."""
        self._output.note("the log pump was restarted: lines before this may come again")

    def run(self) -> None:
        """Print until root says stop (or is gone), and then what is left."""
        while self._pipes or not self._stopping:
            self._collect(self._epoll.poll(self._timeout()))
            now = time.monotonic()
            self._output.check(now)
            self._settle()
            self._serve(now)
            self._end_partial_lines(now)
        while not self._output.clear and not self._output.dropping:
            self._collect(self._epoll.poll(self._output.timeout(time.monotonic())))
            self._output.check(time.monotonic())

    # --- waiting ------------------------------------------------------------------------------

    def _timeout(self) -> float | None:
        now = time.monotonic()
        late = self._output.timeout(now)
        if not self._accepting:
            return late
        if self._ready:
            return 0.0
        while self._deadlines and self._deadlines[0][1].deadline != self._deadlines[0][0]:
            self._deadlines.popleft()
        partial = max(0.0, self._deadlines[0][0] - now) if self._deadlines else None
        return min((wait for wait in (late, partial) if wait is not None), default=None)

    @property
    def _accepting(self) -> bool:
        return self._output.clear or self._output.dropping

    def _collect(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            if fd in self._pipes:
                self._ready[fd] = None
            elif fd == self._link.fileno():
                self._read_link()
            elif fd == self._link.wakeup_fd:
                os.eventfd_read(fd)
                self._stop()
            elif fd == self._output.fd:
                self._output.flush()
                self._settle()

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
                self._epoll.unregister(self._link.fileno())
                self._stop()
                return
            self._handle(*received)

    def _handle(self, message: ToPump, fds: list[int]) -> None:
        match message:
            case Source():
                self._add(LogPipe(message, fds[0]))
            case Process():
                self._writers[message.path].append(message)
                for pipe in self._by_path.get(message.path, {}).values():
                    pipe.written_by(message)
                    self._ready[pipe.fd] = None
            case Forget():
                for pipe in self._pipes.values():
                    if pipe.source.id == message.id:
                        self._end(pipe)
            case StopRequest():
                self._stop()

    def _add(self, pipe: LogPipe) -> None:
        for process in self._writers[pipe.source.path]:
            pipe.written_by(process)
        pipe.interrupted = False  # it may be us who are new
        self._pipes[pipe.fd] = self._by_path[pipe.source.path][pipe.fd] = pipe
        self._epoll.register(pipe.fd, select.EPOLLIN | select.EPOLLET)
        self._ready[pipe.fd] = None
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
            self._ready[pipe.fd] = None

    # --- pipes --------------------------------------------------------------------------------

    def _serve(self, now: float) -> None:
        for fd in list(self._ready):
            if not self._accepting:
                return
            pipe = self._pipes[fd]
            del self._ready[fd]  # its next turn is after all the others
            if self._progress(pipe):
                pipe.deadline = None
                self._ready[fd] = None
            elif pipe.left is not None:
                self._end_line(pipe)
                self._close(pipe)
            elif not self._output.gone:
                self._wait_for_the_end_of_a_line(pipe, now)
        if not self._ready:
            self._output.caught_up()

    def _progress(self, pipe: LogPipe) -> bool:
        """Print the lines that are there; False if there are none, or enough was taken."""
        if pipe.left is not None and pipe.left <= 0:
            return False
        if self._output.gone:
            return pipe.discard(CHUNK)
        return self._print(pipe)

    def _print(self, pipe: LogPipe, *, final: bool = False) -> bool:
        lines = pipe.look(self._peeker, final=final)
        if lines:
            self._unconsumed = pipe
            self._output.print(lines)
            self._settle()
        return bool(lines)

    def _settle(self) -> None:
        """Take printed lines out of their pipe: only now, so that a kill cannot lose them."""
        if self._accepting and self._unconsumed is not None:
            self._unconsumed.consume()
            self._unconsumed = None

    def _close(self, pipe: LogPipe) -> None:
        self._settle_anyway(pipe)
        path = pipe.source.path
        self._epoll.unregister(pipe.fd)  # closing alone would not: root has it open too
        os.close(pipe.fd)
        del self._pipes[pipe.fd], self._by_path[path][pipe.fd]
        self._ready.pop(pipe.fd, None)
        if not self._by_path[path]:
            del self._by_path[path]
            self._writers.pop(path, None)

    def _settle_anyway(self, pipe: LogPipe) -> None:
        if self._unconsumed is pipe:
            pipe.consume()
            self._unconsumed = None

    # --- lines without an end -----------------------------------------------------------------

    def _wait_for_the_end_of_a_line(self, pipe: LogPipe, now: float) -> None:
        interrupted, pipe.interrupted = pipe.interrupted, False
        if not pipe.has_part(self._peeker):
            return
        if interrupted:
            self._end_line(pipe)
        elif pipe.deadline is None:
            pipe.deadline = now + PARTIAL_AFTER
            self._deadlines.append((pipe.deadline, pipe))

    def _end_line(self, pipe: LogPipe) -> None:
        """Print the beginning of a line whose end is not going to come, or not soon."""
        pipe.deadline = None
        if not self._output.gone:
            self._print(pipe, final=True)

    def _end_partial_lines(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now and self._accepting:
            deadline, pipe = self._deadlines.popleft()
            if pipe.deadline == deadline and pipe.fd in self._pipes:
                self._end_line(pipe)
                self._ready[pipe.fd] = None


def _few_processes() -> deque[Process]:
    return deque(maxlen=REMEMBERED)


def main(link: WorkerLink, argument: bytes, fds: dict[str, int]) -> None:
    """Run a pump until it is told to stop."""
    options = msgspec.msgpack.decode(argument, type=PumpOptions)
    link.stop_on_signal()
    pump = Pump(link, options, Terminal(fds["terminal"]))
    if link.context.incarnation > 1:
        pump.say_it_is_new()
    link.ready()
    pump.run()
