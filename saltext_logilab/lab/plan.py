"""
What a lab consists of: its members with their names, addresses, ports and versions of Salt.

Pure: a :class:`Wish` is what a user asked for, a :class:`Plan` what was made of it and is kept in ``lab.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError

FORMAT = 1
KINDS = ("hot-hot", "failover")
PORTS = (4505, 4506, 4507)
MASTER_NAMES = ("paris", "nantes", "toulouse", "lille", "brest", "lyon", "nancy", "dijon")
FAKE = "fake"  # the member that is all fake minions
MOST_FAKE = 20_000
RESERVED = ("srv", "keys", "lab.json")
OLDEST = 3006

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"(\d{4})(\.\d+)*(rc\d+)?")
_NETWORK = re.compile(r"127\.(\d{1,3})\.(\d{1,3})(\.0/24)?")


@dataclass(frozen=True)
class Ports:
    """The ports that each master has on its address: publisher, requests, and the ``masters`` engine."""

    publish: int
    request: int
    peers: int


@dataclass(frozen=True)
class Member:
    """
    One daemon: ``role`` is ``master``, ``minion`` or ``swarm``, which is all fake minions in one.

    Only a master has an address; ``salt`` is a wanted version.
    """

    name: str
    role: str
    salt: str
    address: str = ""


@dataclass(frozen=True)
class Wish:
    """What a user asked for; None means "as the lab is", and the default for a new lab."""

    masters: tuple[str, ...] | None = None
    minions: tuple[str, ...] | None = None
    salt: Mapping[str, str] | None = None
    kind: str | None = None
    user: str | None = None
    network: str | None = None
    fake: int | None = None
    master_options: Mapping[str, Any] = field(default_factory=dict)
    minion_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A lab: ``id`` is random and marks its processes, ``short`` is a link to its folder or empty."""

    id: str
    members: tuple[Member, ...]
    network: str
    ports: Ports
    kind: str = "hot-hot"
    user: str = ""
    short: str = ""
    master_options: Mapping[str, Any] = field(default_factory=dict)
    minion_options: Mapping[str, Any] = field(default_factory=dict)
    fake: int = 0

    @property
    def masters(self) -> tuple[Member, ...]:
        """The masters, in the order in which they were asked for."""
        return tuple(member for member in self.members if member.role == "master")

    @property
    def minions(self) -> tuple[Member, ...]:
        """The minions, in the order in which they were asked for."""
        return tuple(member for member in self.members if member.role == "minion")

    def member(self, name: str) -> Member:
        """
        Return the member called ``name``.

        :raises ConfigurationError: there is none.
        """
        for member in self.members:
            if member.name == name:
                return member
        known = ", ".join(member.name for member in self.members)
        raise ConfigurationError(f"the lab has no {name!r} (it has {known})")


def check_name(name: str) -> str:
    """
    Return ``name`` when a daemon can be called so.

    :raises ConfigurationError: it has other characters than letters, digits, ``._-``, is too long or reserved.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name: 1 to 64 letters, digits, '.', '_' or '-', the first no sign")
    if name in RESERVED:
        raise ConfigurationError(f"{name!r} is a file of the lab itself: choose another name")
    return name


def parse_masters(text: str) -> tuple[str, ...]:
    """Read ``paris,nantes`` or a number of masters; :raises ConfigurationError: it is neither."""
    if not text.isdecimal():
        return _names(text)
    if not 1 <= int(text) <= len(MASTER_NAMES):
        raise ConfigurationError(f"--masters {text}: 1 to {len(MASTER_NAMES)} masters, or their names")
    return MASTER_NAMES[: int(text)]


def parse_minions(text: str) -> tuple[str, ...]:
    """Read ``web1,web2`` or a number of minions (``m1`` …); :raises ConfigurationError: it is neither."""
    if not text.isdecimal():
        return _names(text)
    if int(text) > 200:
        raise ConfigurationError(f"--minions {text}: at most 200 real minions on one machine")
    return tuple(f"m{number}" for number in range(1, int(text) + 1))


def parse_fake(text: str) -> int:
    """Read a number of fake minions (``fake0`` …); :raises ConfigurationError: it is none."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_FAKE:
        raise ConfigurationError(f"--fake {text}: 1 to {MOST_FAKE} fake minions")
    return int(text)


def parse_salt(text: str) -> dict[str, str]:
    """
    Read ``3007`` (key ``""``: everyone) or ``paris=3006,m1=3007.1``.

    :raises ConfigurationError: a version is no version or older than 3006, or a name stands twice.
    """
    wanted: dict[str, str] = {}
    for part in text.split(","):
        name, equals, version = part.strip().rpartition("=")
        if equals and not name:
            raise ConfigurationError(f"--salt {part!r}: a name is missing before the '='")
        if name in wanted:
            raise ConfigurationError(f"--salt {text}: two versions for {name or 'everyone'}")
        wanted[name] = check_version(version)
    return wanted


def check_version(version: str) -> str:
    """Return ``version`` when it is one of Salt's from 3006 on; :raises ConfigurationError: it is not."""
    match = _VERSION.fullmatch(version)
    if not match:
        raise ConfigurationError(f"{version!r} is no version of Salt: 3006, 3007, 3008, or an exact one such as 3007.1")
    if int(match[1]) < OLDEST:
        raise ConfigurationError(f"Salt {version} is too old: {OLDEST} or newer")
    return version


