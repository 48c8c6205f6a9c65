"""The output of a command as the Engine frames it, however hostile."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.containers.inside import Output
from saltext_logilab.errors import UnavailableError

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12)


@given(FRAMES, st.integers(1, 30), st.integers(0, 100))
def test_frames_cut_anywhere(frames, step, most):
    """Each stream has its bytes in order, up to the bound of both; the size counts all."""
    raw = b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in frames)
    output = Output(most)
    for start in range(0, len(raw), step):
        output.feed(raw[start : start + step])
    done = output.done(0)
    whole = {stream: b"".join(data for one, data in frames if one == stream) for stream in (1, 2)}
    assert whole[1].startswith(done.stdout)
    assert whole[2].startswith(done.stderr)
    assert done.size == len(whole[1]) + len(whole[2])
    assert len(done.stdout) + len(done.stderr) == min(most, done.size)
    assert done.is_cut == (done.size > most)


@pytest.mark.parametrize("stream", [0, 3, 72])
def test_what_is_no_frame(stream):
    """One sentence; HTML in the place of frames, too."""
    with pytest.raises(UnavailableError, match="malformed"):
        Output(10).feed(struct.pack(">BxxxL", stream, 2) + b"ab")
