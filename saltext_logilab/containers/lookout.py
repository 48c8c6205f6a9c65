"""Whether a minion has to look at its containers again: whether what it tells its masters of one has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltext_logilab.containers import targets
from saltext_logilab.containers.client import Client
from saltext_logilab.errors import UnavailableError


class Lookout:
    """
    Knows what the minion was told to look at last.

    A registration is dear for a master, which writes each of a minion's ids to its disk; so a change of what is not
    told, such as the text of a status, is none.
    """

    def __init__(self, daemons: Mapping[str, str]) -> None:
        """Take the daemons' URLs by name; nothing is asked yet."""
        self._daemons = daemons
        self._seen: dict[str, dict[str, Any]] | None = None

    def has_news(self) -> bool:
        """
        Say whether anything has changed since the last call, by one listing of each daemon; at first it has.

        A daemon that cannot be asked tells no news.
        """
        now = dict(self._seen or {})
        for url in self._daemons.values():
            try:
                listed = Client(url, targets.TIMEOUT).listing()
            except UnavailableError:
                continue
            now[url] = {str(one["Id"]): targets.facts_of(one) for one in listed}
        is_news, self._seen = now != self._seen, now
        return is_news
