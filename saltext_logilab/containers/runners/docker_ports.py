"""
The published ports of the fleet, out of the master's cache: no job is sent, and minions that are down are shown too.

The engine ``docker_ports`` on the minions sends the tables. What goes wrong is told in a sentence, with exit code 1.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import salt.client

from saltext_logilab.containers import declared, fleet, formats, mines, proof
from saltext_logilab.containers.exposure import LOOPBACK, PUBLIC
from saltext_logilab.containers.selection import Criteria, criteria
from saltext_logilab.errors import LogilabError, UnavailableError

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__func_alias__ = {"list_": "list"}


def _told(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except LogilabError as err:
        return {"error": str(err), "retcode": 1}


def _targeted(tgt: str | None, tgt_type: str) -> set[str] | None:
    return None if tgt is None else mines.chosen(__opts__, tgt, tgt_type)


def _ports(wanted: Criteria, tgt: str | None, tgt_type: str) -> dict[str, Any]:
    now = time.time()
    minions: dict[str, Any] = {}
    ports: list[dict[str, Any]] = []
    for entry in mines.entries(__opts__, _targeted(tgt, tgt_type)):
        found = list(fleet.rows([entry], wanted, now))
        told = fleet.minion(entry, now)
        if found or told["age"] is None:
            minions[entry.minion] = told
        ports += found
    ports.sort(key=lambda row: (row["host_port"], row["minion"], row["protocol"], row["host_ip"]))
    return {"outputter": "docker_ports", "data": {"minions": minions, "ports": ports}}


def list_(tgt: str | None = None, tgt_type: str = "glob") -> dict[str, Any]:
    """
    Show all published ports of the fleet.

    Returns ``minions``, each with its ``age`` (seconds since the master knows that it was so), its ``daemons`` and its
    ``problems``, and ``ports``: the rows of ``docker_ports.list`` with ``minion``, ``age`` and ``orphaned`` (its key is
    not accepted). It is shown as a table; ``--out`` chooses another form.

    tgt
        Which minions; by default all.
    tgt_type
        How they are targeted, by default ``glob``.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.list
        salt-run docker_ports.list 'web*' --out json
    """
    return _told(lambda: _ports(Criteria(), tgt, tgt_type))


def find(
    port: str | int | None = None,
    protocol: str | None = None,
    container: str | None = None,
    image: str | None = None,
    label: str | None = None,
    project: str | None = None,
    exposure: str | None = None,
    tgt: str | None = None,
    tgt_type: str = "glob",
) -> dict[str, Any]:
    """
    Show the published ports of the fleet that meet all criteria, in the form of :py:func:`list`.

    port
        A host port, such as ``8080`` or ``53/udp``.
    protocol
        ``tcp``, ``udp`` or ``sctp``.
    container
        A container's name, as a glob, or its id.
    image
        An image's name, as a glob.
    label
        A label that the minions tell of: ``KEY`` or ``KEY=VALUE``.
    project
        A compose project.
    exposure
        ``loopback``, ``local`` or ``public``, as the address tells.
    tgt
        Which minions; by default all.
    tgt_type
        How they are targeted, by default ``glob``.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.find port=8080
        salt-run docker_ports.find image='nginx:*' exposure=public
    """
    texts = {"container": container, "image": image, "label": label, "project": project}
    return _told(lambda: _ports(criteria(port, protocol, exposure, **texts), tgt, tgt_type))


def conflicts(tgt: str | None = None, tgt_type: str = "glob") -> dict[str, Any]:
    """
    Show what is ambiguous: a port of a host that leads to several containers, or differs between IPv4 and IPv6.

    Returns ``conflicts``, each with ``minion``, ``conflict``, ``protocol`` and ``ports``; any means exit code 1.

    tgt
        Which minions; by default all.
    tgt_type
        How they are targeted, by default ``glob``.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.conflicts
    """

    def work() -> dict[str, Any]:
        found = fleet.rows(mines.entries(__opts__, _targeted(tgt, tgt_type)), Criteria(), time.time())
        told = fleet.conflicts(found)
        return {"conflicts": told, **({"retcode": 1} if told else {})}

    return _told(work)


def audit(
    tgt: str | None = None, tgt_type: str = "glob", prover: str | None = None, timeout: int = 60
) -> dict[str, Any]:
    """
    Show the ports of the fleet that reach beyond their host, those that are public first.

    What the master knows says how far a port is bound; what the firewall of a host adds, ``docker_ports.audit`` on that
    host tells. With ``prover`` another minion tries each, and ``reached`` says whether a server answered it; it is None
    for UDP, where the host's address is not known, and for the prover's own ports.

    tgt
        Which minions; by default all.
    tgt_type
        How they are targeted, by default ``glob``.
    prover
        A minion that connects to each port; by default no job is sent.
    timeout
        Seconds to wait for it at most, by default 60.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.audit
        salt-run docker_ports.audit 'web*' prover=probe1 --out json
    """

    def work() -> dict[str, Any]:
        told = _ports(Criteria(), tgt, tgt_type)["data"]
        rows = [row for row in told["ports"] if row["exposure"] != LOOPBACK]
        if prover is not None:
            targets = sorted({where for row in rows if row["minion"] != prover and (where := proof.target(row))})
            rows = proof.with_proof(rows, _proven(prover, targets, timeout) if targets else {}, prover)
        rows.sort(key=lambda row: (row["exposure"] != PUBLIC, row["minion"], row["host_port"], row["host_ip"]))
        return {"outputter": "docker_ports", "data": {**told, "ports": rows}}

    return _told(work)


def _proven(prover: str, targets: list[str], timeout: int) -> dict[str, bool]:
    """Let one minion connect to each target."""
    with salt.client.get_local_client(mopts=__opts__) as client:
        answer = client.cmd(prover, "docker_ports.reached", [targets], timeout=timeout, tgt_type="list").get(prover)
    if not isinstance(answer, dict):
        raise UnavailableError(f"the minion {prover!r} has not proven anything: {answer or 'it does not answer'}")
    return answer


def diff(tgt: str | None = None, tgt_type: str = "glob") -> dict[str, Any]:
    """
    Compare the ports that each minion's pillar declares (``logilab:containers:declared``) with the real ones.

    Returns the minions that differ, with their containers, what is ``missing`` and what is ``undeclared``; any means
    exit code 1. Minions whose pillar declares nothing are left out.

    tgt
        Which minions; by default all.
    tgt_type
        How they are targeted, by default ``glob``.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.diff
    """

    def work() -> dict[str, Any]:
        told = {}
        for entry in mines.entries(__opts__, _targeted(tgt, tgt_type)):
            area = (mines.pillar(__opts__, entry.minion).get("logilab") or {}).get("containers") or {}
            if "declared" in area:
                found = declared.diff(area["declared"], fleet.rows([entry], Criteria(), time.time()))
                told.update({entry.minion: found} if found else {})
        return {"minions": told, **({"retcode": 1} if told else {})}

    return _told(work)


def status(tgt: str | None = None, tgt_type: str = "glob") -> dict[str, Any]:
    """
    Show of each minion how old its table is, how its daemons are, and what is wrong; any problem means exit code 1.

    tgt
        Which minions; by default all.
    tgt_type
        How they are targeted, by default ``glob``.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.status
    """

    def work() -> dict[str, Any]:
        now = time.time()
        chosen = _targeted(tgt, tgt_type)
        told = {entry.minion: fleet.minion(entry, now) for entry in mines.entries(__opts__, chosen)}
        wrong = any(one["problems"] for one in told.values())
        return {"ok": not wrong, "minions": told, **({"retcode": 1} if wrong else {})}

    return _told(work)


def export(form: str = "table", tgt: str | None = None, tgt_type: str = "glob") -> dict[str, Any] | str:
    """
    Return the ports of the fleet as text: for people, as a picture, or as a file for another program.

    form
        ``table`` (by default), ``mermaid``, ``graphviz``, ``json``, ``hosts``, ``haproxy``, ``nginx``, ``prometheus``.
    tgt
        Which minions. A file for another program needs it: any accepted minion could add itself to it.
    tgt_type
        How they are targeted, by default ``glob``.

    CLI Example:

    .. code-block:: bash

        salt-run docker_ports.export mermaid
        salt-run docker_ports.export haproxy tgt='web*' --out newline_values_only
    """

    def work() -> dict[str, Any]:
        formats.check_target(form, tgt)
        found = fleet.rows(mines.entries(__opts__, _targeted(tgt, tgt_type)), Criteria(), time.time())
        return {"text": formats.render(list(found), form)}

    told = _told(work)
    return str(told["text"]) if "text" in told else told
