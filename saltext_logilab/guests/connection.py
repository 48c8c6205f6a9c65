"""Connections to libvirt: the one place that imports its binding, and turns its errors into sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from saltext_logilab.errors import LogilabError, UnavailableError

try:
    import libvirt as _binding
    import libvirt_qemu as _qemu
except ImportError:
    _binding = _qemu = None

libvirt: Any = _binding  # it has no types
libvirt_qemu: Any = _qemu
MISSING = "libvirt's Python binding is missing: pip install 'saltext-logilab[virt]' or apt-get install python3-libvirt"

Connection = Any  # libvirt.virConnect, which has no types
Domain = Any  # libvirt.virDomain


class GuestError(LogilabError):
    """libvirt refused or failed to do something; ``code`` is its error number (``VIR_ERR_…``)."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def opened(uri: str, *, readonly: bool = False) -> Iterator[Connection]:
    """
    Give a connection to ``uri`` that is closed afterwards; errors of libvirt inside become the product's.

    Open one for each job: a connection that crosses a fork breaks for both processes.

    :raises UnavailableError: the binding is missing, the daemon does not answer, or the connection broke.
    :raises GuestError: libvirt refused or failed something.
    """
    connection = lasting(uri, readonly=readonly)
    try:
        with translated(connection, uri):
            yield connection
    finally:
        _close(connection)


def lasting(uri: str, *, readonly: bool = False) -> Connection:
    """
    Return a connection that closes when nobody holds it any more; for use in one process, under :func:`translated`.

    :raises UnavailableError: the binding is missing, or the daemon does not answer.
    """
    if libvirt is None:
        raise UnavailableError(MISSING)
    libvirt.registerErrorHandler(_silent, None)  # else each error is printed too
    try:
        return (libvirt.openReadOnly if readonly else libvirt.open)(uri)
    except libvirt.libvirtError as err:
        raise UnavailableError(f"libvirt at {uri} does not answer: {err}") from err


@contextmanager
def translated(connection: Connection, uri: str) -> Iterator[None]:
    """
    Turn errors of libvirt into the product's.

    :raises UnavailableError: the connection broke.
    :raises GuestError: libvirt refused or failed something.
    """
    try:
        yield
    except libvirt.libvirtError as err:
        if not _alive(connection):
            raise UnavailableError(f"the connection to libvirt at {uri} broke: {err}") from err
        raise GuestError(f"libvirt at {uri}: {err}", err.get_error_code()) from err


def _silent(_context: object, _error: object) -> None:
    """Print nothing: every error is raised as well."""


def find(connection: Connection, name: str) -> Domain:
    """
    Return the domain ``name``.

    :raises GuestError: there is none.
    """
    try:
        return connection.lookupByName(str(name))  # people type 7
    except libvirt.libvirtError as err:
        if err.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        raise GuestError(f"there is no guest {name!r} at {connection.getURI()}", err.get_error_code()) from err


def _alive(connection: Connection) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except libvirt.libvirtError:
        return  # it broke before
