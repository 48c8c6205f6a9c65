"""
A client of the Engine API for what this area needs: a listing, an inspection, networks, the event stream, a command.

A few requests over a Unix socket need no library: a process that only listens would carry requests, urllib3 and
docker-py's model of the API for them. The API's unversioned paths serve every version of Docker and Podman.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.within.transport import NotRunningError

TIMEOUT = 10.0
CONTAINER_EVENTS = ("start", "die", "destroy", "rename", "pause", "unpause", "update", "health_status")
PODMAN_EVENTS = ("died", "remove")  # its own words for die and destroy
NETWORK_EVENTS = ("connect", "disconnect")


class NoSuchContainerError(UnavailableError):
    """The daemon knows no container of that name or id."""


class Connection(http.client.HTTPConnection):
    """An HTTP connection to ``unix://PATH`` or ``tcp://HOST:PORT``."""

    def __init__(self, url: str, timeout: float | None) -> None:
        scheme, path, host, port = split(url)
        super().__init__(host or "localhost", port or 80, timeout=timeout)
        self._path = path if scheme == "unix" else ""

    def connect(self) -> None:
        """Connect, by the Unix socket where there is one."""
        if not self._path:
            super().connect()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # else a half-open one hangs for ever
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        self.wire = self.sock  # http.client forgets its own when the daemon announces to close


def split(url: str) -> tuple[str, str, str, int]:
    """
    Return the scheme, the socket's path, the host and the port of a daemon's URL.

    :raises ConfigurationError: it is neither ``unix:///PATH`` nor ``tcp://HOST:PORT``.
    """
    try:
        parts = urlsplit(str(url))
        port = parts.port or 0
    except ValueError as err:
        raise ConfigurationError(f"{url!r} is no URL of a daemon: {err}") from err
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return "unix", parts.path, "", 0
    if parts.scheme == "tcp" and parts.hostname and port:
        return "tcp", "", parts.hostname, port
    raise ConfigurationError(f"{url!r} is no URL of a daemon: unix:///PATH or tcp://HOST:PORT")


