"""
What this area touches of Salt's inside, for Salt 3006, 3007 and 3008: the key store, its events, what a delete entails.

3006 and 3007 keep keys in directories, and so does 3008 with its default ``keys.cache_driver: localfs_key``. With
another driver 3008 keeps them in a bank of ``salt.cache``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import salt.cache
import salt.crypt
import salt.key
import salt.utils.event
import salt.version
from salt.exceptions import SaltException

try:
    from salt.utils import resource_registry
except ImportError:  # Salt 3006 and 3007 know no resources
    resource_registry = None

from saltext_logilab import __version__
from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.jobcache import MasterJobs
from saltext_logilab.masters.keydirs import Held, KeyDirectories
from saltext_logilab.masters.keys import Key, is_minion_id, parse_key
from saltext_logilab.masters.mines import MinionData
from saltext_logilab.masters.records import State
from saltext_logilab.masters.served import MasterFiles

log = logging.getLogger(__name__)

TAG = "salt/key"
EVENTS = "salt/logilab/masters"

_BANK = "keys"
_DENIED = "denied_keys"


def open_store(opts: Mapping[str, Any]) -> KeyDirectories | KeyCache:
    """Return the key store of the master with ``opts``."""
    if opts.get("keys.cache_driver", "localfs_key") == "localfs_key":
        pki_dir = opts["cluster_pki_dir"] if opts.get("cluster_id") else opts["pki_dir"]
        return KeyDirectories(Path(pki_dir))
    return KeyCache(opts)


class KeyCache:
    """The keys of a master of Salt 3008 in a bank of ``salt.cache``; the interface of :class:`KeyDirectories`."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._opts = opts
        self._cache = salt.cache.Cache(opts, driver=opts["keys.cache_driver"])

    def stamp(self) -> object:
        """Return a constant: a bank does not tell whether it has changed."""
        return None

    def identity(self) -> str:
        """Return nothing: a bank cannot be told from another one in its place."""
        return ""

    def is_denied(self, minion: str) -> bool:
        """Say whether a key of ``minion`` is among the denied ones."""
        return is_minion_id(minion) and bool(self._cache.fetch(_DENIED, minion))

    def waiting(self, limit: int) -> dict[str, Any]:
        """
        Return the keys that are pending or denied here: by state their number, and at most ``limit`` of them by id.

        :raises UnavailableError: they cannot be read.
        """
        pending = {minion: held.fingerprint for minion, held in self.scan() if held.state == "pending"}
        try:
            denied = {one: self._cache.fetch(_DENIED, one) for one in filter(is_minion_id, self._cache.list(_DENIED))}
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the denied keys cannot be read: {err}") from err
        prints = {one: key.fingerprint for one, pems in denied.items() for pem in pems if (key := parse_key(pem))}
        return {
            state: {"count": len(keys), "keys": dict(sorted(keys.items())[:limit])}
            for state, keys in (("pending", pending), ("denied", prints))
        }

    async def follow(self, hint: Callable[[str], None]) -> None:
        """Call ``hint`` with the id that each event about a key names, until cancelled."""
        loop = asyncio.get_running_loop()

        def tell(subject: str) -> None:
            loop.call_soon_threadsafe(hint, subject)

        threading.Thread(target=_follow, args=(self._opts, tell), name="logilab_masters events", daemon=True).start()
        await asyncio.Event().wait()

    def scan(self) -> Iterator[tuple[str, Held]]:
        """
        Yield everything that the store holds, each id once.

        :raises UnavailableError: the bank cannot be read.
        """
        try:
            yield from self.read(self._cache.list(_BANK)).items()
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the key store cannot be read: {err}") from err

    def read(self, ids: Iterable[str]) -> dict[str, Held]:
        """
        Return what the store holds of ``ids``; an id that it does not hold is left out.

        :raises UnavailableError: the bank cannot be read.
        """
        found = {}
        for minion in filter(is_minion_id, ids):
            try:
                entry = self._cache.fetch(_BANK, minion)
            except (SaltException, OSError) as err:
                raise UnavailableError(f"the key of {minion!r} cannot be read: {err}") from err
            if entry:
                key = parse_key(str(entry.get("pub", "")))
                found[minion] = Held(entry["state"], key) if key else Held("damaged", None)
        return found

    def look(self, minion: str) -> Held | None:
        """Return what the store holds of one id now; :raises UnavailableError: the bank cannot be read."""
        return self.read([minion]).get(minion)

    def put(self, minion: str, state: State, key: Key) -> None:
        """
        Make ``key`` the one of ``minion``, in ``state``. Another key that is pending there becomes a denied one.

        :raises UnavailableError: it cannot be written.
        """
        held = self.read([minion]).get(minion)
        try:
            if held and held.key and held.state == "pending" and held.key != key:
                denied = self._cache.fetch(_DENIED, minion) or []
                self._cache.store(_DENIED, minion, [*denied, held.key.pem])
            self._cache.store(_BANK, minion, {"state": state.value, "pub": key.pem})
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the key of {minion!r} cannot be written: {err}") from err

    def remove(self, minion: str, fingerprint: str) -> bool:
        """
        Remove the accepted or rejected key of ``minion`` if it is the one of ``fingerprint``; say whether it was.

        :raises UnavailableError: it cannot be removed.
        """
        held = self.read([minion]).get(minion)
        if held is None or held.state not in ("accepted", "rejected") or held.fingerprint != fingerprint:
            return False
        try:
            self._cache.flush(_BANK, minion)
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the key of {minion!r} cannot be removed: {err}") from err
        return True


