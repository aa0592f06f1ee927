"""What a writer has sent: until it is confirmed, it is kept, and sent again if it must be."""

import time

import msgspec

from workers.queues import heap
from workers.queues.client.door import Door
from workers.queues.client.unconfirmed import Sent, Unconfirmed
from workers.queues.errors import QueueTimeout, no_room, rejection
from workers.queues.frames import Kind, Rejected
from workers.queues.ring import LEAST

#: Messages, and bytes, that were sent and are not confirmed: with these a writer waits.
WINDOW_MESSAGES = 1024
WINDOW_BYTES = 1 << 20
#: Of these, so many are too few to listen after each: nobody waits for what would be heard.
FEW_MESSAGES, FEW_BYTES = 16, 1 << 16
#: Seconds for one attempt to reach the broker, of who must not wait.
ATTEMPT = 0.05


class Outlet:
    """Sends the frames of one writer, in order, each until it is confirmed or refused.

    ``calm``: there is room for more, and no need to listen before: when it has listened last, all
    but a few were confirmed, and few were sent since.

    Args:
        queue: its name.
        door: the connection, made.

    """

    __slots__ = ("calm", "door", "queue", "sequence", "unconfirmed")

    def __init__(self, queue: str, door: Door) -> None:
        self.queue, self.door = queue, door
        self.unconfirmed = Unconfirmed()
        self.sequence = 0  # of the last frame
        self.calm = False

    def send(self, count: int, frame: bytearray) -> None:
        """Send a frame that was sealed with the next sequence number."""
        self.sequence += 1
        # Sent first, since somebody waits for it. If the connection is broken, `wait_for` sends it
        # by another one.
        if len(frame) < LEAST:
            whole = self.door.post(frame) and not self.door.backlog
            self.unconfirmed.add(Sent(self.sequence, count, frame))
            self.calm = self.calm and whole and self._are_few
        else:
            heap.keep()
            self.door.post_large(frame)
            self.unconfirmed.add(Sent(self.sequence, count, frame))
            self.calm = False

    def collect(self) -> None:
        """Take the confirmations that are there."""
        if self.unconfirmed:
            for kind, _count, sequence, body in self.door.frames(block=False):
                self._heard(kind, sequence, body)
        refused = self.unconfirmed.any_refused
        self.calm = self._are_few and not (refused or self._held_back)

    def wait_for_room(self, deadline: float | None) -> None:
        """Take the confirmations that are there, and wait until one more may be sent.

        Args:
            deadline: by `time.monotonic`; None: for ever.

        Raises:
            QueueFull: not by the deadline, or something was refused.
            QueueUnavailable: there is no broker by the deadline.

        """
        self.collect()
        if self._held_back:
            since = time.monotonic()
            self.wait_for(WINDOW_MESSAGES // 2, WINDOW_BYTES // 2, deadline)
            if self._held_back:
                raise self.full(since)
        self.raise_refused()

    def wait_for_all(self, deadline: float | None) -> None:
        """Wait until everything is confirmed. Errors are those of `wait_for_room`."""
        since = time.monotonic()
        if not self.wait_for(0, 0, deadline):
            raise self.full(since)
        self.raise_refused()

    def has_room(self) -> bool:
        """Whether one more may be sent now. Errors are those of `wait_for_room`."""
        if not self.door.connected:
            self._reconnect(time.monotonic() + ATTEMPT)
        self.collect()
        self.door.push()
        self.raise_refused()
        return not self._held_back

    def is_confirmed(self) -> bool:
        """Whether everything is confirmed now. Errors are those of `wait_for_room`."""
        self.has_room()
        return not self.unconfirmed

    def wait_until_sent(self) -> None:
        """Wait until the kernel has taken it all."""
        if self.door.backlog:
            self.wait_for(self.unconfirmed.messages, self.unconfirmed.bytes, None)

    def wait_for(self, messages: int, size: int, deadline: float | None) -> bool:
        """Wait until all is sent and no more than so much is unconfirmed; False at the deadline."""
        sent, door = self.unconfirmed, self.door
        self.calm = False  # what is heard in here may be a refusal, or the end of the connection
        while sent.messages > messages or sent.bytes > size or door.backlog or not door.connected:
            if not door.connected:
                self._reconnect(deadline)
                continue
            before = sent.messages
            for kind, _count, sequence, body in door.frames(block=True, deadline=deadline):
                self._heard(kind, sequence, body)
            if sent.messages == before and deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def raise_refused(self) -> None:
        """Raise what the broker has refused since; a duplicate is no error."""
        if not self.unconfirmed.any_refused:
            return
        refused = [one for one in self.unconfirmed.take_refused() if one[1].reason != "duplicate"]
        if refused:
            raise rejection(self.queue, refused[0][1], sum(sent.count for sent, _ in refused))

    def full(self, since: float) -> QueueTimeout:
        """Make the error of a wait that took too long. ``since``: by `time.monotonic`."""
        return no_room(self.queue, time.monotonic() - since, self.door.welcome)

    @property
    def _are_few(self) -> bool:
        return self.unconfirmed.messages <= FEW_MESSAGES and self.unconfirmed.bytes <= FEW_BYTES

    @property
    def _held_back(self) -> bool:
        sent, door = self.unconfirmed, self.door
        full = sent.messages >= WINDOW_MESSAGES or sent.bytes >= WINDOW_BYTES
        return full or door.backlog or not door.connected

    def _heard(self, kind: int, sequence: int, body: memoryview) -> None:
        if kind == Kind.CONFIRM:
            self.unconfirmed.confirm(sequence)
        elif kind == Kind.REJECTED:
            self.unconfirmed.refuse(sequence, msgspec.msgpack.decode(body, type=Rejected))

    def _reconnect(self, deadline: float | None) -> None:
        """Connect to the broker again, and send again what it has not confirmed."""
        self.door.connect(deadline)
        for sent in self.unconfirmed:
            if not self.door.post(sent.frame):
                return


def deadline_of(timeout: float | None) -> float | None:
    """When so many seconds are over, by `time.monotonic`; None: never."""
    return None if timeout is None else time.monotonic() + timeout
