"""Hypervisors with real minions, and pages of the documentation that need them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion

from tests.support.distribution import ROOT
from tests.support.documents import Session, Substitution, check_page
from tests.support.libvirt import LibvirtHost
from tests.support.salt import QUICK

SUMMARY = "libvirt_guest.summary"
RUN = Substitution(r"sudo (salt|salt-run) (.*)", r"\1 -c {master} -l error \2 2>/dev/null", "a master of the tests")


@pytest.fixture(scope="package")
def hypervisors(
    master: SaltMaster, libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost, daemon_root: Path
) -> Iterator[tuple[SaltMinion, SaltMinion]]:
    """The minions kvm1 and kvm2 of the two hosts; their keys go with them, for the master serves other tests too."""
    with contextlib.ExitStack() as stack:
        made = []
        for name, host in (("kvm1", libvirt_host), ("kvm2", other_libvirt_host)):
            guests = {"uri": host.uri, "reach": host.uri, "transport": "tcp://127.0.0.1", "shared": [str(daemon_root)]}
            own = {**QUICK, "logilab": {"guests": {**guests, "progress_interval": 1}}}
            daemon = master.salt_minion_daemon(name, overrides={**own, "mine_functions": {SUMMARY: []}})
            stack.callback(master.salt_key_cli().run, "--yes", "--delete", name)
            made.append(stack.enter_context(daemon.started()))
        yield made[0], made[1]


@pytest.fixture
def hypervisor(hypervisors: tuple[SaltMinion, SaltMinion]) -> SaltMinion:
    """The minion of the first host."""
    return hypervisors[0]


@pytest.fixture
def wrong_on(master: SaltMaster) -> Callable[..., str]:
    """
    Return what runs the commands of a page and returns what is not as the page shows.

    ``wrong_on("docs/x.md", Substitution(…), place=lambda: …, timeout=…)``.
    """

    def run(page: str, *first: Substitution, timeout: float = 300, **places: Callable[[], str]) -> str:
        known = {"master": lambda: str(Path(master.config["conf_file"]).parent), **places}
        session = Session(frozenset(), (*first, RUN), known, timeout=timeout)
        try:
            return "\n".join(check_page((ROOT / page).read_text(encoding="utf-8"), session))
        finally:
            shutil.rmtree(session.home)

    return run
