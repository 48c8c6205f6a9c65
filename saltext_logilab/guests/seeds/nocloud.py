"""
The NoCloud image: what cloud-init finds on a disk with the label ``cidata`` and takes for its own.

Its source: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. The image is ISO 9660 with
the names of Joliet and Rock Ridge. The private key of the minion stands in it and nowhere else, so only root may read
it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from saltext_logilab.errors import UnavailableError
from saltext_logilab.guests.seeds.keys import Pair
from saltext_logilab.guests.seeds.wish import Wish

LABEL = "cidata"
CONFIG = "/etc/salt/minion.d/99-seed.conf"
PKI = "/etc/salt/pki/minion"
SERVICE = "salt-minion"
MISSING = "pycdlib is missing: pip install 'saltext-logilab[virt]'"
SHORT = {"user-data": "/USERDATA.;1", "meta-data": "/METADATA.;1", "network-config": "/NETCONF.;1"}
LISTS = ("write_files", "runcmd")  # what of the user's stands before our own


def files(wish: Wish, pair: Pair, instance: str) -> dict[str, str]:
    """Return the files of the image by name; ``instance`` is an id that no seed has had before."""
    found = {
        "user-data": f"#cloud-config\n{_yaml(_user_data(wish, pair))}",
        "meta-data": _yaml({"instance-id": instance, "local-hostname": wish.hostname}),
    }
    if wish.network is not None:
        found["network-config"] = _yaml(wish.network)
    return found


def _user_data(wish: Wish, pair: Pair) -> dict[str, Any]:
    host, _, domain = wish.hostname.partition(".")
    names: dict[str, Any] = {
        "hostname": host,
        "preserve_hostname": False,
        **({"fqdn": wish.hostname} if domain else {}),
    }
    users: dict[str, Any] = {"users": ["default", *wish.users]} if wish.users else {}
    logins: dict[str, Any] = {"ssh_authorized_keys": list(wish.ssh_keys)} if wish.ssh_keys else {}
    return {
        **wish.user_data,
        **names,
        **users,
        **logins,
        "write_files": [*wish.user_data.get("write_files", []), *_minion_files(wish, pair)],
        "runcmd": [*wish.user_data.get("runcmd", []), *_start()],
    }


def _minion_files(wish: Wish, pair: Pair) -> list[dict[str, str]]:
    """Return what makes the minion the one that the master knows; nobody else can read its private key."""
    found = [
        _file("/etc/salt/minion_id", f"{wish.id}\n", "0644"),
        _file(CONFIG, _yaml({**wish.minion, "id": wish.id}), "0640"),
        _file(f"{PKI}/minion.pem", pair.private, "0400"),
        _file(f"{PKI}/minion.pub", f"{pair.public}\n", "0644"),
    ]
    if wish.master_key is not None:
        found.append(_file(f"{PKI}/minion_master.pub", wish.master_key, "0644"))
    return found


def _file(path: str, text: str, mode: str) -> dict[str, str]:
    return {"path": path, "content": text, "permissions": mode, "owner": "root:root"}


def _start() -> list[list[str]]:
    """Return the commands that let the minion run as the new one, also when it has started with the image's."""
    return [["systemctl", "enable", SERVICE], ["systemctl", "restart", "--no-block", SERVICE]]


def _yaml(told: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(told), sort_keys=False, allow_unicode=True))


def image(found: Mapping[str, str]) -> bytes:
    """
    Return the image of ``found`` (text by file name).

    :raises UnavailableError: pycdlib is missing.
    """
    try:
        import pycdlib  # noqa: PLC0415 - of an extra, and needed here alone
    except ImportError as err:
        raise UnavailableError(MISSING) from err
    iso, target = pycdlib.PyCdlib(), io.BytesIO()
    iso.new(vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for name, text in found.items():
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), SHORT[name], rr_name=name, joliet_path=f"/{name}")
    iso.write_fp(target)
    iso.close()
    return target.getvalue()


def write(path: Path, data: bytes) -> None:
    """
    Write an image that only root may read, whole and on the disk.

    :raises UnavailableError: it cannot be written, or is there already; half an image does not stay.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as err:
        raise UnavailableError(f"the seed image {path} cannot be made: {err.strerror}") from err
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        path.unlink(missing_ok=True)
        raise UnavailableError(f"the seed image {path} cannot be written: {err.strerror}") from err
