"""
Published ports as facts, and the texts in which people write them.

The grammar of a port specification is that of ``docker run -p``:
``[HOST_ADDRESS:][HOST_PORT[-HOST_PORT]:]CONTAINER_PORT[-CONTAINER_PORT][/PROTOCOL]``, an address of IPv6 in brackets.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from saltext_logilab.errors import ConfigurationError

PROTOCOLS = ("tcp", "udp", "sctp")
ORIGINS = PUBLISHED, LISTENER = "published", "listener"
LIVE = ("running", "paused")
_SPEC = re.compile(
    r"(?:(?P<ip>\[[^\]]*\]|[^:\[\]]*):(?P<host>[^:]*):|(?P<only>[^:]*):)?(?P<container>[^:/]+)(?:/(?P<protocol>[^/]*))?"
)


@dataclass(frozen=True, order=True)
class Port:
    """
    A port of a host that leads to a port of a container.

    ``origin`` is ``published``, or ``listener`` for what a container really listens on in a network that it shares with
    the host or with another container; ``requested`` is what it was asked for with (empty: not known).
    """

    protocol: str
    container_port: int
    host_ip: str
    host_port: int
    origin: str = PUBLISHED
    requested: str = field(default="", compare=False)

    @property
    def host(self) -> str:
        """The host's side as text: ``0.0.0.0:8080``, ``[::]:8080``."""
        return f"{bracketed(self.host_ip)}:{self.host_port}"

    def __str__(self) -> str:
        return f"{self.host}->{self.container_port}/{self.protocol}"


@dataclass(frozen=True)
class Container:
    """What is known of a container that was started at least once; ``labels`` are the allowed ones."""

    id: str
    name: str
    image: str
    state: str
    health: str = ""
    network: str = ""
    project: str = ""
    service: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A port that somebody asks for; ``first`` 0: any host port; ``host_ip`` empty: every address."""

    host_ip: str
    first: int
    last: int
    container_port: int
    protocol: str

    def __str__(self) -> str:
        address = f"{bracketed(self.host_ip)}:" if self.host_ip else ""
        span = "" if not self.first else str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        host = f"{span}:" if span or address else ""
        return f"{address}{host}{self.container_port}/{self.protocol}"

    def is_met_by(self, port: Port) -> bool:
        """Say whether ``port`` is what was asked for."""
        return (
            (port.protocol, port.container_port) == (self.protocol, self.container_port)
            and (not self.first or self.first <= port.host_port <= self.last)
            and (port.host_ip in ("0.0.0.0", "::") if not self.host_ip else port.host_ip == self.host_ip)  # noqa: S104
        )


def parse(text: str | int) -> tuple[Wanted, ...]:
    """
    Return what the port specification ``text`` asks for, one for each container port.

    :raises ConfigurationError: it is malformed; the sentence names it.
    """
    found = _SPEC.fullmatch(str(text).strip())
    if not found:
        raise ConfigurationError(f"{text!r} is no port specification ([ADDRESS:][HOST_PORT:]CONTAINER_PORT[/PROTOCOL])")
    protocol = parse_protocol(found["protocol"] if found["protocol"] is not None else "tcp", text)
    inner = _span(found["container"], text)
    told = found["host"] if found["host"] is not None else found["only"]
    outer = _span(told, text) if told else (0, 0)
    host_ip = address(found["ip"], text) if found["ip"] else ""
    inside = range(inner[0], inner[1] + 1)
    if not outer[0] or len(inside) == 1:
        return tuple(Wanted(host_ip, *outer, port, protocol) for port in inside)
    if outer[1] - outer[0] != inner[1] - inner[0]:
        raise ConfigurationError(f"{text!r} has ranges of different lengths")
    return tuple(Wanted(host_ip, outer[0] + n, outer[0] + n, port, protocol) for n, port in enumerate(inside))


def parse_all(texts: Iterable[str | int]) -> tuple[Wanted, ...]:
    """Return what all of ``texts`` ask for together; raises as :func:`parse`."""
    return tuple(wanted for text in texts for wanted in parse(text))


def parse_container_port(value: str | int, protocol: str = "tcp") -> tuple[int, str]:
    """
    Return the container port and the protocol of ``80`` or ``80/udp``.

    :raises ConfigurationError: it is malformed; the sentence names it.
    """
    port, slash, told = str(value).partition("/")
    return parse_port(port, value), parse_protocol(told if slash else protocol, value)


def parse_port(value: str | int, whole: object = None) -> int:
    """
    Return the number of a port, 1 to 65535.

    :raises ConfigurationError: it is none; the sentence names ``whole`` (by default the value).
    """
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        inside = "" if whole is None or str(whole) == text else f" in {whole!r}"
        raise ConfigurationError(f"{value!r}{inside} is no port: a number from 1 to 65535")
    return int(text)


def parse_protocol(value: str, whole: object = None) -> str:
    """
    Return the protocol in lower case.

    :raises ConfigurationError: it is none of :data:`PROTOCOLS`.
    """
    found = str(value).lower()
    if found not in PROTOCOLS:
        inside = "" if whole is None else f" in {whole!r}"
        raise ConfigurationError(f"{value!r}{inside} is no protocol: one of {', '.join(PROTOCOLS)}")
    return found


def address(value: str, whole: object = None) -> str:
    """
    Return an IP address in its canonical form, without brackets.

    :raises ConfigurationError: it is none, or has a zone (``fe80::1%eth0``), which no Engine takes and any text may be.
    """
    try:
        if "%" in value:
            raise ValueError("a zone")
        return str(ipaddress.ip_address(value[1:-1] if value.startswith("[") else value))
    except ValueError as err:
        inside = "" if whole is None else f" in {whole!r}"
        raise ConfigurationError(f"{value!r}{inside} is no IP address") from err


def bracketed(ip: str) -> str:
    """Return ``ip`` as it stands before a port."""
    return f"[{ip}]" if ":" in ip else ip


def parse_range(value: str | int) -> tuple[int, int]:
    """
    Return the first and the last port of ``20000-20999``.

    :raises ConfigurationError: it is malformed or in the wrong order.
    """
    return _span(str(value), value)


def _span(text: str, whole: object) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low = parse_port(first, whole)
    high = parse_port(last, whole) if dash else low
    if high < low:
        raise ConfigurationError(f"{text!r}{'' if str(whole) == text else f' in {whole!r}'} runs backwards")
    return low, high
