"""What a guest shall be told at its first boot: read, checked, and kept as plain data in the task's record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.settings import Section

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")  # it becomes a file's name at the master
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")
OWN = ("hostname", "fqdn", "users", "ssh_authorized_keys")  # what has a parameter of its own
OPEN_SECRETS = ("plain_text_passwd", "password", "chpasswd")
VERSIONS = (1, 2)


@dataclass(frozen=True)
class Wish:
    """
    What a guest is told.

    :param minion: the configuration of its minion, without its id.
    :param users: users in cloud-init's words, beside the one that its image has.
    :param ssh_keys: public keys that may log in as the user of its image.
    :param network: its network in cloud-init's words (version 1 or 2); None for what the image does by itself.
    :param user_data: more of cloud-init's words.
    :param master_key: the public key of its masters, by which it knows them; None where nobody told it.
    """

    id: str
    hostname: str
    minion: Mapping[str, Any]
    users: tuple[Any, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    network: Mapping[str, Any] | None = None
    user_data: Mapping[str, Any] = field(default_factory=dict)
    master_key: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**vars(self), "users": list(self.users), "ssh_keys": list(self.ssh_keys)}


def read(name: str, told: Mapping[str, Any]) -> Wish:
    """
    Read what is told for the guest ``name``; what is None was not told.

    :raises ConfigurationError: something of it is unknown, ill-typed, impossible, or would show a password.
    """
    section = Section(f"seed of {name}", {key: value for key, value in told.items() if value is not None})
    nothing: dict[str, Any] = {}
    minion = str(section.take("id", str, name))
    wish = Wish(
        id=check_id(minion),
        hostname=section.take("hostname", str, minion),
        minion=section.take("minion", dict, nothing),
        users=tuple(section.take("users", list, [])),
        ssh_keys=tuple(section.take("ssh_keys", list, [])),
        network=section.take("network", dict, None),
        user_data=section.take("user_data", dict, nothing),
        master_key=section.take("master_key", str, None),
    )
    section.done()
    _check(section.path, wish)
    return wish


def of(plain: Mapping[str, Any]) -> Wish:
    """Return what :meth:`Wish.plain` has told."""
    return Wish(**{**plain, "users": tuple(plain["users"]), "ssh_keys": tuple(plain["ssh_keys"])})


def check_id(minion: object) -> str:
    """Return ``minion``; :raises ConfigurationError: it cannot be the id of a minion."""
    if not isinstance(minion, str) or not ID.fullmatch(minion):
        raise ConfigurationError(f"a minion's id has letters, digits and ._- only, and at most 253, not {minion!r}")
    return minion


def _check(where: str, wish: Wish) -> None:
    masters = wish.minion.get("master")
    network = wish.network
    problems = (
        (not HOSTNAME.fullmatch(wish.hostname), f"hostname must be such as web.example.com, not {wish.hostname!r}"),
        (not masters or not isinstance(masters, (str, list)), "minion must say the master"),
        ("id" in wish.minion, "the minion's id is told as id, not in minion"),
        (not all(isinstance(one, (str, dict)) for one in wish.users), "users must be names or mappings"),
        (not all(isinstance(one, str) for one in wish.ssh_keys), "ssh_keys must be texts"),
        (network is not None and network.get("version") not in VERSIONS, "network must have the version 1 or 2"),
    )
    for wrong, sentence in problems:
        if wrong:
            raise ConfigurationError(f"{where}: {sentence}")
    for key in (one for one in OWN if one in wish.user_data):
        raise ConfigurationError(f"{where}: {key} has a parameter of its own, and does not belong into user_data")
    for secret in OPEN_SECRETS:
        if _has(secret, [wish.user_data, *wish.users]):
            raise ConfigurationError(
                f"{where}: {secret} would be read by others (jobs, events): give ssh keys, or a hash as passwd"
            )


def _has(key: str, told: object) -> bool:
    """Say whether ``key`` stands anywhere in ``told``."""
    if isinstance(told, Mapping):
        return key in told or any(_has(key, one) for one in told.values())
    return isinstance(told, (list, tuple)) and any(_has(key, one) for one in told)
