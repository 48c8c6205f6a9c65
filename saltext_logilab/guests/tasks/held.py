"""
Work that the worker itself holds in its hands: when it dies, the work is over, and the next worker cleans up.

For what no daemon of libvirt does by itself. Programs that the work starts die with the worker.
"""

from __future__ import annotations

import subprocess
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.guests import connection
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks.operation import Operation, Phase, Seen
from saltext_logilab.guests.tasks.records import Task

PAUSE = 0.2
GRACE = 10.0  # seconds that work has to end when it shall stop: what it waits for may never answer
BLOCK = 512  # what st_blocks counts


class Held(Operation):
    """A kind of work that runs in a thread of the worker, with a connection of its own."""

    def __init__(self, learn: Callable[..., None]) -> None:
        super().__init__(learn)
        self.stopping = threading.Event()
        self._stopped_at = 0.0
        self.total = 0
        self.done = 0
        self._thread: threading.Thread | None = None
        self._failure: str | None = "it broke off"  # until it is known to have come to its end

    @abstractmethod
    def work(self, link: Connection, task: Task) -> None:
        """Do it; :raises LogilabError: it failed."""

    def begin(self, link: Connection, task: Task) -> None:  # noqa: ARG002 - the work has a connection of its own
        """Let it begin."""
        self._thread = threading.Thread(target=self._run, args=(task,), daemon=True)
        self._thread.start()

    def _run(self, task: Task) -> None:
        try:
            with connection.opened(task.uri) as link:
                self.work(link, task)
            self.learn(worked=True)
            self._failure = None
        except LogilabError as err:
            self._failure = str(err)
        except OSError as err:
            self._failure = f"{err.strerror}: {err.filename}"

    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands: by the thread, which only the worker has that began the work, or by what it left."""
        if self._thread is None:
            if task.spec.get("worked") or self.worked(link, task):
                return Seen(Phase.DONE, None, task.total, task.total)
            return Seen(Phase.FAILED, "its worker was ended in the middle of it")
        if self._thread.is_alive() and self.stopping.is_set() and time.monotonic() - self._stopped_at > GRACE:
            return Seen(Phase.FAILED, "it was stopped")  # it hangs, and dies with the worker
        if self._thread.is_alive():
            return Seen(Phase.WORKING, None, self.done, self.total)
        return Seen(Phase.FAILED, self._failure) if self._failure else Seen(Phase.DONE, None, self.total, self.total)

    def worked(self, link: Connection, task: Task) -> bool:  # noqa: ARG002 - for those that can tell
        """Whether the work of a worker that died has come to its end, as far as that can be seen."""
        return False

    def stop(self, link: Connection, task: Task) -> bool:  # noqa: ARG002 - the thread is told
        """Tell the thread."""
        if self._thread is None:
            return False
        self._stopped_at = time.monotonic()
        self.stopping.set()
        return True

    def run(self, *command: str, growing: Path | None = None) -> None:
        """
        Run a program to its end; it is ended when the work shall stop, and dies with the worker.

        :param growing: the file whose growth is progress.

        :raises UnavailableError: it cannot be started, or fails.
        """
        words: Sequence[str] = ("setpriv", "--pdeathsig", "KILL", "--", *command)
        try:
            with subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as process:
                told = self._wait(process, growing)
        except OSError as err:
            raise UnavailableError(f"{command[0]} cannot be started: {err.strerror}") from err
        self.check_wanted()
        if process.returncode:
            raise UnavailableError(f"{command[0]} {command[1]} returned {process.returncode}: {told.strip()}")

    def _wait(self, process: subprocess.Popen[str], growing: Path | None) -> str:
        before = self.done
        while True:
            try:
                return process.communicate(timeout=PAUSE)[1]
            except subprocess.TimeoutExpired:
                if growing is not None and growing.exists():
                    self.done = before + growing.stat().st_blocks * BLOCK
                if self.stopping.is_set():
                    process.kill()

    def check_wanted(self) -> None:
        """:raises UnavailableError: the work shall stop."""
        if self.stopping.is_set():
            raise UnavailableError("it was stopped")
