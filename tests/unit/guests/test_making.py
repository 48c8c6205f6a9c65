"""Which host a new guest goes to, and where its image comes from."""

from __future__ import annotations

from typing import Any

from saltext_logilab.guests import fleet
from saltext_logilab.guests.fleet import Reply
from saltext_logilab.guests.placement import Choice, Load, Rules
from saltext_logilab.guests.seeds import making
from saltext_logilab.guests.sizes import GIB
from tests.unit.guests.test_fleet import Minions, host

TOLD = {"name": "web", "image": "debian.qcow2", "pool": "default", "memory_mib": 1024}
GUEST = Load("web", 1, GIB)
REACH = "qemu+tls://a"


def choose(
    has: dict[str, Any], problems: dict[str, str] | None = None, wanted: str | None = None, **more: Any
) -> tuple[Choice, dict[str, Any], Minions]:
    """
    Choose among a, which is reached, and b, which is not and has more room; return what was asked, too.

    :param has: what each host says of the image.
    :param problems: what a host says against the guest.
    """
    full = {"old": ["o", "running", 1, 8 * GIB]}
    told: dict[tuple[str, str], Any] = {("a", "summary"): host(REACH, full), ("b", "summary"): host("", {})}
    told |= {(name, "list"): one for name, one in has.items()}
    told |= {(name, "create"): Reply(problem=(problems or {}).get(name)) for name in ("a", "b")}
    minions = Minions(told)
    found = fleet.gather(minions, ["a", "b"])
    choice, sent = making.choose(found, GUEST, Rules(), {**TOLD, **more}, wanted)
    return choice, sent, minions


def test_the_host_with_most_room_takes_the_image_from_one_that_has_it() -> None:
    """It is told from where, and so is the operator; the one that has it is told nothing of that."""
    choice, sent, minions = choose({"a": {"debian.qcow2": {}}, "b": {}})
    assert (choice.host, sent) == ("b", {**TOLD, "image_host": REACH})
    assert choice.why["b"].endswith("MiB would be left, the most; the image comes from a")
    assert "image" not in choice.why["a"]
    asked = {name: told for name, function, told in minions.asked if function == making.FUNCTION}
    assert asked == {"a": {**TOLD, "test": True}, "b": {**TOLD, "image_host": REACH, "test": True}}


def test_the_image_stays_where_it_is() -> None:
    """Where the host has it, or the operator says where it comes from, nobody else is asked for it."""
    assert choose({"a": {"debian.qcow2": {}}, "b": {"debian.qcow2": {}}})[1] == TOLD
    assert choose({"a": {"debian.qcow2": {}}, "b": {}}, wanted="a")[1] == TOLD
    choice, sent, minions = choose({}, image_host="qemu+ssh://x")
    assert (choice.host, sent["image_host"]) == ("b", "qemu+ssh://x")
    assert not [one for one in minions.asked if one[1] == "libvirt_volume.list"]


def test_an_image_that_nobody_can_give() -> None:
    """Only b has it, which cannot be reached: a says what it lacks, and b makes the guest though it were full."""
    choice, sent, _ = choose({"a": {}, "b": {"debian.qcow2": {}}}, {"a": "the pool has no image"})
    assert (choice.host, choice.why["a"], sent) == ("b", "the pool has no image", TOLD)
    nowhere, _, _ = choose({"a": {}, "b": Reply(problem="no pool")}, {"a": "no image", "b": "no pool"})
    assert (nowhere.host, nowhere.why) == (None, {"a": "no image", "b": "no pool"})
