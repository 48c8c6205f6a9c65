"""
Formulas rendered in this process, for any system and pillar, as a minion would compile them; and applied for real.

``render("haproxy", {"haproxy": {…}}, SYSTEMS["alpine-3.20"])``; ``formula_host({"haproxy": {…}}).apply("haproxy")``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import salt.loader
import salt.state
import yaml

from saltext_logilab.formula import catalogue
from saltext_logilab.formula.packaged import formulas
from tests.support.containers import SystemdContainer


def _grains(  # noqa: PLR0917
    family: str, os: str, name: str, release: str, codename: str, finger: str
) -> dict[str, Any]:
    major = release.partition(".")[0]
    return {
        **{"kernel": "Linux", "os": os, "os_family": family, "osfullname": name, "osrelease": release},
        **{"osmajorrelease": int(major), "oscodename": codename, "osfinger": finger, "osarch": "amd64"},
        **{"init": "openrc" if family == "Alpine" else "systemd", "id": "minion", "fqdn": "minion.example.org"},
        **{"host": "minion", "mem_total": 4096, "num_cpus": 2, "cpuarch": "x86_64", "ipv4": ["127.0.0.1", "192.0.2.9"]},
    }


# What Salt makes of each system's os-release file, as its own tests say it of Debian 11 and 12 and, of other releases,
# of Ubuntu (20.04), Rocky and AlmaLinux (8): the releases here differ in numbers and names alone. Alpine's follow from
# its os-release file by the same rules (salt/grains/core.py, _osrelease_data and os_data).
# https://github.com/saltstack/salt/blob/master/tests/pytests/unit/grains/test_core.py
SYSTEMS = {
    "debian-11": _grains("Debian", "Debian", "Debian GNU/Linux", "11", "bullseye", "Debian-11"),
    "debian-12": _grains("Debian", "Debian", "Debian GNU/Linux", "12", "bookworm", "Debian-12"),
    "debian-13": _grains("Debian", "Debian", "Debian GNU/Linux", "13", "trixie", "Debian-13"),
    "ubuntu-22.04": _grains("Debian", "Ubuntu", "Ubuntu", "22.04", "jammy", "Ubuntu-22.04"),
    "ubuntu-24.04": _grains("Debian", "Ubuntu", "Ubuntu", "24.04", "noble", "Ubuntu-24.04"),
    "rocky-9": _grains("RedHat", "Rocky", "Rocky Linux", "9.4", "Blue Onyx", "Rocky Linux-9"),
    "alma-9": _grains("RedHat", "AlmaLinux", "AlmaLinux", "9.4", "Seafoam Ocelot", "AlmaLinux-9"),
    "alpine-3.20": _grains("Alpine", "Alpine", "Alpine Linux", "3.20.3", "Alpine Linux v3.20", "Alpine Linux-3"),
}
DEBIAN = SYSTEMS["debian-12"]
BACKENDS = {"fileserver_backend": ["roots", "logilab_formulas"]}
FORMULAS = catalogue.read_all(formulas())


def example(name: str) -> dict[str, Any]:
    """Return a copy of the example pillar of the formula ``name``, without its key."""
    return copy.deepcopy(dict(FORMULAS[name].schema["examples"][0]))


@dataclass(frozen=True)
class Rendered:
    """What the compiler made of an SLS: low chunks and errors."""

    chunks: list[dict[str, Any]]
    errors: list[str] = field(default_factory=list)

    def __getitem__(self, state: str) -> dict[str, Any]:
        """Return the chunk with the id ``state``."""
        (found,) = [one for one in self.chunks if one["__id__"] == state]
        return found

    def __contains__(self, state: str) -> bool:
        return state in self.ids

    @property
    def ids(self) -> list[str]:
        """The ids of the states, in the order in which they run."""
        return [one["__id__"] for one in self.chunks]


class Renderer:
    """A minion's compiler without a master; ``opts`` are a masterless minion's."""

    def __init__(self, opts: dict[str, Any]) -> None:
        self.opts = opts

    def __call__(
        self, sls: str | list[str], pillar: Mapping[str, Any] | None = None, grains: Mapping[str, Any] = DEBIAN
    ) -> Rendered:
        """Return the states of ``sls`` with ``pillar`` on a system with ``grains``."""
        with self.highstate(pillar or {}, grains) as state:
            high, errors = state.render_highstate({"base": [sls] if isinstance(sls, str) else sls})
            if errors:
                return Rendered([], errors)
            errors += state.state.verify_high(high)
            high, extended = state.state.reconcile_extend(high)
            high, required = state.state.requisite_in(high)
            chunks, order = state.state.compile_high_data(high) if not errors else ([], [])
            return Rendered(
                sorted(chunks, key=lambda one: one["order"]), [*errors, *extended, *required, *(order or [])]
            )

    def written(self, chunk: Mapping[str, Any]) -> str:
        """Return the text of the file that the state ``chunk`` writes out of its template."""
        modules = salt.loader.minion_mods({**self.opts, "grains": dict(DEBIAN), "pillar": {}})
        target = Path(self.opts["root_dir"]) / "written"
        modules["cp.get_template"](chunk["source"], str(target), template="jinja", context=chunk["context"])
        return target.read_text(encoding="utf-8")

    def highstate(self, pillar: Mapping[str, Any], grains: Mapping[str, Any]) -> Any:
        """Return Salt's compiler."""
        opts = {**copy.deepcopy(self.opts), "grains": dict(grains), "pillar": copy.deepcopy(dict(pillar))}
        return salt.state.HighState(opts, initial_pillar=opts["pillar"])


