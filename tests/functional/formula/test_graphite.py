"""The formula "graphite": what it writes for carbon."""

from __future__ import annotations

import re

from tests.support.formulas import Renderer


def test_rules_keep_their_order(render: Renderer) -> None:
    """The first rule that fits counts: that for all else comes last, and the pillar's order is kept."""
    days = {"zone": {"pattern": "^zone", "retentions": "60:1d"}, "all": {"pattern": ".*", "retentions": "60:9d"}}
    states = render("graphite", {"graphite": {"carbon": {"schemas": days}}})
    chunks = [one for one in states.chunks if one["__id__"] == "graphite_rules"]
    names = {one["name"].rpartition("/")[2]: re.findall(r"^\[(.*)\]$", render.written(one), re.M) for one in chunks}
    assert names["storage-schemas.conf"] == ["zone", "all"]
    assert names["storage-aggregation.conf"] == ["min", "max", "sum", "default"]
