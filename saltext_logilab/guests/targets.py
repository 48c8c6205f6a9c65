"""
The guests of this host as targets: one picture of them, and what is known of each.

A minion takes a picture when it is told to look; the processes that it starts for its jobs have that one, so a job
lists nothing. Where libvirt cannot be asked, what was known of its guests stays. What a guest tells by its agent is
asked once for each of its starts, of several at once, and never for longer than :data:`PATIENCE` in all.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.guests import agent as agents
from saltext_logilab.guests import connection, interior, inventory, told
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.definition import Definition
from saltext_logilab.guests.interior import Interior
from saltext_logilab.guests.inventory import Guest
from saltext_logilab.guests.sizes import MIB
from saltext_logilab.within import ids, rules
from saltext_logilab.within.rules import Reserved, Rule

log = logging.getLogger(__name__)

TYPE = "libvirt"
FIELDS = ("name", "minion", "uuid")
MATCHES = ("name", "title", "state", "uuid")
PATIENCE = 5.0  # seconds for the agents of all guests, at each look
AT_ONCE = 8
QUICK = 2.0  # seconds for the answer to one of those questions
TRIES = 3  # how often an agent that does not answer is asked, in one run of its guest


@dataclass(frozen=True)
class Target:
    """A guest that can be targeted."""

    id: str
    uri: str
    guest: Guest
    made: Definition

    def interior(self, timeout: float, limit: float) -> Interior:
        """Return the way into it, if it runs."""
        return interior.enter(self.uri, self.guest.name, timeout, limit)


@dataclass(frozen=True)
class Picture:
    """The targets by id, the ids that were refused with the reason, and why libvirt could not be asked."""

    pid: int
    targets: Mapping[str, Target] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    def summary(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = {
            key: {"guest": one.guest.name, "state": one.guest.state, "agent": agent_state(one.made)}
            for key, one in sorted(self.targets.items())
        }
        return {"targets": found, "refused": dict(self.refused), "error": self.error}


def read(pillar: object) -> Rule:
    """
    Return the rule that the pillar's mapping ``resources: {libvirt: …}`` tells.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    return rules.read(TYPE, pillar, MATCHES, FIELDS)


def takes(rule: Rule, guest: Guest, made: Definition) -> bool:
    """Say whether a guest is a target."""
    says = {"name": guest.name, "title": made.title or "", "state": guest.state, "uuid": guest.uuid}
    return all(any(fnmatchcase(says[key], glob) for glob in globs) for key, globs in rule.match.items())


