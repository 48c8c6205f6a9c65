"""
Let guests into the fleet whose hypervisors may bring them in, and delete the keys of those that do not come.

On a master. A hypervisor brings in only ids that it is allowed to, only where this master knows no key of the id, and
only with the signature of its minion's key; a master of a group brings the key to all others. What the runner
``libvirt_guest.create`` was about when it was ended is brought to its end here as well.

.. code-block:: yaml

    engines:
      - libvirt_seed: {}
    logilab:
      guests:
        seeds:
          accept:
            kvm1: [web*, db1]

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import salt.utils.event
from salt.exceptions import SaltException

from saltext_logilab.errors import ConfigurationError, LogilabError

if TYPE_CHECKING:
    __opts__: dict[str, Any]

log = logging.getLogger(__name__)

TAG = "salt/logilab/guests/"
BUSY = 2  # seconds between two rounds while guests are being let in
REST = 300  # seconds after which all hypervisors are asked again, should an event have been missed


def __virtual__() -> bool | tuple[bool, str]:
    """Load on masters."""
    if __opts__.get("__role") != "master":
        return False, "The engine libvirt_seed runs on masters only"
    return True


def start() -> None:
    """Run until the master ends; with a wrong configuration it says so in the log and stands still."""
    while True:
        try:
            _run()
        except ConfigurationError as err:
            log.critical("libvirt_seed does not run: %s", err)
            while True:
                time.sleep(REST)
        except (LogilabError, SaltException) as err:
            log.error("libvirt_seed: %s", err)
            time.sleep(BUSY)


def _run() -> None:
    from saltext_logilab.guests import keystore  # noqa: PLC0415 - not needed to load this file

    listening = salt.utils.event.get_master_event(__opts__, __opts__["sock_dir"], listen=True)
    with listening as bus, keystore.reception(__opts__) as reception:
        hosts: Iterable[str] = reception.permitted
        while True:
            reception.discover(hosts)
            reception.attend_all()
            busy = bool(reception.ledger.all(open_only=True))
            event = bus.get_event(wait=BUSY if busy else REST, tag=TAG, full=True)
            hosts = _hinted(event, reception.permitted, busy=busy)


def _hinted(event: dict[str, Any] | None, permitted: Iterable[str], *, busy: bool) -> Iterable[str]:
    """
    Return the hypervisors to be asked: the one that seems to offer something, or all when nothing was heard for long.

    An event decides nothing, for any minion may fire any tag.
    """
    if event is None:
        return () if busy else permitted
    host = event["tag"].removeprefix(TAG).split("/")[0]
    told = event["data"].get("data", event["data"])
    waiting = isinstance(told, dict) and told.get("step") == "accept"
    return [host] if waiting and host in permitted else ()
