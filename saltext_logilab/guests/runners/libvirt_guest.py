"""
The guests of all hypervisors: what runs where, where a guest fits, and guests moved from host to host.

Hypervisors are found by the mine: ``mine_functions: {libvirt_guest.summary: []}``. What is decided is decided on what
they answer at that moment. A host takes part in plans when its minion says where other hosts reach its libvirt:

.. code-block:: yaml

    logilab:
      guests:
        reach: qemu+tls://kvm1.example.com/system
        transport: tcp://10.0.0.1          # optional: a network for the guests' memory
        shared: [/var/lib/libvirt/images]  # optional: shared although nothing shows it

The master's configuration has the rules, all of it optional:

.. code-block:: yaml

    logilab:
      guests:
        placement:
          strategy: spread          # or pack
          reserve_memory_mib: 1024  # what each host keeps for itself
          overcommit: 4             # virtual processors for each real one
          apart:                    # no two guests of a group on one host
            - [web*]
            - [db1, db2]

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import salt.client

from saltext_logilab.errors import ConfigurationError, LogilabError, WireError
from saltext_logilab.guests import fleet as fleets
from saltext_logilab.guests import keystore, moves, placement
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests import summary as summaries
from saltext_logilab.guests.fleet import Fleet
from saltext_logilab.guests.moves import Convoy, Move
from saltext_logilab.guests.placement import Load, Rules
from saltext_logilab.guests.seeds import making, wish
from saltext_logilab.guests.seeds.reception import Reception
from saltext_logilab.guests.sizes import MIB
from saltext_logilab.guests.tasks import watch
from saltext_logilab.guests.tasks.limits import number

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __salt__: dict[str, Any]

FUNCTION = "libvirt_guest.summary"
DAY = 86400


def inventory(tgt: str = "*", tgt_type: str = "glob", format: str = "data") -> Any:  # noqa: A002 - people type it
    """
    Show hypervisors and their guests, as they last told the mine.

    :param tgt: which minions, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant: ``glob``, ``list``, ``compound`` …
    :param format: ``data``, or ``mermaid`` for a picture of hosts and guests in Mermaid's language.
    :return: for each hypervisor ``age`` (seconds since it told so), ``host`` and ``guests``; ``problem`` where what a
        minion put into the mine cannot be read. For a format that does not exist ``error``, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.inventory
        salt-run libvirt_guest.inventory 'kvm*' format=mermaid
    """
    if format not in ("data", "mermaid"):
        return {"error": f"format must be data or mermaid, not {format!r}", "retcode": 1}
    known, problems = _told(tgt, tgt_type)
    if format == "mermaid":
        return summaries.mermaid(known)
    return {minion: summaries.plain(one, time.time()) for minion, one in known.items()} | problems


def _told(tgt: str, tgt_type: str) -> tuple[dict[str, summaries.Summary], dict[str, dict[str, str]]]:
    """Return what hypervisors last told the mine, and which of them cannot be read."""
    known, problems = {}, {}
    for minion, told in __salt__["mine.get"](tgt, FUNCTION, tgt_type).items():
        try:
            known[minion] = summaries.read(told)
        except WireError as err:
            problems[minion] = {"problem": str(err)}
    return known, problems


def capacity(tgt: str = "*", tgt_type: str = "glob") -> dict[str, Any]:
    """
    Show what each hypervisor can still take by the rules of placement, as it last told the mine.

    :param tgt: which hypervisors, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :return: for each ``age``, ``guests`` (the number of those that are not off), ``memory`` and ``memory_left``
        (bytes), ``vcpus`` that are taken and ``vcpus_left``, and ``percent`` of its memory that is promised.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.capacity 'kvm*'
    """
    try:
        rules = guests_settings.read_rules(__opts__)
    except LogilabError as err:
        return _failed(err)
    known, problems = _told(tgt, tgt_type)
    found: dict[str, Any] = {}
    for name, told in sorted(known.items()):
        room = summaries.room(name, told)
        found[name] = {
            "age": max(0, round(time.time() - told.at)),
            "guests": len(room.guests),
            "memory": room.memory,
            "memory_left": placement.memory_left(room, rules),
            "vcpus": room.vcpus,
            "vcpus_left": placement.cpus_left(room, rules),
            "percent": round(100 * moves.burden(room)),
        }
    return found | problems


def place(
    name: str,
    memory_mib: int,
    vcpus: int = 1,
    tgt: str = "*",
    tgt_type: str = "glob",
    strategy: str | None = None,
) -> dict[str, Any]:
    """
    Say which hypervisor a new guest fits on best, and why, and why not on the others; nothing is done.

    :param name: the guest's name: the groups of guests that stay apart go by it.
    :param memory_mib: its memory.
    :param vcpus: its processors.
    :param tgt: which hypervisors, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :param strategy: ``spread`` or ``pack``; by default what is configured.
    :return: ``host`` (None, with exit code 1, where it fits nowhere) and ``why``: a sentence for each host.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.place web3 4096 vcpus=2
    """
    try:
        guest = Load(str(name), int(number("vcpus", vcpus)), int(number("memory_mib", memory_mib)) * MIB)
        rules = _rules(strategy)
        with _fleet(tgt, tgt_type) as fleet:
            choice = placement.place(fleet.rooms, guest, rules)
            found: dict[str, Any] = {"host": choice.host, "why": {**choice.why, **fleet.problems}}
    except LogilabError as err:
        return _failed(err)
    return found if choice.host else {**found, "retcode": 1}


def create(
    name: str,
    image: str,
    pool: str,
    memory_mib: int,
    vcpus: int = 1,
    size_gib: float | None = None,
    interfaces: list[dict[str, Any]] | None = None,
    seed: dict[str, Any] | None = None,
    host: str | None = None,
    tgt: str = "*",
    tgt_type: str = "glob",
    strategy: str | None = None,
    timeout: float = 900,
    test: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """
    Make a guest from an image where it fits best, and wait until its minion answers.

    The hypervisor copies the image, which comes from another one where it lacks it, makes a key pair and tells the
    guest by a small disk who it is; this master accepts the key that the hypervisor's minion has signed, and only for
    this id; then the guest boots. If one of the steps fails, neither a guest nor a key stays, and the answer names the
    step. When this command is ended meanwhile, the engine ``libvirt_seed`` or ``libvirt_seed.attend`` goes on.

    :param name: what the guest is called.
    :param image: the volume that is copied; it has cloud-init and a Salt minion. One hypervisor that other hosts reach
        (``logilab:guests:reach``) has to have it.
    :param pool: the storage pool for the guest's disk.
    :param memory_mib: its memory.
    :param vcpus: its processors.
    :param size_gib: what its disk shall hold; by default what the image holds.
    :param interfaces: its network cards, as for the state ``libvirt_guest.present``.
    :param seed: what it is told, see ``libvirt_task.seed``: ``id`` (by default the name), ``hostname``, ``users``,
        ``ssh_keys``, ``network``, ``minion`` and ``user_data``.
    :param host: the hypervisor's minion; by default the one on which the guest fits best.
    :param tgt: which hypervisors, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :param strategy: ``spread`` or ``pack``; by default what is configured.
    :param timeout: seconds that the boot and the minion have, after the copy.
    :param test: only choose the host.
    :param options: more of what ``libvirt_task.create`` takes: ``image_pool``, ``linked`` (for a host that has the
        image), ``title``, ``autostart``, ``accelerator``, ``xml``, ``stall``, ``seconds_per_gib``.
    :return: ``host`` and ``why`` (a sentence for each host), then ``id``, ``task``, ``state`` and, where the guest has
        not come, ``problem`` and exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.create web debian-12.qcow2 default 2048 vcpus=2 size_gib=20 \\
            interfaces='[{network: default}]' seed='{ssh_keys: [ssh-ed25519 AAAA… me]}'
    """
    told = {"name": name, "image": image, "pool": pool, "memory_mib": memory_mib, "vcpus": vcpus}
    told |= {"size_gib": size_gib, "interfaces": interfaces, "timeout": timeout}
    told |= {key: value for key, value in options.items() if not key.startswith("__")}
    try:
        told["seed"] = own = making.check_told(seed)
        minion = wish.check_id(making.minion_of(name, own))
        guest = Load(str(name), int(number("vcpus", vcpus)), int(number("memory_mib", memory_mib)) * MIB)
        with _fleet(tgt, tgt_type) as fleet, keystore.reception(__opts__) as reception:
            reception.check_unknown(minion)
            if host is not None and host not in fleet.hosts:
                raise ConfigurationError(_unknown(fleet, host))
            choice, told = making.choose(fleet, guest, _rules(strategy), told, host)
            found: dict[str, Any] = {"host": choice.host, "why": {**choice.why, **fleet.problems}}
            if test or choice.host is None:
                return {**found, "retcode": int(choice.host is None)}
            return {**found, **_made(reception, choice.host, minion, told)}
    except LogilabError as err:
        return _failed(err)


def _made(reception: Reception, host: str, minion: str, told: dict[str, Any]) -> dict[str, Any]:
    """Make the guest on ``host``, and return what has become of it."""
    show = watch.live(sys.stderr)
    work = making.Making(reception, show)
    last, problem = work.wait(work.begin(host, minion, told), DAY)
    show("")
    found = {"id": minion, "task": last.get("task"), "state": last.get("state")}
    return {**found, **({"problem": problem} if problem else {}), "retcode": int(problem is not None)}


def migrate(
    name: str,
    to: str | None = None,
    tgt: str = "*",
    tgt_type: str = "glob",
    bandwidth: int = 0,
    timeout: float = DAY,
    test: bool = False,
) -> dict[str, Any]:
    """
    Move a running guest to another hypervisor while it runs, and wait until it is there.

    :param name: the guest; where it runs is found.
    :param to: the minion of the other hypervisor; by default the one on which it fits best.
    :param tgt: which hypervisors, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :param bandwidth: bytes a second; 0 for as fast as it goes.
    :param timeout: seconds to wait, a day by default; the task goes on afterwards.
    :param test: only show what would be done.
    :return: what :func:`evacuate` returns.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.migrate web
        salt-run libvirt_guest.migrate web kvm2
    """
    try:
        rules = _rules(None)
        with _fleet(tgt, tgt_type) as fleet:
            source = fleet.host_of(name)
            if to is not None and to not in fleet.hosts:
                raise ConfigurationError(_unknown(fleet, to))
            bounds = fleet.bounds([source], [name])
            rooms = [room for room in fleet.rooms if to in (None, room.name)]
            plan = moves.relocate(rooms, fleet.load(name), source, rules, bounds)
            return _carry_out(fleet, plan, test, 1, bandwidth, timeout)
    except LogilabError as err:
        return _failed(err)


def evacuate(
    host: str,
    tgt: str = "*",
    tgt_type: str = "glob",
    parallel: int = 2,
    strategy: str | None = None,
    bandwidth: int = 0,
    timeout: float = DAY,
    test: bool = False,
) -> dict[str, Any]:
    """
    Move all guests that run on a hypervisor to others while they run, and wait until they are there.

    Look at the plan first, with ``test=True``. It ends at the first failure: what is on its way arrives, nothing more
    is begun. Call it again, and it goes on from there; moves that go on since an earlier call are taken up.

    :param host: the minion of the hypervisor.
    :param tgt: which hypervisors take part, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :param parallel: so many guests at a time.
    :param strategy: ``spread`` or ``pack``; by default what is configured.
    :param bandwidth: bytes a second for each guest; 0 for as fast as it goes.
    :param timeout: seconds to wait, a day by default; moves that were begun go on afterwards.
    :param test: only show the plan.
    :return: with ``test`` the ``moves`` (``guest``, ``source``, ``target``), else what is ``done``, has ``failed``
        (why) and is ``left``. In both cases ``stuck``: the guests that cannot move, with the reason (a device of the
        host, a snapshot, a local disk, no host with the room or the processor), and ``problems``: hosts that take no
        part. The exit code is 1 unless all guests can move or have moved.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.evacuate kvm1 test=True
        salt-run libvirt_guest.evacuate kvm1 parallel=4
    """
    try:
        rules = _rules(strategy)
        with _fleet(tgt, tgt_type) as fleet:
            if host not in fleet.hosts:
                raise ConfigurationError(_unknown(fleet, host))
            plan = moves.evacuate(fleet.rooms, host, rules, fleet.bounds([host]))
            return _carry_out(fleet, plan, test, parallel, bandwidth, timeout)
    except LogilabError as err:
        return _failed(err)


def rebalance(
    tgt: str = "*",
    tgt_type: str = "glob",
    most: int = 10,
    tolerance: float = 10,
    parallel: int = 2,
    bandwidth: int = 0,
    timeout: float = DAY,
    test: bool = False,
) -> dict[str, Any]:
    """
    Move guests until the hypervisors bear alike, by the part of their memory that is promised to guests.

    :param tgt: which hypervisors take part, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant.
    :param most: no more moves than this.
    :param tolerance: percent by which two hypervisors may differ.
    :param parallel: so many guests at a time.
    :param bandwidth: bytes a second for each guest; 0 for as fast as it goes.
    :param timeout: seconds to wait, a day by default; moves that were begun go on afterwards.
    :param test: only show the plan.
    :return: what :func:`evacuate` returns, and the ``number`` of moves.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.rebalance 'kvm*' test=True
    """
    try:
        rules, part = _rules(None), number("tolerance", tolerance) / 100
        with _fleet(tgt, tgt_type) as fleet:
            bounds = fleet.bounds(fleet.hosts)
            plan = moves.rebalance(fleet.rooms, rules, bounds, most=int(number("most", most)), tolerance=part)
            return {"number": len(plan.moves), **_carry_out(fleet, plan, test, parallel, bandwidth, timeout)}
    except LogilabError as err:
        return _failed(err)


def _unknown(fleet: Fleet, host: str) -> str:
    return f"there is no hypervisor {host!r}: {fleet.problems.get(host, 'it told no mine')}"


def _failed(err: LogilabError) -> dict[str, Any]:
    return {"error": str(err), "retcode": 1}


def _rules(strategy: str | None) -> Rules:
    rules = guests_settings.read_rules(__opts__)
    if strategy not in (None, *placement.STRATEGIES):
        raise ConfigurationError(f"strategy must be one of {', '.join(placement.STRATEGIES)}, not {strategy!r}")
    return dataclasses.replace(rules, strategy=strategy or rules.strategy)


@contextlib.contextmanager
def _fleet(tgt: str, tgt_type: str) -> Iterator[Fleet]:
    """Find the hypervisors by the mine, and ask them what is true now."""
    hosts = sorted(__salt__["mine.get"](tgt, FUNCTION, tgt_type))
    if not hosts:
        raise ConfigurationError(f"no hypervisor among {tgt!r} has told the mine {FUNCTION}")
    with salt.client.get_local_client(mopts=__opts__) as client:
        yield fleets.gather(fleets.through(client), hosts)


def _carry_out(
    fleet: Fleet, plan: moves.Plan, test: bool, parallel: int, bandwidth: int, timeout: float
) -> dict[str, Any]:
    told: dict[str, Any] = {"stuck": dict(plan.stuck), "problems": dict(fleet.problems)}
    if test:
        return {"moves": _plain(plan.moves), **told, "retcode": int(bool(plan.stuck))}
    show = watch.live(sys.stderr)
    convoy = Convoy(
        lambda move: fleet.start(move, {"bandwidth": bandwidth}),
        fleet.look,
        max(1, int(number("parallel", parallel))),
        show,
    )
    outcome = convoy.run(plan.moves, number("timeout", timeout))
    show("")
    told |= {"done": _plain(outcome.done), "failed": dict(outcome.failed), "left": _plain(outcome.left)}
    return {**told, "retcode": int(bool(outcome.failed or outcome.left or plan.stuck))}


def _plain(chosen: Collection[Move]) -> list[dict[str, str]]:
    return [dataclasses.asdict(one) for one in chosen]
