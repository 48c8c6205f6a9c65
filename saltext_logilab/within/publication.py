"""
What a function of a resource finds of Salt: the target of its publication, and the way into its resource.

Salt's inside, as of 3008, the first version that has resources: a job's process (or thread) holds the publication in
``salt.utils.ctx``'s request context, whatever the signature of the function and however deep it is called;
``salt-call --resources`` has the target in ``opts``. A state that is applied has the context of its job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import salt.utils.ctx
import salt.utils.resources

from saltext_logilab.errors import LogilabError
from saltext_logilab.within import guard, salted
from saltext_logilab.within.managing import Outcome
from saltext_logilab.within.transport import Transport

STATES = "logilab_resource"  # what the opts of a state run keep of those of the minion
_ENTERED: ContextVar[Transport] = ContextVar("logilab_inside")


def _load() -> Mapping[str, Any]:
    found = salt.utils.ctx.get_request_context().get("data")
    return found if isinstance(found, Mapping) else {}


def target(opts: Mapping[str, Any]) -> guard.Target | None:
    """Return the target of the publication that is being answered; None where nothing was published."""
    if "tgt" in _load():
        return guard.Target.of(_load())
    if opts.get("resources_dispatch"):
        kind = opts.get("resources_tgt_type", "glob")
        return guard.Target.of({"tgt": opts.get("resources_tgt", "*"), "tgt_type": kind})
    return None


def configured(opts: Mapping[str, Any], resource_type: str) -> dict[str, Any]:
    """Return what the pillar says of a resource type: the mapping ``resources:<type>``."""
    kept = opts.get(STATES) or {}
    tree = kept["tree"] if kept else salt.utils.resources.pillar_resources_tree(opts)
    return dict(tree.get(resource_type) or {})


def minion(opts: Mapping[str, Any]) -> str:
    """Return the id of the resource's minion."""
    return str((opts.get(STATES) or {}).get("minion") or opts["id"])


@contextmanager
def reached(
    resource: Mapping[str, Any], functions: Mapping[str, Any], opts: Mapping[str, Any], changing: str = ""
) -> Iterator[Transport]:
    """
    Give the way into the current resource, and turn our errors into Salt's.

    ``functions`` is ``__resource_funcs__``, whose ``<type>.transport`` makes the way. ``changing`` is the name of a
    function that may change something: it is refused where the target does not name the resource.
    """
    one = guard.Resource(str(resource["type"]), str(resource["id"]))
    with salted.errors():
        if changing:
            wildcard = configured(opts, one.type).get("wildcard") is True
            guard.check(target(opts), one, wildcard, str(_load().get("fun") or changing))
        yield functions[f"{one.type}.transport"]()


@contextmanager
def entered(inside: Transport) -> Iterator[None]:
    """Let the states that are applied meanwhile go into ``inside``: they have no names of Salt's to find it by."""
    token = _ENTERED.set(inside)
    try:
        yield
    finally:
        _ENTERED.reset(token)


def state(name: str, opts: Mapping[str, Any], work: Callable[[Transport, bool], Outcome]) -> dict[str, Any]:
    """Return what a state returns of what ``work`` has done, or with ``test=True`` would do, inside."""
    is_test = bool(opts.get("test"))
    try:
        done = work(_ENTERED.get(), is_test)
    except LogilabError as err:
        return {"name": name, "result": False, "changes": {}, "comment": str(err)}
    result = False if not done.is_right else None if is_test and done.changes else True
    return {"name": name, "result": result, "changes": dict(done.changes), "comment": done.comment}
