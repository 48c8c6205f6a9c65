"""What a master's configuration says of a store: the mapping ``logilab: {masters: {store: …}}``."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.masters.addresses import Address, parse_address
from saltext_logilab.settings import Section

PREFIX = "saltext-logilab"
_PREFIX = re.compile(r"[A-Za-z0-9._/-]{1,200}")
_VERIFIED = ("verify-full", "verify-ca")
_PASSWORD = re.compile(r"(^|\s)password\s*=|^\w+://[^/@]*:[^/@]*@|[?&]password=", re.IGNORECASE)


@dataclass(frozen=True)
class Tls:
    """The files with which a connection is proven: of the authority, and of a client's certificate and its key."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def contents(self) -> tuple[bytes, bytes | None, bytes | None]:
        """
        Return authority, key and certificate.

        :raises UnavailableError: a file cannot be read.
        :raises ConfigurationError: others than its owner can read the key.
        """
        key = _read(self.key, "the key of this master's certificate", secret=True) if self.key else None
        certificate = _read(self.certificate, "this master's certificate") if self.certificate else None
        return _read(self.ca, "the certificate authority"), key, certificate


@dataclass(frozen=True)
class EtcdSettings:
    """Where etcd listens, and how this master shows who it is; without ``tls`` only on this machine."""

    endpoints: tuple[Address, ...]
    prefix: str = PREFIX
    tls: Tls | None = None
    user: str = ""
    password_file: Path | None = None


@dataclass(frozen=True)
class PostgresqlSettings:
    """The connection string of PostgreSQL, without a password."""

    dsn: str
    password_file: Path | None = None

    @property
    def place(self) -> str:
        """Where it is, for people: host and database as far as the connection string tells."""
        told = re.findall(r"\b(?:host|port|dbname)\s*=\s*(\S+)", self.dsn)
        return " ".join(told) if told else self.dsn.rpartition("@")[2].partition("?")[0] or "its default place"


StoreSettings = EtcdSettings | PostgresqlSettings


def read(section: Section) -> StoreSettings | None:
    """
    Read the settings of the store, None when there is none.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value, or secrets would
        travel in the clear.
    """
    kinds: dict[str, Callable[[Section], StoreSettings]] = {"etcd": _etcd, "postgresql": _postgresql}
    given = section.items()
    for kind, part in given:
        if kind not in kinds:
            raise ConfigurationError(f"{part.path} is not a known setting (known: {', '.join(kinds)})")
    if len(given) > 1:
        raise ConfigurationError(f"{section.path} names both etcd and postgresql: a group has one store")
    if not given:
        return None
    kind, part = given[0]
    found = kinds[kind](part)
    part.done()
    return found


def secret(path: Path | None, what: str) -> str:
    """
    Return the secret in the file ``path``, without its line's end; empty when there is no file.

    :raises UnavailableError: it cannot be read.
    :raises ConfigurationError: others than its owner can read it.
    """
    return _read(path, what, secret=True).decode(errors="replace").rstrip("\r\n") if path else ""


def _etcd(section: Section) -> EtcdSettings:
    given = section.take("endpoints", list)
    if not given or not all(isinstance(one, str) for one in given):
        raise ConfigurationError(f"{section.path}:endpoints must be a list of HOST:PORT, not {given!r}")
    endpoints = tuple(parse_address(f"{section.path}:endpoints", one) for one in given)
    prefix = section.take("prefix", str, PREFIX)
    if not _PREFIX.fullmatch(prefix) or prefix.endswith("/"):
        raise ConfigurationError(f"{section.path}:prefix must be letters, digits and ._-/, not {prefix!r}")
    ca, certificate, key = (_path(section, name) for name in ("ca", "certificate", "key"))
    user, password = section.take("user", str, ""), _path(section, "password_file")
    if bool(certificate) != bool(key) or (certificate and not ca):
        raise ConfigurationError(f"{section.path}: certificate, key and ca belong together")
    if bool(user) != bool(password):
        raise ConfigurationError(f"{section.path}: user and password_file belong together")
    if ca is None and not all(_is_local(one.host) for one in endpoints):
        raise ConfigurationError(f"{section.path}:ca is missing: only an etcd on this machine is spoken to without TLS")
    return EtcdSettings(endpoints, prefix, Tls(ca, certificate, key) if ca else None, user, password)


def _postgresql(section: Section) -> PostgresqlSettings:
    dsn, password = section.take("dsn", str), _path(section, "password_file")
    if _PASSWORD.search(dsn):
        raise ConfigurationError(f"{section.path}:dsn holds a password: put it into a file, for password_file")
    mode = re.search(r"\bsslmode\s*=\s*'?([\w-]+)", dsn)
    hosts = re.findall(r"(?:\bhost(?:addr)?\s*=\s*|://(?:[^@/]*@)?)'?(/|[^\s'?/&]*)", dsn)
    local = all(_is_local(one) for some in hosts for one in some.split(","))
    if not local and (mode is None or mode[1] not in _VERIFIED):
        raise ConfigurationError(
            f"{section.path}:dsn must say sslmode=verify-full (or verify-ca) and, where the system does not know it,"
            " sslrootcert: only a PostgreSQL on this machine is spoken to without TLS"
        )
    return PostgresqlSettings(dsn, password)


def _path(section: Section, name: str) -> Path | None:
    given = section.take(name, str, "")
    if given and not Path(given).is_absolute():
        raise ConfigurationError(f"{section.path}:{name} must be an absolute path, not {given!r}")
    return Path(given) if given else None


def _is_local(host: str) -> bool:
    """Say whether ``host`` is this machine, or a folder with a Unix socket."""
    bare = host.rpartition(":")[0] if re.fullmatch(r"[^:]+:\d+|\[.*\]:\d+", host) else host
    if not bare or bare.startswith(("/", "@")) or bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare.strip("[]")).is_loopback
    except ValueError:
        return False


def _read(path: Path, what: str, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read()
    except OSError as err:
        raise UnavailableError(f"{what} {path} cannot be read: {err.strerror}") from err
    if secret and mode & 0o077:
        raise ConfigurationError(f"{what} {path} can be read by others (mode {mode & 0o777:o}): chmod 600 it")
    return content
