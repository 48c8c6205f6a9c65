"""
What a function of a resource finds of Salt: the target of its publication, and the way into its resource.

Salt's inside, as of 3008, the first version that has resources: a job's process (or thread) holds the publication in
``salt.utils.ctx``'s request context, whatever the signature of the function and however deep it is called;
``salt-call --resources`` has the target in ``opts``. A state that is applied has the context of its job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import salt.utils.ctx
import salt.utils.resources
from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.within import guard
from saltext_logilab.within.transport import Transport


def target(opts: Mapping[str, Any]) -> guard.Target | None:
    """Return the target of the publication that is being answered; None where nothing was published."""
    load = salt.utils.ctx.get_request_context().get("data")
    if isinstance(load, Mapping) and "tgt" in load:
        return guard.Target.of(load)
    if opts.get("resources_dispatch"):
        kind = opts.get("resources_tgt_type", "glob")
        return guard.Target.of({"tgt": opts.get("resources_tgt", "*"), "tgt_type": kind})
    return None


def configured(opts: Mapping[str, Any], resource_type: str) -> dict[str, Any]:
    """Return what the pillar says of a resource type: the mapping ``resources:<type>``."""
    return dict(salt.utils.resources.pillar_resources_tree(opts).get(resource_type) or {})


@contextmanager
def errors() -> Iterator[None]:
    """Turn our errors into Salt's."""
    try:
        yield
    except ConfigurationError as err:
        raise SaltInvocationError(str(err)) from err
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


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
    with errors():
        if changing:
            wildcard = configured(opts, one.type).get("wildcard") is True
            guard.check(target(opts), one, wildcard, changing)
        yield functions[f"{one.type}.transport"]()
