"""What a system inside is: Salt's grains of it, of a few files that every system has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from saltext_logilab.within import transport
from saltext_logilab.within.transport import NoSuchFileError, Transport

RELEASES = ("/etc/os-release", "/usr/lib/os-release")
_FAMILIES = {
    "debian": "Debian",
    "ubuntu": "Debian",
    "rhel": "RedHat",
    "fedora": "RedHat",
    "centos": "RedHat",
    "alpine": "Alpine",
    "suse": "Suse",
    "opensuse": "Suse",
    "arch": "Arch",
}
_OSES = {
    "debian": "Debian",
    "ubuntu": "Ubuntu",
    "alpine": "Alpine",
    "fedora": "Fedora",
    "rhel": "RedHat",
    "centos": "CentOS",
    "rocky": "Rocky",
    "almalinux": "AlmaLinux",
    "arch": "Arch",
}


def parse_release(text: str) -> dict[str, str]:
    """Return the pairs of an ``os-release(5)``; lines that are no assignment are left out."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key.replace("_", "").isalnum() and not key.startswith("#"):
            try:
                found[key] = "".join(shlex.split(value))
            except ValueError:  # a quote without its other
                continue
    return found


def of_release(told: Mapping[str, str]) -> dict[str, Any]:
    """Return the grains that Salt makes of an ``os-release``; empty where it names no system."""
    name = told.get("ID", "").lower()
    if not name:
        return {}
    likes = [name, *told.get("ID_LIKE", "").lower().split()]
    version = told.get("VERSION_ID", "")
    system = _OSES.get(name) or told.get("NAME", name)
    major = version.partition(".")[0]
    return {
        "kernel": "Linux",
        "os": system,
        "os_family": next((_FAMILIES[one] for one in likes if one in _FAMILIES), system),
        "osfullname": told.get("NAME", system),
        "osrelease": version,
        "osmajorrelease": int(major) if major.isdigit() else major,
        "oscodename": told.get("VERSION_CODENAME", told.get("PRETTY_NAME", "")),
        "osfinger": f"{told.get('NAME', system)}-{version if name == 'ubuntu' else major}",
    }


def system(inside: Transport) -> dict[str, Any]:
    """Return the grains of the system inside; empty where it does not say what it is."""
    for path in RELEASES:
        try:
            return of_release(parse_release(transport.read(inside, path, 65536).decode(errors="replace")))
        except NoSuchFileError:
            continue
    return {}
