"""
Commands and files inside the containers of this host, with nothing installed there.

A container is named by its name or id; ``daemon=`` is the name of one of the configured daemons, where by default it is
looked for in all.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from saltext_logilab.containers import host
from saltext_logilab.containers import settings as containers_settings
from saltext_logilab.containers.interior import Interior
from saltext_logilab.within import salted
from saltext_logilab.within.functions import named as shared
from saltext_logilab.within.overrides import take_over

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]


@contextmanager
def _inside(name: str, daemon: str | None = None) -> Iterator[Interior]:
    with salted.errors():
        _, client, _ = host.inspect(containers_settings.read(__opts__, __pillar__), name, daemon)
        yield Interior(client, name)


take_over(shared, globals())