class MasterSurroundings:
    """The rest of the master: see :class:`~saltext_logilab.masters.surroundings.Surroundings`."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._opts = opts
        self.versions = {"salt": salt.version.__version__, "logilab": __version__}
        self.jobs = MasterJobs(opts)
        self.data = MinionData(opts)
        self.files = MasterFiles(opts)

    def master_key(self) -> str:
        """Return the fingerprint of this master's public key, as ``salt-key -F`` shows it."""
        pki = Path(self._opts["pki_dir"])
        for name in ("master.pub", f"{self._opts['id'].removesuffix('_master')}.pub"):
            try:
                key = parse_key((pki / name).read_text(encoding="ascii", errors="replace"))
            except OSError:
                continue
            if key:
                return key.fingerprint
        raise UnavailableError(f"this master has no public key in {pki} yet: start the master once")

    def forget(self, minions: Iterable[str]) -> None:
        """
        Drop what the master keeps of minions without a key, and have the AES key rotated, as ``salt-key -d`` does.

        Their sessions and their resources, which Salt 3008 leaves behind, go too.
        """
        with salt.key.get_key(self._opts) as keys:
            keys.check_minion_cache()
        for minion in filter(is_minion_id, minions):
            (Path(self._opts["cachedir"]) / "sessions" / minion).unlink(missing_ok=True)
            if resource_registry:
                resource_registry.get_registry(self._opts).unregister_minion(minion)
        if self._opts.get("rotate_aes_key"):
            request = {"cachedir": self._opts["cachedir"], "user": self._opts["user"], "master_id": self._opts["id"]}
            known = inspect.signature(salt.crypt.dropfile).parameters  # 3006 knows no master_id
            salt.crypt.dropfile(**{name: value for name, value in request.items() if name in known})

    def tell(self, what: str, data: dict[str, Any]) -> None:
        """Fire the event ``salt/logilab/masters/<what>`` on this master's bus."""
        with salt.utils.event.get_master_event(self._opts, self._opts["sock_dir"], listen=False) as bus:
            bus.fire_event(data, f"{EVENTS}/{what}")


def _follow(opts: Mapping[str, Any], hint: Callable[[str], None]) -> None:
    while True:
        try:
            with salt.utils.event.get_master_event(opts, opts["sock_dir"], listen=True) as bus:
                for event in bus.iter_events(tag=TAG, full=False, auto_reconnect=True):
                    subject = event.get("id") if isinstance(event, dict) else None
                    if isinstance(subject, str) and is_minion_id(subject):
                        hint(subject)
        except Exception:  # the outermost loop of a thread; without events the bank is scanned
            log.exception("The events about keys cannot be followed; trying again")
            threading.Event().wait(5)
