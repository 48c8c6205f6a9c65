"""What lies in a store: signed, bound to its place, and refused when anything of that is not so."""

import dataclasses

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import WireError
from saltext_logilab.masters.records import member_id
from saltext_logilab.masters.stores.backend import slices
from saltext_logilab.masters.stores.letters import (
    GONE_AT_ONCE,
    HEAD_LIMIT,
    PART_SIZE,
    Head,
    Part,
    Place,
    after,
    open_head,
    open_part,
    parts,
    seal_head,
    seal_part,
)
from tests.support.minion_keys import IDENTITIES

ME, OTHER = IDENTITIES[:2]
GROUP = b"g" * 32
MEMBER = member_id(ME.public)
ORIGIN = MEMBER + b"1234"
START = Place(b"log-0001")
PART = Part([(b"blob", b"signature")], {ORIGIN: 7}, [(ORIGIN, 3)])
HEAD = Head(
    GROUP, MEMBER, b"run-0001", 5, after(START, b"x"), {ORIGIN: 7}, b"journal", {ORIGIN: 7}, b"digest",
    {member_id(OTHER.public): b"run-0002"}, {member_id(OTHER.public): (b"journal", {ORIGIN: 2})},
    {member_id(OTHER.public): b"log-0002"}, True, {"name": "paris"},
)  # fmt: skip


def test_a_head_is_read_as_it_was_written():
    """With all that it says."""
    assert open_head(seal_head(HEAD, ME), GROUP, MEMBER, ME.public) == HEAD


def test_a_part_is_read_as_it_was_written():
    """With its records, what is gone of earlier ones, and how far it goes."""
    assert open_part(seal_part(PART, GROUP, MEMBER, START, ME), GROUP, MEMBER, ME.public, START) == PART


@given(st.data())
def test_no_byte_can_be_changed(data):
    """Whichever it is."""
    sealed = bytearray(data.draw(st.sampled_from([seal_head(HEAD, ME), seal_part(PART, GROUP, MEMBER, START, ME)])))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        open_head(bytes(sealed), GROUP, MEMBER, ME.public)
    with pytest.raises(WireError):
        open_part(bytes(sealed), GROUP, MEMBER, ME.public, START)


@pytest.mark.parametrize(
    "place",
    [
        Place(b"log-0002"),
        after(START, seal_part(PART, GROUP, MEMBER, START, ME)),
        dataclasses.replace(START, chain=b"c" * 32),
    ],
)
def test_a_part_stands_in_its_place_only(place):
    """Not in another log, not at another number, not behind another part."""
    with pytest.raises(WireError, match="not the one that should stand there"):
        open_part(seal_part(PART, GROUP, MEMBER, START, ME), GROUP, MEMBER, ME.public, place)


def test_what_is_of_another_group_or_member_is_refused():
    """Copied under another name, or signed by somebody else."""
    head, part = seal_head(HEAD, ME), seal_part(PART, GROUP, MEMBER, START, ME)
    for group, member in ((b"h" * 32, MEMBER), (GROUP, member_id(OTHER.public))):
        with pytest.raises(WireError, match="another group or member"):
            open_head(head, group, member, ME.public)
        with pytest.raises(WireError, match="should stand there"):
            open_part(part, group, member, ME.public, START)
    with pytest.raises(WireError, match="wrong signature"):
        open_head(head, GROUP, MEMBER, OTHER.public)
    with pytest.raises(WireError, match="wrong signature"):
        open_head(part, GROUP, MEMBER, ME.public)


@pytest.mark.parametrize("sealed", [b"", b"\xc1", msgpack.packb([1]), msgpack.packb(7), bytes(HEAD_LIMIT + 1)])
def test_nonsense_is_refused(sealed):
    """Also what is too large, before it is looked at."""
    with pytest.raises(WireError):
        open_head(sealed, GROUP, MEMBER, ME.public)


@given(st.lists(st.integers(1, PART_SIZE), max_size=30), st.integers(0, 3 * GONE_AT_ONCE))
def test_parts_are_bounded_and_lose_nothing(sizes, gone):
    """The last one, and no other, says how far they go."""
    pairs = [(bytes(size), b"s") for size in sizes]
    cut = list(parts(pairs, {ORIGIN: 7}, [(ORIGIN, one) for one in range(gone)]))
    assert [pair for part in cut for pair in part.pairs] == pairs
    assert [one for part in cut for _, one in part.gone] == list(range(gone))
    assert [part.through for part in cut] == [None] * (len(cut) - 1) + [{ORIGIN: 7}]
    assert all(sum(len(blob) for blob, _ in part.pairs) <= PART_SIZE for part in cut)
    assert all(len(part.gone) <= GONE_AT_ONCE for part in cut)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 60), st.integers(1, 9))
def test_slices_are_bounded_and_lose_nothing(sizes, size, count):
    """No more bytes than asked for, but for a single part that is larger by itself."""
    several = [(number, bytes(one)) for number, one in enumerate(sizes)]
    cut = slices(several, size, count)
    assert [one for piece in cut for one in piece] == several
    assert all(len(piece) <= count and piece for piece in cut)
    assert all(len(piece) == 1 or sum(len(one) for _, one in piece) <= size for piece in cut)
