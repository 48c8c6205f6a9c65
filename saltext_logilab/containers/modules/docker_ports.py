"""
Published ports of this host's containers: which container answers on which port, and ports that stay.

With the engine ``docker_ports`` the answers come from its registry; without it each reading function makes one listing.
Answers bear their ``age`` in seconds.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from salt.exceptions import SaltInvocationError

from saltext_logilab.containers import fleet, formats, host, proof
from saltext_logilab.containers import settings as containers_settings
from saltext_logilab.containers.selection import Criteria, criteria
from saltext_logilab.containers.settings import POOL, ContainersSettings
from saltext_logilab.within import salted

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]
    __salt__: dict[str, Any]

__func_alias__ = {"list_": "list"}


def _settings() -> ContainersSettings:
    return containers_settings.read(__opts__, __pillar__)


def list_(daemon: str | None = None, fresh: bool = False) -> dict[str, Any]:
    """
    Return all published ports of this host.

    A mapping of ``age`` (seconds), ``daemons`` (each with its ``state``, ``source``, ``age`` and, when it cannot be
    reached, ``error``) and ``ports``: a row for each container, protocol, container port, host address and host port.
    A row's ``origin`` is ``published``, or ``listener`` for what a container that shares a network really listens on.

    daemon
        The name of one of the configured daemons; by default all.
    fresh
        Ask the daemon itself, also when the engine runs; by default False.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.list
    """
    with salted.errors():
        return dict(host.find(_settings(), Criteria(), daemon, fresh))


def find(
    port: str | int | None = None,
    protocol: str | None = None,
    container: str | None = None,
    image: str | None = None,
    label: str | None = None,
    project: str | None = None,
    exposure: str | None = None,
    daemon: str | None = None,
    fresh: bool = False,
) -> dict[str, Any]:
    """
    Return the published ports that meet all criteria, in the form of :py:func:`list`.

    port
        A host port, such as ``8080`` or ``53/udp``.
    protocol
        ``tcp``, ``udp`` or ``sctp``.
    container
        A container's name, as a glob, or its id.
    image
        An image's name, as a glob.
    label
        A label that is among the allowed ones (setting ``labels``): ``KEY`` or ``KEY=VALUE``.
    project
        A compose project.
    exposure
        ``loopback``, ``local`` or ``public``, as the address tells; for the firewall see :py:func:`audit`.
    daemon
        The name of one of the configured daemons; by default all.
    fresh
        Ask the daemon itself, also when the engine runs; by default False.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.find port=8080
        salt '*' docker_ports.find image='nginx:*' exposure=public
    """
    with salted.errors():
        wanted = criteria(port, protocol, exposure, container=container, image=image, label=label, project=project)
        return dict(host.find(_settings(), wanted, daemon, fresh))


def container(name: str, daemon: str | None = None) -> dict[str, Any]:
    """
    Return what the Engine tells now of one container's ports: those that it has, and those that it was asked for.

    name
        The container's name or id.
    daemon
        The daemon that has it; by default it is looked for in all.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.container web
    """
    with salted.errors():
        return host.container(_settings(), name, daemon)


def wait(name: str, port: str | int, protocol: str = "tcp", timeout: float = 30.0, daemon: str | None = None) -> bool:
    """
    Wait until a container's published port really answers; return whether it does.

    docker-proxy's accept on the host does not count: the container itself is asked.

    name
        The container's name or id; it may come up meanwhile.
    port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    timeout
        Seconds to wait at most, by default 30.
    daemon
        The daemon that has it; by default it is looked for in all.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.wait web 80 timeout=60
    """
    with salted.errors():
        return host.wait(_settings(), name, (port, protocol), timeout, daemon)


def history(container: str = "", daemon: str | None = None, limit: int = 100) -> dict[str, Any]:
    """
    Return the last changes that the engine has seen, newest first: ``age`` of the registry and ``changes``.

    A change has its time ``at``, the container's name and ``id``, ``what`` happened (``started``, ``died``,
    ``destroyed``, ``paused``, ``unpaused``, ``renamed``, ``health``, ``updated``, ``connected``, ``disconnected``,
    ``opened``, ``closed``) and the ``detail`` of it.

    container
        The container's name or the beginning of its id; by default all.
    daemon
        The name of one of the configured daemons; by default all.
    limit
        How many, by default 100.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.history web
    """
    with salted.errors():
        return host.history(_settings(), str(container), daemon, limit)


def status() -> dict[str, Any]:
    """
    Return how the engine and its daemons are: ``ok``, ``engine``, ``daemons`` and ``problems``, a sentence each.

    CLI Example:

    .. code-block:: bash

        salt '*' docker_ports.status
    """
    with salted.errors():
        return host.status(_settings(), time.time())


def table() -> dict[str, Any]:
    """
    Return the table of ports in the compact form in which it stands in the mine; the engine sends it there.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.table
    """
    with salted.errors():
        return host.table(_settings(), str(__opts__.get("master_ip") or ""))


def export(form: str = "table", tgt: str | None = None, tgt_type: str = "glob", strict: bool = False) -> str:
    """
    Return the table of ports as text: for people, as a picture, or as a file for another program.

    form
        ``table`` (by default), ``mermaid``, ``graphviz``, ``json``, ``hosts``, ``haproxy``, ``nginx``, ``prometheus``.
    tgt
        The minions whose ports are told, out of the mine; by default this host alone.
    tgt_type
        How they are targeted, by default ``glob``.
    strict
        Refuse to tell less than all, when a daemon cannot be reached; by default False.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.export mermaid
        salt lb1 docker_ports.export haproxy tgt='web*'
    """
    with salted.errors():
        if tgt is None:
            return formats.render(host.rows(_settings(), strict), form)
        told = __salt__["mine.get"](tgt, "docker_ports", tgt_type) or {}
        return formats.render(fleet.of_mine(told, time.time(), strict), form)


def diff(declared: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """
    Compare declared ports with real ones; return ``ok``, ``age`` and ``containers``, those that differ.

    Of each it tells what is ``missing`` and what is published ``undeclared``.

    declared
        Containers with their port specifications; by default the setting ``declared``, which may stand in pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' docker_ports.diff
        salt web1 docker_ports.diff '{"web": ["8080:80"]}'
    """
    with salted.errors():
        return host.diff(_settings(), declared)


def free(
    port: str | int, protocol: str = "tcp", container: str | None = None, container_port: int | None = None
) -> dict[str, Any]:
    """
    Say whether a host port is free for all addresses: no container, no process and no reservation has it.

    Returns ``free``, ``age`` and, when it is taken, ``reason``. With ``container`` it is free for that one, which may
    hold it.

    port
        A host port, such as ``8080`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    container
        A container, or the owner of a reservation, for which it has to be free; by default for anyone.
    container_port
        The port of that container; by default any.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.free 8080
        salt web1 docker_ports.free 8080 container=web
    """
    with salted.errors():
        wanted, at = host.key("-", port, protocol), time.time()
        with host.reservations(_settings()) as held:
            reason = held.why_taken(wanted.protocol, wanted.container_port, container or "", container_port)
        return {"free": not reason, "age": round(time.time() - at, 3), **({"reason": reason} if reason else {})}


def audit() -> dict[str, Any]:
    """
    Tell of each published port how far it reaches, by its address and by the firewall of this host.

    Returns ``age``, ``ports`` and ``unpublished``. A port's ``exposure`` is ``loopback``, ``local``, ``public``, or
    ``filtered`` where the firewall refuses it to everybody; ``why`` says by what, ``routed`` at which addresses of
    its container a neighbour with a route reaches it all the same. ``unpublished`` are the containers whose other ports
    such a neighbour reaches.

    CLI Example:

    .. code-block:: bash

        salt '*' docker_ports.audit
    """
    with salted.errors():
        return host.audit(_settings())


def reached(targets: list[str]) -> dict[str, bool]:
    """
    Say of each of ``targets`` whether a server answers there to this host; for the proof of the runner's ``audit``.

    targets
        Where to connect by TCP: ``192.0.2.1:8080``, ``[2001:db8::1]:8080``.

    CLI Example:

    .. code-block:: bash

        salt web2 docker_ports.reached '["192.0.2.1:8080"]'
    """
    with salted.errors():
        return proof.reached(targets)


def reserve(
    name: str,
    container_port: str | int,
    protocol: str = "tcp",
    port: int | None = None,
    pool: str = POOL,
) -> dict[str, Any]:
    """
    Give an owner a host port that stays its own for ever, and return the reservation.

    The same call returns the same port again. It is the same number for IPv4 and IPv6, and none that another
    reservation, a container or any other process of the host has. ``changed`` says whether it is new.

    name
        The owner, such as the container's name or the compose project.
    container_port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    port
        A certain host port of the pool; by default one of its dynamic band is chosen.
    pool
        One of the configured pools, by default ``default``.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.reserve web 80
        salt web1 docker_ports.reserve dns 53/udp port=20053
    """
    with salted.errors():
        settings, key = _settings(), host.key(name, container_port, protocol)
        chosen, pool_ = host.chosen_port(port), settings.pool(pool)
        with host.reservations(settings) as held:
            made, new = held.reserve(key, pool_, time.time(), chosen)
            return {**host.reservation_data(made, held.is_unused(made)), "changed": new}


def port(name: str, container_port: str | int, protocol: str = "tcp", pool: str = POOL) -> int:
    """
    Return the host port that an owner has reserved, or would get now; nothing is reserved.

    For Jinja, which is rendered in a trial run too: the proposal is the same until something takes that port, and the
    state :py:func:`docker_ports.reserved <saltext_logilab.containers.states.docker_ports.reserved>` makes it permanent.

    name
        The owner.
    container_port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    pool
        One of the configured pools, by default ``default``.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.port web 80
    """
    with salted.errors():
        settings, key = _settings(), host.key(name, container_port, protocol)
        pool_ = settings.pool(pool)
        with host.reservations(settings) as held:
            return held.propose(key, pool_)


def release(name: str, container_port: str | int, protocol: str = "tcp") -> dict[str, Any]:
    """
    Give an owner's reserved port back; return whether it had one (``changed``) and which (``host_port``).

    name
        The owner.
    container_port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.release web 80
    """
    with salted.errors():
        key = host.key(name, container_port, protocol)
        with host.reservations(_settings()) as held:
            had = held.release(key)
        return {"changed": had is not None, "host_port": had.host_port if had else None}


def reservation(name: str, container_port: str | int, protocol: str = "tcp") -> int | None:
    """
    Return the host port that an owner has reserved, None where it has none; no daemon is asked.

    name
        The owner.
    container_port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_ports.reservation web 80
    """
    with salted.errors():
        held = host.reserved(_settings(), host.key(name, container_port, protocol))
        return held.host_port if held else None


def reservations(unused: bool = False) -> list[dict[str, Any]]:
    """
    Return all reservations of this host; each says whether it is ``unused``: no container publishes its port now.

    unused
        Only those; by default all.

    CLI Example:

    .. code-block:: bash

        salt '*' docker_ports.reservations unused=True
    """
    with salted.errors(), host.reservations(_settings()) as held:
        found = [host.reservation_data(one, held.is_unused(one)) for one in held.all()]
        return [one for one in found if one["unused"] or not unused]


def prune(days: float = 30.0) -> list[dict[str, Any]]:
    """
    Give back the reservations that nobody publishes now nor was seen to publish for some time; return them.

    Use is noted by the engine; without it the time counts from the reservation.

    days
        For how long, by default 30.

    CLI Example:

    .. code-block:: bash

        salt '*' docker_ports.prune days=90
    """
    with salted.errors():
        if days < 0:
            raise SaltInvocationError(f"days must not be negative, not {days!r}")
        with host.reservations(_settings()) as held:
            return [host.reservation_data(one, unused=True) for one in held.prune(time.time() - 86400 * days)]