@dataclass(frozen=True)
class _Call:
    """A request; ``container`` is what a 404 says is missing."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    container: str = ""
    method: str = "GET"
    body: str | bytes | None = None
    kind: str = "application/json"


class Client:
    """The Engine at ``url``."""

    def __init__(self, url: str, timeout: float = TIMEOUT, keep: bool = False) -> None:
        """
        Take the daemon's URL; nothing is connected yet. ``keep``: one connection serves all short requests.

        :raises ConfigurationError: the URL is malformed.
        """
        split(url)
        self.url = url
        self._timeout = timeout
        self._kept = Connection(url, timeout) if keep else None

    @property
    def is_local(self) -> bool:
        """Whether the daemon runs on this host, so that its containers' processes can be seen."""
        return self.url.startswith("unix:")

    def listing(self, ids: Iterable[str] = ()) -> list[dict[str, Any]]:
        """
        Return all containers, or those of ``ids``, in one request.

        :raises UnavailableError: the daemon cannot be asked; the sentence names its URL.
        """
        filters = {"filters": json.dumps({"id": list(ids)})} if ids else {}
        found = self._get("/containers/json", {"all": "true", **filters})
        if not isinstance(found, list):
            raise UnavailableError(f"{self.url} does not answer as a container engine does")
        return found

    def inspect(self, container: str) -> dict[str, Any]:
        """
        Return all that the Engine tells of ``container`` (name, id or its beginning).

        :raises NoSuchContainerError: there is none.
        :raises UnavailableError: the daemon cannot be asked.
        """
        found: dict[str, Any] = self._get(f"/containers/{quote(container, safe='')}/json", {}, container)
        return found

    def networks(self) -> list[dict[str, Any]]:
        """
        Return all networks.

        :raises UnavailableError: the daemon cannot be asked.
        """
        found = self._get("/networks", {})
        if not isinstance(found, list):
            raise UnavailableError(f"{self.url} does not answer as a container engine does")
        return found

    def version(self) -> str:
        """
        Return the engine and its version: ``Docker 20.10.24``.

        :raises UnavailableError: the daemon cannot be asked.
        """
        told = self._get("/version", {})
        first = (told.get("Components") or [{}])[0].get("Name", "Engine")
        return f"{str(first).split()[0]} {told.get('Version', '?')}"

    def events(self, since: str = "") -> Events:
        """
        Return the open stream of the events that concern ports; ``since`` replays those after ``SECONDS.NANOSECONDS``.

        :raises UnavailableError: the daemon cannot be asked.
        """
        filters = {"type": ["container", "network"], "event": [*CONTAINER_EVENTS, *PODMAN_EVENTS, *NETWORK_EVENTS]}
        query = {"filters": json.dumps(filters), **({"since": since} if since else {})}
        connection = Connection(self.url, self._timeout)
        try:
            response = self._ask(connection, _Call("/events", query))
            connection.wire.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return Events(connection, response)

    def exec_create(self, container: str, told: Mapping[str, Any]) -> str:
        """
        Prepare a command in a running container, as the Engine's ``ContainerExec`` takes it; return its id.

        :raises NotRunningError: the container is stopped or paused.
        :raises UnavailableError: the daemon cannot be asked, or there is no such container.
        """
        path = f"/containers/{quote(container, safe='')}/exec"
        return str(json.loads(self._whole(_Call(path, {}, container, "POST", json.dumps(told))))["Id"])

    def exec_start(self, identity: str) -> tuple[Connection, http.client.HTTPResponse]:
        """
        Start a prepared command; return the connection, which the caller closes, and the stream of its output.

        The connection's ``wire`` takes the command's input.

        :raises UnavailableError: the daemon cannot be asked.
        """
        connection = Connection(self.url, self._timeout)
        try:
            body = json.dumps({"Detach": False, "Tty": False})
            return connection, self._ask(connection, _Call(f"/exec/{identity}/start", method="POST", body=body))
        except BaseException:
            connection.close()
            raise

    def exec_inspect(self, identity: str) -> dict[str, Any]:
        """
        Return how a command is (``Running``, ``ExitCode``, ``Pid`` on the daemon's host).

        :raises UnavailableError: the daemon cannot be asked, or knows it no more.
        """
        found: dict[str, Any] = self._get(f"/exec/{identity}/json", {})
        return found

    def has_path(self, container: str, path: str) -> bool:
        """
        Say whether a container has a file.

        :raises UnavailableError: the daemon cannot be asked.
        """
        try:
            self._whole(_Call(_archive(container), {"path": path}, container, "HEAD"))
        except NoSuchContainerError:
            return False
        return True

    def get_archive(self, container: str, path: str) -> tuple[Connection, http.client.HTTPResponse]:
        """
        Return the connection, which the caller closes, and the tar stream of what stands at a path in a container.

        :raises NoSuchContainerError: there is no such container, or nothing at that path.
        :raises UnavailableError: the daemon cannot be asked.
        """
        connection = Connection(self.url, self._timeout)
        try:
            return connection, self._ask(connection, _Call(_archive(container), {"path": path}, container))
        except BaseException:
            connection.close()
            raise

    def put_archive(self, container: str, folder: str, tar: bytes) -> None:
        """
        Unpack a tar file into a folder of a container.

        :raises NoSuchContainerError: there is no such container, or no such folder.
        :raises UnavailableError: the daemon cannot be asked, or refuses it.
        """
        kind = "application/x-tar"
        self._whole(_Call(_archive(container), {"path": folder}, container, "PUT", tar, kind))

    def image(self, name: str) -> dict[str, Any]:
        """
        Return what the Engine tells of an image.

        :raises UnavailableError: the daemon cannot be asked, or there is none.
        """
        found: dict[str, Any] = self._get(f"/images/{quote(name, safe='')}/json", {})
        return found

    def _get(self, path: str, query: Mapping[str, str], container: str = "") -> Any:
        try:
            return json.loads(self._whole(_Call(path, query, container)))
        except ValueError as err:
            raise UnavailableError(f"{self.url} does not answer as a container engine does") from err

    def _whole(self, call: _Call) -> bytes:
        connection = self._kept or Connection(self.url, self._timeout)
        is_whole = False
        try:
            answer = self._ask(connection, call).read()
            is_whole = True
        except (NoSuchContainerError, NotRunningError):
            is_whole = True
            raise
        except (OSError, http.client.HTTPException) as err:
            raise UnavailableError(f"{self.url} broke off its answer: {_reason(err)}") from err
        finally:
            if not (is_whole and self._kept):
                connection.close()  # a kept one connects anew at its next request
        return answer

    def _ask(self, connection: Connection, call: _Call) -> http.client.HTTPResponse:
        try:
            headers = {"Content-Type": call.kind} if call.body else {}
            target = f"{call.path}?{urlencode(call.query)}" if call.query else call.path
            connection.request(call.method, target, call.body, headers)
            response = connection.getresponse()
            if response.status in (404, 409) and call.container:
                response.read()  # so that the connection can be used again
        except (OSError, http.client.HTTPException) as err:
            raise UnavailableError(f"the daemon {self.url} cannot be reached: {_reason(err)}") from err
        if response.status == 404 and call.container:
            raise NoSuchContainerError(f"{self.url} has no container {call.container!r}")
        if response.status == 409 and call.container:
            raise NotRunningError(f"the container {call.container!r} is not running, or paused")
        if response.status not in (200, 201):
            told = f"{response.status} {response.reason}{_message(response)}"
            raise UnavailableError(f"{self.url} answers {call.path} with {told}")
        return response


class Events:
    """An event stream: iterate over it, in a thread of its own; :meth:`close` from another one ends it."""

    def __init__(self, connection: Connection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each message; the end of the iteration is the end of the stream, for whatever reason."""
        try:
            while line := self._response.readline():
                yield json.loads(line)
        except (OSError, ValueError, http.client.HTTPException):
            return  # a half message at the end of a killed daemon: whoever follows lists again
        finally:
            self._response.close()
            self._connection.close()

    def close(self) -> None:
        """End the stream under its reader, which then lets go of the connection."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.wire.shutdown(socket.SHUT_RDWR)


def _message(response: http.client.HTTPResponse) -> str:
    """Return what the daemon says of an error, behind a colon; empty where it says nothing."""
    try:
        told = str(json.loads(response.read(4096)).get("message", ""))
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return ""
    return f": {' '.join(told.split())[:300]}" if told else ""


def _archive(container: str) -> str:
    return f"/containers/{quote(container, safe='')}/archive"


def _reason(err: Exception) -> str:
    if isinstance(err, TimeoutError):
        return "it does not answer in time"
    return (err.strerror or str(err)) if isinstance(err, OSError) else (str(err) or type(err).__name__)
