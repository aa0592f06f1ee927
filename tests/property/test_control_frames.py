"""Frames come out whole and in order, in whatever pieces their bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.control.frames import HEADER_BYTES, FrameDecoder, frame
from supervisor.control.messages import decode_reply, decode_request
from supervisor.errors import ProtocolError

LIMIT = 300
payloads = st.lists(st.binary(min_size=1, max_size=LIMIT), max_size=8)


@given(payloads, st.lists(st.integers(1, 64), min_size=1), st.data())
def test_any_chunking_gives_the_same_payloads(
    sent: list[bytes], sizes: list[int], data: st.DataObject
) -> None:
    """Where the stream is cut does not matter."""
    stream = b"".join(frame(payload, LIMIT) for payload in sent)
    decoder = FrameDecoder(LIMIT)
    received: list[bytes] = []
    while stream:
        size = data.draw(st.sampled_from(sizes))
        received += decoder.feed(stream[:size])
        stream = stream[size:]
    assert received == sent
    assert not decoder.partial


@given(st.binary(max_size=2000))
def test_garbage_never_buffers_more_than_a_frame(garbage: bytes) -> None:
    """Whatever arrives, the decoder holds less than one frame or refuses."""
    decoder = FrameDecoder(LIMIT)
    try:
        decoder.feed(garbage)
    except ProtocolError:
        return
    assert len(decoder._buffer) < HEADER_BYTES + LIMIT


@given(st.integers(LIMIT + 1, 2**32 - 1))
def test_a_length_above_the_limit_is_refused_at_once(length: int) -> None:
    """With the header alone, before a byte of the payload."""
    with pytest.raises(ProtocolError):
        FrameDecoder(LIMIT).feed(length.to_bytes(HEADER_BYTES, "big"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    """Nothing else comes out of the decoders."""
    for decode in (decode_request, decode_reply):
        try:
            decode(payload)
        except ProtocolError:
            pass
