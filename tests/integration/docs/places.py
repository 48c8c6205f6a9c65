"""The places that substitutions name: each is made when a page's command first needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import salt.config
import salt.daemons.masterapi

from saltext_logilab.formula.packaged import example_pillars
from saltext_logilab.guests import connection, summary
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from tests.support.distribution import ROOT, Distributions
from tests.support.docker import DockerHost
from tests.support.documents import blocks
from tests.support.etcd import EtcdServer
from tests.support.labs import accept_all
from tests.support.postgresql import PostgresqlServer
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Places:
    """The places of one session, below ``home``; each public method returns what stands for its name."""

    request: pytest.FixtureRequest
    home: Path

    def by_name(self) -> dict[str, Callable[[], str]]:
        """Return what makes each place, by its name."""
        made = (
            self.sources, self.installed, self.python, self.wheel, self.configuration, self.specification, self.docker,
            self.docker_netns, self.docker_lab, self.docker_targets, self.hypervisor, self.fleet, self.guest_lab,
            self.etcd, self.postgresql,
        )  # fmt: skip
        return {one.__name__: one for one in made}

    def sources(self) -> str:
        """A copy of the checkout."""
        return str(self._fixture("sources"))

    def installed(self) -> str:
        """An environment with the wheel."""
        return str(self._fixture("installed"))

    def python(self) -> str:
        """The interpreter of the tests."""
        return sys.executable

    def wheel(self) -> str:
        """The wheel of this run."""
        distributions: Distributions = self._fixture("distributions")
        return str(distributions.wheel)

    def configuration(self) -> str:
        """A folder with the configuration of a master and of a minion, which serve the formulas."""
        roots = {
            "fileserver_backend": ["roots", "logilab_formulas"],
            "file_roots": {"base": [str(self.home / "srv")]},
            "pillar_roots": {"base": [str(example_pillars())]},
            "providers": {"mine": "logilab_mine"},
        }
        return self._configured({"root_dir": str(self.home / "salt"), "id": "web1", **roots})

    def specification(self) -> str:
        """The file with the fake minions that the page describes."""
        page = (ROOT / "docs" / "swarm.md").read_text(encoding="utf-8")
        found = next(block for block in blocks(page) if block.language == "yaml")
        (self.home / "specification.yaml").write_text(found.text, encoding="utf-8")
        return str(self.home / "specification.yaml")

    def docker(self) -> str:
        """The address of a private Engine."""
        host: DockerHost = self._fixture("docker_host")
        self.request.addfinalizer(host.remove_containers)
        assert host.busybox
        return host.url

    def docker_netns(self) -> str:
        """The network namespace of that Engine."""
        return str(self._fixture("docker_host").netns.path)

    def docker_lab(self) -> str:
        """The folder of a lab whose minion follows that Engine."""
        lab = Lab(self.home / ".local/state/saltext-logilab/docker")
        if not lab.folder.exists():
            units = lab.folder.with_name("systemd")
            units.mkdir(parents=True)
            area = {"containers": {"daemons": {"docker": self.docker()}, "systemd": str(units)}}
            options = {"engines": [{"docker_ports": {}}], "logilab": area}
            lab.up(Wish(masters=("paris",), minions=("web1",), minion_options=options))
            accept_all(lab)
            wait_until(
                lambda: "web1" in lab.run("paris", "salt-run", "docker_ports.status").stdout,
                60,
                "the table at the master",
            )
        return str(lab.folder)

    def docker_targets(self) -> str:
        """The folder of that lab, its containers being targets."""
        lab = Lab(Path(self.docker_lab()))
        place = lab.folder / "srv/pillar"
        if not (place / "targets.sls").exists():
            (place / "top.sls").write_text("base: {web1: [targets]}\n")
            (place / "targets.sls").write_text("resources: {docker: {match: {label: target=yes}}}\n")
            lab.run("paris", "salt", "web1", "saltutil.refresh_pillar", "wait=True")
        return str(lab.folder)

    def etcd(self) -> str:
        """The address of a private etcd."""
        server: EtcdServer = self._fixture("etcd_server")
        return f"{server.host}:{server.port}"

    def postgresql(self) -> str:
        """The connection string of a private PostgreSQL."""
        server: PostgresqlServer = self._fixture("postgresql_server")
        return server.dsn

    def hypervisor(self) -> str:
        """A folder with the configuration of a minion with libvirt's test driver."""
        own = {"root_dir": str(self.home / "kvm1"), "id": "kvm1"}
        return self._configured({**own, "logilab": {"guests": {"uri": "test:///default"}}})

    def guest_lab(self) -> str:
        """The folder of a lab whose minion kvm1 has a libvirt with the running guest web, a target of the pillar's."""
        lab = Lab(self.home / ".local/state/saltext-logilab/guests")
        if not lab.folder.exists():
            guest = self._fixture("new_agent_guest")(name="web")
            self.request.addfinalizer(guest.domain.destroy)
            options = {"logilab": {"guests": {"uri": guest.host.uri}}}
            lab.up(Wish(masters=("paris",), minions=("kvm1",), minion_options=options))
            accept_all(lab)
            place = lab.folder / "srv/pillar"
            (place / "top.sls").write_text("base: {kvm1: [guests]}\n")
            (place / "guests.sls").write_text("resources: {libvirt: {match: {name: [web]}}}\n")
        return str(lab.folder)

    def fleet(self) -> str:
        """A folder with the configuration of a master whose mine holds that minion's summary."""
        opts = salt.config.master_config(f"{self.hypervisor()}/master")
        minions = Path(opts["pki_dir"]) / "minions"
        for folder in (minions, Path(opts["cachedir"]) / "proc"):
            folder.mkdir(parents=True, exist_ok=True)
        (minions / "kvm1").touch()
        with connection.opened("test:///default") as link:
            load = {"id": "kvm1", "data": {"libvirt_guest.summary": summary.make(link)}}
        functions = salt.daemons.masterapi.RemoteFuncs(opts)
        functions._mine(load, skip_verify=True)
        functions.mminion.destroy()
        return str(self.home)

    def _configured(self, options: dict[str, Any]) -> str:
        own = {"file_client": "local", "enable_fqdns_grains": False, **options}
        for name in ("master", "minion"):
            (self.home / name).write_text(json.dumps(own), encoding="utf-8")
        return str(self.home)

    def _fixture(self, name: str) -> Any:
        return self.request.getfixturevalue(name)
