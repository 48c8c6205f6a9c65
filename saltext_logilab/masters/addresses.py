"""Addresses of masters and of what they talk with: a host and a TCP port."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from saltext_logilab.errors import ConfigurationError

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


@dataclass(frozen=True)
class Address:
    """A host (name or IP address) and a TCP port; written ``HOST:PORT`` or ``[IPv6]:PORT``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(path: str, text: str) -> Address:
    """
    Read ``HOST:PORT``.

    :param path: what the address is; stands in the error.
    :raises ConfigurationError: it is none.
    """
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
