"""States of commands inside a guest without a Python."""

from __future__ import annotations

from saltext_logilab.within.overrides import take_over
from saltext_logilab.within.redirected import cmd as shared

take_over(shared, globals())
