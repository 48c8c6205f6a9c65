"""Network namespaces of the tests' own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import program, run
from tests.support.sessions import undo_when_abandoned

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class NetworkNamespace:
    """A network namespace with nothing in it but a loopback."""

    name: str

    @classmethod
    def create(cls) -> NetworkNamespace:
        """Make one under a name of its own."""
        made = cls(f"logilab-{secrets.token_hex(4)}")
        undo_when_abandoned([made.undo])
        run(program("ip", "iproute2"), "netns", "add", made.name)
        run(*made.command("ip", "link", "set", "lo", "up"))
        return made

    @property
    def undo(self) -> list[str]:
        """The command that removes it."""
        return ["ip", "netns", "delete", self.name]

    @property
    def path(self) -> Path:
        """Where the kernel shows it."""
        return Path("/run/netns") / self.name

    def command(self, *argv: str) -> list[str]:
        """
        Return the command that runs ``argv`` in it.

        ``ip netns exec`` would hide the cgroup mounts from a dockerd.
        """
        return [program("nsenter", "util-linux"), f"--net={self.path}", *argv]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread into it: sockets opened meanwhile belong to it for ever."""
        with Path("/proc/thread-self/ns/net").open() as home, self.path.open() as away:
            _setns(away.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def delete(self) -> None:
        """Remove it, with its interfaces and rules, once its processes are gone."""
        run(*self.undo)


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
