"""
The RSA keys of fake minions: made once, by all CPUs, and kept in one file of the cache.

They protect nothing but a lab, so all swarms of a user share them: key 0 is the shared one, minion ``n`` has key
``n + 1``. Beside each key stands its token, the signature of ``salt`` that goes with every request (it never changes).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from salt.utils.rsax931 import RSAX931Signer

from saltext_logilab.errors import UnavailableError

BITS = 2048
SHARED = 0
_SCHEMA = "CREATE TABLE IF NOT EXISTS pair (number INTEGER PRIMARY KEY, private BLOB, public TEXT UNIQUE, token BLOB)"
_BATCH = 16


@dataclass(frozen=True)
class Pair:
    """A key pair: ``private`` in DER, ``public`` in PEM as Salt sends it, ``token`` for requests."""

    number: int
    private: bytes
    public: str
    token: bytes


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the keys: ``${XDG_CACHE_HOME:-~/.cache}/saltext-logilab/swarm``."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "saltext-logilab" / "swarm"


def generate(number: int) -> Pair:
    """Return a new key pair."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    private = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()
    return Pair(number, private, public, RSAX931Signer(pem).sign(b"salt"))


class Pool:
    """The keys in one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        """
        Open the keys in ``folder``, by default those of this user.

        :raises UnavailableError: they cannot be opened.
        """
        self.path = (folder or default_folder()) / "keys.sqlite"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as err:
            raise UnavailableError(f"the keys in {self.path} cannot be used: {err}") from err

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def ensure(self, numbers: Iterable[int], progress: Callable[[int, int], None] | None = None) -> int:
        """
        Make those keys among ``numbers`` that are missing, on all CPUs; return how many that were.

        :param progress: is told how many of how many are made.
        """
        present = {number for (number,) in self._database.execute("SELECT number FROM pair")}
        missing = sorted(set(numbers) - present)
        with contextlib.closing(_generate_all(missing)) as pairs:
            for made, pair in enumerate(pairs, start=1):
                with contextlib.suppress(sqlite3.IntegrityError):  # another swarm was quicker
                    self._database.execute("INSERT INTO pair VALUES (?, ?, ?, ?)", tuple(vars(pair).values()))
                if progress:
                    progress(made, len(missing))
        return len(missing)

    def pair(self, number: int) -> Pair:
        """Return the key ``number``; :raises UnavailableError: it was not made, or somebody removed it."""
        row = self._database.execute("SELECT * FROM pair WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise UnavailableError(f"key {number} is missing in {self.path}")
        return Pair(*row)

    def is_own(self, public: str) -> bool:
        """Say whether ``public``, a PEM, is one of these keys."""
        row = self._database.execute("SELECT 1 FROM pair WHERE public = ?", (public.strip(),)).fetchone()
        return row is not None


def _generate_all(numbers: list[int]) -> Generator[Pair, None, None]:
    cpus = len(os.sched_getaffinity(0))
    if len(numbers) < _BATCH or cpus == 1:
        yield from map(generate, numbers)
        return
    # spawn, as there are threads; at the end of the block the workers are ended, whatever they are at
    with get_context("spawn").Pool(cpus, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as workers:
        yield from workers.imap_unordered(generate, numbers, chunksize=4)
