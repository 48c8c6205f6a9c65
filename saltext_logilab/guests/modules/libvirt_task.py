"""
Long work on the guests of this host: it is recorded, goes on without the minion, shows itself and can be stopped.

A function that starts one answers with the task's id at once. libvirt itself does the work; a worker outside of the
minion follows it. Whatever is restarted meanwhile, the record tells the truth afterwards: ``done``, ``failed`` (and
why), ``cancelled``, or ``lost`` where nobody can tell. A guest has one task at a time.

While a task goes on, the minion fires ``salt/logilab/guests/<minion>/<task>/progress``, at most every
``progress_interval`` seconds, and at its end ``…/ended``. The events say what :func:`list_` says; they are for people
to look at: nothing shall be decided by them.

Minion configuration, all of it optional:

.. code-block:: yaml

    logilab:
      guests:
        uri: qemu:///system
        progress_interval: 5

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.config
from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import LogilabError
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.guests.tasks import desk as desks
from saltext_logilab.guests.tasks import limits, orders
from saltext_logilab.guests.tasks import seed as seedings
from saltext_logilab.guests.tasks.desk import Desk
from saltext_logilab.guests.tasks.limits import Limits
from saltext_logilab.guests.tasks.orders import Wanted
from saltext_logilab.guests.tasks.records import ACTIVE, ENDED

if TYPE_CHECKING:
    __opts__: dict[str, Any]

MASTERS = ("master", "master_type", "master_port", "publish_port", "transport", "source_interface_name")

__func_alias__ = {"list_": "list"}


@contextlib.contextmanager
def _desk() -> Iterator[Desk]:
    """Give the tasks of this host; what goes wrong becomes Salt's error."""
    try:
        with desks.opened(guests_settings.read(__opts__), Path(__opts__["conf_file"])) as desk:
            yield desk
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def _read(what: Callable[..., Wanted], *words: Any) -> Wanted:
    """Read what was ordered; impossible words are the caller's fault."""
    try:
        return what(*words)
    except LogilabError as err:
        raise SaltInvocationError(str(err)) from err


def _start(wanted: Wanted, policy: Limits = desks.ANY_TIME) -> str:
    """Check, record and start a task, and return its id."""
    with _desk() as desk:
        return desk.order(guests_settings.read(__opts__).uri, wanted, policy)


