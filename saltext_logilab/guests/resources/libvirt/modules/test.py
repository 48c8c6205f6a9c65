"""Whether a guest answers."""

from __future__ import annotations

from saltext_logilab.within.functions import test as shared
from saltext_logilab.within.overrides import take_over

take_over(shared, globals())
