"""
Daemons that the tests start, and the processes that belong to them.

Each daemon carries its own directory in its environment (:data:`OWNER`). Children inherit it, so that everything
that a daemon left behind is found by it, and nothing else is.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

OWNER = "LOGILAB_TEST_OWNER"


class MissingProgram(RuntimeError):  # noqa: N818 - the field's word
    """A program that the tests need is not installed."""


def program(name: str, package: str, *folders: str) -> str:
    """
    Return the path of a program, looked for in ``folders`` first.

    :raises MissingProgram: it is nowhere; the error names the Debian package.
    """
    path = os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingProgram(f"{name} is not installed: apt-get install {package}")
    return found


def run(*argv: str | Path, timeout: float = 60, **options: object) -> str:
    """
    Run a command to its end and return its standard output.

    :raises RuntimeError: it failed; the error has the command and all its output.
    """
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in argv], capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))} returned {done.returncode}: {done.stdout}{done.stderr}")
    return str(done.stdout)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that the kernel chose."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, port)) == 0


def owned(root: Path) -> list[psutil.Process]:
    """Return the living processes that bear ``root`` as their owner, and all their descendants, oldest first."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(OWNER) == str(root):
                found[process.pid] = process
                found.update((child.pid, child) for child in process.children(recursive=True))
        except psutil.Error:
            continue
    return sorted((process for process in found.values() if alive(process)), key=lambda it: it.create_time())


def alive(process: psutil.Process) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(processes: Sequence[psutil.Process], timeout: float = 20) -> None:
    """Kill exactly these processes and wait until they are gone."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    wait_until(lambda: not any(map(alive, processes)), timeout, f"end of the processes {processes}")


class Daemon:
    """A program in the foreground, started by a test, in a session of its own, with its output in a file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        root: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.root = root
        self.log = root / f"{name}.log"
        self._env = {**os.environ, **(env or {}), OWNER: str(root)}
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """
        Return the process id.

        :raises RuntimeError: it was not started.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], object], timeout: float = 60) -> None:
        """
        Start it and wait until ``ready()`` is true.

        :raises RuntimeError: it ended, or was not ready in time; the error has the end of its output.
        """
        if self.running:
            raise RuntimeError(f"{self.name} already runs, with pid {self.pid}")
        identity = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self.root,
                start_new_session=True,
                **identity,
            )
        try:
            wait_until(lambda: not self.running or ready(), timeout, f"{self.name} is ready")
        except TimeoutError as err:
            self.stop()
            raise RuntimeError(f"{err}; its output: {self.output()}") from err
        if not self.running:
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}; its output: {self.output()}")

    def output(self, size: int = 4000) -> str:
        """Return the last ``size`` characters of its output."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def terminate(self, timeout: float = 60) -> None:
        """End it with SIGTERM where it runs; what it started lives on."""
        if self._process is not None and self.running:
            self._process.terminate()
            self._process.wait(timeout=timeout)

    def kill(self) -> None:
        """Kill it with SIGKILL and reap it; what it started lives on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)

    def stop(self, signal_: signal.Signals = signal.SIGTERM, timeout: float = 20) -> None:
        """End it with ``signal_``, with SIGKILL when that takes too long, and all that it started with SIGKILL."""
        if self._process is not None and self.running:
            self._process.send_signal(signal_)
            try:
                self._process.wait(timeout=timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self.end_owned()

    def end_owned(self) -> None:
        """Kill everything that bears this daemon's directory as its owner."""
        end(owned(self.root))
        if self._process is not None:
            self._process.wait(timeout=20)
