"""
Guests as Salt targets: what 100 that are off and 3 that run cost, beside 100 of Salt's own ``dummy`` resources.

A real master and a real minion, a private libvirtd with 100 guests that are off and 3 that run under TCG with their
agents, and 100 ``dummy`` resources; ``process_count_max`` is what the documentation names. A job's CPU is that of the
minion with all processes that it started for it; its bars (20 and 60 ms) are claimed of containers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from benchmarks.bench_targets import PATIENCE, PROCESSES, asked, is_true, is_x
from benchmarks.table import Row
from saltext_logilab.lab.plan import Wish
from tests.support.agents import CHANNEL, agent_kernel_files, answers
from tests.support.labs import accept_all, running_lab
from tests.support.libvirt import LibvirtHost
from tests.support.roots import new_root
from tests.support.sessions import SessionRoot
from tests.support.targets import Targets
from tests.support.waiting import wait_until

OFF, RUNNING = 100, 3


@contextmanager
def host() -> Iterator[LibvirtHost]:
    """Start a libvirtd with the guests."""
    session = SessionRoot.create()
    made, kernel = LibvirtHost(new_root(session.path, "virt")), agent_kernel_files()
    libvirt.registerErrorHandler(lambda *_: None, None)
    try:
        made.start()
        link = made.open()
        for number in range(OFF):
            link.defineXML(kernel.xml(f"off{number}", session.path / "serial", devices=CHANNEL))
        for number in range(RUNNING):
            serial = session.path / f"run{number}"
            guest = link.createXML(kernel.xml(f"run{number}", serial, devices=CHANNEL, words="agent=real"))
            wait_until(lambda guest=guest: answers(guest), PATIENCE, "the guest's agent")
        yield made
    finally:
        made.stop()
        session.release()


@contextmanager
def targets(virt: LibvirtHost) -> Iterator[Targets]:
    """Start the master and the minion with the resources."""
    minion = {"logilab": {"guests": {"uri": virt.uri}}, "process_count_max": PROCESSES}
    wish = Wish(masters=("paris",), minions=("m1",), minion_options=minion, master_options={"timeout": 60})
    with running_lab(wish) as lab:
        accept_all(lab)
        found = Targets(lab, "libvirt")
        ids = [f"d{number}" for number in range(OFF)]
        found.configure(resources={"libvirt": {}, "dummy": {"resource_ids": ids}})
        lab.restart("m1")
        wait_until(lambda: len(found.known()) == OFF + RUNNING, PATIENCE, "all guests at the master")
        yield found


def rows() -> list[Row]:
    """Measure; a command that runs costs the minion what it costs to ask for its end now and then."""
    with host() as virt, targets(virt) as found:
        asked(found, "T@dummy", is_true, "test.ping")
        _, dummy = asked(found, "T@dummy", is_true, "test.ping")
        off, refusal = asked(found, "T@libvirt and G@agent:off", lambda one: "not running" in str(one), "test.ping")
        pinged, ping = asked(found, "T@libvirt and G@state:running", is_true, "test.ping")
        ran, command = asked(found, "T@libvirt and G@state:running", is_x, "cmd.run", "echo x")
    peer = f"dummy itself {dummy:.0f} ms"
    return [
        Row("guests that are off and say so", off, f"of {OFF}", "", OFF, at_least=True),
        Row("CPU of such an answer above dummy", refusal - dummy, "ms", peer),
        Row("guests that run and answer test.ping", pinged, f"of {RUNNING}", "", RUNNING, at_least=True),
        Row("CPU of such an answer above dummy", ping - dummy, "ms", peer),
        Row("guests that run echo x", ran, f"of {RUNNING}", "", RUNNING, at_least=True),
        Row("CPU of cmd.run above dummy", command - dummy, "ms", peer),
    ]
