"""What a domain's XML says."""

from __future__ import annotations

import pytest

from saltext_logilab.guests.definition import Definition, Disk, Interface, parse

XML = """
<domain type='kvm'><name>web</name><title>The shop</title>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/web.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='volume' device='disk'><driver type='raw'/><source pool='fast' volume='data'/>
      <target dev='vdb' bus='virtio'/><shareable/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><target dev='vnet3'/>
      <model type='virtio'/></interface>
    <hostdev mode='subsystem' type='pci'/>
  </devices>
</domain>
"""


def test_disks_cards_and_machine_are_read() -> None:
    """A file, a volume of a pool, an empty drive, a card and a host device are what the XML says."""
    assert parse(XML) == Definition(
        machine="q35",
        architecture="x86_64",
        accelerator="kvm",
        title="The shop",
        disks=(
            Disk("vda", "disk", "file", "/p/web.qcow2", None, "qcow2", "virtio", readonly=False, shareable=False),
            Disk("vdb", "disk", "volume", "data", "fast", "raw", "virtio", readonly=False, shareable=True),
            Disk("sda", "cdrom", "file", None, None, None, "sata", readonly=True, shareable=False),
        ),
        interfaces=(Interface("52:54:00:00:00:01", "network", "default", "virtio", "vnet3"),),
        passthrough=1,
    )


@pytest.mark.parametrize(("text", "words"), [("", "no XML"), ("<domain>", "no XML"), ("<pool/>", "no domain")])
def test_what_is_no_domain_is_refused(text: str, words: str) -> None:
    """Nothing, a broken text and the XML of something else are errors."""
    with pytest.raises(ValueError, match=words):
        parse(text)
