"""
Manifests: what a member offers of its roots, file by file, signed for the one member that has asked.

A manifest names the group, who gives and who takes, and the number that the taker has made up for this one: one that
was kept is worth nothing at another time or to anybody else. It holds a digest of the entries of each tree; the entries
themselves come in parts. What a name may be is decided here, by the taker: see :func:`check`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from saltext_logilab.errors import RefusedError, WireError
from saltext_logilab.identity import Identity

NONCE_SIZE = 16
NAME_LIMIT = 255
PATH_LIMIT = 1024
DEPTH_LIMIT = 64
MODE = 0o777
DOMAIN = b"saltext-logilab masters manifest 1\0"


@dataclass(frozen=True)
class Limits:
    """The most that one tree may be: a number of ``files``, and their ``size`` together in bytes."""

    files: int
    size: int

    def check(self, tree: str, files: int, size: int) -> None:
        """:raises RefusedError: it is more."""
        if files > self.files:
            raise RefusedError(f"{tree} has more than {self.files} files (logilab:masters:pull:max_files)")
        if size > self.size:
            raise RefusedError(f"{tree} has more than {self.size} bytes (logilab:masters:pull:max_size)")


@dataclass(frozen=True)
class Entry:
    """
    A file of a tree, by its path below the root: its size in bytes, the SHA-256 of what is in it, its permissions.

    An empty folder has neither digest nor permissions of its own.
    """

    path: str
    size: int
    digest: bytes
    mode: int

    @property
    def is_folder(self) -> bool:
        """Whether it is an empty folder."""
        return not self.digest

    def wire(self) -> list[Any]:
        """Return it as it travels."""
        return [self.path, self.size, self.digest, self.mode]


@dataclass(frozen=True)
class Summary:
    """A tree as a manifest names it: the digest of its entries, their number, and the size of all files."""

    digest: bytes
    files: int
    size: int


@dataclass(frozen=True)
class Manifest:
    """What the member ``source`` gives to ``recipient`` (raw public keys), in the group that ``founder`` has begun."""

    founder: bytes
    source: bytes
    recipient: bytes
    nonce: bytes
    at: int
    trees: Mapping[str, Summary] = field(hash=False)

    def sign(self, identity: Identity) -> tuple[bytes, bytes]:
        """Return it as it travels, and the signature by its source's ``identity``."""
        trees = {name: [one.digest, one.files, one.size] for name, one in sorted(self.trees.items())}
        blob: bytes = msgpack.packb([self.founder, self.source, self.recipient, self.nonce, self.at, trees])
        return blob, identity.key.sign(DOMAIN + blob)


def verify(blob: bytes, signature: bytes, expected: Manifest) -> Manifest:
    """
    Return the manifest in ``blob``, which is the one of ``expected`` but for its time and trees.

    :raises WireError: it is not, or was not signed by its source.
    """
    try:
        Ed25519PublicKey.from_public_bytes(expected.source).verify(signature, DOMAIN + blob)
        founder, source, recipient, nonce, at, trees = msgpack.unpackb(blob)
        told = {str(name): Summary(*one) for name, one in trees.items()}
    except InvalidSignature as err:
        raise WireError("a manifest has a wrong signature") from err
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as err:
        raise WireError("a manifest cannot be read") from err
    found = Manifest(founder, source, recipient, nonce, at, told)
    for name in ("founder", "source", "recipient", "nonce"):
        if getattr(found, name) != getattr(expected, name):
            raise WireError(f"a manifest was made for another {name}")
    for tree, one in told.items():
        if not isinstance(one.digest, bytes) or not _is_count(one.files) or not _is_count(one.size):
            raise WireError(f"a manifest tells nonsense of {tree[:80]!r}")
    return found


def digest(entries: Iterable[Entry]) -> bytes:
    """Return the digest of the entries of a tree, in their order."""
    whole = sha256()
    for one in entries:
        whole.update(msgpack.packb(one.wire()))
    return whole.digest()


def summary(entries: Sequence[Entry]) -> Summary:
    """Return what a manifest tells of ``entries``."""
    return Summary(digest(entries), len(entries), sum(one.size for one in entries))


def read(told: Iterable[Any]) -> list[Entry]:
    """Return the entries that came over a wire; :raises WireError: one is malformed, or its name is refused."""
    found = []
    for each in told:
        path, size, content, mode = each if isinstance(each, (list, tuple)) and len(each) == 4 else (None, 0, b"", 0)
        if not isinstance(path, str) or not _is_count(size) or not isinstance(content, bytes) or not _is_count(mode):
            raise WireError("a manifest has a malformed entry")
        if len(content) not in (0, 32) or (not content and size) or mode > MODE:
            raise WireError(f"a manifest has a malformed entry {path[:80]!r}")
        reason = unfit(path)
        if reason:
            raise WireError(f"a manifest names {path[:80]!r}, which {reason}: nothing of it is taken")
        found.append(Entry(path, size, content, mode))
    return found


def check(entries: Sequence[Entry], told: Summary) -> None:
    """
    Check that ``entries`` are those of which ``told`` was signed, in their order, each path once and none in a file.

    :raises WireError: they are not.
    """
    if summary(entries) != told:
        raise WireError("the files that were named are not those of the signed manifest")
    paths = [one.path for one in entries]
    if any(one >= other for one, other in itertools.pairwise(paths)):
        raise WireError("a manifest names a file twice, or in no order")
    known = set(paths)
    for path in paths:
        for parent in _parents(path):
            if parent in known:
                raise WireError(f"a manifest names {path!r}, and {parent!r}, which is no folder with files in it")


def unfit(path: str) -> str:
    """Return why ``path`` is no path below a root, as a part of a sentence; empty when it is one."""
    if not path or path.startswith("/"):
        return "is no path below a root"
    parts = path.split("/")
    if any(one in ("", ".", "..") for one in parts):
        return "leads out of its root"
    if not path.isprintable() or "\\" in path:
        return "has control characters or backslashes in it"
    try:
        sizes = [len(one.encode()) for one in parts]
    except UnicodeEncodeError:
        return "is no text in UTF-8"
    if max(sizes) > NAME_LIMIT or sum(sizes) + len(sizes) > PATH_LIMIT or len(parts) > DEPTH_LIMIT:
        return "is too long"
    return ""


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


@dataclass(frozen=True)
class Difference:
    """The paths that a pull would ``add``, ``change`` and ``remove``."""

    add: tuple[str, ...]
    change: tuple[str, ...]
    remove: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.change or self.remove)


def difference(current: Iterable[Entry], wanted: Iterable[Entry]) -> Difference:
    """Return how the tree ``current`` differs from ``wanted``."""
    here = {one.path: one for one in current}
    there = {one.path: one for one in wanted}
    changed = (path for path in here.keys() & there.keys() if here[path] != there[path])
    add, remove = there.keys() - here.keys(), here.keys() - there.keys()
    return Difference(tuple(sorted(add)), tuple(sorted(changed)), tuple(sorted(remove)))
