"""What a master's configuration says of this area: the mapping ``logilab: {masters: …}``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import ConfigurationError
from saltext_logilab.identity import is_fingerprint

AREA = "masters"
IDENTITY = "identity.pem"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Address:
    """A host (name or IP address) and a TCP port; written ``HOST:PORT`` or ``[IPv6]:PORT``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Peer:
    """Another member of the group: its name, where it listens, and the fingerprint of its identity."""

    name: str
    address: Address
    fingerprint: str


@dataclass(frozen=True)
class MastersSettings:
    """The settings of one member; ``folder`` is where its identity and its journal live."""

    name: str
    listen: Address
    peers: tuple[Peer, ...]
    folder: Path

    @property
    def identity(self) -> Path:
        """The file with the member's private key."""
        return self.folder / IDENTITY

    @property
    def journal(self) -> Path:
        """The member's journal."""
        return self.folder / "journal.db"


def read(opts: Mapping[str, Any]) -> MastersSettings:
    """
    Read the settings of this area out of a master's ``opts``.

    :raises ConfigurationError: a key is unknown, missing, of the wrong type or of an impossible value.
    """
    section = settings.area(opts, AREA)
    name = section.take("name", str, str(opts["id"]).removesuffix("_master"))
    listen = _address(f"{section.path}:listen", section.take("listen", str))
    peers = tuple(_peer(peer, each) for peer, each in section.sub("peers").items())
    section.sub("jobs")  # of the job cache, which reads it by itself
    section.done()
    for one in (name, *(peer.name for peer in peers)):
        if not _NAME.fullmatch(one):
            raise ConfigurationError(f"{section.path}: {one!r} is no name of a master (letters, digits and ._-)")
    _check_distinct(section.path, name, peers)
    return MastersSettings(name, listen, peers, settings.state_dir(opts, AREA))


def _peer(name: str, section: settings.Section) -> Peer:
    address = _address(f"{section.path}:address", section.take("address", str))
    fingerprint = section.take("fingerprint", str)
    section.done()
    if not is_fingerprint(fingerprint):
        raise ConfigurationError(
            f"{section.path}:fingerprint must be 'SHA256:' and 43 characters, as `salt-run masters.identity` on that"
            f" master shows it, not {fingerprint!r}"
        )
    return Peer(name, address, fingerprint)


def _check_distinct(path: str, name: str, peers: tuple[Peer, ...]) -> None:
    seen: dict[str, str] = {}
    for peer in peers:
        if peer.name == name:
            raise ConfigurationError(f"{path}:peers names this master itself, {name!r}")
        if peer.fingerprint in seen:
            twin = seen[peer.fingerprint]
            raise ConfigurationError(f"{path}:peers: {peer.name!r} has the same fingerprint as {twin!r}")
        seen[peer.fingerprint] = peer.name


def _address(path: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not port.isascii()
        or not port.isdigit()
        or len(port) > 5
        or not 0 < int(port) < 65536
        or not _is_host(host, bare)
    ):
        examples = "192.0.2.1:4507 or [2001:db8::1]:4507"
        raise ConfigurationError(f"{path} must be HOST:PORT, such as {examples}, not {text!r}")
    return Address(bare, int(port))


def _is_host(host: str, bare: str) -> bool:
    try:
        return ipaddress.ip_address(bare).version == (4 if host == bare else 6)
    except ValueError:
        return host == bare and _HOST.fullmatch(bare) is not None
