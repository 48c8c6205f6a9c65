"""Which rows of the table of ports are asked for (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from saltext_logilab.containers.exposure import CLASSES
from saltext_logilab.containers.ports import parse_container_port, parse_protocol
from saltext_logilab.errors import ConfigurationError


@dataclass(frozen=True)
class Criteria:
    """What a row must have; None and empty: anything. Names and images are globs."""

    port: int | None = None
    protocol: str = ""
    container: str = ""
    image: str = ""
    label: str = ""
    project: str = ""
    exposure: str = ""

    def match(self, row: Mapping[str, Any]) -> bool:
        """Say whether ``row`` has it all."""
        return (
            (self.port is None or row["host_port"] == self.port)
            and (not self.protocol or row["protocol"] == self.protocol)
            and (not self.container or _is(row, self.container))
            and (not self.image or fnmatchcase(row["image"], self.image))
            and (not self.project or row["project"] == self.project)
            and (not self.exposure or row["exposure"] == self.exposure)
            and (not self.label or _labelled(row["labels"], self.label))
        )


def criteria(
    port: str | int | None = None, protocol: str | None = None, exposure: str | None = None, **texts: str | None
) -> Criteria:
    """
    Return what a caller asks for; ``port`` is a host port and may bear the protocol (``8080/udp``).

    ``texts`` are ``container``, ``image``, ``label`` and ``project``.

    :raises ConfigurationError: a value is impossible; the sentence names it.
    """
    number, told = (None, protocol or "") if port is None else parse_container_port(port, protocol or "tcp")
    if port is not None and protocol is None and "/" not in str(port):
        told = ""
    if exposure is not None and exposure not in CLASSES:
        raise ConfigurationError(f"{exposure!r} is no exposure: one of {', '.join(CLASSES)}")
    return Criteria(
        port=number,
        protocol=parse_protocol(told) if told else "",
        exposure=exposure or "",
        **{name: str(text or "") for name, text in texts.items()},
    )


def _is(row: Mapping[str, Any], wanted: str) -> bool:
    """Say whether ``wanted`` names the row's container: by a glob, or by its id or twelve and more digits of it."""
    return fnmatchcase(row["container"], wanted) or (len(wanted) >= 12 and wanted.startswith(row["id"]))


def _labelled(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
