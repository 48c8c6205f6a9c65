"""
Keys: the pair that all masters of a lab share, and what each master knows of its minions.

Minions with several masters take the second only when it shows the first one's key, so all have one pair, put in place
before the first start: Salt 3008 then moves ``master.pem`` to ``<id>.pem`` and leaves a link.
Which keys a master knows is read from its ``pki_dir``: quicker than ``salt-key``, and the same in Salt 3006 to 3008.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

STATES = {
    "accepted": "minions",
    "pending": "minions_pre",
    "rejected": "minions_rejected",
    "denied": "minions_denied",
}

_UNFINISHED = re.compile(r"tmp[a-z0-9_]{8}")  # Salt 3008 writes a key beside the others before it renames it


def make_pair(folder: Path) -> None:
    """Write a new RSA pair to ``folder``: ``master.pem`` (mode 0400) and ``master.pub``, unless both are there."""
    if (folder / "master.pem").exists() and (folder / "master.pub").exists():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(folder / "master.pub", public, 0o644)
    _write(folder / "master.pem", private, 0o400)


def share_pair(folder: Path, pki: Path) -> None:
    """Copy the pair in ``folder`` to ``pki``, unless that master has one; the private key comes last."""
    if os.path.lexists(pki / "master.pem"):
        return
    _write(pki / "master.pub", (folder / "master.pub").read_bytes(), 0o644)
    _write(pki / "master.pem", (folder / "master.pem").read_bytes(), 0o400)


def place(pki: Path, minion: str) -> None:
    """Put the key of a new machine called ``minion`` among the accepted ones of the master with this ``pki_dir``."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    accepted = pki / STATES["accepted"]
    _write(accepted / minion, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)


def fingerprint(pem: str) -> str:
    """Return the fingerprint of a minion's public key, as ``salt-key -f`` shows it."""
    body = "".join(pem.splitlines(keepends=True)[1:-1])
    return sha256(body.encode()).digest().hex(":")


def known(pki: Path) -> dict[str, list[str]]:
    """Return the ids of the minions' keys that the master with this ``pki_dir`` has, by their state, sorted."""
    return {state: sorted(_ids(pki / folder)) for state, folder in STATES.items()}


def _ids(folder: Path) -> Iterable[str]:
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return [name for name in names if not name.startswith(".") and not _UNFINISHED.fullmatch(name)]


def _write(path: Path, content: bytes, mode: int) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(path)
