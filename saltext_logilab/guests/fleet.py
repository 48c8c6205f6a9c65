"""
The hypervisors of a master, asked together: what they have, which guests can move, and where to.

Whoever answers is asked through one function, so this knows nothing of how questions travel. What a host says of itself
is checked for its form and believed: name hypervisors by a target where other minions are not to be trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import LogilabError, UnavailableError, WireError
from saltext_logilab.guests import portability, summary
from saltext_logilab.guests.moves import Bounds, Move
from saltext_logilab.guests.placement import Load, Room
from saltext_logilab.guests.portability import Traits
from saltext_logilab.guests.summary import Summary

NOT_REACHED = "it does not say where other hosts reach it (logilab:guests:reach)"


@dataclass(frozen=True)
class Reply:
    """What a host answered, or the sentence that it failed with."""

    value: Any = None
    problem: str | None = None


Ask = Callable[[Collection[str], str, Mapping[str, Any]], Mapping[str, Reply]]  # who is silent is left out
ANSWER = 15  # seconds for one question


def through(client: Any) -> Ask:
    """Return what asks minions through Salt's ``client`` (``salt.client.LocalClient``)."""

    def ask(minions: Collection[str], function: str, named: Mapping[str, Any]) -> dict[str, Reply]:
        more = {"kwarg": dict(named)} if named else {}
        told = client.cmd(list(minions), function, tgt_type="list", timeout=ANSWER, full_return=True, **more)
        return {minion: _reply(one) for minion, one in told.items() if isinstance(one, dict) and "ret" in one}

    return ask


@dataclass
class Pings:
    """
    Whether minions answer, asked through Salt's ``client`` by jobs that nobody waits for.

    A guest that boots is not connected yet, and a slow one takes its time: an answer to any earlier question counts.
    """

    client: Any
    again: float = 15.0
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _asked: dict[str, list[tuple[float, str]]] = field(default_factory=dict, init=False)

    def __call__(self, minion: str, patience: float) -> bool:
        """Say whether ``minion`` has answered, after at most ``patience`` seconds."""
        deadline = self.clock() + patience
        while not self._answered(minion):
            if self.clock() >= deadline:
                return False
            self.pause(0.5)
        return True

    def _answered(self, minion: str) -> bool:
        jobs = self._asked.setdefault(minion, [])
        if any(minion in self.client.get_cache_returns(job) for _, job in jobs):
            jobs.clear()
            return True
        if not jobs or self.clock() - jobs[-1][0] >= self.again * len(jobs):  # a slow one is not buried in questions
            jobs.append((self.clock(), str(self.client.cmd_async([minion], "test.ping", tgt_type="list"))))
        return False


def _reply(told: Mapping[str, Any]) -> Reply:
    failed = told.get("retcode")
    return Reply(problem=str(told["ret"]).removeprefix("ERROR: ")) if failed else Reply(told["ret"])