class Targets:
    """What a process knows of the targets; :data:`KNOWN` is that of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, patience: float = PATIENCE) -> None:
        """Ask the guests' agents for at most ``patience`` seconds at each look; 0: do not ask them."""
        self._clock = clock
        self._patience = patience
        self._told: dict[tuple[str, int], dict[str, Any]] = {}
        self._failed: Counter[tuple[str, int]] = Counter()
        self.picture = Picture(0)

    def look(self, uri: str, rule: Rule, minion: str, reserved: Reserved) -> Picture:
        """Take a picture; in a process that a job was started in, return that of the one which started it."""
        if self.picture.pid and self.picture.pid != os.getpid():
            return self.picture
        try:
            with connection.opened(uri) as link:
                found = _found(link, uri, rule, minion)
                wanted = [(one.id, one.guest.uuid) for one in found]
                sorted_out = ids.sort_out(wanted, reserved.minions, reserved.owned)
                known = {one.id: one for one in found if one.id in sorted_out.names}
                targets = {one: known[one] for one in ids.newest_first(known, self.picture.targets)}
                self._ask(link, targets.values())
        except LogilabError as err:
            if not self.picture.error:
                log.warning("the guests of %s are those that were known: %s", uri, err)
            self.picture = Picture(os.getpid(), self.picture.targets, self.picture.refused, str(err))
            return self.picture
        for one, why in sorted_out.refused.items():
            if one not in self.picture.refused:
                log.error("a guest is no target: %s", why)
        self.picture = Picture(os.getpid(), targets, sorted_out.refused)
        return self.picture

    def _ask(self, link: Connection, targets: Iterable[Target]) -> None:
        """Ask the agents of those guests that have been started since; forget what others have told."""
        runs = [(one, _run(link, one)) for one in targets if one.made.agent == "connected"]
        self._told = {key: self._told[key] for _, key in runs if key in self._told}
        self._failed = Counter({key: self._failed[key] for _, key in runs if key in self._failed})
        end = self._clock() + self._patience

        def ask(target: Target, key: tuple[str, int]) -> None:
            if self._clock() < end:
                try:
                    self._told[key] = told.grains(agents.find(link, target.guest.name, QUICK))
                except LogilabError as err:
                    self._failed[key] += 1
                    log.debug("what %s tells of itself: %s", target.id, err)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for one, key in runs:
                if key not in self._told and self._failed[key] < TRIES:
                    pool.submit(ask, one, key)

    def target(self, one: str) -> Target:
        """
        Return the target of an id.

        :raises UnavailableError: there is none.
        """
        found = self.picture.targets.get(one)
        if found is None:
            raise UnavailableError(f"there is no guest {one!r} on this minion")
        return found

    def grains(self, one: str, minion: str) -> dict[str, Any]:
        """Return what is known of a target, from outside and from its agent; raises as :meth:`target`."""
        target = self.target(one)
        own = next((grains for (uuid, _), grains in self._told.items() if uuid == target.guest.uuid), {})
        return {**own, **of_inventory(target, minion)}

    def forget(self, one: str) -> None:
        """Let the agent of a target be asked anew at the next look; raises as :meth:`target`."""
        uuid = self.target(one).guest.uuid
        self._told = {key: grains for key, grains in self._told.items() if key[0] != uuid}
        self._failed = Counter({key: number for key, number in self._failed.items() if key[0] != uuid})


KNOWN = Targets()


def _found(link: Connection, uri: str, rule: Rule, minion: str) -> list[Target]:
    """Return the guests that the rule takes; as many calls as there are guests, and one."""
    made = inventory.definitions(link)
    guests = [one for one in inventory.guests(link) if one.name in made and takes(rule, one, made[one.name])]
    told_of = [{"name": one.name, "minion": minion, "uuid": one.uuid} for one in guests]
    names = [ids.fill(rule.template, fields) for fields in told_of]
    return [Target(name, uri, one, made[one.name]) for name, one in zip(names, guests, strict=True)]


def _run(link: Connection, target: Target) -> tuple[str, int]:
    """Return what names this run of a guest: libvirt gives it another number at each start."""
    try:
        return target.guest.uuid, int(connection.find(link, target.guest.name).ID())
    except LogilabError:  # it has gone this moment
        return target.guest.uuid, -1


def agent_state(made: Definition) -> str:
    """Return ``connected`` or ``disconnected``, ``off`` with the guest, ``none`` where it has no channel."""
    return "none" if made.agent is None else made.agent or "off"


def of_inventory(target: Target, minion: str) -> dict[str, Any]:
    """Return the grains that libvirt tells."""
    guest, made = target.guest, target.made
    return {
        "id": target.id,
        "resource_type": TYPE,
        "resource_id": target.id,
        "managing_minion": minion,
        "guest": guest.name,
        "title": made.title or "",
        "uuid": guest.uuid,
        "state": guest.state,
        "agent": agent_state(made),
        "num_cpus": guest.vcpus,
        "mem_total": guest.memory // MIB,
        "machine": made.machine,
        "accelerator": made.accelerator,
        "macs": [card.mac for card in made.interfaces],
        "disks": [disk.target for disk in made.disks],
    }


def ping(target: Target, timeout: float) -> bool:
    """
    Say whether commands can run in a target now.

    :raises NotRunningError: it does not run.
    :raises AgentError: it has no agent that answers.
    """
    target.interior(timeout, 0).agent.ask("guest-ping")
    return True
