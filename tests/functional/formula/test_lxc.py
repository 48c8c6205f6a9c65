"""The formula "lxc": what it writes for LXC."""

from __future__ import annotations

from tests.support.formulas import Renderer


def test_the_type_of_a_device_comes_first(render: Renderer) -> None:
    """LXC drops what is said of a device before its type; all else stays in the pillar's words."""
    states = render("lxc", {"lxc": {"default_config": {"lxc.mount.entry": ["a b", "c d"]}}})
    lines = render.written(states["lxc_config"]).splitlines()
    assert (
        lines.index("lxc.net.0.type = veth")
        < lines.index("lxc.net.0.flags = up")
        < lines.index("lxc.net.0.link = lxcbr0")
    )
    assert [one for one in lines if "mount" in one] == ["lxc.mount.entry = a b", "lxc.mount.entry = c d"]