def parse_store(text: str) -> dict[str, Any]:
    """
    Read ``etcd=HOST:PORT`` or ``postgresql=DSN``, the store that the masters share, as options of masters.

    :raises ConfigurationError: it is neither.
    """
    kind, equals, place = text.partition("=")
    if kind not in ("etcd", "postgresql") or not equals or not place:
        raise ConfigurationError(f"--store {text}: etcd=HOST:PORT or postgresql=DSN")
    store = {"etcd": {"endpoints": [place]}} if kind == "etcd" else {"postgresql": {"dsn": place}}
    return {"logilab": {"masters": {"store": store}}}


def parse_network(text: str) -> str:
    """Read ``127.x.y``, the first three bytes of a loopback network; :raises ConfigurationError: it is none."""
    match = _NETWORK.fullmatch(text)
    if not match or int(match[1]) > 255 or int(match[2]) > 255:
        raise ConfigurationError(f"{text!r} is no loopback network: write 127.x.y, such as 127.40.1")
    return f"127.{int(match[1])}.{int(match[2])}"


def members(wish: Wish, network: str, installed: str) -> tuple[Member, ...]:
    """
    Return the members that ``wish`` asks for, with the defaults of a new lab; ``installed`` is the default Salt.

    :raises ConfigurationError: a name is impossible or stands twice, or a version is asked for an unknown member.
    """
    masters = MASTER_NAMES[:2] if wish.masters is None else wish.masters
    minions = parse_minions("4") if wish.minions is None else wish.minions
    fake = (FAKE,) if wish.fake else ()
    names = [check_name(name) for name in (*masters, *minions, *fake)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"two members are called {twice[0]!r}")
    if not masters or len(masters) > 250:
        raise ConfigurationError(f"{len(masters)} masters: a lab has 1 to 250")
    versions = dict(wish.salt or {})
    everyone = versions.pop("", installed)
    for name, version in versions.items():
        if name not in names:
            raise ConfigurationError(f"--salt {name}={version}: the lab has no {name!r}")
    made = [
        Member(name, "master", versions.get(name, everyone), f"{network}.{number}")
        for number, name in enumerate(masters, start=1)
    ]
    made += [Member(name, "minion", versions.get(name, everyone)) for name in minions]
    return (*made, *(Member(name, "swarm", installed) for name in fake))


def check_kind(kind: str) -> str:
    """Return ``kind`` when it is a way to have several masters; :raises ConfigurationError: it is not."""
    if kind not in KINDS:
        raise ConfigurationError(f"{kind!r} is no type of lab: {' or '.join(KINDS)}")
    return kind


def check_same(wish: Wish, plan: Plan) -> None:
    """
    Say whether a lab that exists is the one that ``wish`` asks for.

    :raises RefusedError: something was asked for that the lab is not.
    """
    defaults = dict((wish.salt or {}).items())
    everyone = defaults.pop("", None)
    salt = {member.name: everyone for member in plan.members if everyone} | defaults
    asked: tuple[tuple[str, object, object], ...] = (
        ("masters", wish.masters, tuple(member.name for member in plan.masters)),
        ("minions", wish.minions, tuple(member.name for member in plan.minions)),
        ("fake minions", wish.fake, plan.fake),
        ("type", wish.kind, plan.kind),
        ("user", wish.user, plan.user),
        ("network", wish.network, plan.network),
        ("salt", salt or None, {member.name: member.salt for member in plan.members if member.name in salt}),
        ("master options", wish.master_options or None, plan.master_options),
        ("minion options", wish.minion_options or None, plan.minion_options),
    )
    for what, wanted, present in asked:
        if wanted is not None and wanted != present:
            raise RefusedError(
                f"there is a lab already, and its {what} differ ({_text(present)}, asked for {_text(wanted)}): "
                "end it with `salt-lab down`, or take another --lab"
            )


def to_json(plan: Plan) -> dict[str, Any]:
    """Return ``plan`` as what ``lab.json`` holds."""
    return {
        "format": FORMAT,
        "id": plan.id,
        "members": [vars(member) for member in plan.members],
        "network": plan.network,
        "ports": vars(plan.ports),
        "kind": plan.kind,
        "user": plan.user,
        "short": plan.short,
        "fake": plan.fake,
        "master_options": dict(plan.master_options),
        "minion_options": dict(plan.minion_options),
    }


def from_json(values: object) -> Plan:
    """
    Read a plan out of ``values``, the content of a ``lab.json``.

    :raises ConfigurationError: it is of another format, or somebody changed it to what no plan is.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ConfigurationError("its lab.json is not of this salt-lab's format")
    try:
        fields = {key: value for key, value in values.items() if key != "format"}
        fields["members"] = tuple(Member(**member) for member in fields["members"])
        fields["ports"] = Ports(**fields["ports"])
        plan = Plan(**fields)
        for member in plan.members:
            check_name(member.name)
    except (TypeError, KeyError) as err:
        raise ConfigurationError("its lab.json is damaged") from err
    return plan


def _names(text: str) -> tuple[str, ...]:
    return tuple(check_name(name.strip()) for name in text.split(","))


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={part}" for key, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "none"
