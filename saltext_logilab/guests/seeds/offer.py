"""
The offer: the public key of a guest that is to be, with the word of its hypervisor for it.

The hypervisor's minion signs it together with the id, the task, its nonce and the time that is left, so that no part of
it can stand for another offer, and nobody on the way can put in a key of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from saltext_logilab.errors import WireError
from saltext_logilab.guests.seeds import keys

FIELDS = ("host", "task", "nonce", "id", "left", "public")
MARK = "saltext-logilab seed 1"  # a signature by a minion's key means nothing else


@dataclass(frozen=True)
class Offer:
    """
    A public key that is offered.

    :param host: the id of the hypervisor's minion.
    :param nonce: what the one who wanted the guest has called this seed.
    :param id: the id of the guest's minion.
    :param left: seconds for which the task waits.
    """

    host: str
    task: str
    nonce: str
    id: str
    left: int
    public: str
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        return json.dumps([MARK, *[getattr(self, name) for name in FIELDS]]).encode()

    def signed(self, private: bytes) -> Offer:
        """Return it with the signature by the key ``private``."""
        return replace(self, signature=keys.sign(private, self.message))

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))


def read(told: object, host: str, public: str) -> Offer:
    """
    Return an offer that the hypervisor ``host`` has sent, checked against its ``public`` key.

    :raises WireError: it is none, of another host, or not signed by it.
    """
    if not isinstance(told, Mapping) or set(told) != {*FIELDS, "signature"}:
        raise WireError(f"{host} sent no offer")
    kinds = {"left": int}
    if any(type(told[name]) is not kinds.get(name, str) for name in (*FIELDS, "signature")):
        raise WireError(f"{host} sent no offer")
    found = Offer(**told)
    if found.host != host:
        raise WireError(f"the offer is of {found.host!r}, not of {host!r}")
    keys.verify(public, found.message, found.signature)
    return replace(found, public=keys.check_public(found.public))
