"""
Look at the guests of all hypervisors, by what they told the mine: ``mine_functions: {libvirt_guest.summary: []}``.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from saltext_logilab.errors import WireError
from saltext_logilab.guests import summary as summaries

if TYPE_CHECKING:
    __salt__: dict[str, Any]

FUNCTION = "libvirt_guest.summary"


def inventory(tgt: str = "*", tgt_type: str = "glob", format: str = "data") -> Any:  # noqa: A002 - people type it
    """
    Show hypervisors and their guests, as they last told the mine.

    :param tgt: which minions, ``*`` by default.
    :param tgt_type: how ``tgt`` is meant: ``glob``, ``list``, ``compound`` …
    :param format: ``data``, or ``mermaid`` for a picture of hosts and guests in Mermaid's language.
    :return: for each hypervisor ``age`` (seconds since it told so), ``host`` and ``guests``; ``problem`` where what a
        minion put into the mine cannot be read. For a format that does not exist ``error``, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run libvirt_guest.inventory
        salt-run libvirt_guest.inventory 'kvm*' format=mermaid
    """
    if format not in ("data", "mermaid"):
        return {"error": f"format must be data or mermaid, not {format!r}", "retcode": 1}
    fleet, problems = {}, {}
    for minion, told in __salt__["mine.get"](tgt, FUNCTION, tgt_type).items():
        try:
            fleet[minion] = summaries.read(told)
        except WireError as err:
            problems[minion] = {"problem": str(err)}
    if format == "mermaid":
        return summaries.mermaid(fleet)
    return {minion: summaries.plain(one, time.time()) for minion, one in fleet.items()} | problems
