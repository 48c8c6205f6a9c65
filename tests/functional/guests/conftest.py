"""Guests of private libvirtds, with what the house's modules and virsh say of them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from saltfactories.utils.functional import Loaders

from tests.support.processes import program, run

Virsh = Callable[..., str]


@pytest.fixture(scope="session")
def virsh() -> Virsh:
    """Return the independent witness: ``virsh(host, "domstate", "web")``."""
    return lambda host, *words: run(program("virsh", "libvirt-clients"), "-c", host.uri, *words).strip()


@pytest.fixture(scope="session")
def loaders_of(new_loaders: Callable[..., Loaders]) -> Callable[..., Loaders]:
    """Return what gives the loaders of the minion of a host, the same for all tests."""
    return functools.cache(lambda host: new_loaders({"logilab": {"guests": {"uri": host.uri}}}))
