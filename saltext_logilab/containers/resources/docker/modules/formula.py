"""The data of formulas for a container."""

from __future__ import annotations

from saltext_logilab.within.functions import formula as shared
from saltext_logilab.within.overrides import take_over

take_over(shared, globals())
