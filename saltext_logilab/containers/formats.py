"""
The table of ports as text for people and as files for other programs (pure).

Each value is checked against what its format can carry: a label or a name never breaks a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from saltext_logilab.containers.ports import bracketed
from saltext_logilab.errors import ConfigurationError

Rows = Sequence[Mapping[str, Any]]

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_HOSTNAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*")
_OWN_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
COLUMNS = ("PORT", "ADDRESS", "PROTO", "CONTAINER", "IMAGE", "STATE", "EXPOSURE", "AGE")
_ANY = {"0.0.0.0", "::"}  # noqa: S104

_REACHED = {True: "yes", False: "no", None: "?"}


def table(rows: Rows) -> str:
    """Return a table for people: one line a port; with its host in a fleet, and whether it was reached where tried."""
    fleet, tried = (any(key in row for row in rows) for key in ("minion", "reached"))
    head = (*(("HOST",) if fleet else ()), *COLUMNS, *(("REACHED",) if tried else ()))
    lines = [head]
    for row in rows:
        host = (str(row.get("minion", "")),) if fleet else ()
        lines.append((*host, *_cells(row), *((_REACHED[row.get("reached")],) if tried else ())))
    lines = [tuple(map(printable, line)) for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(texts)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    state = f"{row['state']} ({row['health']})" if row["health"] else str(row["state"])
    return (
        str(row["host_port"]),
        row["host_ip"],
        row["protocol"],
        f"{row['container']}:{row['container_port']}",
        row["image"],
        "orphaned" if row.get("orphaned") else state,
        row["exposure"],
        span(row.get("age", 0.0)),
    )


def printable(text: str) -> str:
    """Return ``text`` for a terminal: a sign that is none, such as a line end or an escape, shown as ``?``."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def span(seconds: float) -> str:
    """Return a time for people: ``3 s``, ``5 min``, ``2 h``, ``4 d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def mermaid(rows: Rows) -> str:
    """Return the map host, port, container, image as a Mermaid flowchart."""
    nodes, edges = _graph(rows)
    lines = [f'    {name}["{_mermaid(text)}"]' for name, text in nodes]
    return "\n".join(["flowchart LR", *lines, *(f"    {one} --> {other}" for one, other in edges)]) + "\n"


def graphviz(rows: Rows) -> str:
    """Return the same map in the DOT language of Graphviz."""
    nodes, edges = _graph(rows)
    lines = [f'    {name} [label="{_dot(text)}"];' for name, text in nodes]
    return (
        "\n".join(["digraph ports {", "    rankdir=LR;", *lines, *(f"    {a} -> {b};" for a, b in edges), "}"]) + "\n"
    )


def _graph(rows: Rows) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the nodes (name and text) and the edges, each once, in the order of the rows."""
    names: dict[tuple[str, ...], str] = {}
    edges: dict[tuple[str, str], None] = {}

    def node(*key: str) -> str:
        return names.setdefault(key, f"n{len(names)}")

    for row in rows:
        host = str(row.get("minion", "this host"))
        port = f"{bracketed(row['host_ip'])}:{row['host_port']}/{row['protocol']}"
        inside = f"{row['container']}:{row['container_port']}"
        path = [
            node("host", host, host),
            node("port", host, row["daemon"], row["id"], port, port),
            node("container", host, row["daemon"], row["id"], inside, inside),
            node("image", row["image"], row["image"]),
        ]
        edges.update(dict.fromkeys(pairwise(path)))
    return [(name, key[-1]) for key, name in names.items()], list(edges)


def _mermaid(text: str) -> str:
    return "".join(one if one.isalnum() or one in " .:/_-[]@" else f"#{ord(one)};" for one in text)


def _dot(text: str) -> str:
    return "".join(one for one in text if one.isprintable()).replace("\\", "\\\\").replace('"', '\\"')


def as_json(rows: Rows) -> str:
    """Return the rows as JSON."""
    return json.dumps(list(rows), indent=2, sort_keys=True) + "\n"


def hosts(rows: Rows) -> str:
    """
    Return lines of ``hosts(5)``: the address of a container's host and the container's name, ``_`` in it as ``-``.

    A container whose name is no host name, or that of this very host, stands in a comment.
    """
    found: dict[str, dict[str, None]] = {}
    others: dict[str, None] = {}
    for row in filter(_is_reachable, rows):
        name = row["container"].replace("_", "-")
        if _HOSTNAME.fullmatch(name) and name.lower() not in _OWN_NAMES:
            found.setdefault(_target(row), {})[name] = None
        else:
            others[f"# no host name: {printable(row['container'])}\n"] = None
    lines = (f"{ip}\t{' '.join(names)}\n" for ip, names in sorted(found.items()))
    return "".join([*lines, *sorted(others)])


