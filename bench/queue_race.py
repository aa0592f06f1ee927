"""One run of one transport: processes at a common start, and what it took them."""

import os
import select
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.queue_transports import Transport, fork

#: Seconds until a run is called off.
PATIENCE = 60.0
#: What is said, in nanoseconds. b"r": ready; b"s": started at; b"e": ended; the last message was
#: handled at, messages handled, processor time; b"p": the producer has put all, processor time.
_RECORD = struct.Struct("<cqqq")


@dataclass(frozen=True)
class Run:
    """A run that is over. ``seconds``: from the first put to the end of the last handle."""

    messages: int
    seconds: float
    cpu: float  # seconds of processor time of the process in the middle, if there is one
    all_cpu: float  # of it, the producer and the consumers; whatever else the machine does

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def all_cpu_us(self) -> float:
        """Microseconds of processor time, of all processes, for a message."""
        return self.all_cpu / self.messages * 1e6

    @property
    def cpu_us(self) -> float:
        """Microseconds of the process in the middle for a message."""
        return self.cpu / self.messages * 1e6


class _Reports:
    """What the processes of a run say, and the start that they wait for."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._gate, self._open = os.pipe()

    def say(self, kind: bytes, when: int = 0, count: int = 0, cpu: int = 0) -> None:
        os.write(self._write, _RECORD.pack(kind, when, count, cpu))

    def wait_for_start(self) -> None:
        self.say(b"r")
        os.close(self._open)
        os.read(self._gate, 1)  # its end: the parent has closed it

    def start(self) -> None:
        os.close(self._open)

    def take(self, kinds: bytes, count: int) -> list[tuple[bytes, int, int, int]]:
        deadline = time.monotonic() + PATIENCE
        found: list[tuple[bytes, int, int, int]] = []
        while len(found) < count:
            ready, _, _ = select.select([self._read], [], [], deadline - time.monotonic())
            if not ready:
                raise TimeoutError(f"{len(found)} of {count} processes said {kinds!r}")
            said = _RECORD.unpack(os.read(self._read, _RECORD.size))
            assert said[0] in kinds, (said, kinds)
            found.append(said)
        return found

    def close(self) -> None:
        for fd in (self._read, self._write, self._gate):
            os.close(fd)


def race(transport: Transport, payload: Any, count: int, consumers: int) -> Run:
    """Put a message so many times, and have consumers handle them all."""
    transport.open(consumers)  # first: what it starts must not inherit the gate
    reports = _Reports()

    def consume(index: int) -> None:
        handled = last = 0
        clock = time.monotonic_ns

        def handle(message: Any) -> None:
            nonlocal handled, last
            handled += 1
            last = clock()  # not when it has ended: that takes a process a millisecond

        before = 0

        def ready() -> None:
            nonlocal before
            reports.wait_for_start()
            before = time.process_time_ns()

        transport.consumer(index, ready, handle)
        reports.say(b"e", last, handled, time.process_time_ns() - before)

    def produce() -> None:
        messages = [payload] * count  # the same object: peers pickle it each time all the same

        before = 0

        def ready() -> None:
            nonlocal before
            reports.wait_for_start()
            reports.say(b"s", time.monotonic_ns())
            before = time.process_time_ns()

        transport.producer(ready, messages, consumers)
        reports.say(b"p", cpu=time.process_time_ns() - before)

    try:
        pids = _processes(produce, consume, consumers, reports)
        began = reports.take(b"s", 1)[0][1]
        said = reports.take(b"ep", consumers + 1)
        ends = [(when, handled) for kind, when, handled, _ in said if kind == b"e"]
        cpu = transport.cpu()
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        assert sum(handled for _, handled in ends) == count, (ends, count)
        transport.check(count + consumers)
    finally:
        transport.close()
        reports.close()
    all_cpu = cpu + sum(one for *_, one in said) / 1e9
    return Run(count, (max(when for when, _ in ends) - began) / 1e9, cpu, all_cpu)


def latencies(transport: Transport, payload: bytes, rate: float, count: int) -> list[float]:
    """Put messages at a steady rate; microseconds from each put to its handle."""
    transport.open(1)
    reports = _Reports()
    read, write = os.pipe()

    def consume(index: int) -> None:
        delays: list[int] = []

        def handle(message: Any) -> None:
            delays.append(time.monotonic_ns() - message[0])

        transport.consumer(index, reports.wait_for_start, handle)
        with open(write, "wb") as file:
            file.write(struct.pack(f"<{len(delays)}q", *delays))

    def produce() -> None:
        transport.producer(reports.wait_for_start, _paced(payload, rate, count), 1)

    try:
        pids = _processes(produce, consume, 1, reports)
        os.close(write)
        with open(read, "rb") as file:
            data = file.read()
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        found = [nanoseconds / 1e3 for (nanoseconds,) in struct.iter_unpack("<q", data)]
        assert len(found) == count, (len(found), count)
    finally:
        transport.close()
        reports.close()
    return found[count // 10 :]  # without the first ones


def _paced(payload: bytes, rate: float, count: int) -> Iterator[tuple[int, bytes]]:
    due = time.monotonic()
    for _ in range(count):
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        yield time.monotonic_ns(), payload


def _processes(produce: Any, consume: Any, consumers: int, reports: _Reports) -> Iterable[int]:
    pids = [fork(lambda index=index: consume(index)) for index in range(consumers)]  # type: ignore[misc]
    pids.append(fork(produce))
    reports.take(b"r", len(pids))
    reports.start()
    return pids
