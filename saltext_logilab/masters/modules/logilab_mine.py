"""
Salt's mine, through an outbox: a dead master blocks nothing and loses nothing.

Salt's own ``mine.send`` makes a hot-hot minion deaf to its healthy masters for more than a minute when one master is
dead, and what it sent meanwhile never reaches that one. Here the functions ``mine.*`` write to an outbox of the minion,
and the engine ``logilab_mine`` brings each master the latest values as soon as it can be reached.

Minion configuration (both are needed; without the engine the functions send as Salt's own do):

.. code-block:: yaml

    providers:
      mine: logilab_mine
    engines:
      - logilab_mine: {}

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import salt.modules.mine as stock
import salt.payload
from salt.exceptions import CommandExecutionError
from salt.utils.functools import namespaced_function

from saltext_logilab import settings
from saltext_logilab.errors import LogilabError
from saltext_logilab.masters.mine import outbox as outboxes

if TYPE_CHECKING:
    __opts__: dict[str, Any]

__proxyenabled__ = ["*"]


def __virtual__() -> bool | tuple[bool, str]:
    """Load where it provides ``mine``."""
    if (__opts__.get("providers") or {}).get("mine") != "logilab_mine":
        return False, "logilab_mine is for the minion's option `providers: {mine: logilab_mine}`"
    return True


def _mine_send(load: dict[str, Any], opts: dict[str, Any]) -> bool:
    """Put into the outbox what Salt's own function of this name sends to the masters."""
    if not any("logilab_mine" in engine for engine in opts.get("engines", [])):
        return bool(stock._mine_send(load, opts))
    try:
        box = outboxes.Outbox(settings.state_dir(opts, "masters") / outboxes.FILE)
        try:
            _post(box, load)
        finally:
            box.close()
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err
    return True


def _post(box: outboxes.Outbox, load: dict[str, Any]) -> None:
    if load["cmd"] == "_mine_flush":
        box.flush()
    elif load["cmd"] == "_mine_delete":
        box.delete(load["fun"])
    else:
        values = {name: salt.payload.dumps(value) for name, value in load["data"].items()}
        box.put(values, clear=bool(load.get("clear")))


# Salt's own functions, with this module's names in the place of theirs.
_mine_function_available = namespaced_function(stock._mine_function_available, globals())
_mine_store = namespaced_function(stock._mine_store, globals())
update = namespaced_function(stock.update, globals())
send = namespaced_function(stock.send, globals())
get = namespaced_function(stock.get, globals())
delete = namespaced_function(stock.delete, globals())
flush = namespaced_function(stock.flush, globals())
get_docker = namespaced_function(stock.get_docker, globals())
valid = namespaced_function(stock.valid, globals())


def outbox() -> dict[str, dict[str, Any]]:
    """
    Return how far each master is with this minion's mine.

    :return: for each master ``behind`` (the number of functions whose latest value it lacks), ``reached`` (when it last
        took something, in Unix time, or None) and ``problem`` (why it takes nothing, or None).
    :raises CommandExecutionError: the outbox cannot be read.

    CLI Example:

    .. code-block:: bash

        salt web1 mine.outbox
    """
    try:
        box = outboxes.Outbox(settings.state_dir(__opts__, "masters") / outboxes.FILE)
        try:
            found = box.standings()
        finally:
            box.close()
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err
    return {one.master: {"behind": one.behind, "reached": one.reached, "problem": one.problem} for one in found}
