"""
A guest made from the master: the host on which it fits and that has what it needs, the task there, and its key let in.

The task is the hypervisor's and what the master has promised is in its ledger, so this may be killed at any moment.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.guests import placement
from saltext_logilab.guests.fleet import Fleet, Reply
from saltext_logilab.guests.placement import Choice, Load, Rules
from saltext_logilab.guests.seeds.ledger import KEPT, REFUSED, Entry
from saltext_logilab.guests.seeds.reception import ENDED, LONGEST, Reception
from saltext_logilab.guests.tasks import watch

FUNCTION = "libvirt_task.create"


def choose(
    fleet: Fleet, guest: Load, rules: Rules, told: Mapping[str, Any], host: str | None
) -> tuple[Choice, dict[str, Any]]:
    """
    Choose the host for a new guest among those that could make it; return the choice, and what that host is told.

    A host that lacks the image takes it from one that has it and can be reached.

    :param told: what the guest shall be, as the hosts take it; each says what it lacks.
    :param host: the one that it has to be; None for the best.
    """
    rooms = [room for room in fleet.rooms if host in (None, room.name)]
    fitting = [room.name for room in rooms if placement.refusal(room, guest, rules) is None]
    has = _with_image(fleet, told) if fitting and not told.get("image_host") else set()
    giver = next((one for one in sorted(has) if fleet.hosts[one].host["reach"]), None)
    takers = [one for one in fitting if giver and one not in has]
    away = {**told, "image_host": fleet.hosts[giver].host["reach"]} if giver else {}
    lacking = _lacking(fleet, [one for one in fitting if one not in takers], told) | _lacking(fleet, takers, away)
    choice = placement.place(rooms, guest, rules, lacking)
    more = {one: f"{choice.why[one]}; the image comes from {giver}" for one in takers if one not in lacking}
    return replace(choice, why={**choice.why, **more}), dict(away if choice.host in takers else told)


def _with_image(fleet: Fleet, told: Mapping[str, Any]) -> set[str]:
    """Return the hosts that have the image."""
    asked = {"pool": told.get("image_pool") or told["pool"], "name": told["image"]}
    replies = fleet.ask(sorted(fleet.hosts), "libvirt_volume.list", asked)
    return {host for host, reply in replies.items() if isinstance(reply.value, Mapping) and reply.value}


def _lacking(fleet: Fleet, hosts: list[str], told: Mapping[str, Any]) -> dict[str, str]:
    """Return which of ``hosts`` could not make the guest, and why."""
    replies = fleet.ask(hosts, FUNCTION, {**told, "test": True}) if hosts else {}
    silent = Reply(problem="the minion does not answer")
    return {name: why for name in hosts if (why := replies.get(name, silent).problem)}


@dataclass(frozen=True)
class Making:
    """
    One guest that is made.

    :param show: takes a line for people.
    :param nonce: gives a new name for a seed.
    """

    reception: Reception
    show: Callable[[str], None]
    interval: float = 2.0
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    nonce: Callable[[], str] = lambda: secrets.token_hex(16)

    def begin(self, host: str, minion: str, told: Mapping[str, Any]) -> str:
        """
        Let the host begin, and return the nonce of the seed; the ledger knows of it first.

        :raises LogilabError: the host refuses, or another guest of this id is being made.
        """
        nonce, ledger = self.nonce(), self.reception.ledger
        self.reception.check_unknown(minion)
        ledger.expect(nonce, minion, host, ledger.clock() + LONGEST)
        reply = self.reception.ask([host], FUNCTION, {**told, "nonce": nonce}).get(host)
        if reply is not None and reply.problem:
            ledger.settle(nonce, REFUSED, reply.problem)
            raise UnavailableError(f"{host}: {reply.problem}")
        if reply is not None:
            ledger.begun(nonce, str(reply.value))
        return nonce  # whether a silent host has begun is seen by the nonce

    def wait(self, nonce: str, timeout: float) -> tuple[Mapping[str, Any], str | None]:
        """
        Attend to the seed until its end, at most ``timeout`` seconds.

        :return: how its task stood last, and a sentence where that is not a guest that has come.
        """
        deadline, last = self.clock() + timeout, dict[str, Any]()
        while True:
            seed = self.reception.attend(nonce)
            last = dict(seed or last)
            self.show(watch.line(last or None, silent=seed is None))
            entry = self.reception.ledger.get(nonce)
            if entry is None or (not entry.open and (seed is None or seed.get("state") in ENDED)):
                return last, None if entry and entry.state == KEPT else _problem(last, entry)
            if self.clock() >= deadline:
                return last, f"not ended within {timeout:g} s; it goes on: salt-run libvirt_seed.attend"
            self.pause(self.interval)


def _problem(last: Mapping[str, Any], entry: Entry | None) -> str:
    if last.get("state") in ENDED:
        return f"{last['state']}: {last.get('reason')}"
    return (entry and entry.reason) or "nothing is known of it any more"


def minion_of(name: str, seed: Mapping[str, Any] | None) -> str:
    """Return the id of the minion of the guest ``name``."""
    return str((seed or {}).get("id") or name)


def check_told(told: object) -> dict[str, Any]:
    """Return what a guest is told as a mapping; :raises LogilabError: it is none."""
    if told is not None and not isinstance(told, Mapping):
        raise LogilabError(f"seed must be a mapping, not {told!r}")
    return dict(told or {})
