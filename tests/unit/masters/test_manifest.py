"""Manifests of files: what a name may be, and that nothing but what was signed is taken."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as some

from saltext_logilab.errors import RefusedError, WireError
from saltext_logilab.masters.files import manifest
from saltext_logilab.masters.files.manifest import Entry, Limits, Manifest, Summary, difference, summary, unfit
from saltext_logilab.masters.files.trees import scan, stamp
from tests.support.minion_keys import IDENTITIES

GIVER, TAKER, OTHER = (one.public for one in IDENTITIES)
NONCE = b"n" * manifest.NONCE_SIZE
WIDE = Limits(1000, 1 << 20)


def entry(path: str, content: bytes = b"d" * 32) -> Entry:
    """Return an entry for ``path``."""
    return Entry(path, 3 if content else 0, content, 0o644)


@pytest.mark.parametrize(
    "path",
    [
        "../../x", "/etc/cron.d/x", "a/../../x", "..", ".", "", "a//b", "a/", "./a", "a\nb", "a\x00b", "a\\b",
        "a\udcff", "x" * 256, "/".join(["d"] * 65), "é" * 128, "/".join(["d" * 200] * 6),
    ],
    ids=lambda one: ascii(one)[:20],
)  # fmt: skip
def test_names_that_lead_out_or_are_none_are_refused(path: str) -> None:
    """As an entry, nothing of the manifest is taken: in Salt's own cluster such a name writes outside of the roots."""
    with pytest.raises(WireError, match="nothing of it is taken"):
        manifest.read([entry(path).wire()])


@given(some.text(max_size=40))
def test_what_is_not_refused_stays_below_its_root(path: str) -> None:
    """Whatever the name."""
    if not unfit(path):
        assert PurePosixPath("/root", path).is_relative_to("/root")
        assert ".." not in PurePosixPath(path).parts
        assert str(PurePosixPath(path)) == path


@pytest.mark.parametrize("path", ["top.sls", ".hidden", "web/files/a b.conf", "Überschrift", "a…b", "x" * 255])
def test_usual_names_are_taken(path: str) -> None:
    """Hidden files and other alphabets too."""
    assert manifest.read([entry(path).wire()]) == [entry(path)]


@pytest.mark.parametrize(
    "told",
    [None, "abc", ["a", 1, b"d" * 32], ["a", -1, b"d" * 32, 0], ["a", True, b"d" * 32, 0], ["a", 1, b"d", 0],
     ["a", 1, b"", 0], ["a", 1, b"d" * 32, 0o4755], [b"a", 1, b"d" * 32, 0], ["a", 2**63, b"d" * 32, 0]],
    ids=str,
)  # fmt: skip
def test_malformed_entries_are_refused(told: object) -> None:
    """Also sizes that are none and permissions beyond the usual ones (setuid)."""
    with pytest.raises(WireError, match="malformed entry"):
        manifest.read([told])


@pytest.mark.parametrize(
    ("paths", "reason"),
    [(["a", "a"], "twice"), (["b", "a"], "in no order"), (["a", "a/b"], "no folder with files in it")],
    ids=str,
)
def test_entries_that_cannot_stand_together_are_refused(paths: list[str], reason: str) -> None:
    """Although they were signed so."""
    entries = [entry(path) for path in paths]
    with pytest.raises(WireError, match=reason):
        manifest.check(entries, summary(entries))


def test_entries_are_those_that_were_signed() -> None:
    """One that was changed, left out or added is seen."""
    entries = [entry("a"), entry("b")]
    told = summary(entries)
    manifest.check(entries, told)
    for wrong in ([entries[0]], [*entries, entry("c")], [entries[0], Entry("b", 3, b"e" * 32, 0o644)]):
        with pytest.raises(WireError, match="not those of the signed manifest"):
            manifest.check(wrong, told)


