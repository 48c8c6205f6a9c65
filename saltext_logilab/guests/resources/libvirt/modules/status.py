"""How a guest is inside."""

from __future__ import annotations

from saltext_logilab.within.functions import status as shared
from saltext_logilab.within.overrides import take_over

take_over(shared, globals())
