"""
Links between members: TLS 1.3, each side known by the fingerprint of its Ed25519 identity, no certificate authority.

The listening side shows a self-signed certificate of its identity; the dialling side compares its fingerprint with the
expected one. Then the listening side sends a nonce, and the dialling side signs it together with the listener's
public key: so a signature is worth nothing to anybody else and at no other time. What travels later is encrypted and
ordered by TLS. Who is no member yet says that it comes with an invite; it may say no more than one sentence before the
invite is proven. A message is four bytes of length (big endian) and that many bytes of msgpack.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import secrets
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.identity import Identity, fingerprint
from saltext_logilab.masters.addresses import Address
from saltext_logilab.patience import within

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 1024 * 1024
GREETING_LIMIT = 1024
HANDSHAKE_TIMEOUT = 10.0
DIAL_TIMEOUT = 3.0  # a lost SYN is sent again after 1 s, then after 2 s: a new attempt is quicker
DEAD_AFTER = 5.0
PROTOCOL = 2
MEMBER, INVITED = "member", "invited"
STRANGERS = 16
CONNECTIONS = 128

_DOMAIN = b"saltext-logilab masters link 2\0"

Serve = Callable[["Link"], Awaitable[None]]


@dataclass
class Link:
    """An authenticated connection to the member with the raw public key ``public``."""

    public: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0
    received: int = 0

    @property
    def fingerprint(self) -> str:
        """The other member's fingerprint."""
        return fingerprint(self.public)

    async def send(self, message: list[Any]) -> None:
        """Send ``message`` and wait until the connection can take more."""
        data = msgpack.packb(message)
        self.writer.write(len(data).to_bytes(4, "big") + data)
        self.sent += len(data) + 4
        await self.writer.drain()

    async def receive(self, limit: int = MESSAGE_LIMIT) -> list[Any]:
        """
        Return the next message.

        :raises WireError: it is too large or is no message.
        :raises ConnectionError, asyncio.IncompleteReadError: the link has ended.
        """
        message, size = await _receive(self.reader, limit)
        self.received += size
        return message

    def close(self) -> None:
        """End the link at once."""
        self.writer.transport.abort()


