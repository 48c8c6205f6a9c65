"""
Host ports that are reserved, free, published, and answer.

.. code-block:: yaml

    web_port:
      docker_ports.reserved:
        - name: web
        - container_port: 80

    web_port_free:
      docker_ports.available:
        - name: {{ salt['docker_ports.port']('web', 80) }}
        - container: web

    web:
      docker_container.running:
        - image: nginx
        - port_bindings:
          - {{ salt['docker_ports.port']('web', 80) }}:80
        - require:
          - docker_ports: web_port
          - docker_ports: web_port_free    # taken: the old container lives on

    web_answers:
      docker_ports.answering:
        - name: web
        - ports: [80]

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab import files
from saltext_logilab.containers import filters, formats, policy
from saltext_logilab.containers import settings as containers_settings
from saltext_logilab.containers.declared import compare
from saltext_logilab.containers.ports import parse_all, parse_container_port
from saltext_logilab.containers.settings import POOL
from saltext_logilab.errors import LogilabError
from saltext_logilab.outcomes import outcome as _answer

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]
    __salt__: dict[str, Any]

_ERRORS = (CommandExecutionError, SaltInvocationError, LogilabError)


def reserved(
    name: str, container_port: str | int, protocol: str = "tcp", port: int | None = None, pool: str = POOL
) -> dict[str, Any]:
    """
    Give an owner a host port that stays its own.

    name
        The owner, such as the container's name.
    container_port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    port
        A certain host port of the pool; by default one of its dynamic band is chosen.
    pool
        One of the configured pools, by default ``default``.

    .. code-block:: yaml

        web_port:
          docker_ports.reserved:
            - name: web
            - container_port: 80
    """
    try:
        number, told = parse_container_port(container_port, protocol)
        held = __salt__["docker_ports.reservation"](name, container_port, protocol)
        subject = f"{name} {number}/{told}"
        if held and port in (None, held):
            return _answer(name, True, f"{subject} has port {held}")
        if __opts__["test"]:
            chosen = port or __salt__["docker_ports.port"](name, container_port, protocol, pool)
            return _answer(
                name, None, f"{subject} would get port {chosen}", {subject: {"old": None, "new": int(chosen)}}
            )
        made = __salt__["docker_ports.reserve"](name, container_port, protocol, port, pool)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    return _answer(
        name, True, f"{subject} has port {made['host_port']} now", {subject: {"old": None, "new": made["host_port"]}}
    )


def released(name: str, container_port: str | int, protocol: str = "tcp") -> dict[str, Any]:
    """
    Have no port reserved for an owner.

    name
        The owner.
    container_port
        The container's port, such as ``80`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.

    .. code-block:: yaml

        no_web_port:
          docker_ports.released:
            - name: web
            - container_port: 80
    """
    try:
        number, told = parse_container_port(container_port, protocol)
        held = __salt__["docker_ports.reservation"](name, container_port, protocol)
        subject = f"{name} {number}/{told}"
        if not held:
            return _answer(name, True, f"{subject} has no port reserved")
        changes = {subject: {"old": held, "new": None}}
        if __opts__["test"]:
            return _answer(name, None, f"port {held} of {subject} would be released", changes)
        __salt__["docker_ports.release"](name, container_port, protocol)
    except _ERRORS as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"port {held} of {subject} is released", changes)


def available(
    name: str | int, protocol: str = "tcp", container: str | None = None, container_port: int | None = None
) -> dict[str, Any]:
    """
    Check that a host port is free, or held by the very container that is to be replaced; nothing is changed.

    For a ``require`` of what replaces a container: when the port is taken, the old container lives on.

    name
        The host port, such as ``8080`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    container
        The container that may hold it, by its name or its compose project or service.
    container_port
        The port of that container behind it; by default any.

    .. code-block:: yaml

        port_free:
          docker_ports.available:
            - name: 8080
            - container: web
    """
    try:
        found = __salt__["docker_ports.free"](name, protocol, container, container_port)
    except _ERRORS as err:
        return _answer(str(name), False, str(err))
    if found["free"]:
        return _answer(str(name), True, f"port {name} is free" + (f" for {container}" if container else ""))
    return _answer(str(name), False, f"port {name} is not free: {found['reason']}")


def published(name: str, ports: list[str | int], exact: bool = False, daemon: str | None = None) -> dict[str, Any]:
    """
    Check that a running container publishes ports as they are specified; nothing is changed.

    In a trial run, in which no state before it has made the container, what differs is no failure yet.

    name
        The container's name.
    ports
        Specifications as of ``docker run -p``: ``8080:80``, ``127.0.0.1::443``, ``53/udp``, ``[::1]:8080:80``.
    exact
        Refuse what is published beyond them; by default False.
    daemon
        The daemon that has the container; by default any.

    .. code-block:: yaml

        web_published:
          docker_ports.published:
            - name: web
            - ports:
              - 8080:80
              - 127.0.0.1::443
    """
    try:
        wanted = parse_all(ports)
        found = __salt__["docker_ports.find"](container=name, daemon=daemon, fresh=True)["ports"]
    except _ERRORS as err:
        return _answer(name, False, str(err))
    rows = [row for row in found if row["container"] == name]
    lacking, more = compare(rows, wanted)
    problems = [f"it does not publish {one}" for one in lacking]
    problems += [f"it also publishes {one}" for one in more] if exact else []
    if problems:
        told = f"{name}: {'; '.join(problems)}"
        return _answer(name, None, f"{told}, as yet") if __opts__["test"] else _answer(name, False, told)
    return _answer(name, True, f"{name} publishes {', '.join(map(str, wanted)) or 'nothing'}")


def answering(name: str, ports: list[str | int], timeout: float = 30.0, daemon: str | None = None) -> dict[str, Any]:
    """
    Wait until the published ports of a container really answer; nothing is changed.

    docker-proxy's accept does not count. A trial run looks once and does not wait.

    name
        The container's name.
    ports
        Its own ports, such as ``80`` or ``53/udp``.
    timeout
        Seconds to wait for each at most, by default 30.
    daemon
        The daemon that has the container; by default any.

    .. code-block:: yaml

        web_answers:
          docker_ports.answering:
            - name: web
            - ports: [80, 53/udp]
    """
    try:
        patience = 0.0 if __opts__["test"] else timeout
        deaf = [
            str(port)
            for port in ports
            if not __salt__["docker_ports.wait"](name, port, timeout=patience, daemon=daemon)
        ]
    except _ERRORS as err:
        return _answer(name, False, str(err))
    if not deaf:
        return _answer(name, True, f"{name} answers on {', '.join(map(str, ports))}")
    if __opts__["test"]:
        return _answer(name, None, f"{name} does not answer yet on {', '.join(deaf)}")
    return _answer(name, False, f"{name} does not answer on {', '.join(deaf)} within {timeout:g} s")


def file(
    name: str,
    form: str,
    tgt: str | None = None,
    tgt_type: str = "glob",
    allow_empty: bool = False,
    mode: str = "0644",
) -> dict[str, Any]:
    """
    Keep a file with the published ports for another program: of this host, or of the minions that a target means.

    It is replaced whole, and only when its content changes. When a daemon cannot be reached, or when there is nothing
    to write all at once, the last good content stays and the result is False.

    name
        The file's path.
    form
        ``haproxy``, ``nginx``, ``prometheus``, ``hosts`` or ``json``.
    tgt
        The minions whose ports are written, out of the mine; by default this host alone.
    tgt_type
        How they are targeted, by default ``glob``.
    allow_empty
        Write a file without a single port, too; by default False.
    mode
        The file's mode, by default ``0644``.

    .. code-block:: yaml

        /etc/prometheus/containers.json:
          docker_ports.file:
            - form: prometheus
            - tgt: 'web*'
    """
    try:
        path = Path(name)
        if not path.is_absolute():
            raise SaltInvocationError(f"{name!r} is no absolute path")
        if form not in (*formats.FILES, "json"):
            raise SaltInvocationError(f"{form!r} is no format of a file: one of {', '.join((*formats.FILES, 'json'))}")
        text = __salt__["docker_ports.export"](form, tgt, tgt_type, strict=True)
        old = files.read(path)
        if text == old:
            return _answer(name, True, f"{name} is as it should be")
        if text == formats.render([], form) and not allow_empty:
            return _answer(
                name, False, f"there is no port to write: {name} stays as it is (allow_empty: True writes it)"
            )
        changes = {"diff": "".join(unified_diff((old or "").splitlines(True), text.splitlines(True), "old", "new"))}
        if __opts__["test"]:
            return _answer(name, None, f"{name} would be written", changes)
        files.replace(path, text, int(str(mode), 8))
    except (*_ERRORS, ValueError) as err:
        return _answer(name, False, str(err))
    return _answer(name, True, f"{name} is written", changes)


def filtered(
    name: str | int,
    sources: list[str] | None = None,
    protocol: str = "tcp",
    routed: bool = False,
    service: str = "docker",
) -> dict[str, Any]:
    """
    Let a host port of the containers be reached from certain networks alone.

    It holds however a packet comes: by Docker's DNAT (in DOCKER-USER, by the published port), by docker-proxy and to a
    container on the host's network (in INPUT), over IPv4 and IPv6. The rules stand before the daemon brings up a
    container, at boot too. The host itself is not concerned. What cannot be covered makes the result False.

    name
        The host port, such as ``8080`` or ``53/udp``.
    sources
        The networks that may reach it, such as ``10.0.0.0/8``; by default none. Other containers of this host come from
        the networks of their daemon.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    routed
        Leave the containers' own addresses reachable for neighbours with a route; by default they are closed for all
        that is not forwarded from a published port.
    service
        The systemd unit of the daemon, by default ``docker``.

    .. code-block:: yaml

        web from the office:
          docker_ports.filtered:
            - name: 8080
            - sources: [10.0.0.0/8, '2001:db8::/32']
    """
    try:
        key = policy.parse_port(name, protocol)
        networks = policy.parse_sources(sources or [], name)
    except LogilabError as err:
        return _answer(str(name), False, str(err))
    told = f"port {policy.shown(key)} is open to {', '.join(networks) or 'nobody'}"
    return _enforced(str(name), lambda now: now.with_port(key, networks, routed), told, service)


def unfiltered(name: str | int, protocol: str = "tcp", service: str = "docker") -> dict[str, Any]:
    """
    Have no rule for a host port that :py:func:`filtered` has limited; without any, nothing of it is left.

    name
        The host port, such as ``8080`` or ``53/udp``.
    protocol
        ``tcp`` (by default), ``udp`` or ``sctp``.
    service
        The systemd unit of the daemon, by default ``docker``.

    .. code-block:: yaml

        web from everywhere:
          docker_ports.unfiltered:
            - name: 8080
    """
    try:
        key = policy.parse_port(name, protocol)
    except LogilabError as err:
        return _answer(str(name), False, str(err))
    told = f"port {policy.shown(key)} is not filtered"
    return _enforced(str(name), lambda now: now.without_port(key), told, service)


def exposed_only(
    name: str,
    ports: dict[str | int, list[str]] | None = None,
    routed: bool = False,
    enabled: bool = True,
    service: str = "docker",
) -> dict[str, Any]:
    """
    Let these ports of the containers be reached, from these networks, and nothing else.

    It holds for containers of later as well, but for those ports of theirs that docker-proxy or a container on the
    host's network takes: they are closed at the next run. Other ports of the host, such as SSH, are not concerned.
    It takes the place of all that :py:func:`filtered` has said.

    name
        Any text.
    ports
        The networks by host port, such as ``8080: [0.0.0.0/0, '::/0']``; by default no port at all. What else the host
        forwards by DNAT has to be listed too.
    routed
        Leave the containers' own addresses reachable for neighbours with a route; by default they are closed.
    enabled
        ``False`` takes the policy away; by default True.
    service
        The systemd unit of the daemon, by default ``docker``.

    .. code-block:: yaml

        what is open:
          docker_ports.exposed_only:
            - ports:
                8080: [0.0.0.0/0, '::/0']
                5432: [10.0.0.0/8]
    """
    try:
        wanted = policy.Policy(policy.parse_ports(ports or {}), only=True, routed=routed)
    except LogilabError as err:
        return _answer(name, False, str(err))
    open_ = ", ".join(map(policy.shown, sorted(wanted.ports))) or "no port"
    told = f"{open_} of the containers can be reached, and nothing else" if enabled else "no policy is in force"
    return _enforced(name, lambda _now: wanted if enabled else policy.Policy(), told, service)


def _enforced(name: str, decide: Callable[[policy.Policy], policy.Policy], told: str, service: str) -> dict[str, Any]:
    try:
        settings = containers_settings.read(__opts__, __pillar__)
        done = filters.enforce(settings, decide, service, __opts__["test"])
    except _ERRORS as err:
        return _answer(name, False, str(err))
    changes = dict(done.changes)
    if done.gaps:
        return _answer(name, False, f"{told}, but not all can be covered: {'; '.join(done.gaps)}", changes)
    if changes and __opts__["test"]:
        return _answer(name, None, f"{told}: this would be so", changes)
    return _answer(name, True, told, changes)