def test_a_manifest_is_good_for_one_taker_and_one_time() -> None:
    """Signed by its source, for this group, this member and this number."""
    trees = {"files base": Summary(b"x" * 32, 2, 6)}
    made = Manifest(GIVER, GIVER, TAKER, NONCE, 7, trees)
    blob, signature = made.sign(IDENTITIES[0])
    assert manifest.verify(blob, signature, Manifest(GIVER, GIVER, TAKER, NONCE, 0, {})) == made
    for name, expected in (
        ("founder", Manifest(OTHER, GIVER, TAKER, NONCE, 0, {})),
        ("recipient", Manifest(GIVER, GIVER, OTHER, NONCE, 0, {})),
        ("nonce", Manifest(GIVER, GIVER, TAKER, b"m" * 16, 0, {})),
    ):
        with pytest.raises(WireError, match=f"made for another {name}"):
            manifest.verify(blob, signature, expected)
    with pytest.raises(WireError, match="wrong signature"):
        manifest.verify(blob, signature, Manifest(GIVER, OTHER, TAKER, NONCE, 0, {}))
    with pytest.raises(WireError, match="wrong signature"):
        manifest.verify(blob[:-1] + b"x", signature, Manifest(GIVER, GIVER, TAKER, NONCE, 0, {}))
    nonsense = manifest.msgpack.packb([1])
    signed = IDENTITIES[0].key.sign(manifest.DOMAIN + nonsense)
    with pytest.raises(WireError, match="cannot be read"):
        manifest.verify(nonsense, signed, Manifest(GIVER, GIVER, TAKER, NONCE, 0, {}))


def test_a_difference_names_what_is_added_changed_and_removed() -> None:
    """A file whose permissions alone differ is changed, too."""
    here = [entry("a"), entry("b"), entry("c"), entry("d")]
    there = [entry("b"), Entry("c", 3, b"e" * 32, 0o644), Entry("d", 3, b"d" * 32, 0o755), entry("e")]
    found = difference(here, there)
    assert (found.add, found.change, found.remove) == (("e",), ("c", "d"), ("a",))
    assert not difference(here, here)


def test_a_tree_is_read_as_a_file_server_shows_it(tmp_path: Path) -> None:
    """Links stand as what they lead to, also out of the root; working copies, pipes and odd names are told."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "web" / "empty").mkdir(parents=True)
    outside.mkdir()
    (outside / "formula.sls").write_text("x")
    (root / "web" / "init.sls").write_text("web")
    (root / "linked").symlink_to(outside)
    (root / "one.sls").symlink_to(outside / "formula.sls")
    (root / "round").symlink_to(root)
    (root / "gone").symlink_to(outside / "nothing")
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text("ref")
    (root / "skipped.pyc").write_text("x")
    (root / "odd\nname").write_text("x")
    (root / "README").write_text("upper")
    (root / "readme").write_text("lower")
    (root / "caf\u00e9").write_text("composed")
    (root / "cafe\u0301").write_text("decomposed")
    tree = scan(root, "files base", WIDE, lambda path: path.endswith(".pyc"))
    assert [one.path for one in tree.entries] == sorted(
        ["README", "readme", "caf\u00e9", "cafe\u0301", "linked/formula.sls", "one.sls", "web/empty", "web/init.sls"]
    )
    assert tree.links == 4
    assert tree.copies == [".git"]
    told = "\n".join(tree.left_out)
    assert "round: a link leads round" in told
    assert "gone: the link leads nowhere" in told
    assert "odd\\nname: its name has control characters" in told


def test_a_tree_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """By the number of its files, or by their size: a huge file is not read to its end elsewhere."""
    for number in range(3):
        (tmp_path / str(number)).write_bytes(b"x" * 10)
    with pytest.raises(RefusedError, match="more than 2 files"):
        scan(tmp_path, "files base", Limits(2, 1000))
    with pytest.raises(RefusedError, match="more than 29 bytes"):
        scan(tmp_path, "files base", Limits(3, 29))


def test_a_stamp_changes_with_anything_below_a_root(tmp_path: Path) -> None:
    """A file that is written, added, or changes its permissions."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    seen = {stamp(tmp_path)}
    (tmp_path / "a" / "b").write_text("22")
    seen.add(stamp(tmp_path))
    (tmp_path / "a" / "b").chmod(0o600)
    seen.add(stamp(tmp_path))
    (tmp_path / "a" / "c").mkdir()
    seen.add(stamp(tmp_path))
    assert len(seen) == 4
