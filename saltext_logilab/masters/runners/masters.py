"""
Make several masters one: the group that shares its keys, and how it is.

What goes wrong is told in a sentence, with exit code 1: an exception in a runner would be shown as a traceback.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.payload

from saltext_logilab.errors import ConfigurationError, LogilabError, RefusedError, UnavailableError
from saltext_logilab.masters import control, invites, views
from saltext_logilab.masters import settings as masters_settings
from saltext_logilab.masters import status as masters_status
from saltext_logilab.masters.files import follow
from saltext_logilab.masters.jobcache import MasterJobs
from saltext_logilab.masters.jobs import fleet
from saltext_logilab.masters.jobs.desk import Desk
from saltext_logilab.masters.journal import Journal

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def _told(work: Callable[[], Any]) -> Any:
    """Return what ``work`` does, or what went wrong."""
    try:
        return work()
    except LogilabError as err:
        return {"error": str(err), "retcode": 1}


def _call(command: str, **arguments: Any) -> Any:
    """Have this master's engine do ``command``."""
    return control.call(masters_settings.read(__opts__).folder, command, **arguments)


def _ask_fleet(command: str, **arguments: Any) -> Any:
    """
    Return what all members tell of their jobs.

    On a master with the job cache of several masters, but without the engine of a group, what that cache tells.
    """
    try:
        return _call(command, **arguments)
    except (ConfigurationError, UnavailableError):
        if __opts__.get("master_job_cache") != "logilab_jobs":
            raise
    alone = fleet.Fleet(str(__opts__["id"]).removesuffix("_master"), Desk(MasterJobs(__opts__)))
    return asyncio.run(getattr(alone, command)(**arguments))


def _look(view: Callable[[Journal], Any]) -> Any:
    """Return what ``view`` shows of this master's journal."""
    journal = masters_status.open_journal(masters_settings.read(__opts__))
    try:
        return view(journal)
    finally:
        journal.close()


