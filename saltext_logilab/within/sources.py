"""Files of the master that go into a resource. Salt's inside: its file client and its channel, as of 3008."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import salt.channel.client
import salt.fileclient
import salt.utils.templates

from saltext_logilab.errors import ConfigurationError, UnavailableError


def cached(source: str, opts: Mapping[str, Any], saltenv: str = "base") -> Path:
    """
    Return the minion's copy of a file of the master.

    :raises ConfigurationError: it is no ``salt://`` URL: a path would be one of the minion.
    :raises UnavailableError: the master has none.
    """
    if not isinstance(source, str) or not source.startswith("salt://"):
        raise ConfigurationError(f"{source!r} is no file of the master (salt://…)")
    with salt.fileclient.get_file_client(dict(opts)) as client:
        found = client.cache_file(source, saltenv)
    if not found:
        raise UnavailableError(f"the master has no {source} in {saltenv}")
    return Path(found)


def read(source: str, opts: Mapping[str, Any], saltenv: str = "base") -> bytes:
    """Return what a file of the master holds; raises as :func:`cached`."""
    return cached(source, opts, saltenv).read_bytes()


def push(pieces: Iterator[bytes], path: str, resource: str, opts: Mapping[str, Any]) -> bool:
    """Send a file's pieces to the master, under ``resources/<resource>`` of the minion's pushed files."""
    load: dict[str, Any] = {"cmd": "_file_recv", "id": opts["id"], "loc": 0}
    load["path"] = ["resources", resource, *(part for part in path.split("/") if part)]
    with salt.channel.client.ReqChannel.factory(dict(opts)) as channel:
        load["tok"] = channel.auth.gen_token(b"salt")
        for piece in pieces:
            if not channel.send({**load, "data": piece}):
                raise UnavailableError("the master takes no file: see file_recv in its configuration")
            load["loc"] += len(piece)
    return True


def rendered(source: Any, template: str | None, names: Mapping[str, Any], context: Mapping[str, Any]) -> bytes:
    """
    Return what a file of the master holds once it is rendered, as a file state asks for it.

    ``names`` are the template's ``salt``, ``grains``, ``pillar``, ``opts``, ``name`` and ``context``; ``context`` is
    the state run's own. Of a list of sources the first is taken that the master has.

    :raises ConfigurationError: there is no such template engine.
    :raises UnavailableError: the master has no such file, or it cannot be rendered.
    """
    saltenv = str(names["opts"].get("saltenv") or "base")
    client = context["fileclient"]
    path = _first(source, client, saltenv)
    if not template:
        return path.read_bytes()
    if template not in salt.utils.templates.TEMPLATE_REGISTRY:
        raise ConfigurationError(f"{template!r} is no template engine")
    told = {**names, "source": str(source), "saltenv": saltenv, "fileclient": client}
    found = salt.utils.templates.TEMPLATE_REGISTRY[template](str(path), to_str=True, **told)
    if not found["result"]:
        raise UnavailableError(f"{source} cannot be rendered: {found['data']}")
    return str(found["data"]).encode()


def _first(source: Any, client: Any, saltenv: str) -> Path:
    for one in source if isinstance(source, list) else [source]:
        if not isinstance(one, str) or not one.startswith("salt://"):
            raise ConfigurationError(f"{one!r} is no file of the master (salt://…)")
        if found := client.cache_file(one, saltenv):
            return Path(found)
    raise UnavailableError(f"the master has no {source} in {saltenv}")
