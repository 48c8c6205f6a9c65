"""Containers and guests as targets of a real master, asked through its own client, which is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import salt.cache
import salt.client
import salt.config
import yaml

from saltext_logilab.lab.lab import Lab
from tests.support.waiting import wait_until

PATIENCE = 60
LONG = 600


@dataclass(frozen=True)
class Targets:
    """The resources of the minion ``m1`` of the master ``paris``, of one type."""

    lab: Lab
    type: str = "docker"

    def ask(
        self, target: str, function: str, *arguments: Any, kind: str = "compound", patience: int = 0, **told: Any
    ) -> dict[str, Any]:
        """Return what each that is targeted returns; ``patience``: seconds without any answer that are enough."""
        with self.client() as client:
            found: dict[str, Any] = client.cmd(
                target,
                function,
                list(arguments),
                tgt_type=kind,
                timeout=patience or (LONG if target.startswith("T@") else PATIENCE),
                kwarg=told or None,
            )
        return found

    def full(self, target: str, function: str, *arguments: Any, **told: Any) -> dict[str, Any]:
        """Return the same with the exit code and whether it was a success, of those named by ``T@``."""
        with self.client() as client:
            found: dict[str, Any] = client.cmd(
                target,
                function,
                list(arguments),
                tgt_type="compound",
                timeout=PATIENCE,
                full_return=True,
                kwarg=told or None,
            )
        return found

    def one(self, name: str, function: str, *arguments: Any, **told: Any) -> Any:
        """Return what the one called ``name`` returns."""
        return self.ask(f"T@{self.type}:{name}.m1", function, *arguments, **told).get(f"{name}.m1")

    def known(self) -> set[str]:
        """Return the ids that the master knows."""
        cache = salt.cache.Cache(self._options())
        return {key.partition(":")[2] for key in cache.list("resource_grains") if key.startswith(f"{self.type}:")}

    def grains(self, name: str) -> dict[str, Any]:
        """Return what the master knows of one."""
        found: dict[str, Any] = salt.cache.Cache(self._options()).fetch("resource_grains", f"{self.type}:{name}.m1")
        return found

    def wait_for(self, *names: str) -> None:
        """Wait until the master knows these."""
        wait_until(lambda: {f"{one}.m1" for one in names} <= self.known(), PATIENCE, f"{names} at the master")

    def configure(self, **told: Any) -> None:
        """Set the minion's pillar and wait until the minion has it."""
        folder = self.lab.folder / "srv/pillar"
        (folder / "top.sls").write_text("base: {m1: [targets]}\n")
        (folder / "targets.sls").write_text(yaml.safe_dump(told))
        self.ask("m1", "saltutil.refresh_pillar", kind="glob", wait=True)

        def is_known() -> bool:
            found = self.ask("m1", "pillar.raw", kind="glob").get("m1") or {}
            return isinstance(found, dict) and all(plain(found.get(key)) == value for key, value in told.items())

        wait_until(is_known, PATIENCE, f"the pillar {told}")

    def write(self, files: Mapping[str, str]) -> None:
        """Write files of the master."""
        for name, text in files.items():
            path = self.lab.folder / "srv/salt" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def client(self) -> salt.client.LocalClient:
        """Return a client of the master."""
        return salt.client.LocalClient(mopts=self._options())

    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = salt.config.client_config(str(self.lab.folder / "paris/etc/master"))
        return found


def plain(found: Any) -> Any:
    """Return a part of a pillar without the ids that the master has reserved in it."""
    if isinstance(found, Mapping):
        return {key: plain(value) for key, value in found.items() if key != "reserved"}
    return found
