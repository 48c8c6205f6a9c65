"""
Packages inside: what is installed, and how that is changed, by whichever package manager is there.

Lists are read of the manager's own data base where it is a plain file, so that this needs no program inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import files, transport
from saltext_logilab.within.transport import Command, NoProgramError, NoSuchFileError, Transport

LONG = 900.0
MOST = 32 * transport.MOST
_NAME = re.compile(r"[A-Za-z0-9@_][A-Za-z0-9@_.+:~=/*^-]*")


@dataclass(frozen=True)
class Manager:
    """
    A package manager: the programs that show that it is there, its lists, and its words for each work.

    ``pinned`` joins a name and a version; ``installed`` reads the list.
    """

    name: str
    programs: tuple[str, ...]
    database: str
    install: tuple[str, ...]
    remove: tuple[str, ...]
    purge: tuple[str, ...]
    refresh: tuple[str, ...]
    upgrade: tuple[str, ...]
    pinned: str
    installed: Callable[[Transport], dict[str, str]]


def parse_dpkg(text: str) -> dict[str, str]:
    """Return the installed packages of ``/var/lib/dpkg/status`` with their versions."""
    found = {}
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            found[fields["Package"]] = fields.get("Version", "")
    return found


def parse_apk(text: str) -> dict[str, str]:
    """Return the packages of ``/lib/apk/db/installed`` with their versions."""
    found, name = {}, ""
    for line in text.splitlines():
        if line.startswith("P:"):
            name = line[2:]
        elif line.startswith("V:") and name:
            found[name] = line[2:]
    return found


def parse_rpm(text: str) -> dict[str, str]:
    """Return the packages of ``rpm -qa`` in the form of :data:`RPM_FORMAT`."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}


RPM_FORMAT = r"%{NAME} %{VERSION}-%{RELEASE}\n"


def _dpkg(inside: Transport) -> dict[str, str]:
    return parse_dpkg(transport.read(inside, "/var/lib/dpkg/status", MOST).decode(errors="replace"))


def _apk(inside: Transport) -> dict[str, str]:
    return parse_apk(transport.read(inside, "/lib/apk/db/installed", MOST).decode(errors="replace"))


def _rpm(inside: Transport) -> dict[str, str]:
    return parse_rpm(transport.checked(inside, Command(("rpm", "-qa", "--qf", RPM_FORMAT), most_bytes=MOST)))


_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Options::=--force-confold", "-o", "DPkg::Options::=--force-confdef")


def _rpm_based(program: str) -> Manager:
    words = (program, "-y", "-q")
    return Manager(
        program,
        (f"/usr/bin/{program}",),
        "",
        (*words, "install"),
        (*words, "remove"),
        (*words, "remove"),
        (*words, "makecache"),
        (*words, "upgrade"),
        "-",
        _rpm,
    )


MANAGERS = (
    Manager(
        "apt",
        ("/usr/bin/apt-get",),
        "/var/lib/dpkg/status",
        (*_APT, "install"),
        (*_APT, "remove"),
        (*_APT, "purge"),
        (*_APT, "update"),
        (*_APT, "dist-upgrade"),
        "=",
        _dpkg,
    ),
    Manager(
        "apk",
        ("/sbin/apk", "/usr/bin/apk"),
        "/lib/apk/db/installed",
        ("apk", "add"),
        ("apk", "del"),
        ("apk", "del", "--purge"),
        ("apk", "update"),
        ("apk", "upgrade"),
        "=",
        _apk,
    ),
    _rpm_based("dnf"),
    _rpm_based("yum"),
)


def manager(inside: Transport) -> Manager:
    """
    Return the package manager inside.

    :raises NoProgramError: there is none that is known here.
    """
    for one in MANAGERS:
        if any(inside.has(program) for program in one.programs):
            return one
    raise NoProgramError(f"{inside.label} has no package manager (of {', '.join(one.name for one in MANAGERS)})")


def installed(inside: Transport) -> dict[str, str]:
    """
    Return the installed packages with their versions; none where a manager has no data base yet.

    :raises NoProgramError: there is no package manager.
    """
    try:
        return manager(inside).installed(inside)
    except NoSuchFileError:
        return {}


def wanted(names: Sequence[object]) -> dict[str, str]:
    """
    Return the packages that are asked for, each with its version or an empty text.

    :raises ConfigurationError: one is no name of a package.
    """
    found: dict[str, str] = {}
    for one in names:
        pairs = one.items() if isinstance(one, dict) else [(one, "")]
        for name, version in pairs:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ConfigurationError(f"{name!r} is no name of a package")
            if version and not _NAME.fullmatch(str(version)):
                raise ConfigurationError(f"{version!r} is no version of the package {name!r}")
            found[name] = str(version or "")
    if not found:
        raise ConfigurationError("no package is named")
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return what has changed between two lists, as Salt tells it."""
    return {
        name: {"old": before.get(name, ""), "new": after.get(name, "")}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }


def change(
    inside: Transport, work: str, names: Sequence[object] = (), timeout: float = LONG
) -> dict[str, dict[str, str]]:
    """
    Do one work of a manager (``install``, ``remove``, ``purge``, ``upgrade``) and return what has changed.

    :raises NoProgramError: there is no package manager.
    :raises UnavailableError: it failed.
    """
    one = manager(inside)
    told = [
        f"{name}{one.pinned}{version}" if version else name
        for name, version in (wanted(names) if names else {}).items()
    ]
    before = installed(inside)
    transport.checked(inside, Command((*getattr(one, work), *told), env=_ENVIRONMENT, timeout=timeout, most_bytes=MOST))
    return differences(before, installed(inside))


def refresh(inside: Transport, timeout: float = LONG) -> None:
    """Let the manager fetch its lists anew; raises as :func:`change`."""
    one = manager(inside)
    transport.checked(inside, Command(one.refresh, env=_ENVIRONMENT, timeout=timeout, most_bytes=MOST))


_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "APT_LISTCHANGES_FRONTEND": "none"}


def has_lists(inside: Transport) -> bool:
    """Say whether the manager has fetched its lists before; one that fetches them by itself always has."""
    if manager(inside).name != "apt":
        return True
    names = files.listing(inside, "/var/lib/apt/lists") if files.is_directory(inside, "/var/lib/apt/lists") else []
    return any(name.endswith(("_Packages", "_Packages.lz4", "_Packages.gz", "_Packages.xz")) for name in names)