def copy_disk(
    name: str,
    disk: str,
    pool: str,
    pivot: bool = False,
    bandwidth: int = 0,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Copy a disk of a running guest into a new qcow2 volume, and return the id of the task.

    The copy is that of the moment at which it ends. If the task does not come to its end, the volume is removed.

    :param name: the guest.
    :param disk: the disk's target, such as ``vda``.
    :param pool: the storage pool for the copy (its volumes are files).
    :param pivot: let the guest go on with the copy; its old disk stays where it is.
    :param bandwidth: bytes a second; 0 for as fast as it goes.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: guest, disk or pool do not allow it, or the guest has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.copy_disk web vda fast
        salt kvm1 libvirt_task.copy_disk web vda fast pivot=True bandwidth=50000000
    """
    return _start(_read(orders.copy_disk, name, disk, pool, pivot, bandwidth), Limits(stall, seconds_per_gib))


def backup(
    name: str,
    pool: str,
    checkpoint: str | None = None,
    since: str | None = None,
    incremental: bool = False,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Back up all disks of a running guest into new qcow2 volumes, and return the id of the task.

    The guest is not stopped; the backup is that of the moment at which it begins. If the task does not come to its
    end, volumes and checkpoint are removed.

    :param name: the guest.
    :param pool: the storage pool for the backup (its volumes are files).
    :param checkpoint: make a checkpoint of this name, so that a later backup can go on from here.
    :param since: copy only what has changed since the checkpoint of this name, of which the pool has a backup.
    :param incremental: copy only what has changed since the newest backup in the pool, with a checkpoint for the next;
        a full one where there is none, or where the disks have no checkpoints (raw ones).
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: guest, disks, pool or checkpoints do not allow it, or the guest has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.backup web backups checkpoint=monday
        salt kvm1 libvirt_task.backup web backups checkpoint=tuesday since=monday
        salt kvm1 libvirt_task.backup web backups incremental=True
    """
    return _start(_read(orders.backup, name, pool, checkpoint, since, incremental), Limits(stall, seconds_per_gib))


def restore(
    backup: str,
    name: str,
    pool: str,
    target: str | None = None,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Restore a backup as a new guest, and return the id of the task.

    The guest gets the name, a UUID and MACs of its own; it is defined, and not started. Its disks stand alone: they
    need the backup no more. Passwords of its definition are not in the backup. If the task does not come to its end,
    nothing of the guest is left.

    :param backup: the backup's name (``libvirt_backup.list``).
    :param name: what the new guest is called.
    :param pool: the pool with the backups.
    :param target: the pool for the new disks (its volumes are files); by default the same.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: there is no such backup or pool, an image is gone or not what it has to be, there is
        no room, or there is such a guest already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.restore 20261123T101500-1a2b3c4d web-restored backups target=default
    """
    return _start(_read(orders.restore, backup, name, pool, target), Limits(stall, seconds_per_gib))


def verify(backup: str, pool: str, seconds: float = 20, timeout: float = 300) -> str:
    """
    Verify a backup, and return the id of the task: its images are whole, and a guest starts from them.

    The guest for that has another name, no network cards, and images of its own for what it writes; it is destroyed in
    the end. Either its agent answers, or it runs on for some seconds and has read from its disks. The backup itself is
    not changed, but for the note in its manifest when it was verified.

    :param backup: the backup's name (``libvirt_backup.list``).
    :param pool: the pool with the backups.
    :param seconds: how long a guest has to run whose agent does not answer.
    :param timeout: seconds that the guest has for all of it.
    :raises CommandExecutionError: there is no such backup or pool, an image is gone or not what it has to be, or the
        guest whose backup it is has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.verify 20261123T101500-1a2b3c4d backups seconds=60
    """
    return _start(_read(orders.verify, backup, pool, seconds, timeout))


def snapshot(name: str, snapshot: str, description: str | None = None) -> str:
    """
    Take a snapshot inside the images of a guest, with the memory of one that runs, and return the id of the task.

    A running guest pauses while its memory is saved. It cannot be called off, and makes no progress that could be seen.

    :param name: the guest; its disks are of the format qcow2, and it has no checkpoints of backups.
    :param snapshot: what the snapshot is called.
    :param description: a line for people.
    :raises CommandExecutionError: the guest does not allow it, has such a snapshot, or has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.snapshot web before-upgrade
    """
    return _start(_read(orders.snapshot, name, snapshot, description))


def clone(
    name: str,
    clone: str,
    pool: str,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Make a new guest that is like another one, and return the id of the task.

    The new guest gets name, UUID and MACs of its own, and disks that stand alone; it is defined, and not started. What
    the system in the guest calls itself stays as it was. If the task does not come to its end, nothing of it is left.

    :param name: the guest; it is off, and stays so until the task has ended.
    :param clone: what the new guest is called.
    :param pool: the pool for its disks (its volumes are files).
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: the guest runs or has a task, there is such a guest, a disk cannot be copied or lies
        in no pool, or there is no room.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.clone template web2 default
    """
    return _start(_read(orders.clone, name, clone, pool), Limits(stall, seconds_per_gib))


def convert(
    pool: str,
    volume: str,
    name: str,
    format: str = "qcow2",  # noqa: A002 - people type it
    target: str | None = None,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Copy a volume that no running guest has into a new one of another format or in another pool; return the task's id.

    :param pool: the pool of the volume.
    :param volume: the volume; what it stands on is taken in.
    :param name: what the new volume is called; it appears when it is whole.
    :param format: ``qcow2`` or ``raw``.
    :param target: the pool for it (its volumes are files); by default the same.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: there is no such volume or pool, the new volume is there already, a running guest has
        the old one, what it stands on lies in no pool, or there is no room.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.convert default web-vda.qcow2 web-vda.raw format=raw target=fast
    """
    new = {"name": name, "format": format}
    return _start(_read(orders.convert, pool, volume, new, target), Limits(stall, seconds_per_gib))


def resize_disk(name: str, disk: str, size_gib: float) -> str:
    """
    Let a disk of a guest grow, while it runs or is off, and return the id of the task; no disk is made smaller.

    :param name: the guest.
    :param disk: the disk's target, such as ``vda``.
    :param size_gib: what it shall hold.
    :raises CommandExecutionError: there is no such guest or disk, it has that size or a larger one, or the guest has a
        task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.resize_disk web vda 40
    """
    return _start(_read(orders.resize_disk, name, disk, size_gib))


def create(
    name: str,
    image: str,
    pool: str,
    memory_mib: int,
    vcpus: int = 1,
    size_gib: float | None = None,
    interfaces: list[dict[str, Any]] | None = None,
    seed: dict[str, Any] | None = None,
    image_pool: str | None = None,
    image_host: str | None = None,
    linked: bool = False,
    title: str | None = None,
    autostart: bool | None = None,
    accelerator: str | None = None,
    xml: str | None = None,
    nonce: str | None = None,
    timeout: float = seedings.TIMEOUT,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
    test: bool = False,
) -> str | None:
    """
    Make a guest from an image, whose minion a master knows before it boots, and return the id of the task.

    The runner ``libvirt_guest.create`` does that from the master, where the guest fits best; call this one where a
    master lets in what this host offers (the engine ``libvirt_seed``). The image has cloud-init and a Salt minion. Its
    copy is the guest's first disk, a seed image tells the guest who it is, the guest starts when a master has accepted
    its key, and the task is done when its minion has answered. If it does not come to that, nothing of the guest is
    left.

    :param name: what the guest is called.
    :param image: the volume that is copied.
    :param pool: the storage pool for the guest's disk (its volumes are files).
    :param memory_mib: its memory.
    :param vcpus: its processors.
    :param size_gib: what its disk shall hold; by default what the image holds.
    :param interfaces: its network cards, as for the state ``libvirt_guest.present``.
    :param seed: what it is told, see :func:`seed`: ``id``, ``hostname``, ``users``, ``ssh_keys``, ``network``,
        ``minion`` and ``user_data``.
    :param image_pool: the pool of the image; by default ``pool``.
    :param image_host: the libvirt of another host that has the image, as this host reaches it; it comes from there.
    :param linked: let the disk hold its difference from the image only, which has to stay then.
    :param title: a line for people.
    :param autostart: whether it starts with the host.
    :param accelerator: ``kvm`` or ``qemu``; by default the best that the host has.
    :param xml: more of its definition in libvirt's own words.
    :param nonce: what its seed is called; by default something that nobody can guess.
    :param timeout: seconds that the master, the boot and the minion have, after the copy.
    :param stall: give the copy up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give the copy up when it takes longer than this for each GiB; 0 for never.
    :param test: only say what is wrong; nothing is begun, and there is no id.
    :raises CommandExecutionError: there is such a guest, no such image, pool or network, no room, or something of what
        was told is impossible.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.create web debian-12.qcow2 default 2048 vcpus=2 size_gib=20 \\
            interfaces='[{network: default}]' seed='{ssh_keys: [ssh-ed25519 AAAA… me]}'
    """
    told = {"memory_mib": memory_mib, "vcpus": vcpus, "interfaces": interfaces, "title": title}
    told |= {"autostart": autostart, "accelerator": accelerator, "xml": xml}
    source = {"volume": image, "from": image_pool, "pool": pool, "host": image_host, "size_gib": size_gib}
    source["linked"] = linked
    wanted = _read(orders.create, name, source, told, _told(name, seed, nonce, timeout))
    if not test:
        return _start(wanted, Limits(stall, seconds_per_gib))
    with _desk() as desk:
        desk.check(guests_settings.read(__opts__).uri, wanted)
    return None


def seed(
    name: str,
    id: str | None = None,  # noqa: A002 - people type it
    hostname: str | None = None,
    users: list[Any] | None = None,
    ssh_keys: list[str] | None = None,
    network: dict[str, Any] | None = None,
    minion: dict[str, Any] | None = None,
    user_data: dict[str, Any] | None = None,
    pool: str | None = None,
    nonce: str | None = None,
    timeout: float = seedings.TIMEOUT,
) -> str:
    """
    Start a guest that is off and tell it who it is, with a minion that a master knows; return the id of the task.

    Its image has cloud-init and a Salt minion. A small disk with the label ``cidata`` tells it; the key pair of its
    minion is made here, and only the public key goes to a master. When the minion has answered, the disk is taken away.
    If it does not come to that, the guest is off again and has no such disk, but may have booted.

    :param name: the guest.
    :param id: the id of its minion; by default the guest's name. No master may know a key of this id.
    :param hostname: by default the id.
    :param users: users in cloud-init's words, beside the one that the image has. Passwords as hashes only.
    :param ssh_keys: public keys that may log in as the user of the image.
    :param network: its network in cloud-init's words (version 1 or 2); by default what the image does by itself.
    :param minion: the configuration of its minion; by default it has the masters of this host's minion.
    :param user_data: more of cloud-init's words, such as ``packages`` and ``runcmd``.
    :param pool: where the small disk lies meanwhile; by default the pool of the guest's first disk.
    :param nonce: what the seed is called; by default something that nobody can guess.
    :param timeout: seconds that the master, the boot and the minion have.
    :raises CommandExecutionError: there is no such guest or it runs, the guest has a task, or something of what was
        told is impossible.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.seed web id=web.example.com ssh_keys='[ssh-ed25519 AAAA… me]'
    """
    told = {"id": id, "hostname": hostname, "users": users, "ssh_keys": ssh_keys, "network": network}
    own = _told(name, {**told, "minion": minion, "user_data": user_data}, nonce, timeout)
    return _start(_read(orders.seed, name, pool, own))


def _told(name: str, told: object, nonce: str | None, timeout: float) -> dict[str, Any]:
    """Return what a guest is told; where no master is, it has those of this minion."""
    try:
        return orders.read_seed(name, told, _masters, nonce, timeout)
    except LogilabError as err:
        raise SaltInvocationError(str(err)) from err


def _masters() -> dict[str, Any]:
    """Return what this minion's configuration says of its masters: in a job, the options name one of them only."""
    defaults = salt.config.DEFAULT_MINION_OPTS
    configured = salt.config.minion_config(__opts__["conf_file"], minion_id=__opts__["id"])
    told = {key: configured[key] for key in MASTERS if configured.get(key) != defaults.get(key)}
    key = Path(__opts__["pki_dir"]) / "minion_master.pub"
    known = key.read_text(encoding="ascii") if key.exists() else None
    return {"minion": {**told, "master": configured["master"]}, "master_key": known}


def migrate(
    name: str,
    to: str,
    transport: str | None = None,
    bandwidth: int = 0,
    unsafe: bool = False,
    stall: float = limits.STALL,
    seconds_per_gib: float = limits.SECONDS_PER_GIB,
) -> str:
    """
    Move a running guest to another host while it runs, and return the id of the task.

    The disks have to lie on storage that both hosts share. The two libvirtds do it between themselves (peer to peer).
    Whatever happens meanwhile, the guest runs on one of them.

    :param name: the guest.
    :param to: the other host's libvirt, as this host reaches it: ``qemu+tls://kvm2/system``.
    :param transport: the URI for the guest's memory; by default libvirt chooses.
    :param bandwidth: bytes a second (libvirt counts in MiB); 0 for as fast as it goes.
    :param unsafe: move it although libvirt cannot see that its disks are shared.
    :param stall: give up after so many seconds without progress; 0 for never.
    :param seconds_per_gib: give up when it takes longer than this for each GiB; 0 for never.
    :raises CommandExecutionError: the guest cannot move, the other host does not answer or has such a guest, or the
        guest has a task already.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.migrate web qemu+tls://kvm2/system
    """
    options = {"transport": transport, "bandwidth": bandwidth, "unsafe": unsafe}
    return _start(_read(orders.migrate, name, to, options), Limits(stall, seconds_per_gib))


def list_(state: str | None = None) -> list[dict[str, Any]]:
    """
    Return the tasks of this host, the newest first.

    A task whose worker has gone is settled first: a new worker looks at what libvirt says of it.

    :param state: only those in this state: ``pending``, ``running``, ``done``, ``failed``, ``cancelled`` or ``lost``.
    :return: for each ``task`` (its id), ``kind``, ``guest``, ``state``, ``reason``, ``percent``, ``bytes`` of
        ``total``, ``rate`` (bytes a second) and ``left`` (seconds, or None where nobody can tell).
    :raises SaltInvocationError: there is no such state.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.list state=running
    """
    if state not in (None, *ACTIVE, *ENDED):
        raise SaltInvocationError(f"state must be one of {', '.join((*ACTIVE, *ENDED))}, not {state!r}")
    with _desk() as desk:
        return desk.all(state)


def status(task: str) -> dict[str, Any]:
    """
    Return all that is known of a task.

    :return: what :func:`list_` says of it, ``created``, ``started`` and ``ended`` (Unix time), ``worker`` (how it is
        followed, ``unit`` or ``process``, or None), ``cancel`` (why it shall end) and ``spec`` (what it was told and
        has made).
    :raises CommandExecutionError: there is no such task.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.status 20261123T101500-1a2b3c4d
    """
    with _desk() as desk:
        return desk.status(task)


def wait(task: str, timeout: float = 10) -> dict[str, Any]:
    """
    Wait until a task has ended, at most ``timeout`` seconds, and return what :func:`status` returns.

    For longer times use the runner ``libvirt_task.wait``, which asks again and again.

    :raises CommandExecutionError: there is no such task.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.wait 20261123T101500-1a2b3c4d timeout=30
    """
    with _desk() as desk:
        return desk.wait(task, timeout)


def cancel(task: str) -> dict[str, Any]:
    """
    Call a task off, and return what :func:`status` returns; it is ``cancelled`` a moment later.

    The guest stays as it was before, and what the task has made is removed. A task that comes to its end meanwhile is
    ``done``.

    :raises CommandExecutionError: there is no such task, or it has ended.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.cancel 20261123T101500-1a2b3c4d
    """
    with _desk() as desk:
        return desk.cancel(task, "by request")


def log(task: str) -> list[str]:
    """
    Return what has happened to a task, a line each, with times in UTC.

    :raises CommandExecutionError: there is no such task.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.log 20261123T101500-1a2b3c4d
    """
    with _desk() as desk:
        return desk.log(task)


def prune(days: float = 30) -> list[str]:
    """
    Forget the tasks that ended more than ``days`` ago, and return their ids; what they have made stays.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_task.prune days=7
    """
    with _desk() as desk:
        return desk.prune(days)
