"""Definitions laid over each other and compared; what a running guest can take of the difference."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests import canonical, live

GUEST = """
<domain type='kvm'>
  <name>web</name> <memory unit='MiB'>512</memory> <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='/p/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><source file='/p/b.iso'/><target dev='sda' bus='sata'/></disk>
    <interface type='network'><mac address='52:54:00:AA:00:01'/><source network='default'/></interface>
    <interface type='network'><mac address='52:54:00:aa:00:02'/><source network='default'/></interface>
    <graphics type='vnc' passwd='geheim'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""

MACS = st.sampled_from(["52:54:00:aa:00:01", "52:54:00:aa:00:02", "52:54:00:aa:00:03"])
DISKS = st.builds(
    "<disk type='{}'><source {}/><target dev='{}'/></disk>".format,
    st.sampled_from(["file", "block"]),
    st.sampled_from(["file='/x'", "dev='/dev/x'"]),
    st.sampled_from(["vda", "vdb", "sda"]),
)
CARDS = st.builds(
    "<interface type='{}'><mac address='{}'/><source network='{}'/></interface>".format,
    st.sampled_from(["network", "bridge"]),
    MACS,
    st.sampled_from(["default", "other"]),
)
NAMELESS = st.builds(
    "<interface type='user'><model type='{}'/></interface>".format, st.sampled_from(["virtio", "e1000"])
)


@st.composite
def domains(draw: st.DrawFn) -> ET.Element:
    """Definitions, whole or in part, with each disk and each MAC once at most."""
    disks = draw(st.lists(DISKS, max_size=3, unique_by=lambda one: one.split("dev='")[-1]))
    cards = draw(st.lists(CARDS, max_size=2, unique_by=lambda one: one.split("address='")[1][:17]))
    more = draw(st.lists(NAMELESS, max_size=2))
    memory = draw(st.sampled_from(["", "<memory>1024</memory>", "<memory unit='MiB'>2</memory>", "<vcpu>2</vcpu>"]))
    devices = draw(st.permutations([*disks, *cards, *more]))
    return canonical.read(f"<domain>{memory}<devices>{''.join(devices)}</devices></domain>")


@given(domains(), domains())
def test_what_was_laid_over_lies_there(present: ET.Element, wanted: ET.Element) -> None:
    """A second time changes nothing, and the difference to what was wanted is told, or there is none."""
    merged = canonical.overlay(present, wanted)
    assert canonical.differences(merged, canonical.overlay(merged, wanted)) == {}
    told = canonical.differences(present, merged)
    assert bool(told) is (ET.tostring(present) != ET.tostring(merged))
    assert canonical.read(canonical.text_of(merged)).tag == "domain"


@given(domains())
def test_itself_is_no_difference(present: ET.Element) -> None:
    """A definition laid over itself is itself; a running guest has nothing to do then."""
    assert ET.tostring(canonical.overlay(present, present)) == ET.tostring(present)
    assert canonical.differences(present, present) == {}
    assert live.decide(present, present) == live.Live()


def changed(text: str) -> dict[str, canonical.Change]:
    """Return what laying ``text`` over the guest changes."""
    present = canonical.read(GUEST)
    return canonical.differences(present, canonical.overlay(present, canonical.read(f"<domain>{text}</domain>")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<memory unit='GiB'>0.5</memory>",
        "<memory>524288</memory><vcpu>2</vcpu>",
        "<os><type machine='q35'>hvm</type></os>",
        "<devices><interface><mac address='52:54:00:AA:00:02'/></interface></devices>",
    ],
)
def test_the_same_in_other_words(text: str) -> None:
    """Other units, letters and aliases are no difference."""
    assert changed(text) == {}


def test_differences_have_a_path() -> None:
    """A changed value names its device; memory takes the balloon along; another machine is told."""
    assert changed("<memory unit='GiB'>1</memory>") == {
        "memory": {"old": "524288", "new": "1048576"},
        "currentMemory": {"old": "524288", "new": "1048576"},
    }
    assert changed("<os><type machine='pc'>hvm</type></os>") == {"os/type@machine": {"old": "pc-q35-7.2", "new": "pc"}}
    disk = "<devices><disk type='block'><source dev='/dev/x'/><target dev='vda'/></disk></devices>"
    assert changed(disk) == {
        "devices/disk[vda]@type": {"old": "file", "new": "block"},
        "devices/disk[vda]/source@dev": {"old": None, "new": "/dev/x"},
        "devices/disk[vda]/source@file": {"old": "/p/a.qcow2", "new": None},
    }


def test_passwords_are_not_told() -> None:
    """Neither where one changes nor where a device comes whole."""
    told = changed("<devices><graphics type='vnc' passwd='neu'/><graphics type='spice' passwd='neu'/></devices>")
    assert told["devices/graphics[vnc]@passwd"] == {"old": "***", "new": "***"}
    assert "neu" not in str(told)


@pytest.mark.parametrize("text", ["<domain", "<pool/>", "<domain><memory>much</memory></domain>"])
def test_no_definition(text: str) -> None:
    """What is no domain is a sentence."""
    with pytest.raises(ConfigurationError, match="the definition"):
        canonical.read(text)


def test_what_a_running_guest_takes() -> None:
    """Less memory, disks and cards at once; more memory than it has room for, and a model, at its next start."""
    present = canonical.read(GUEST)

    def decided(text: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
        wanted = canonical.overlay(present, canonical.read(f"<domain>{text}</domain>"))
        found = live.decide(present, wanted)
        return [(one.action, one.path) for one in found.steps], found.pending

    assert decided("<memory>524288</memory><currentMemory>1024</currentMemory>") == ([("memory", "currentMemory")], ())
    assert decided("<memory>9999999</memory>") == ([], ("memory", "currentMemory"))
    assert decided("<vcpu current='1'>2</vcpu>") == ([("vcpus", "vcpu@current")], ())
    new = "<disk type='file' device='disk'><source file='/n'/><target dev='{}' bus='{}'/></disk>"
    plugged = decided(f"<devices>{new.format('vdb', 'virtio')}{new.format('hda', 'ide')}</devices>")
    assert plugged == ([("attach", "devices/disk[vdb]")], ("devices/disk[hda]",))
    medium = "<devices><disk device='cdrom'><source file='/c.iso'/><target dev='sda'/></disk></devices>"
    assert decided(medium) == ([("update", "devices/disk[sda]")], ())
    card = "<devices><interface><mac address='52:54:00:aa:00:01'/>{}</interface></devices>"
    path = "devices/interface[52:54:00:aa:00:01]"
    assert decided(card.format("<source network='other'/>")) == ([("update", path)], ())
    assert decided(card.format("<model type='e1000'/>")) == ([], (f"{path}/model",))
    without = canonical.without(present, {"vda", "sda"}, {"52:54:00:aa:00:02"})
    found = live.decide(present, without)
    assert [(one.action, one.path) for one in found.steps] == [
        ("detach", "devices/disk[vda]"),
        ("detach", "devices/interface[52:54:00:aa:00:02]"),
    ]
    assert found.pending == ("devices/disk[sda]",)
