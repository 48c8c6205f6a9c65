"""
Look at the guests of a libvirt host, by calls that answer for all of them at once.

Where Salt's virt module opens four connections and starts a program for each guest, these functions open one
connection. The extra ``[virt]`` brings libvirt's binding.

Minion configuration, all of it optional:

.. code-block:: yaml

    logilab:
      guests:
        uri: qemu:///system

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import connection, inventory, portability
from saltext_logilab.guests import host as hosts
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests import summary as summaries
from saltext_logilab.guests.sizes import KIB
from saltext_logilab.guests.tasks.records import FILE, Records

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}

SOURCES = ("lease", "agent", "arp")
MOUNTS = Path("/proc/self/mounts")


@contextlib.contextmanager
def _opened(*, readonly: bool = True) -> Iterator[connection.Connection]:
    try:
        with connection.opened(guests_settings.read(__opts__).uri, readonly=readonly) as link:
            yield link
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def list_() -> dict[str, dict[str, Any]]:
    """
    Return all guests of this host in short, by name.

    :return: for each ``uuid``, ``state`` (``running``, ``paused``, ``shut off`` …), ``vcpus`` and ``memory`` (bytes).
    :raises CommandExecutionError: libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.list
    """
    with _opened() as link:
        return {one.name: _short(one) for one in inventory.guests(link)}


def info(name: str | None = None) -> dict[str, dict[str, Any]]:
    """
    Return all that is known of the guest ``name``, or of all guests; one call to libvirt per guest.

    :return: for each what :func:`list_` tells, ``autostart``, ``title``, ``machine``, ``architecture``,
        ``accelerator`` (``kvm`` or ``qemu``), ``passthrough`` (the number of host devices), ``agent`` (``connected``,
        ``disconnected``, empty for a guest that is off, None without a channel), ``disks`` and ``interfaces``.
    :raises CommandExecutionError: libvirt does not answer, or has no such guest.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.info web
    """
    with _opened() as link:
        shorts = {one.name: _short(one) for one in inventory.guests(link, name)}
        made, starting = inventory.definitions(link, name), inventory.autostarted(link)
    return {
        key: {**short, "autostart": key in starting, **made[key].plain()}
        for key, short in shorts.items()
        if key in made
    }


def stats(name: str | None = None) -> dict[str, dict[str, Any]]:
    """
    Return what the guest ``name``, or each guest, has used since its start; one call to libvirt for all.

    :return: for each ``state``, ``cpu_time`` (nanoseconds), ``memory`` (what it may use) and ``resident`` (what it
        takes of the host), both in bytes, ``disks`` and ``interfaces`` with their counters in bytes and numbers. What
        libvirt does not tell, as for guests that are off, is left out or None.
    :raises CommandExecutionError: libvirt does not answer, or has no such guest.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.stats
    """
    with _opened() as link:
        found = inventory.guests(link, name, counters=True)
    return {
        one.name: {
            "state": one.state,
            "cpu_time": one.stats.get("cpu.time"),
            "memory": one.memory,
            "resident": one.stats["balloon.rss"] * KIB if "balloon.rss" in one.stats else None,
            "disks": inventory.numbered(one.stats, "block", inventory.COUNTED),
            "interfaces": inventory.numbered(one.stats, "net", inventory.CARRIED),
        }
        for one in found
    }


def disks(name: str | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """
    Return the disks of the guest ``name``, or of all guests, by guest and target (``vda``).

    :return: for each what its definition says (``device``, ``kind``, ``source``, ``format``, ``bus``, ``readonly``,
        ``shareable``), the ``pool`` and ``volume`` that it lies in, and ``capacity``, ``allocation`` and ``physical``
        in bytes where libvirt knows them.
    :raises CommandExecutionError: libvirt does not answer, or has no such guest.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.disks web
    """
    with _opened() as link:
        sizes = {
            one.name: inventory.numbered(one.stats, "block", SIZES)
            for one in inventory.guests(link, name, counters=True)
        }
        made, known = inventory.definitions(link, name), inventory.volumes(link)
    return {
        guest: {one.target: {**_disk(one, known), **sizes.get(guest, {}).get(one.target, {})} for one in found.disks}
        for guest, found in made.items()
    }


def interfaces(name: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """
    Return the network cards of the guest ``name``, or of all guests.

    :return: for each guest a list of ``mac``, ``kind`` (``network``, ``bridge``, ``user`` …), ``source`` (the
        network's or bridge's name), ``model`` and ``target`` (the device on the host, of a running guest).
    :raises CommandExecutionError: libvirt does not answer, or has no such guest.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.interfaces
    """
    with _opened() as link:
        found = inventory.definitions(link, name)
    return {guest: [dict(vars(one)) for one in made.interfaces] for guest, made in found.items()}


def addresses(name: str | None = None, source: str = "lease") -> dict[str, dict[str, list[str]]]:
    """
    Return the addresses of the guest ``name``, or of all running guests.

    :param source: who is asked: ``lease`` (libvirt's own networks), ``agent`` (the guest's agent) or ``arp``.
    :return: for each guest the addresses with their prefix, by MAC; none where nobody knows.
    :raises CommandExecutionError: libvirt does not answer, or has no such guest.
    :raises SaltInvocationError: ``source`` is something else.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.addresses web source=agent
    """
    if source not in SOURCES:
        raise SaltInvocationError(f"source must be one of {', '.join(SOURCES)}, not {source!r}")
    with _opened(readonly=source != "agent") as link:  # libvirt wants it so
        return inventory.addresses(link, source, name)


def host() -> dict[str, Any]:
    """
    Return facts of this host.

    :return: ``name``, ``uuid``, ``driver``, ``architecture``, ``cpu_model``, ``cpus``, ``memory`` and ``free``
        (bytes), the versions of ``libvirt`` and of the ``hypervisor``, ``pools`` (with ``capacity`` and ``available``
        in bytes) and ``networks`` (whether each is active).
    :raises CommandExecutionError: libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.host
    """
    with _opened() as link:
        return dataclasses.asdict(hosts.facts(link))


def summary() -> dict[str, Any]:
    """
    Return host and guests in short, for the mine: ``mine_functions: {libvirt_guest.summary: []}``.

    The runner ``libvirt_guest.inventory`` puts the summaries of all hosts together.

    :return: ``at`` (Unix time), ``host`` (``cpus``, ``memory``, ``free``, ``libvirt``, ``hypervisor``), ``guests``:
        by name a list of UUID, state, vcpus and memory (bytes), and ``tasks``: id, kind and guest of those that go on.
    :raises CommandExecutionError: libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.summary
    """
    with _opened() as link:
        settings = guests_settings.read(__opts__)
        return summaries.make(link, settings.reach, settings.transport, _going(settings.folder))


def _going(folder: Path) -> list[tuple[str, str, str]]:
    """Return id, kind and guest of the tasks that have not ended, as they stand in the record."""
    if not (folder / FILE).exists():
        return []
    with contextlib.closing(Records(folder)) as records:
        return [(task.id, task.kind, task.guest) for task in records.all() if task.active]


def traits() -> dict[str, dict[str, Any]]:
    """
    Return what decides where the running guests of this host can go; the runner ``libvirt_guest.evacuate`` asks it.

    :return: for each ``uuid``, ``passthrough`` (the number of devices of the host that it holds), ``local`` (disks that
        this host alone has), ``declared`` (whether disks lie in one of the folders that are configured as ``shared``),
        ``machine``, ``architecture``, ``accelerator``, ``cpu`` (XML) and ``snapshots`` (their number).
    :raises CommandExecutionError: libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_guest.traits
    """
    with _opened() as link:
        return portability.traits(link, MOUNTS.read_text(encoding="utf-8"), guests_settings.read(__opts__).shared)


def refuses(guests: dict[str, dict[str, Any]]) -> dict[str, str]:
    """
    Return which guests of another host this one cannot have, with the reason: name, machine type, processor.

    :param guests: what :func:`traits` tells of them there.
    :raises CommandExecutionError: libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt kvm2 libvirt_guest.refuses "$(salt kvm1 libvirt_guest.traits --out=json --static | jq -c .kvm1)"
    """
    try:
        wanted = {str(name): vars(portability.read(one)) for name, one in guests.items()}
    except (AttributeError, KeyError, TypeError) as err:
        raise SaltInvocationError(f"guests must be what libvirt_guest.traits returns: {err}") from err
    with _opened(readonly=False) as link:  # libvirt wants it so
        return portability.problems(link, wanted)


SIZES = ("capacity", "allocation", "physical")


def _short(guest: inventory.Guest) -> dict[str, Any]:
    return {"uuid": guest.uuid, "state": guest.state, "vcpus": guest.vcpus, "memory": guest.memory}


def _disk(disk: Any, known: dict[str, inventory.Volume]) -> dict[str, Any]:
    told = dict(vars(disk))
    volume = known.get(disk.source or "")
    told["pool"] = volume.pool if volume else disk.pool
    told["volume"] = volume.name if volume else (disk.source if disk.kind == "volume" else None)
    return told
