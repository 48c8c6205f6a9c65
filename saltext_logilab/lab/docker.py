"""The Docker Engine of this machine, as far as the demo needs it: an image of a busybox, and containers of it."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import socket
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from saltext_logilab.errors import UnavailableError

SOCKET = "unix:///var/run/docker.sock"
LABEL = "logilab.demo"
IMAGE = "logilab-demo"
_TIMEOUT = 30.0


class Engine:
    """The Engine at ``url``, a Unix socket."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def of_this_machine(cls) -> Engine:
        """
        Return the Engine that ``DOCKER_HOST`` names, or the usual one.

        :raises UnavailableError: it cannot be reached.
        """
        found = cls(os.environ.get("DOCKER_HOST") or SOCKET)
        if not found.url.startswith("unix://"):
            raise UnavailableError(f"{found.url} is not on this machine")
        found._ask("GET", "/_ping")
        return found

    def import_busybox(self, program: Path) -> None:
        """
        Make an image of a static busybox.

        :raises UnavailableError: the Engine refuses.
        """
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(program, "busybox")
        self._ask("POST", "/images/create", {"fromSrc": "-", "repo": IMAGE}, buffer.getvalue())

    def run(self, name: str, command: Sequence[str], port: int) -> str:
        """
        Start a container that publishes ``port`` on a port of 127.0.0.1 that the Engine chooses; return its id.

        :raises UnavailableError: the Engine refuses.
        """
        told = {
            "Image": IMAGE,
            "Cmd": list(command),
            "Labels": {LABEL: ""},
            "ExposedPorts": {f"{port}/tcp": {}},
            "HostConfig": {"PortBindings": {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
        }
        made = json.loads(self._ask("POST", "/containers/create", {"name": name}, json.dumps(told).encode()))
        self._ask("POST", f"/containers/{made['Id']}/start")
        return str(made["Id"])

    def clean(self) -> None:
        """
        Remove all containers and the image of any demo.

        :raises UnavailableError: the Engine refuses.
        """
        filters = json.dumps({"label": [LABEL]})
        for one in json.loads(self._ask("GET", "/containers/json", {"all": "true", "filters": filters})):
            self._ask("DELETE", f"/containers/{one['Id']}", {"force": "true", "v": "true"})
        if self._images():
            self._ask("DELETE", f"/images/{IMAGE}", {"force": "true"})

    def _images(self) -> list[Any]:
        filters = json.dumps({"reference": [IMAGE]})
        return list(json.loads(self._ask("GET", "/images/json", {"filters": filters})))

    def _ask(self, method: str, path: str, query: dict[str, str] | None = None, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("localhost", timeout=_TIMEOUT)
        try:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(_TIMEOUT)
            connection.sock.connect(self.url.removeprefix("unix://"))
            kind = {"Content-Type": "application/x-tar" if path.startswith("/images") else "application/json"}
            connection.request(method, f"{path}?{urlencode(query or {})}", body, kind)
            response = connection.getresponse()
            told = response.read()
        except (OSError, http.client.HTTPException) as err:
            reason = err.strerror if isinstance(err, OSError) and err.strerror else err
            raise UnavailableError(f"no Docker Engine can be reached at {self.url}: {reason}") from err
        finally:
            connection.close()
        if response.status >= 300:
            raise UnavailableError(f"the Docker Engine at {self.url} refuses {path}: {told.decode(errors='replace')}")
        return told


def static_busybox() -> Path:
    """
    Return a busybox that runs in an otherwise empty container.

    :raises UnavailableError: there is none.
    """
    found = shutil.which("busybox")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        raise UnavailableError("there is no static busybox for an image: apt-get install busybox-static")
    return Path(found)
