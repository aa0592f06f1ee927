"""The loop of a consumer whose messages are handled by threads: a bulkhead inside one worker.

The main thread takes messages and gives them to lanes; each lane is a thread. What they share is
touched under one lock, which nobody holds while he waits or handles.

The main thread beats when a message is done, and when nothing is to be done: there is none, or each
lane that has one is held back by another queue, and says so again and again.
"""

import contextvars
import math
import os
import queue
import select
import threading
import time

from supervisor.link import LONGEST_WAIT, WorkerLink
from workers.loops.handler import Handler
from workers.loops.lanes import Lanes, at_hand
from workers.queues.client.reader import Delivered, QueueReader


class ThreadLoop:
    """Takes messages, and has threads handle them.

    Args:
        consumer: whose messages they are.
        reader: where they come from.
        link: the worker's.

    """

    def __init__(self, consumer: Handler, reader: QueueReader, link: WorkerLink) -> None:
        self._consumer, self._reader, self._link = consumer, reader, link
        self._lanes = Lanes(consumer, reader, link)
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[int, Delivered] | None] = queue.SimpleQueue()
        self._freed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._beaten = -1  # the progress that was said last
        # By lane's thread: when it last said that it waits. -inf: not yet; inf: it has no work.
        self._rested: dict[int | None, float] = {}
        link.on_rest = self._rests

    def run(self) -> None:
        """Work until there is an end; wait for what was begun, and give back the rest."""
        threads = [
            threading.Thread(target=self._lane, name=f"lane {number}", daemon=True)
            for number in range(self._reader.lanes)
        ]
        for thread in threads:
            thread.start()
        self._rested = {thread.ident: math.inf for thread in threads}
        while True:
            with self._lock:
                if self._lanes.over and not self._lanes.busy:
                    break
                self._lanes.receive()
                while (begun := self._lanes.begin()) is not None:
                    self._work.put(begun)
                self._reader.flush()
                idle = not self._lanes.busy
            self._wait(idle)
        for _ in threads:
            self._work.put(None)
        for thread in threads:
            thread.join()
        self._rested = {}  # another thread may get the number of one of them
        os.close(self._freed)
        self._reader.close()
        if self._lanes.error is not None:
            raise self._lanes.error

    def _wait(self, idle: bool) -> None:
        """Wait for messages, for a lane that is done, or for a request to stop."""
        poll = select.poll()
        poll.register(self._freed, select.POLLIN)
        if self._reader.door.connected:
            events = select.POLLIN | (select.POLLOUT if self._reader.door.backlog else 0)
            poll.register(self._reader.door.fileno(), events)
        elif idle:
            return  # connect again
        if not self._link.interrupted:
            poll.register(self._link.fileno(), select.POLLIN)
            poll.register(self._link.wakeup_fd, select.POLLIN)
        interval = self._link.beat_interval
        poll.poll(None if interval is None else min(interval, LONGEST_WAIT) * 1000)
        try:
            os.eventfd_read(self._freed)
        except BlockingIOError:
            pass
        if self._link.stopping:
            return
        with self._lock:
            idle = idle or self._waits_elsewhere()
            if idle or self._lanes.handled != self._beaten:
                self._beaten = self._lanes.handled
                self._link.beat(self._lanes.handled, idle=idle)

    def _rests(self) -> None:
        """A thread waits for a queue: one of ours, or the author's. It may hold the lock."""
        thread = threading.get_ident()
        if thread in self._rested:
            self._rested[thread] = time.monotonic()
            os.eventfd_write(self._freed, 1)

    def _waits_elsewhere(self) -> bool:
        """Whether each that is at work is held back: who hangs does not say that he waits."""
        since = time.monotonic() - 2 * (self._link.beat_interval or 0.0)
        return since <= min(self._rested.values()) < math.inf

    def _lane(self) -> None:
        thread = threading.get_ident()
        while (begun := self._work.get()) is not None:
            lane, chunk = begun
            self._rested[thread] = -math.inf
            contextvars.copy_context().run(self._handle, lane, chunk)
            self._rested[thread] = math.inf
            os.eventfd_write(self._freed, 1)

    def _handle(self, lane: int, chunk: Delivered) -> None:
        at_hand.set(chunk)
        try:
            result = self._consumer.handle(chunk.messages[chunk.done])
        except Exception as error:
            with self._lock:
                self._lanes.failed(lane, chunk, error)
            return
        except BaseException as error:  # sys.exit, which would end this thread and nothing else
            with self._lock:
                self._lanes.end(lane, error)
            return
        with self._lock:
            self._lanes.done(lane, chunk, result)
