"""The loop of a consumer whose ``handle`` is a coroutine: messages are tasks, so many at once."""

import asyncio

from supervisor.link import WorkerLink
from workers.loops.handler import Handler
from workers.loops.lanes import Lanes, at_hand
from workers.queues.client.reader import Delivered, QueueReader
from workers.queues.client.readiness import Readiness, stopped


class TaskLoop:
    """Takes messages, and makes each a task.

    Args:
        consumer: whose messages they are.
        reader: where they come from.
        link: the worker's.

    """

    def __init__(self, consumer: Handler, reader: QueueReader, link: WorkerLink) -> None:
        self._consumer, self._reader, self._link = consumer, reader, link
        self._lanes = Lanes(consumer, reader, link)
        self._tasks: set[asyncio.Task[None]] = set()
        self._beaten = -1
        self._ended = False  # the loop cancels all tasks

    def run(self) -> None:
        """Work until there is an end; wait for what was begun, and give back the rest."""
        asyncio.run(self._run_to_the_end())
        self._reader.close()
        if self._lanes.error is not None:
            raise self._lanes.error

    async def _run_to_the_end(self) -> None:
        try:
            await self._run()
        finally:
            self._ended = True

    async def _run(self) -> None:
        readiness, lanes = Readiness(), self._lanes
        stop = asyncio.ensure_future(stopped(self._link))
        while not lanes.over or lanes.busy:
            lanes.receive()
            while (begun := lanes.begin()) is not None:
                task = asyncio.ensure_future(self._handle(*begun))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._reader.flush()
            if not lanes.busy or lanes.handled != self._beaten:
                self._beaten = lanes.handled
                self._link.beat(lanes.handled, idle=not lanes.busy)
            door = self._reader.door
            waits: set[asyncio.Future[None]] = set(self._tasks)
            if not lanes.over:
                waits.add(stop)
            if door.connected:
                ready = readiness.wait(door.fileno(), None, writable=door.backlog)
                waits.add(asyncio.ensure_future(ready))
            elif not lanes.busy:
                continue  # connect again
            patience = self._link.beat_interval
            await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for future in waits - self._tasks - {stop}:
                future.cancel()
            await asyncio.sleep(0)
        stop.cancel()

    async def _handle(self, lane: int, chunk: Delivered) -> None:
        at_hand.set(chunk)
        try:
            result = await self._consumer.handle(chunk.messages[chunk.done])
        except Exception as error:
            self._lanes.failed(lane, chunk, error)
            return
        except asyncio.CancelledError as error:
            if self._ended:
                raise
            self._lanes.failed(lane, chunk, error)  # by its handler, or what that waited for
            return
        except BaseException:  # sys.exit: it ends the loop, which cancels the others
            self._ended = True
            raise
        self._lanes.done(lane, chunk, result)
