"""
The master's side of a seed: who may come in, and whose key goes again when they do not come.

A hypervisor is asked, never told by an event. Its offer counts only with the signature of its minion's key, for an id
that was named for this seed (or that the hypervisor may bring in), and only where no key of this id is known.
Everything can be repeated: what one process began before it was killed, another one ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from saltext_logilab.errors import LogilabError, RefusedError, WireError
from saltext_logilab.guests.fleet import Ask
from saltext_logilab.guests.seeds import keys, offer
from saltext_logilab.guests.seeds.ledger import ACCEPTED, EXPECTED, EXPIRED, KEPT, REFUSED, REVOKED, Entry, Ledger
from saltext_logilab.guests.seeds.wish import ID

log = logging.getLogger(__name__)

GRACE = 60.0  # seconds after which a hypervisor that cannot be asked has surely ended a guest that is too late
LONGEST = 86400.0  # seconds that an offer may stand
LAST = 60.0  # seconds for a last word of a guest whose hypervisor is silent
DONE = "done"
ENDED = (DONE, "failed", "cancelled", "lost")
ACCEPT, ANSWER = "accept", "answer"  # the steps of a task that wait for the master


class Keys(Protocol):
    """The key store of the master."""

    def state(self, minion: str) -> str | None:
        """Return what the store knows of the id, None for nothing."""

    def public(self, minion: str) -> str | None:
        """Return the accepted key of ``minion`` in PEM, None where there is none."""

    def accept(self, minion: str, public: str) -> None:
        """Accept a key that the store does not know; :raises LogilabError: it is not accepted."""

    def revoke(self, minion: str, public: str) -> bool:
        """Delete the key of ``minion`` if it is ``public``; say whether it was."""


@dataclass(frozen=True)
class Reception:
    """
    What lets guests in.

    :param ask: asks minions; who is silent is left out of the answer.
    :param ping: says whether a minion answers, within so many seconds.
    :param permitted: by hypervisor the patterns of ids that it may bring in unasked.
    """

    ledger: Ledger
    keys: Keys
    ask: Ask
    ping: Callable[[str, float], bool]
    permitted: Mapping[str, tuple[str, ...]]

    def check_unknown(self, minion: str) -> None:
        """:raises RefusedError: the master knows a key of this id."""
        if (known := self.keys.state(minion)) is not None:
            raise RefusedError(
                f"the master knows a key of {minion!r} already ({known}): salt-key -d {minion} forgets it"
            )

    def seeds(self, host: str) -> list[Mapping[str, Any]] | None:
        """Return how the seeds of ``host`` stand, by what it says; None when it does not answer."""
        reply = self.ask([host], "libvirt_seed.list", {}).get(host)
        if reply is None or reply.problem or not isinstance(reply.value, list):
            return None
        return [one for one in reply.value if isinstance(one, Mapping) and isinstance(one.get("nonce"), str)]

    def discover(self, hosts: Iterable[str], name: str | None = None) -> list[str]:
        """
        Expect what ``hosts`` offer and may bring in unasked, or of it what the operator has named; return the nonces.

        Of what nobody may bring in, nothing is noted: another master may know of it.
        """
        found = []
        for host in hosts:
            for seed in self.seeds(host) or []:
                minion, nonce = seed.get("id"), seed["nonce"]
                if not seed.get("offer") or not isinstance(minion, str) or not ID.fullmatch(minion):
                    continue
                wanted = minion == name if name else self.may_bring(host, minion)
                if wanted and self.ledger.get(nonce) is None and self._expect(nonce, minion, host):
                    found.append(nonce)
        return found

    def _expect(self, nonce: str, minion: str, host: str) -> bool:
        """Expect it, unless another guest of this id is being made."""
        try:
            self.ledger.expect(nonce, minion, host, self.ledger.clock() + LONGEST)
        except RefusedError as err:
            log.warning("%s offers a key of %s: %s", host, minion, err)
            return False
        return True

    def may_bring(self, host: str, minion: str) -> bool:
        """Say whether ``host`` may bring in ``minion`` without being asked to."""
        return any(fnmatchcase(minion, pattern) for pattern in self.permitted.get(host, ()))

    def attend_all(self) -> None:
        """Do for each open entry what is due."""
        for entry in self.ledger.all(open_only=True):
            try:
                self.attend(entry.nonce)
            except LogilabError as err:  # the others are not held up by it, and the next round tries again
                log.error("The guest %s from %s: %s", entry.id, entry.host, err)

    def attend(self, nonce: str) -> Mapping[str, Any] | None:
        """Do what is due for one entry, and return how the hypervisor says that it stands; None where it does not."""
        entry = self.ledger.get(nonce)
        if entry is None:
            return None
        told = self.seeds(entry.host)
        seed = next((one for one in told or [] if one["nonce"] == nonce), None)
        if entry.state == EXPECTED:
            self._expected(entry, seed)
        elif entry.state == ACCEPTED:
            self._accepted(entry, seed)
        return seed

    def _expected(self, entry: Entry, seed: Mapping[str, Any] | None) -> None:
        if seed is not None and seed.get("state") in ENDED:
            self.ledger.settle(entry.nonce, EXPIRED, _why(seed))
        elif seed is not None and seed.get("offer"):
            try:
                self._admit(entry, seed["offer"])
            except LogilabError as err:
                self._refuse(entry, seed, str(err))
        elif self.ledger.clock() > entry.until:
            self.ledger.settle(entry.nonce, EXPIRED, "nothing was offered in time")

    def _admit(self, entry: Entry, told: object) -> None:
        """Let in who is offered; :raises LogilabError: it may not be."""
        public = self.keys.public(entry.host)
        if public is None:
            raise RefusedError(f"the key of the hypervisor {entry.host!r} is not accepted here")
        found = offer.read(told, entry.host, public)
        if (found.nonce, found.id) != (entry.nonce, entry.id):
            raise WireError(f"{entry.host} offers {found.id!r} as {found.nonce!r}, not {entry.id!r} as {entry.nonce!r}")
        self.check_unknown(entry.id)
        until = self.ledger.clock() + min(float(found.left), LONGEST)
        if self.ledger.accept(entry.nonce, found.task, found.public, until):
            self.keys.accept(entry.id, found.public)
            self._tell(entry.host, found.task, entry.nonce, "accepted")

    def _refuse(self, entry: Entry, seed: Mapping[str, Any], reason: str) -> None:
        """Accept nothing, and take back what was accepted."""
        now = self.ledger.get(entry.nonce)
        if now is not None and now.public:
            self.keys.revoke(entry.id, now.public)
        self.ledger.settle(entry.nonce, REFUSED, reason)
        self._tell(entry.host, str(seed.get("task")), entry.nonce, "refused", reason)

    def _accepted(self, entry: Entry, seed: Mapping[str, Any] | None) -> None:
        task, public = str(entry.task), str(entry.public)
        if seed is None:
            if self.ledger.clock() > entry.until + GRACE:
                self._give_up(entry, public)
        elif seed.get("state") == DONE:
            self.ledger.settle(entry.nonce, KEPT)
        elif seed.get("state") in ENDED:
            self._revoke(entry, public, _why(seed))
        elif seed.get("step") == ACCEPT:
            self._accept_again(entry, seed, public)
        elif seed.get("step") == ANSWER and self.ping(entry.id, 0):
            self._tell(entry.host, task, entry.nonce, "answered")

    def _accept_again(self, entry: Entry, seed: Mapping[str, Any], public: str) -> None:
        """Go on from where one was killed who had begun to accept the key."""
        held = self.keys.public(entry.id)
        if held is not None and keys.same(held, public):
            self._tell(entry.host, str(entry.task), entry.nonce, "accepted")
            return
        try:
            self.check_unknown(entry.id)
            self.keys.accept(entry.id, public)
        except LogilabError as err:
            self._refuse(entry, seed, str(err))

    def _give_up(self, entry: Entry, public: str) -> None:
        """Decide about a guest whose hypervisor is silent: who answers has come, for the others are ended by now."""
        if self.ping(entry.id, LAST):
            self.ledger.settle(entry.nonce, KEPT, "its hypervisor is silent, but it answers")
        else:
            self._revoke(entry, public, "neither it nor its hypervisor answers")

    def _revoke(self, entry: Entry, public: str, reason: str) -> None:
        self.keys.revoke(entry.id, public)
        self.ledger.settle(entry.nonce, REVOKED, reason)

    def _tell(self, host: str, task: str, nonce: str, word: str, reason: str | None = None) -> None:
        """Tell the hypervisor; when it does not hear it, the next round tells it again."""
        named = {"task": task, "nonce": nonce, "word": word, **({"reason": reason} if reason else {})}
        self.ask([host], "libvirt_seed.answer", named)


def _why(seed: Mapping[str, Any]) -> str:
    return f"{seed.get('kind')} {seed.get('task')} is {seed.get('state')}: {seed.get('reason')}"
