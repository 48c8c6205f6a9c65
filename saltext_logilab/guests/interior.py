"""
The way into a guest by its agent: commands by ``guest-exec``, files by programs, and what is large by ``guest-file-…``.

An agent may be told to run no commands (Red Hat's is, at first): then files can be read where it may open them, and all
else says why it cannot be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from saltext_logilab.guests import agent as agents
from saltext_logilab.guests import carrying, connection, inside
from saltext_logilab.guests.agent import Agent
from saltext_logilab.guests.inside import NoExecError
from saltext_logilab.within import programs
from saltext_logilab.within.transport import MOST, SHELL, Command, Done, NoSuchFileError, Stat

log = logging.getLogger(__name__)

_NO_FILE = 66
_HAS = '[ -e "$0" ] || [ -L "$0" ]'
_READ = f'[ -f "$0" ] || exit {_NO_FILE}; exec cat -- "$0"'


class Interior:
    """The inside of one running guest, by one connection to libvirt."""

    def __init__(self, agent: Agent, limit: float = 0.0) -> None:
        """Take a guest by its agent; ``limit``: no command may run for longer, whatever it asks for."""
        self.agent = agent
        self._limit = limit

    @property
    def label(self) -> str:
        """What it is, for a sentence."""
        return f"the guest {self.agent.name!r}"

    def run(self, command: Command) -> Done:
        """Run a command; as :meth:`.Transport.run`."""
        if self._limit and command.timeout > self._limit:
            command = replace(command, timeout=self._limit)
        return inside.run(self.agent, command)

    def stat(self, path: str) -> Stat | None:
        """Return what stands at a path; as :meth:`.Transport.stat`."""
        return programs.stat(self.run, path)

    def has(self, path: str) -> bool:
        """Say whether anything stands at a path; as :meth:`.Transport.has`."""
        if path == SHELL:  # asked before each command that is a text: without a process in the guest
            try:
                with carrying.opened(self.agent, path, "r"):
                    return True
            except carrying.NoFileError:
                log.debug("whether %s has a shell shows when it starts", self.label)
        return self.run(Command((SHELL, "-c", _HAS, path), most_bytes=0)).code == 0

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield what a file holds; as :meth:`.Transport.stream`."""
        try:
            done = self.run(Command((SHELL, "-c", _READ, path), most_bytes=MOST))
        except NoExecError:
            yield from self._carried(path)
            return
        if done.code == _NO_FILE:
            raise NoSuchFileError(f"there is no file {path} in {self.label}")
        if done.code:
            raise NoSuchFileError(f"{path} in {self.label} cannot be read: {done.complaint}")
        if done.is_cut:
            yield from self._carried(path)
        else:
            yield done.stdout

    def _carried(self, path: str) -> Iterator[bytes]:
        try:
            yield from carrying.fetch(self.agent, path)
        except carrying.NoFileError as err:
            raise NoSuchFileError(str(err)) from err

    def write(self, path: str, data: bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Put a file; as :meth:`.Transport.write`."""
        programs.write(self.run, path, data, mode, owner)


def enter(uri: str, name: str, timeout: float = agents.TIMEOUT, limit: float = 0.0) -> Interior:
    """
    Return the inside of a running guest, over a connection of its own, which ends with it.

    :raises UnavailableError: libvirt does not answer.
    :raises GuestError: it has no such guest.
    :raises NotRunningError: the guest does not run.
    """
    link = connection.lasting(uri)
    with connection.translated(link, uri):
        return Interior(agents.find(link, name, timeout), limit)
