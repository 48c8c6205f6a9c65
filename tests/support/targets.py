"""Containers and guests as targets of a real master, asked through its own client, which is quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import salt.cache
import salt.client
import salt.config
import salt.utils.event
import yaml
from salt.utils.minions import CkMinions

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

    def meant(self, target: str) -> set[str]:
        """Return the ids that the master takes a compound target for."""
        found = CkMinions(self._options()).check_minions(target, "compound")
        return set(found["minions"])

    def grains(self, name: str) -> dict[str, Any]:
        """Return what the master knows of one."""
        found: dict[str, Any] = salt.cache.Cache(self._options()).fetch("resource_grains", f"{self.type}:{name}.m1")
        return found

    def wait_for(self, *names: str) -> None:
        """Wait until the master knows these."""
        wait_until(lambda: {f"{one}.m1" for one in names} <= self.known(), PATIENCE, f"{names} at the master")

    def configure(self, **told: Any) -> None:
        """Set the minion's pillar and wait until the minion has it."""
        self.configure_other("m1", **told)

    def configure_other(self, minion: str, **told: Any) -> None:
        """Set the pillar of a minion and wait until it has it."""
        folder = self.lab.folder / "srv/pillar"
        (folder / f"of_{minion.replace('.', '_')}.sls").write_text(yaml.safe_dump(told))
        known = {path.stem.removeprefix("of_").replace("_", "."): [path.stem] for path in folder.glob("of_*.sls")}
        (folder / "top.sls").write_text(yaml.safe_dump({"base": known}))
        self.ask(minion, "saltutil.refresh_pillar", kind="glob", wait=True)

        def is_known() -> bool:
            found = self.ask(minion, "pillar.raw", kind="glob").get(minion) or {}
            return isinstance(found, dict) and all(plain(found.get(key)) == value for key, value in told.items())

        wait_until(is_known, PATIENCE, f"the pillar {told}")

    @contextmanager
    def hearing(self, tag: str) -> Iterator[Callable[[], Any]]:
        """Listen on the master's bus; what is given returns the data of the next event whose tag begins so."""
        with salt.utils.event.get_event("master", opts=self._options(), listen=True) as bus:
            yield lambda: (bus.get_event(wait=PATIENCE, tag=tag) or {}).get("data")

    def write(self, files: Mapping[str, str], tree: str = "salt") -> None:
        """Write files of the master, or of its pillar."""
        for name, text in files.items():
            path = self.lab.folder / "srv" / tree / name
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