@pytest.fixture(scope="session")
def render(new_minion_opts: Callable[..., dict[str, Any]]) -> Renderer:
    """Compile formulas: ``render("haproxy", {"haproxy": {…}}, SYSTEMS["alpine-3.20"])``."""
    return Renderer(new_minion_opts(BACKENDS))


CONFIG = """
fileserver_backend: [roots, logilab_formulas]
file_roots: {base: [/srv/salt]}
pillar_roots: {base: [/srv/pillar]}
"""


@dataclass(frozen=True)
class Applied:
    """What became of the states: the comments of those that failed, the ids of those that changed something."""

    failed: list[str]
    changed: list[str]


@dataclass(frozen=True)
class FormulaHost:
    """A fresh Debian whose Salt serves itself the formulas of the wheel."""

    machine: SystemdContainer

    def give(self, pillar: Mapping[str, Any]) -> None:
        """Make ``pillar`` the machine's."""
        self.machine.write("/srv/pillar/top.sls", "base: {'*': [given]}\n")
        self.machine.write("/srv/pillar/given.sls", yaml.safe_dump(dict(pillar)))

    def apply(self, sls: str) -> Applied:
        """Apply ``sls``; errors of the compiler are failures."""
        states = self.machine.salt_call("state.apply", sls, check=False)
        if isinstance(states, list):
            return Applied(states, [])
        failed = [
            f"{one['__id__']}: {one['comment']} {one['changes'].get('stderr', '')} {one['changes'].get('stdout', '')}"
            for one in states.values()
            if one["result"] is not True
        ]
        return Applied(failed, [one["__id__"] for one in states.values() if one["changes"]])

    def apply_twice(self, sls: str) -> None:
        """Apply ``sls`` and assert that it does something, fails nowhere, and does nothing the second time."""
        first = self.apply(sls)
        assert (first.failed, bool(first.changed)) == ([], True)
        again = self.apply(sls)
        assert (again.failed, again.changed) == ([], [])


@pytest.fixture
def formula_host(salt_container: Callable[..., SystemdContainer], updated_image: str) -> Callable[..., FormulaHost]:
    """Return a maker of fresh hosts with a pillar: ``formula_host({"haproxy": {…}}, cap_add=["NET_ADMIN"])``."""

    def make(pillar: Mapping[str, Any], **options: Any) -> FormulaHost:
        host = FormulaHost(salt_container(config=CONFIG, image=updated_image, **options))
        host.give(pillar)
        return host

    return make
