"""Our errors as Salt's, whatever its version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import ConfigurationError, LogilabError


@contextmanager
def errors() -> Iterator[None]:
    """Turn what is wrongly asked for into ``SaltInvocationError``, and what failed into ``CommandExecutionError``."""
    try:
        yield
    except ConfigurationError as err:
        raise SaltInvocationError(str(err)) from err
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err