@dataclass
class Fleet:
    """
    Hosts that answered, and why the others are left out.

    :param traits: of running guests, by name, as far as they were asked for.
    """

    ask: Ask
    hosts: Mapping[str, Summary]
    problems: Mapping[str, str]
    traits: dict[str, Traits] = field(default_factory=dict)

    @property
    def rooms(self) -> list[Room]:
        """The hosts for placement."""
        return [summary.room(name, told) for name, told in sorted(self.hosts.items())]

    def host_of(self, guest: str) -> str:
        """
        Return the host on which ``guest`` runs.

        :raises LogilabError: on none, or on more than one.
        """
        found = [room.name for room in self.rooms if guest in room.guests]
        if len(found) != 1:
            where = f"on {' and '.join(found)}" if found else "on none of the hosts that answer"
            raise LogilabError(f"the guest {guest!r} runs {where}")
        return found[0]

    def load(self, guest: str) -> Load:
        """Return the burden that ``guest`` is; :raises LogilabError: it runs on no host or on more than one."""
        host = self.host_of(guest)
        return next(room.guests[guest] for room in self.rooms if room.name == host)

    def bounds(self, sources: Iterable[str], guests: Collection[str] | None = None) -> Bounds:
        """
        Ask what no rule can change for the guests of ``sources``, or for those of them in ``guests``.

        :raises UnavailableError: a source does not answer.
        """
        stuck: dict[str, str] = {}
        forbidden: dict[str, dict[str, str]] = {}
        asked = sorted(sources)
        told = self._all(asked, "libvirt_guest.traits", {})
        for host in asked:
            self.traits |= {name: _traits(host, one) for name, one in told[host].items() if _wanted(name, guests)}
        for name, one in self.traits.items():
            if why := one.obstacle():
                stuck[name] = why
            forbidden[name] = {}
        for target, has in self.hosts.items():
            for name, why in self._refused(target, has).items():
                forbidden[name][target] = why
        return Bounds(stuck, forbidden)

    def _refused(self, target: str, has: Summary) -> Mapping[str, str]:
        """Return the guests that the host ``target`` cannot have, with the reason."""
        others = {name: one for name, one in self.traits.items() if name not in has.guests}
        if not has.host["reach"]:
            return dict.fromkeys(others, NOT_REACHED)
        if not others:
            return {}
        plain = {name: one.plain() for name, one in others.items()}
        reply = self.ask([target], "libvirt_guest.refuses", {"guests": plain}).get(
            target, Reply(problem="it is silent")
        )
        if reply.problem or not isinstance(reply.value, Mapping):
            return dict.fromkeys(others, f"it cannot be asked: {reply.problem}")
        return {name: str(why) for name, why in reply.value.items() if name in others}

    def _all(self, hosts: Collection[str], function: str, named: Mapping[str, Any]) -> dict[str, Any]:
        """Ask hosts that have to answer; :raises UnavailableError: one does not."""
        replies, found = self.ask(hosts, function, named), {}
        for host in hosts:
            reply = replies.get(host, Reply(problem="the minion does not answer"))
            if reply.problem:
                raise UnavailableError(f"{host}: {reply.problem}")
            found[host] = reply.value
        return found

    def start(self, move: Move, options: Mapping[str, Any]) -> str:
        """
        Start the task that makes ``move`` and return its id; one that goes on from before is taken up.

        :raises LogilabError: the source does not answer, or refuses.
        """
        tasks = self._all([move.source], "libvirt_task.list", {})[move.source]
        for task in tasks:
            if (task["guest"], task["kind"]) == (move.guest, "migrate") and task["state"] in ("pending", "running"):
                return str(task["task"])
        target = self.hosts[move.target].host
        named = {"name": move.guest, "to": target["reach"], "transport": target["transport"] or None, **options}
        named["unsafe"] = self.traits[move.guest].declared
        return str(self._all([move.source], "libvirt_task.migrate", named)[move.source])

    def look(self, sources: Collection[str]) -> dict[tuple[str, str], Mapping[str, Any]]:
        """Return how the tasks of ``sources`` stand, by host and id; of hosts that answer."""
        replies = self.ask(sources, "libvirt_task.list", {})
        told = {host: reply.value for host, reply in replies.items() if isinstance(reply.value, list)}
        return {(host, task["task"]): task for host, tasks in told.items() for task in tasks}


def gather(ask: Ask, hosts: Collection[str]) -> Fleet:
    """Ask ``hosts`` what they have and what runs there; who is silent or cannot be read is among the problems."""
    replies, found, problems = ask(hosts, "libvirt_guest.summary", {}), {}, {}
    for host in sorted(hosts):
        reply = replies.get(host, Reply(problem="the minion does not answer"))
        if reply.problem:
            problems[host] = reply.problem
            continue
        try:
            found[host] = summary.read(reply.value)
        except WireError as err:
            problems[host] = str(err)
    return Fleet(ask, found, problems)


def _wanted(name: str, guests: Collection[str] | None) -> bool:
    return guests is None or name in guests


def _traits(host: str, told: Any) -> Traits:
    try:
        return portability.read(told)
    except (TypeError, KeyError) as err:
        raise WireError(f"{host} tells no traits of a guest: {err}") from err
