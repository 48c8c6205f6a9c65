"""The configuration that a guest's states read."""

from __future__ import annotations

from saltext_logilab.within.functions import config as shared
from saltext_logilab.within.overrides import take_over

take_over(shared, globals())
