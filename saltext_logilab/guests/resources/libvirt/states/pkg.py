"""States of packages inside a guest without a Python."""

from __future__ import annotations

from saltext_logilab.within.overrides import take_over
from saltext_logilab.within.redirected import pkg as shared

take_over(shared, globals())
