"""
The master's key store, as far as guests are let into it: by Salt's own key calls, for Salt 3006, 3007 and 3008.

What is accepted or deleted here is an event and a change of the key store as after ``salt-key``, so that whoever
follows the store, such as the group of masters, takes it on.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import salt.client
import salt.key
from salt.exceptions import SaltException

from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.guests import fleet, settings
from saltext_logilab.guests.seeds import keys as pairs
from saltext_logilab.guests.seeds.ledger import Ledger
from saltext_logilab.guests.seeds.reception import Reception

STATES = {
    "minions": "accepted",
    "minions_pre": "pending",
    "minions_rejected": "rejected",
    "minions_denied": "denied",
}
FILES = "localfs_key"


@contextlib.contextmanager
def reception(opts: Mapping[str, Any]) -> Iterator[Reception]:
    """
    Give what lets guests in at the master with these options.

    :raises ConfigurationError: what its configuration says of seeds is wrong.
    """
    folder, permitted = settings.read_seeds(opts)
    with contextlib.closing(Ledger(folder)) as ledger, salt.client.get_local_client(mopts=opts) as client:
        yield Reception(ledger, MasterKeys(opts), fleet.through(client), fleet.Pings(client), permitted)


class MasterKeys:
    """The key store of the master with these options; see :class:`~saltext_logilab.guests.seeds.reception.Keys`."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._opts = dict(opts)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """Give Salt's key object; it prints what it does, and here nobody shall read that."""
        try:
            with contextlib.redirect_stdout(io.StringIO()), salt.key.get_key(self._opts) as found:
                yield found
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the key store cannot be used: {err}") from err

    def state(self, minion: str) -> str | None:
        """Return what the store knows of the id, None for nothing."""
        with self._opened() as found:
            known = found.list_keys()
        return next((word for folder, word in STATES.items() if minion in known.get(folder, ())), None)

    def public(self, minion: str) -> str | None:
        """Return the accepted key of ``minion`` in PEM, None where there is none."""
        with self._opened() as found:
            told = found.key_str(minion).get("minions", {}).get(minion)
        return str(told) if told else None

    def accept(self, minion: str, public: str) -> None:
        """
        Accept a key that the store does not know.

        :raises RefusedError: the store knows one of this id, or another one was handed in meanwhile.
        :raises UnavailableError: the store cannot be used.
        """
        if (known := self.state(minion)) is not None:
            raise RefusedError(f"the master knows a key of {minion!r} already ({known})")
        with self._opened() as found:
            self._hand_in(found, minion, public)
            found.accept(match=minion)
        held = self.public(minion)
        if held is None or not pairs.same(held, public):
            raise RefusedError(f"another key of {minion!r} came in at the same moment")

    def _hand_in(self, found: Any, minion: str, public: str) -> None:
        """Let the key be pending, as if the minion had come; :raises RefusedError: another one is."""
        if self._opts.get("keys.cache_driver", FILES) != FILES:
            found.cache.store("keys", minion, {"state": "pending", "pub": public})
            return
        pki = self._opts["cluster_pki_dir"] if self._opts.get("cluster_id") else self._opts["pki_dir"]
        folder = Path(pki) / "minions_pre"
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=pki, prefix=".seed-") as file:
            file.write(f"{public}\n")
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            try:
                os.link(file.name, folder / minion)  # unlike a rename, it fails where there is one
            except FileExistsError as err:
                raise RefusedError(f"the master knows a key of {minion!r} already (pending)") from err

    def revoke(self, minion: str, public: str) -> bool:
        """
        Delete the key of ``minion`` if it is ``public``; say whether it was.

        :raises UnavailableError: the store cannot be used.
        """
        with self._opened() as found:
            told = found.key_str(minion)
            held = [told[folder][minion] for folder in ("minions", "minions_pre") if minion in told.get(folder, {})]
            if not held or not all(pairs.same(str(one), public) for one in held):
                return False
            found.delete_key(match=minion)
        return True
