"""
Guests that come into the fleet by a seed: whose key this master has accepted before they booted, and what became of it.

``libvirt_guest.create`` does all of it by itself. What it began goes on here, or in the engine ``libvirt_seed``, when
it was ended: a key that was accepted for a guest that does not come is deleted again.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import LogilabError, RefusedError
from saltext_logilab.guests import keystore
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests.seeds import wish
from saltext_logilab.guests.seeds.keys import fingerprint
from saltext_logilab.guests.seeds.ledger import Entry, Ledger
from saltext_logilab.guests.seeds.reception import Reception
from saltext_logilab.guests.tasks.limits import number

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}

INTERVAL = 2.0


def list_(every: bool = False) -> Any:
    """
    Show the guests that this master is letting in.

    :param every: show those that have ended, too.
    :return: for each ``id``, ``host``, ``task``, ``state`` (``expected``, ``accepted``: its key is; ``kept``: it came;
        ``revoked``: it did not, and its key is deleted; ``refused`` or ``expired``: nothing was accepted), ``reason``,
        ``fingerprint`` of the key, ``opened``, ``until`` and ``ended`` (Unix time).

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_seed.list every=True
    """
    try:
        with contextlib.closing(Ledger(guests_settings.read_seeds(__opts__)[0])) as ledger:
            return [_plain(entry) for entry in ledger.all(open_only=not every)]
    except LogilabError as err:
        return {"error": str(err), "retcode": 1}


def attend(timeout: float = 0) -> Any:
    """
    Do what is due for the guests that are being let in, and show how they stand; the engine does that by itself.

    Their keys are accepted once they are offered, hypervisors are told when the guests answer, and the keys of those
    that have not come are deleted.

    :param timeout: go on for so many seconds, or until none is left.
    :return: what :func:`list_` returns.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_seed.attend timeout=600
    """
    try:
        deadline = time.monotonic() + number("timeout", timeout)
        with keystore.reception(__opts__) as reception:
            reception.discover(reception.permitted)
            reception.attend_all()
            while (left := reception.ledger.all(open_only=True)) and time.monotonic() < deadline:
                time.sleep(INTERVAL)
                reception.attend_all()
            return [_plain(entry) for entry in left]
    except LogilabError as err:
        return {"error": str(err), "retcode": 1}


def accept(host: str, id: str, timeout: float = 900) -> dict[str, Any]:  # noqa: A002 - people type it
    """
    Let in the guest that a hypervisor offers under this id, and wait until it has come.

    For tasks that were begun on the hypervisor (``libvirt_task.create``, ``seed``, the state ``libvirt_guest.seeded``)
    where no engine lets their guests in. The offer counts only with the signature of the hypervisor's minion, and only
    where this master knows no key of the id.

    :param host: the hypervisor's minion.
    :param id: the id of the guest's minion.
    :param timeout: seconds to wait.
    :return: what :func:`list_` says of it; the exit code is 1 unless it has come.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_seed.accept kvm1 web.example.com
    """
    try:
        wish.check_id(id)
        deadline = time.monotonic() + number("timeout", timeout)
        with keystore.reception(__opts__) as reception:
            found = reception.discover([str(host)], id)
            if not found:
                raise RefusedError(f"{host} offers no key of {id!r} that this master has not seen yet")
            while (entry := _attended(reception, found[0])).open and time.monotonic() < deadline:
                time.sleep(INTERVAL)
        return {**_plain(entry), "retcode": int(entry.state != "kept")}
    except LogilabError as err:
        return {"error": str(err), "retcode": 1}


def _attended(reception: Reception, nonce: str) -> Entry:
    reception.attend(nonce)
    entry = reception.ledger.get(nonce)
    if entry is None:
        raise RefusedError(f"the seed {nonce!r} is not known any more")
    return entry


def _plain(entry: Entry) -> dict[str, Any]:
    told = {name: value for name, value in vars(entry).items() if name not in ("nonce", "public")}
    return {**told, "fingerprint": fingerprint(entry.public) if entry.public else None}
