"""
Guests of libvirt that are defined, run, are off, or are gone.

.. code-block:: yaml

    web:
      libvirt_guest.present:
        - memory_mib: 2048
        - vcpus: 2
        - disks:
          - {target: vda, pool: default, size_gib: 20, backing: debian-12.qcow2}
        - interfaces:
          - network: default
        - autostart: True

    web_runs:
      libvirt_guest.running:
        - name: web
        - require:
          - libvirt_guest: web

A guest that is there already is adopted: what the state does not name stays as it is, and nothing is made anew that can
be changed.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import change, connection, inventory, power, storage, wanted
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import desk as desks
from saltext_logilab.guests.tasks import seed as seedings
from saltext_logilab.guests.tasks import snapshot as snapshots
from saltext_logilab.guests.tasks.desk import Desk
from saltext_logilab.guests.tasks.limits import number
from saltext_logilab.outcomes import outcome as _answer

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __salt__: dict[str, Any]

_ERRORS = (CommandExecutionError, SaltInvocationError, LogilabError)


@contextlib.contextmanager
def _opened() -> Iterator[Connection]:
    with connection.opened(guests_settings.read(__opts__).uri) as link:
        yield link


@contextlib.contextmanager
def _desk() -> Iterator[tuple[Desk, str]]:
    settings = guests_settings.read(__opts__)
    with desks.opened(settings, Path(__opts__["conf_file"])) as desk:
        yield desk, settings.uri


def _check_idle(name: str) -> None:
    with _desk() as (desk, uri):
        desk.check_idle(uri, name)


def present(
    name: str,
    memory_mib: int | None = None,
    vcpus: int | None = None,
    disks: list[dict[str, Any]] | None = None,
    interfaces: list[dict[str, Any]] | None = None,
    xml: str | None = None,
    title: str | None = None,
    autostart: bool | None = None,
    accelerator: str | None = None,
    remove_disks: list[str] | None = None,
    remove_interfaces: list[str] | None = None,
) -> dict[str, Any]:
    """
    Have a guest defined as it is told, now and at its next start; it is neither started nor stopped.

    What is not told stays as it is. A running guest gets disks, cards, memory and processors at once as far as it has
    room for them; the comment says what waits for its next start. Its UUID stays. ``test=True`` shows each difference.

    name
        The guest.
    memory_mib
        Its memory; a new guest needs it.
    vcpus
        The number of its processors; a new guest needs it.
    disks
        Its disks, by their ``target`` (``vda``). A disk lies in a ``pool``: its ``volume`` (by default
        ``<name>-<target>.<format>``) is made where there is none, with ``size_gib``, a ``format`` (``qcow2`` or
        ``raw``) and, if wanted, as the difference from the volume ``backing`` of the same pool. Or it has its data in
        ``source``, a path. A disk that is smaller than ``size_gib`` grows, also while the guest runs; none is made
        smaller. Further: ``bus`` (``virtio``), ``device`` (``disk`` or ``cdrom``), ``readonly``.
    interfaces
        Its network cards, each with ``network``, ``bridge`` or ``user: True``, and if wanted ``mac`` and ``model``
        (``virtio``). Without a MAC, the first is meant for the guest's first card, and so on.
    xml
        More of its definition in libvirt's own words, as text or ``salt://`` path: the whole, or a part such as
        ``<domain><cpu mode='host-passthrough'/></domain>``. What it says is laid over what is there.
    title
        A line for people.
    autostart
        Whether it starts with the host.
    accelerator
        How a new guest is run: ``kvm``, or ``qemu`` for emulation; by default the best that the host has.
    remove_disks
        Targets of disks that the guest shall not have any more. Their data stay. A disk that the list ``disks`` does
        not name is kept.
    remove_interfaces
        MACs of network cards that the guest shall not have any more.

    .. code-block:: yaml

        web:
          libvirt_guest.present:
            - memory_mib: 4096
            - vcpus: 2
            - disks:
              - {target: vda, pool: default, size_gib: 40}
              - {target: vdb, pool: fast, size_gib: 100, format: raw}
            - remove_disks: [vdc]
    """
    told: dict[str, Any] = {"memory_mib": memory_mib, "vcpus": vcpus, "disks": disks, "interfaces": interfaces}
    told |= {"title": title, "autostart": autostart, "accelerator": accelerator}
    told |= {"remove_disks": remove_disks, "remove_interfaces": remove_interfaces}
    try:
        if xml is not None and xml.startswith("salt://"):
            xml = __salt__["cp.get_file_str"](xml) or ""
        want = wanted.read(name, {**told, "xml": xml})
        with _opened() as link:
            todo = change.plan(link, want)
            later = _later(todo.live.pending)
            if not todo.changes:
                return _answer(name, True, f"the guest {name} is as it shall be{later}")
            if __opts__["test"]:
                return _answer(name, None, f"the guest {name} would be changed{later}", todo.changes)
            _check_idle(name)
            change.apply(link, todo)
            left = change.plan(link, want).changes
    except _ERRORS as err:
        return _answer(name, False, str(err))
    refused = sorted(path for path in left if not path.endswith(change.RUNNING))
    if refused:
        return _answer(name, False, f"libvirt has not taken all of it: {', '.join(refused)}", todo.changes)
    return _answer(name, True, f"the guest {name} is changed{later}", todo.changes)


def _later(pending: tuple[str, ...]) -> str:
    return f"; at its next start: {', '.join(sorted(pending))}" if pending else ""


def absent(name: str, delete_disks: bool = False, force: bool = False, timeout: float = 120) -> dict[str, Any]:
    """
    Have a guest not defined any more. Its disks and backups stay, unless they are named.

    name
        The guest; when it runs, it is shut down first.
    delete_disks
        Delete the volumes of its disks, too; never one that another guest uses. Backups stay in any case.
    force
        Cut its power when it does not shut down in time, and give up the memory of a guest that was saved.
    timeout
        Seconds that it has for shutting down.

    .. code-block:: yaml

        old_web:
          libvirt_guest.absent:
            - name: web
    """
    try:
        number("timeout", timeout)
        with _opened() as link:
            found = {one.name(): one for one in link.listAllDomains()}.get(name)
            if found is None:
                return _answer(name, True, f"there is no guest {name}")
            volumes = power.removable(link, found) if delete_disks else []
            changes: dict[str, Any] = {name: {"old": power.state(found), "new": None}}
            changes |= {f"volume {pool}/{volume}": {"old": "there", "new": None} for pool, volume in volumes}
            if __opts__["test"]:
                return _answer(name, None, f"the guest {name} would be removed", changes)
            _check_idle(name)
            if found.isActive():
                power.stop(found, timeout, force=force)
            if found.isPersistent():
                power.forget(found, saved=force)
            for pool, volume in volumes:
                storage.remove(link, pool, volume)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the guest {name} is removed", changes)


def seeded(
    name: str,
    id: str | None = None,  # noqa: A002 - people type it
    hostname: str | None = None,
    users: list[Any] | None = None,
    ssh_keys: list[str] | None = None,
    network: dict[str, Any] | None = None,
    minion: dict[str, Any] | None = None,
    user_data: dict[str, Any] | None = None,
    pool: str | None = None,
    timeout: float = seedings.TIMEOUT,
) -> dict[str, Any]:
    """
    Have a guest that was told who it is, and whose minion a master knows: it is started with a seed, once.

    The guest has to be off, and its image to have cloud-init and a Salt minion. A master lets it in by the engine
    ``libvirt_seed``, or by the runner ``libvirt_seed.accept``. A guest that was seeded with this id is left alone.

    name
        The guest.
    id
        The id of its minion; by default the guest's name.
    hostname
        By default the id.
    users
        Users in cloud-init's words, beside the one that the image has. Passwords as hashes only.
    ssh_keys
        Public keys that may log in as the user of the image.
    network
        Its network in cloud-init's words (version 1 or 2); by default what the image does by itself.
    minion
        The configuration of its minion; by default it has the masters of this host's minion.
    user_data
        More of cloud-init's words.
    pool
        Where the small disk with the seed lies meanwhile; by default the pool of the guest's first disk.
    timeout
        Seconds that the master, the boot and the minion have.

    .. code-block:: yaml

        web:
          libvirt_guest.seeded:
            - id: web.example.com
            - ssh_keys: [ssh-ed25519 AAAA… me]
    """
    told = {"id": id, "hostname": hostname, "users": users, "ssh_keys": ssh_keys, "network": network}
    told |= {"minion": minion, "user_data": user_data, "pool": pool}
    wanted_id = id or name
    try:
        with _opened() as link:
            found = connection.find(link, name)
            was = seedings.seeded(found)
            if was == wanted_id:
                return _answer(name, True, f"the guest {name} was seeded as {wanted_id}")
            seedings.check(link, name, pool)
        changes = {"seeded": {"old": was, "new": wanted_id}}
        if __opts__["test"]:
            return _answer(name, None, f"the guest {name} would be seeded as {wanted_id}", changes)
        task = __salt__["libvirt_task.seed"](name, timeout=timeout, **told)
        problem = _problem(task, timeout + seedings.MORE)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    if problem:
        return _answer(name, False, problem)
    return _answer(name, True, f"the guest {name} is seeded as {wanted_id}", changes)


def snapshotted(name: str, snapshot: str, description: str | None = None, timeout: float = 600) -> dict[str, Any]:
    """
    Have a snapshot of a guest, in its own images; of a running guest with its memory.

    name
        The guest; its disks are of the format qcow2, and it has no checkpoints of backups.
    snapshot
        What the snapshot is called. One that is there stays as it is.
    description
        A line for people.
    timeout
        Seconds to wait for it; a running guest pauses while its memory is saved.

    .. code-block:: yaml

        web:
          libvirt_guest.snapshotted:
            - snapshot: before-upgrade
    """
    try:
        with _opened() as link:
            has = snapshots.names(connection.find(link, name))
            if snapshot in has:
                return _answer(name, True, f"the guest {name} has the snapshot {snapshot}")
            snapshots.check(link, name, snapshot, description)
        changes = {f"snapshot {snapshot}": {"old": None, "new": "taken"}}
        if __opts__["test"]:
            return _answer(name, None, f"a snapshot of the guest {name} would be taken", changes)
        task = __salt__["libvirt_task.snapshot"](name, snapshot, description)
        problem = _problem(task, timeout)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    if problem:
        return _answer(name, False, problem)
    return _answer(name, True, f"a snapshot of the guest {name} is taken", changes)


def protected(
    name: str,
    pool: str,
    hours: float = 24,
    incremental: bool = True,
    keep: int | None = None,
    timeout: float = 3600,
) -> dict[str, Any]:
    """
    Have a backup of a guest that is not older than some hours; the guest runs on while it is made.

    name
        The guest; it has to run where a new backup is needed.
    pool
        The storage pool with the backups (its volumes are files).
    hours
        How old the newest backup may be.
    incremental
        Copy only what has changed since the newest backup, where that can be.
    keep
        Remove older backups of the guest, so that so many stay with all that they stand on; by default none is removed.
    timeout
        Seconds to wait for a new backup; it goes on afterwards.

    .. code-block:: yaml

        web:
          libvirt_guest.protected:
            - pool: backups
            - hours: 24
            - keep: 14
    """
    try:
        oldest = time.time() - 3600 * number("hours", hours)
        known = __salt__["libvirt_backup.list"](pool, name)
        changes: dict[str, Any] = {}
        if not known or known[-1]["at"] < oldest:
            last = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(known[-1]["at"])) if known else None
            changes["backup"] = {"old": last, "new": "now"}
        surplus = (
            __salt__["libvirt_backup.prune"](name, pool, keep, test=True) if keep is not None and not changes else []
        )
        changes |= {f"backup {one}": {"old": "there", "new": None} for one in surplus}
        if not changes:
            return _answer(name, True, f"the newest backup of {name} is not older than {hours:g} hours")
        if __opts__["test"]:
            return _answer(name, None, f"the guest {name} would be backed up, or older backups removed", changes)
        if "backup" in changes:
            task = changes["backup"]["new"] = __salt__["libvirt_task.backup"](name, pool, incremental=incremental)
            if problem := _problem(task, timeout):
                return _answer(name, False, problem)
        removed = __salt__["libvirt_backup.prune"](name, pool, keep) if keep is not None else []
        changes |= {f"backup {one}": {"old": "there", "new": None} for one in removed}
    except _ERRORS as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the guest {name} is protected", changes)


def _problem(task: str, timeout: float) -> str | None:
    """Wait for a task, and return what went wrong with it."""
    told = __salt__["libvirt_task.wait"](task, timeout)
    if told["state"] == "done":
        return None
    return f"{told['kind']} {task} is {told['state']}{': ' + told['reason'] if told['reason'] else ''}"


def running(name: str, force: bool = False) -> dict[str, Any]:
    """
    Have a guest run: it is started, resumed or woken.

    A guest whose last migration was lost is not started, for it may run on the other host.

    name
        The guest.
    force
        Start it although its last migration was lost: you know that it runs nowhere else.

    .. code-block:: yaml

        web:
          libvirt_guest.running: []
    """
    try:
        with _opened() as link:
            found = connection.find(link, name)
            now = power.state(found)
            if now == "running":
                return _answer(name, True, f"the guest {name} runs")
            changes = {name: {"old": now, "new": "running"}}
            with _desk() as (desk, uri):
                desk.check_idle(uri, name)
                if not force:
                    desk.check_here(uri, name)
            if __opts__["test"]:
                return _answer(name, None, f"the guest {name} would be started", changes)
            power.start(found)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the guest {name} runs now", changes)


def stopped(name: str, force: bool = False, timeout: float = 120) -> dict[str, Any]:
    """
    Have a guest off: it is told to shut down, and waited for.

    name
        The guest.
    force
        Cut its power when it has not shut down in time.
    timeout
        Seconds that it has for shutting down; with 0 and ``force`` its power is cut at once.

    .. code-block:: yaml

        web:
          libvirt_guest.stopped:
            - timeout: 300
    """
    try:
        number("timeout", timeout)
        with _opened() as link:
            found = connection.find(link, name)
            if not found.isActive():
                return _answer(name, True, f"the guest {name} is off")
            changes = {name: {"old": power.state(found), "new": inventory.OFF}}
            if __opts__["test"]:
                return _answer(name, None, f"the guest {name} would be shut down", changes)
            _check_idle(name)
            power.stop(found, timeout, force=force)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"the guest {name} is off now", changes)