def _actor() -> str:
    """Return who has typed the command: behind sudo, who has typed that."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def status() -> dict[str, Any]:
    """
    Show this master's view of the group: the members, how far they are behind, and what is wrong.

    Returns a mapping from this master's name to ``ok``, ``group`` (its own state: ``active``, ``suspended``, ``left``,
    ``evicted`` or ``none``), ``engine`` (``running`` or ``stopped``), ``age`` (seconds since the engine last showed
    itself), ``records`` (their number by state), ``held`` and ``conflicts`` (numbers of ids), ``jobs`` (with the job
    cache ``logilab_jobs``: what is ``waiting`` for the database, and when that was ``reached``, seconds ago),
    ``members`` and ``problems`` (sentences). Of a member it tells whether it is ``connected`` and ``for`` how many
    seconds, when it was last ``heard`` (seconds ago), and how many of this master's changes it has not acknowledged
    (``behind``). It is shown as a table; ``--out`` chooses another form. When something is wrong, ``retcode`` and the
    exit code are 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.status
        salt-run masters.status --out json
    """
    try:
        settings = masters_settings.read(__opts__)
        name, found = settings.name, masters_status.status(settings, time.time())
    except LogilabError as err:
        name, found = str(__opts__["id"]), {"ok": False, "problems": [str(err)]}
    return {"outputter": "masters_status", "data": {name: found, **({} if found["ok"] else {"retcode": 1})}}


def init(agree: bool = False) -> dict[str, Any]:
    """
    Make a group with this master as its first member.

    Returns ``group``, the fingerprint of its founder; or ``error``, a sentence, with exit code 1. Keys that this master
    has become the group's. With ``agree`` two members must agree to an eviction, and to deletes that were held: that
    stays so for the life of the group.

    CLI Example:

    .. code-block:: bash

        salt-run masters.init
        salt-run masters.init agree=True
    """
    done: dict[str, Any] = _told(lambda: _call("init", agree=bool(agree)))
    return done


def invite(file: str) -> dict[str, Any]:
    """
    Write an invite for one more master to ``file``, a new file of mode 0600 on this master.

    Carry it to the other master by a way that nobody else can read, such as scp, and join by it there. It is good for
    one master and one hour, by this master's clock. Its secret is neither in the arguments nor in the return, which go
    to events and the job cache. Returns ``file``; or ``error``, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.invite /root/nantes.invite
    """

    def work() -> dict[str, Any]:
        invites.write(Path(file), invites.parse(_call("invite")))
        return {"file": file}

    done: dict[str, Any] = _told(work)
    return done


def join(file: str, dry_run: bool = False, adopt: bool = False) -> dict[str, Any]:
    """
    Join the group by the invite in ``file``, or on the standard input when it is ``-``.

    It refuses when this master has another master key pair than the group, and tells the steps. When keys are accepted
    or rejected here that the group does not know, or knows otherwise, it refuses as well: look at the report of
    ``dry_run``, which changes nothing and uses nothing up, then say ``adopt``.

    Returns ``joined``, and lists of ids: ``come`` (keys that this master gets), ``go_out`` (keys that the group gets),
    ``conflicts`` (different keys on both sides: each side keeps its own), ``restricted`` (accepted on one side,
    rejected or deleted on the other: the restrictive side wins), ``same`` (a number). Or ``error``, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.join /root/nantes.invite dry_run=True
        salt-run masters.join /root/nantes.invite adopt=True
        ssh paris cat /root/nantes.invite | salt-run masters.join -
    """

    def work() -> dict[str, Any]:
        text = sys.stdin.read(invites.LIMIT + 1) if file == "-" else invites.read(Path(file))
        answer: dict[str, Any] = _call("join", text=text, adopt=bool(adopt), dry_run=bool(dry_run))
        return answer

    done: dict[str, Any] = _told(work)
    return done


def leave(alone: bool = False) -> dict[str, Any]:
    """
    Leave the group; this master keeps its keys and goes on alone.

    A remaining member signs that this one has left, so one has to be connected. Identity and journal are put into a
    folder ``left-…`` beside them. A master that was evicted makes room for a new beginning with it. With ``alone``
    nobody signs: the others will call it silent, and can evict it.

    CLI Example:

    .. code-block:: bash

        salt-run masters.leave
    """
    done: dict[str, Any] = _told(lambda: _call("leave", alone=bool(alone)))
    return done


def evict(name: str, withdraw: bool = False) -> dict[str, Any]:
    """
    Take a master out of the group, without its help: ``name`` is its name or fingerprint.

    What it decided until now stays, what it decides later is refused on all members for ever. All members rotate their
    AES key. The status stays red until Salt's master key is rotated, because the evicted master knows it. Of two
    masters that have evicted each other this names the loser. Returns ``changes``, the last decisions of the evicted
    master, the latest first.

    In a group in which two members must agree the first one only proposes it (``proposed``), the same command on
    another one does it, and ``withdraw`` takes a proposal back.

    CLI Example:

    .. code-block:: bash

        salt-run masters.evict nantes
        salt-run masters.evict nantes withdraw=True
    """
    done: dict[str, Any] = _told(lambda: _call("evict", name=str(name), actor=_actor(), withdraw=bool(withdraw)))
    return done


def members() -> dict[str, Any]:
    """
    List the masters that are or were in the group.

    Returns by fingerprint ``name``, ``address`` and ``state`` (``active``, ``suspended``, ``left`` or ``evicted``), and
    of one that is gone ``by`` which member and ``at`` when, by that member's clock.

    CLI Example:

    .. code-block:: bash

        salt-run masters.members
    """
    found: dict[str, Any] = _told(lambda: _look(views.members))
    return found


def confirm(undo: bool = False, member: str = "") -> dict[str, Any]:
    """
    Share what waits for an operator: many keys that vanished at once, or keys that a new journal cannot explain.

    With ``undo`` the vanished keys are put back instead. In a group in which two members must agree deletes are only
    ``proposed`` by that; ``member`` names, on another master, the one whose deletes are agreed to. Returns the
    number of keys.

    CLI Example:

    .. code-block:: bash

        salt-run masters.confirm
        salt-run masters.confirm undo=True
        salt-run masters.confirm member=paris
    """
    done: dict[str, Any] = _told(lambda: _call("confirm", undo=bool(undo), member=str(member)))
    return done


def conflicts() -> dict[str, Any]:
    """
    List the ids under which different keys were accepted on different masters.

    Returns by id a list of ``fingerprint``, ``state``, ``by`` (the master that decided) and ``at``.

    CLI Example:

    .. code-block:: bash

        salt-run masters.conflicts
    """
    found: dict[str, Any] = _told(lambda: _look(views.conflicts))
    return found


def resolve(id: str, fingerprint: str) -> dict[str, Any]:  # noqa: A002 - Salt's word
    """
    End the conflict about the minion ``id`` on all masters, for the key with ``fingerprint``.

    The other keys under that id are replaced. When somebody resolves it otherwise on another master at the same time,
    the conflict stays.

    CLI Example:

    .. code-block:: bash

        salt-run masters.resolve web1 3e:7f:...
    """
    done: dict[str, Any] = _told(
        lambda: {"resolved": _call("resolve", minion=str(id), fingerprint=str(fingerprint), actor=_actor())}
    )
    return done


def keys() -> dict[str, Any]:
    """
    Ask all masters for their pending and denied keys, which are not shared.

    Returns ``masters`` (the numbers of each, or why it has not answered) and ``keys``: by id, state and fingerprint the
    masters that have it; no more than 200 of each master and state, and five keys of one minion.

    CLI Example:

    .. code-block:: bash

        salt-run masters.keys
    """
    done: dict[str, Any] = _told(lambda: views.keys(_call("keys")))
    return done


def jobs(count: int = 50) -> dict[str, Any]:
    """
    List the newest jobs of all masters, ``count`` (at most 1000) of each.

    Each member is asked for what its own job cache knows. Returns ``masters`` (by name the number of ``jobs`` that each
    has told, how many it has ``left_out`` because an answer is limited, or why there is none, ``error``) and ``jobs``:
    by job id, the newest first, ``Master`` (the one that has started it) and what ``jobs.list_jobs`` shows. When this
    master cannot ask, ``error``, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.jobs
        salt-run masters.jobs 500
    """
    done: dict[str, Any] = _told(lambda: fleet.listed(_ask_fleet("jobs", count=count), salt.payload.loads))
    return done


def job(jid: str) -> dict[str, Any]:
    """
    Show the job ``jid``, whichever master has started it, with all returns that any master has got.

    Returns ``Master``, what ``jobs.list_job`` shows, and ``Result`` by minion; ``masters`` names those that have not
    answered, ``left_out`` those that have more returns than an answer takes. When nobody knows it, ``error``, with exit
    code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.job 20250101120000123456
    """
    done: dict[str, Any] = _told(lambda: fleet.job(_ask_fleet("job", jid=str(jid)), str(jid), salt.payload.loads))
    return done


def active() -> dict[str, Any]:
    """
    List the jobs that minions of any master work on now.

    Each member asks its own minions (``saltutil.running``), which takes as long as ``salt-run jobs.active`` does there.
    Returns ``masters`` as :py:func:`jobs <saltext_logilab.masters.runners.masters.jobs>` does, and ``jobs`` with
    ``Running`` (minion and process) and ``Returned`` (minions) in addition. ``Master`` is empty when no member that has
    answered knows who has started it.

    CLI Example:

    .. code-block:: bash

        salt-run masters.active
    """
    done: dict[str, Any] = _told(lambda: fleet.listed(_ask_fleet("active"), salt.payload.loads))
    return done


def data(id: str = "") -> dict[str, Any]:  # noqa: A002 - Salt's word
    """
    Show how old the minion data is that the masters share: mine, grains, and cached pillar where that is configured.

    Of the minion ``id``: by kind and mine function (``all`` for what is kept as a whole) the ``age`` in seconds, ``by``
    which master it was seen first, and whether it was ``deleted``. Without an id: of how many ``minions`` there is data
    on this master, by kind; how many seconds ago each other member was ``compared``; and of which minions something is
    ``too_large`` to share.

    CLI Example:

    .. code-block:: bash

        salt-run masters.data
        salt-run masters.data web1
    """
    done: dict[str, Any] = _told(lambda: _call("data", minion=str(id)))
    return done


def files() -> dict[str, Any]:
    """
    Compare what all masters really serve to minions: the files of each environment, of every backend, and the pillar.

    Returns ``masters`` (by name the number of files of each tree, such as ``files base`` and ``pillar base``, or why it
    has not answered, ``error``) and ``trees``: by name whether all that have answered serve the ``same``, and the
    ``digest`` of each. Of a tree that differs also ``paths``: by path, of each master the beginning of the digest of
    what it serves, empty where it has none; at most 50, the number of the others is ``left_out``. The exit code is 1
    when something differs, or a master does not answer. Pillar data that come from elsewhere (``ext_pillar``) are not
    looked at.

    CLI Example:

    .. code-block:: bash

        salt-run masters.files
    """

    def compared() -> dict[str, Any]:
        found: dict[str, Any] = _call("files")
        same = all(tree["same"] for tree in found["trees"].values())
        heard = not any("error" in one for one in found["masters"].values())
        return {**found, **({} if same and heard else {"retcode": 1})}

    done: dict[str, Any] = _told(compared)
    return done


def refresh() -> dict[str, Any]:
    """
    Have all masters look at the sources of their files now: every backend of the file server, and git_pillar.

    Returns by name True, or the sentence that says why not; then the exit code is 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.refresh
    """

    def refreshed() -> dict[str, Any]:
        found: dict[str, Any] = _call("refresh")
        return {**found, **({} if set(found.values()) == {True} else {"retcode": 1})}

    done: dict[str, Any] = _told(refreshed)
    return done


def pull(member: str = "", dry_run: bool = False, stop: bool = False, undo: bool = False) -> dict[str, Any]:
    """
    Let what ``member`` serves take the place of this master's ``file_roots`` and ``pillar_roots``.

    The other master has to offer it (``pull: {offer: [files, pillar]}``), and this one to take it (``take``). Every
    root is replaced as a whole, in one step, when all of it is here and is what was signed; what was served before is
    kept until the next pull, and ``undo`` puts it back. A symbolic link comes as what it leads to. What was cut off
    goes on with the next pull; ``stop`` ends one that is at work. ``dry_run`` changes nothing.

    Returns ``member`` and ``trees``: by name (``files base``, ``pillar base``; further roots of an environment as
    ``files base 2``) the ``root`` here and whether it was the ``same``; else the paths to ``add``, ``change`` and
    ``remove``, the ``bytes`` to fetch, how many symbolic ``links`` here give way to files, and why it would be
    ``refused``. ``left_out`` names what is not pulled. Or ``error``, with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.pull paris dry_run=True
        salt-run masters.pull paris
        salt-run masters.pull undo=True
    """

    def work() -> dict[str, Any]:
        if stop:
            return {"stopped": _call("stop_pull")}
        if undo:
            return {"undone": _call("undo_pull")}
        if not member:
            raise RefusedError("pull from which member? (salt-run masters.members)")
        return follow.pull(_call, str(member), bool(dry_run))

    done: dict[str, Any] = _told(work)
    return done


def release() -> dict[str, Any]:
    """
    End the hold of this master, which is behind the reference member of its group.

    It does not begin again before the reference serves something else. Returns ``released``; or ``error``, with exit
    code 1.

    CLI Example:

    .. code-block:: bash

        salt-run masters.release
    """
    done: dict[str, Any] = _told(lambda: _call("release"))
    return done


def history(id: str) -> list[dict[str, Any]] | dict[str, Any]:  # noqa: A002 - Salt's word
    """
    Show what was decided about the minion ``id``, the oldest first: when, what, about which key, on which master.

    ``at`` is by that master's clock and decides nothing. ``actor`` is who typed the command, where one of this runner's
    was typed; Salt's own commands do not tell.

    CLI Example:

    .. code-block:: bash

        salt-run masters.history web1
    """

    found: list[dict[str, Any]] | dict[str, Any] = _told(lambda: _look(lambda one: views.history(one, str(id))))
    return found
