"""A certificate authority of the tests' own."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as texts (PEM)."""

    certificate: str
    key: str


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """Signs certificates; ``certificate`` is its own (PEM)."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = self._sign(_name("tests"), self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = self._own.public_bytes(Encoding.PEM).decode()

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(_name("tests"))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
        for one in extensions:
            builder = builder.add_extension(one, critical=isinstance(one, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def pair(self, host: str) -> Pair:
        """Return a new certificate for ``host``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        signed = self._sign(_name(host), key, x509.BasicConstraints(ca=False, path_length=None), names)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(signed.public_bytes(Encoding.PEM).decode(), private.decode())


@dataclass(frozen=True)
class Files:
    """The files of an authority's certificate, and of one for this machine with its key."""

    ca: Path
    certificate: Path
    key: Path


def place(authority: Authority, folder: Path, host: str = "localhost") -> Files:
    """Write a new certificate for ``host``, its key and the authority's own into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files, pair = Files(folder / "ca.pem", folder / "own.pem", folder / "own.key"), authority.pair(host)
    for path, text in ((files.ca, authority.certificate), (files.certificate, pair.certificate), (files.key, pair.key)):
        path.touch(mode=0o600)
        path.write_text(text)
    return files
