"""Services inside, where there is an init: systemd, OpenRC, or the scripts of ``/etc/init.d`` without one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.within import files, transport
from saltext_logilab.within.transport import Command, NoProgramError, Transport

LONG = 180.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:\\-]*")
WORKS = ("start", "stop", "restart", "reload")


@dataclass(frozen=True)
class Init:
    """What starts services: its name, and its words in which ``{name}`` and ``{work}`` stand."""

    name: str
    work: tuple[str, ...]
    is_active: tuple[str, ...]
    is_enabled: tuple[str, ...]
    enable: tuple[str, ...]
    disable: tuple[str, ...]


SYSTEMD = Init(
    "systemd",
    ("systemctl", "{work}", "{name}"),
    ("systemctl", "is-active", "--quiet", "{name}"),
    ("systemctl", "is-enabled", "--quiet", "{name}"),
    ("systemctl", "enable", "{name}"),
    ("systemctl", "disable", "{name}"),
)
OPENRC = Init(
    "openrc",
    ("rc-service", "{name}", "{work}"),
    ("rc-service", "{name}", "status"),
    ("sh", "-c", 'rc-update show default | grep -qE "^ *$0 "', "{name}"),
    ("rc-update", "add", "{name}", "default"),
    ("rc-update", "del", "{name}", "default"),
)
SCRIPTS = Init(
    "init.d",
    ("/etc/init.d/{name}", "{work}"),
    ("/etc/init.d/{name}", "status"),
    ("sh", "-c", 'ls /etc/rc[2345].d/S*"$0" >/dev/null 2>&1', "{name}"),
    ("update-rc.d", "{name}", "enable"),
    ("update-rc.d", "{name}", "disable"),
)


def init(inside: Transport) -> Init:
    """
    Return what starts services inside.

    :raises NoProgramError: there is nothing that does.
    """
    if inside.stat("/run/systemd/system") is not None:
        return SYSTEMD
    if inside.has("/sbin/rc-service"):
        return OPENRC
    if files.is_directory(inside, "/etc/init.d"):
        return SCRIPTS
    raise NoProgramError(f"{inside.label} has no init that starts services")


def checked_name(name: object) -> str:
    """
    Return the name of a service.

    :raises ConfigurationError: it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a service")
    return name


def _fill(words: tuple[str, ...], name: str, work: str = "") -> tuple[str, ...]:
    return tuple(one.replace("{name}", name).replace("{work}", work) for one in words)


def _asks(inside: Transport, words: tuple[str, ...], name: str) -> bool:
    return inside.run(Command(_fill(words, checked_name(name)), most_bytes=4096)).code == 0


def is_there(inside: Transport, name: str) -> bool:
    """Say whether there is a service of that name."""
    one, name = init(inside), checked_name(name)
    if one is SYSTEMD:
        words = ("systemctl", "show", "-p", "LoadState", "--value", name)
        return transport.checked(inside, Command(words)).strip() not in ("not-found", "")
    return inside.stat(f"/etc/init.d/{name}") is not None


def is_active(inside: Transport, name: str) -> bool:
    """Say whether a service runs."""
    return _asks(inside, init(inside).is_active, name)


def is_enabled(inside: Transport, name: str) -> bool:
    """Say whether a service starts with the system inside."""
    return _asks(inside, init(inside).is_enabled, name)


def act(inside: Transport, work: str, name: str, timeout: float = LONG) -> None:
    """
    Start, stop, restart or reload a service, or enable or disable it.

    :raises UnavailableError: it failed.
    """
    one = init(inside)
    words = getattr(one, work) if work in ("enable", "disable") else one.work
    done = inside.run(Command(_fill(words, checked_name(name), work), timeout=timeout))
    if done.code is None:
        raise UnavailableError(f"{work} of {name} in {inside.label} was killed after {timeout:g} s")
    if done.code:
        raise UnavailableError(f"{work} of {name} in {inside.label} failed: {done.complaint}")


def names(inside: Transport) -> list[str]:
    """Return the names of all services, sorted."""
    if init(inside) is not SYSTEMD:
        return files.listing(inside, "/etc/init.d")
    words = ("systemctl", "list-unit-files", "--type=service", "--no-legend", "--plain")
    lines = transport.checked(inside, Command(words)).splitlines()
    return sorted({line.split()[0].removesuffix(".service") for line in lines if line.strip()})