def haproxy(rows: Rows) -> str:
    """
    Return a backend of HAProxy for each compose service or container, with a server line for each of its ports.

    Only TCP, only what runs and is not unhealthy.

    :raises ConfigurationError: a name cannot stand in such a file.
    """
    text = ""
    for name, servers in _backends(rows, "haproxy").items():
        lines = [f"    server {label} {address} check\n" for label, address in servers]
        text += f"backend {name}\n{''.join(lines)}\n"
    return text


def nginx(rows: Rows) -> str:
    """
    Return an upstream of nginx for each compose service or container; as :func:`haproxy`.

    :raises ConfigurationError: a name cannot stand in such a file.
    """
    text = ""
    for name, servers in _backends(rows, "nginx").items():
        lines = [f"    server {address};  # {label}\n" for label, address in servers]
        text += f"upstream {name} {{\n{''.join(lines)}}}\n\n"
    return text


def prometheus(rows: Rows) -> str:
    """
    Return targets for Prometheus' ``file_sd_configs``, with labels for host, container, image, project, service.

    Only TCP. Labels of containers become ``container_label_NAME``, other characters than letters and digits ``_``.
    """
    found = []
    for row in _usable(rows):
        labels = {
            "container": row["container"],
            "container_port": str(row["container_port"]),
            "image": row["image"],
            "project": row["project"],
            "service": row["service"],
            "minion": str(row.get("minion", "")),
            **{f"container_label_{re.sub('[^A-Za-z0-9_]', '_', key)}": text for key, text in row["labels"].items()},
        }
        target = f"{bracketed(_target(row))}:{row['host_port']}"
        found.append({"targets": [target], "labels": {key: text for key, text in labels.items() if text}})
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def _usable(rows: Rows) -> Iterable[Mapping[str, Any]]:
    """Yield what a proxy may send traffic to: each port once, of the addresses that reach it the first."""
    seen = set()
    for row in rows:
        key = (row.get("minion"), row["host_port"], _target(row))
        good = row["state"] == "running" and row["health"] not in ("unhealthy", "starting") and _is_reachable(row)
        if good and row["protocol"] == "tcp" and key not in seen:
            seen.add(key)
            yield row


def _is_reachable(row: Mapping[str, Any]) -> bool:
    """Say whether the reader of a file can go there: what a remote host binds to its loopback, nobody else reaches."""
    if "minion" not in row:
        return True
    known = row["host_ip"] not in _ANY or bool(row.get("address"))
    return known and row["exposure"] != "loopback" and not row.get("orphaned")


def _backends(rows: Rows, form: str) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in _usable(rows):
        name = _checked(_WORD, f"{_owner(row)}-{row['container_port']}", form, row)
        host = str(row.get("minion", ""))
        label = _checked(_WORD, "-".join(filter(None, (host, row["container"], str(row["host_port"])))), form, row)
        found.setdefault(name, []).append((label, f"{bracketed(_target(row))}:{row['host_port']}"))
    return dict(sorted(found.items()))


def _owner(row: Mapping[str, Any]) -> str:
    """Return the name of a row's backend: its compose service, where these labels can stand in a file."""
    told = "-".join(filter(None, (row["project"], row["service"]))) if row["service"] else ""
    return told if _WORD.fullmatch(told) else str(row["container"])


def _target(row: Mapping[str, Any]) -> str:
    """Return the address at which others reach the port: the host's own where it is bound to all addresses."""
    return str(row.get("address") or "127.0.0.1") if row["host_ip"] in _ANY else str(row["host_ip"])


def _checked(pattern: re.Pattern[str], text: str, form: str, row: Mapping[str, Any]) -> str:
    if not pattern.fullmatch(text):
        raise ConfigurationError(f"{text!r} of the container {row['container']!r} cannot stand in a {form} file")
    return text


FORMATS: Mapping[str, Callable[[Rows], str]] = {
    "table": lambda rows: table(rows) + "\n",
    "mermaid": mermaid,
    "graphviz": graphviz,
    "json": as_json,
    "hosts": hosts,
    "haproxy": haproxy,
    "nginx": nginx,
    "prometheus": prometheus,
}


FILES = ("hosts", "haproxy", "nginx", "prometheus")


def check_target(form: str, tgt: str | None) -> None:
    """
    Check that a fleet's file is made of minions that were chosen.

    :raises ConfigurationError: it is not: any accepted minion could put itself into it.
    """
    if form in FILES and tgt is None:
        raise ConfigurationError(f"a {form} file of the fleet needs an explicit target: tgt='web*'")


def render(rows: Rows, form: str) -> str:
    """
    Return ``rows`` in the format ``form``.

    :raises ConfigurationError: there is no such format, or a value cannot stand in it.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"{form!r} is no format: one of {', '.join(FORMATS)}")
    return FORMATS[form](rows)
