"""What a draft sends is what was put, whatever that is and whatever comes between."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from workers.queues.client.draft import Draft, whole
from workers.queues.client.put_options import checked, encoded
from workers.queues.client.serializers import batch_encoder_of, encoder_of
from workers.queues.client.unconfirmed import Sent, Unconfirmed
from workers.queues.frames import HEADER, SIZE, FrameReader, Kind, Options
from workers.queues.payload import ChunkDecoder, join, split

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
messages = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
options = st.builds(
    Options,
    priority=st.integers(0, 9),
    key=st.text(max_size=9),
    ttl=st.floats(0, 1e6),
    headers=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)


def parts(frame: bytes) -> tuple[int, int, bytes, bytes]:
    """Take a PUT apart: count, sequence, options, chunk."""
    reader = FrameReader()
    reader.space[: len(frame)] = frame
    reader.received(len(frame))
    found = reader.next()
    assert found is not None
    kind, count, sequence, body = found
    assert kind == Kind.PUT
    (size,) = SIZE.unpack_from(body)
    return (
        count,
        sequence,
        bytes(body[SIZE.size : SIZE.size + size]),
        bytes(body[SIZE.size + size :]),
    )


@given(st.lists(messages, min_size=1, max_size=30), options, st.integers(1, 2**64 - 1))
def test_a_sealed_draft_is_its_messages(put: list[Any], said: Options, sequence: int) -> None:
    """Messages encoded one by one are one array, with their options and number in front."""
    draft = Draft(encoder_of("msgspec"))
    draft.begin(encoded(said))
    for message in put:
        draft.add(message)
    count, number, found, chunk = parts(bytes(draft.seal(sequence)))
    assert (count, number, found) == (len(put), sequence, encoded(said))
    assert ChunkDecoder().decode(chunk, count) == msgspec.msgpack.decode(
        msgspec.msgpack.encode(put)
    )
    assert ChunkDecoder().decode(join(split(chunk))) == ChunkDecoder().decode(chunk)


@given(st.lists(messages, min_size=1, max_size=30), options)
def test_a_batch_is_the_same_as_one_by_one(put: list[Any], said: Options) -> None:
    """What put_many makes of messages is what puts of each make of them."""
    draft = Draft(encoder_of("msgspec"))
    draft.begin(encoded(said))
    for message in put:
        draft.add(message)
    one = parts(bytes(draft.seal(5)))
    other = parts(bytes(whole(put, encoded(said), 5, batch_encoder_of("msgspec"))))
    assert one[:3] == other[:3]
    assert split(one[3]) == split(other[3])


@given(st.lists(st.tuples(st.booleans(), messages), max_size=30))
def test_what_cannot_be_encoded_leaves_no_trace(put: list[tuple[bool, Any]]) -> None:
    """A message that fails in the middle of its encoding leaves the draft as it was."""
    draft, kept = Draft(encoder_of("msgspec")), list[Any]()
    for good, message in put:
        before = bytes(draft.buffer)
        try:
            draft.add(message if good else [message, object()])
            kept.append(message)
        except TypeError:
            assert not good
            assert bytes(draft.buffer) == before
    assert draft.count == len(kept)
    chunk = parts(bytes(draft.seal(1)))[3]
    assert ChunkDecoder().decode(chunk) == msgspec.msgpack.decode(msgspec.msgpack.encode(kept))


@given(st.lists(messages, min_size=2, max_size=9))
def test_the_last_message_can_be_taken_out(put: list[Any]) -> None:
    """What is taken back and added to another draft is the same there."""
    first, second = Draft(encoder_of("msgspec")), Draft(encoder_of("msgspec"))
    marks = [first.add(message) for message in put]
    second.add_encoded(first.take_back(marks[-1]))
    assert (first.count, second.count) == (len(put) - 1, 1)
    assert split(parts(bytes(second.seal(1)))[3]) == [msgspec.msgpack.encode(put[-1])]
    assert first.size == sum(len(msgspec.msgpack.encode(one)) for one in put[:-1]) + 3


@given(options)
def test_default_options_cost_nothing(said: Options) -> None:
    """Options come back as they were said; the default ones are no bytes at all."""
    made = encoded(said)
    assert (made == b"") == (said == Options())
    if made:
        assert msgspec.msgpack.decode(made, type=Options) == said
    fields = {name: getattr(said, name) for name in ("priority", "key", "ttl", "headers")}
    assert checked(fields) == said  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 90)), max_size=40), st.data())
def test_what_is_unconfirmed_adds_up(frames: list[tuple[int, int]], data: st.DataObject) -> None:
    """Messages and bytes are those of the frames that are neither confirmed nor refused."""
    unconfirmed, model = Unconfirmed(), dict[int, tuple[int, int]]()
    for sequence, (count, size) in enumerate(frames, start=1):
        unconfirmed.add(Sent(sequence, count, bytearray(HEADER.size + size)))
        model[sequence] = count, HEADER.size + size
        if data.draw(st.booleans()):
            upto = data.draw(st.integers(0, sequence))
            unconfirmed.confirm(upto)
            model = {one: what for one, what in model.items() if one > upto}
        assert unconfirmed.messages == sum(count for count, _ in model.values())
        assert unconfirmed.bytes == sum(size for _, size in model.values())
        assert [sent.sequence for sent in unconfirmed] == list(model)
