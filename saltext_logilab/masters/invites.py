"""
Invites: how a master that nobody knows becomes a member, with a secret that is used once.

The invite names the group (by its founder), the inviter and Salt's master key by their fingerprints, and holds a
secret. It is given by a file that only its owner can read, or by standard input. Both sides prove that they know the
secret, by a MAC (HMAC-SHA256) over all these names and both public keys; each then trusts exactly the other's key.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import msgpack

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError

HEADER = "salt-logilab invite 1"
ID_SIZE = 8
SECRET_SIZE = 32
LIMIT = 4096


@dataclass(frozen=True)
class Invite:
    """What is written into an invite; ``founder``, ``inviter`` and ``master_key`` are fingerprints."""

    founder: str
    inviter: str
    address: str
    master_key: str
    id: str
    secret: str

    def encode(self) -> str:
        """Return the text to be carried to the invited master."""
        body = base64.b64encode(json.dumps(asdict(self)).encode()).decode()
        return f"{HEADER}\n{body}\n"

    def mac(self, role: str, invited: bytes, inviter: bytes, name: str, address: str) -> bytes:
        """
        Return the proof of ``role`` (``joins``, ``looks`` or ``welcomes``) that it knows the secret.

        :param invited: the raw public key of the invited master; ``name`` and ``address`` are what it says of itself.
        :param inviter: the raw public key of the inviter.
        """
        bound = [HEADER, role, self.founder, self.master_key, self.id, invited, inviter, name, address]
        return hmac.digest(base64.b64decode(self.secret), msgpack.packb(bound), "sha256")


def new(founder: str, inviter: str, address: str, master_key: str) -> Invite:
    """Return an invite with a new secret."""
    secret = base64.b64encode(secrets.token_bytes(SECRET_SIZE)).decode()
    return Invite(founder, inviter, address, master_key, secrets.token_hex(ID_SIZE), secret)


def parse(text: str) -> Invite:
    """
    Read what :meth:`Invite.encode` has written.

    :raises ConfigurationError: it is no invite. The text is not repeated: it may hold a secret.
    """
    lines = text.strip().splitlines()
    if len(text) > LIMIT or len(lines) != 2 or lines[0].strip() != HEADER:
        raise ConfigurationError(f"this is no invite: it does not begin with {HEADER!r}, or it was cut off")
    try:
        invite = Invite(**json.loads(base64.b64decode(lines[1], validate=True)))
        whole = len(base64.b64decode(invite.secret, validate=True)) == SECRET_SIZE
        whole = whole and len(bytes.fromhex(invite.id)) == ID_SIZE
    except (ValueError, TypeError, binascii.Error) as err:
        raise ConfigurationError("this invite is damaged") from err
    if not whole or not all(isinstance(value, str) for value in asdict(invite).values()):
        raise ConfigurationError("this invite is damaged")
    return invite


def write(path: Path, invite: Invite) -> None:
    """
    Write the invite to ``path``, a new file of mode 0600.

    :raises RefusedError: there is such a file.
    :raises UnavailableError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as err:
        raise RefusedError(f"{path} exists already: an invite overwrites nothing") from err
    except OSError as err:
        raise UnavailableError(f"{path} cannot be written: {err.strerror}") from err
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(invite.encode())


def read(path: Path) -> str:
    """
    Return the text of the invite in ``path``.

    :raises RefusedError: others than its owner can read it.
    :raises UnavailableError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise RefusedError(f"others can read {path}, so the invite is a secret no more: make a new one")
            return file.read(LIMIT + 1)
    except OSError as err:
        raise UnavailableError(f"{path} cannot be read: {err.strerror}") from err