class Doors:
    """Both ends of links for one identity: what listens and what dials."""

    def __init__(self, identity: Identity, folder: Path) -> None:
        """Prepare TLS; ``folder`` holds the certificate for a moment (the ssl module reads it from a file only)."""
        self._identity = identity
        self._serving: set[asyncio.Task[None]] = set()
        self._strangers = asyncio.Semaphore(STRANGERS)
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.minimum_version = ssl.TLSVersion.TLSv1_3
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tls-") as file:  # mode 0600
            file.write(identity.pem + _certificate(identity))
            file.flush()
            self._server.load_cert_chain(file.name)
        self._client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client.minimum_version = ssl.TLSVersion.TLSv1_3
        self._client.check_hostname = False
        self._client.verify_mode = ssl.CERT_NONE  # the fingerprint is compared instead, before anything is said

    async def listen(
        self, address: Address, allowed: Callable[[bytes], bool], serve: Serve, invited: Serve
    ) -> asyncio.Server:
        """
        Listen at ``address``.

        :param allowed: says whether a raw public key is one of a member.
        :param serve: serves a link with a member.
        :param invited: serves one with a stranger who says that it has an invite, for some seconds.
        :raises UnavailableError: the address is in use or is none of this machine.
        """

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with self._strangers:
                    link, purpose = await within(HANDSHAKE_TIMEOUT, self._welcome(reader, writer))
                    if purpose == INVITED:
                        await within(HANDSHAKE_TIMEOUT, invited(link))
                        return
                    if not allowed(link.public):
                        raise WireError("a stranger has called")
                    await link.send([PROTOCOL])
                await serve(link)
            except (OSError, EOFError, WireError, asyncio.TimeoutError):
                pass  # strangers and port scanners: nothing to tell, nothing to keep
            except Exception:  # the outermost loop of a connection
                log.exception("A connection has failed")
            finally:
                writer.transport.abort()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._serving) >= CONNECTIONS:
                writer.transport.abort()
                return
            task = asyncio.ensure_future(accept(reader, writer))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

        try:
            return await asyncio.start_server(
                accepted, address.host, address.port, ssl=self._server, ssl_handshake_timeout=HANDSHAKE_TIMEOUT
            )
        except OSError as err:
            raise UnavailableError(f"{address} cannot be listened at: {err.strerror}") from err

    async def close(self) -> None:
        """End all links that were accepted."""
        while self._serving:
            for task in self._serving:
                task.cancel()
            await asyncio.wait(self._serving, timeout=1)

    async def dial(self, address: Address, expected: str, purpose: str = MEMBER) -> Link:
        """
        Connect to the member at ``address``, as another member or with an invite.

        :raises UnavailableError: nobody answers there.
        :raises WireError: who answers has not the fingerprint ``expected``, or speaks another protocol.
        """
        try:
            opening = asyncio.open_connection(address.host, address.port, ssl=self._client)
            reader, writer = await within(DIAL_TIMEOUT, opening)
        except (OSError, asyncio.TimeoutError) as err:
            number = getattr(err, "errno", None)
            reason = os.strerror(number).lower() if number else str(err) or "no answer in time"
            raise UnavailableError(f"{address} does not answer: {reason}") from err
        try:
            return await within(HANDSHAKE_TIMEOUT, self._greet(reader, writer, address, expected, purpose))
        except (OSError, EOFError, asyncio.TimeoutError) as err:
            writer.transport.abort()
            raise UnavailableError(f"{address} has not let this master in: is this master in its group?") from err
        except BaseException:
            writer.transport.abort()
            raise

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address, expected: str, purpose: str
    ) -> Link:
        public = _public_key(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        if fingerprint(public) != expected:
            raise WireError(f"{address} has the fingerprint {fingerprint(public)}, not {expected}: it is not trusted")
        link = Link(public, reader, writer)
        _die_soon(writer)
        protocol, nonce = await _fields(link, [int, bytes])
        if protocol != PROTOCOL:
            raise WireError(f"{address} speaks protocol {protocol}, this master {PROTOCOL}")
        signature = self._identity.key.sign(_DOMAIN + public + nonce)
        await link.send([PROTOCOL, self._identity.public, signature, purpose])
        if purpose == MEMBER:
            await _fields(link, [int])
        return link

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Link, str]:
        nonce = secrets.token_bytes(32)
        _die_soon(writer)
        stranger = Link(b"", reader, writer)
        await stranger.send([PROTOCOL, nonce])
        _, public, signature, purpose = await _fields(stranger, [int, bytes, bytes, str])
        if len(public) != 32:
            raise WireError("a stranger has called")
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + self._identity.public + nonce)
        except InvalidSignature as err:
            raise WireError("a caller could not prove its identity") from err
        return Link(public, reader, writer), purpose


def _die_soon(writer: asyncio.StreamWriter) -> None:
    """Let the kernel end the connection when what was sent is not acknowledged for some seconds (tcp(7))."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_AFTER * 1000))


async def _receive(reader: asyncio.StreamReader, limit: int) -> tuple[list[Any], int]:
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > limit:
        raise WireError(f"a message of {size} bytes was announced, more than {limit}")
    try:
        message = msgpack.unpackb(await reader.readexactly(size), strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as err:
        raise WireError("a message cannot be decoded") from err
    if not isinstance(message, list) or not message:
        raise WireError("a message is no list")
    return message, size + 4


async def _fields(link: Link, kinds: list[type]) -> list[Any]:
    message = await link.receive(GREETING_LIMIT)
    if len(message) < len(kinds) or not all(isinstance(one, kind) for one, kind in zip(message, kinds, strict=False)):
        raise WireError("a greeting is malformed")
    return message[: len(kinds)]


def _public_key(certificate: bytes | None) -> bytes:
    try:
        key = x509.load_der_x509_certificate(certificate or b"").public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as err:
        raise WireError("the certificate cannot be read") from err
    if not isinstance(key, Ed25519PublicKey):
        raise WireError("the certificate is of no Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _certificate(identity: Identity) -> bytes:
    """Return a self-signed certificate in PEM; only its key is looked at, so its name and dates are constant."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "saltext-logilab")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, identity.key.public_key(), 1, begin, begin.replace(year=2999))
    return builder.sign(identity.key, None).public_bytes(Encoding.PEM)
