"""A guest that boots in seconds without KVM: Debian's cloud kernel and a busybox initramfs."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import program, run
from tests.support.roots import cached
from tests.support.sessions import remove_tree
from tests.support.waiting import wait_until

META_PACKAGE = "linux-image-cloud-amd64"
MARKER = "LOGILAB-GUEST-UP"
MODULES = (  # in the order of loading; which of the first two needs the other depends on the kernel
    "virtio_ring",
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "button",
    "evdev",
)
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in {modules}; do
    if [ -e /modules/$module.ko ]; then insmod /modules/$module.ko 2> /dev/null; fi
done
acpid -d -c /etc/acpi -l /dev/null > /dev/null 2>&1 &
{more}
echo {marker} $(cat /proc/sys/kernel/hostname) > /dev/console
while true; do sleep 3600; done
"""
POWER_BUTTON = "#!/bin/sh\npoweroff -f\n"
DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet nokaslr panic=1 {words}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' check='none'><model>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <serial type='file'><source path='{serial}'/><target port='0'/></serial>
    <memballoon model='none'/>
    {devices}
  </devices>
</domain>
"""


@dataclass(frozen=True)
class TinyGuest:
    """The kernel and initramfs of a guest that says :data:`MARKER` on its serial console when it is up."""

    kernel: Path
    initrd: Path

    def xml(self, name: str, serial: Path, *, memory_mib: int = 192, devices: str = "", words: str = "") -> str:
        """Return the definition of a guest; ``devices`` is more XML for it, ``words`` more of the kernel's command."""
        known = {"kernel": self.kernel, "initrd": self.initrd, "memory_mib": memory_mib}
        return DOMAIN.format(name=name, serial=serial, devices=devices, words=words, **known)


def wait_for_boot(serial: Path, timeout: float = 180) -> str:
    """Return the guest's console once it is up; slow where the machine is loaded, for there is no KVM."""
    wait_until(
        lambda: serial.exists() and MARKER in serial.read_text(errors="replace"), timeout, f"{MARKER} in {serial}"
    )
    return serial.read_text(errors="replace")


def _kernel_package() -> str:
    """Return the package that holds the newest cloud kernel."""
    depends = run(program("apt-cache", "apt"), "depends", META_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if found is None:
        raise RuntimeError(f"apt knows no {META_PACKAGE} (apt-get update?): {depends!r}")
    return found[1]


def build(target: Path, modules: Sequence[str], more: str, furnish: Callable[[Path], None] | None) -> None:
    """
    Download the kernel's package, unpack it, and keep the kernel and an initramfs.

    :param more: what its init does before it says that it is up.
    :param furnish: puts more files into the root.
    """
    work = target.with_name(f"{target.name}.work")
    remove_tree(work)
    work.mkdir()
    run(program("apt-get", "apt"), "download", _kernel_package(), cwd=work, timeout=300)
    run(program("dpkg-deb", "dpkg"), "-x", next(work.glob("*.deb")), work / "kernel")
    target.mkdir()
    shutil.copy(next((work / "kernel/boot").glob("vmlinuz-*")), target / "vmlinuz")
    _lay_out(work / "root", work / "kernel", modules, INIT.format(modules=" ".join(modules), marker=MARKER, more=more))
    if furnish:
        furnish(work / "root")
    program("cpio", "cpio")
    pack = "find . | cpio --quiet -o -H newc | gzip -1 > "
    subprocess.run(["sh", "-ec", f'{pack} "$0"', str(target / "initrd.gz")], cwd=work / "root", check=True, timeout=60)
    remove_tree(work)


def _lay_out(root: Path, kernel: Path, modules: Sequence[str], init: str) -> None:
    """Lay out the guest's root."""
    for folder in ("bin", "dev", "proc", "sys", "modules", "etc/acpi/PWRF"):
        (root / folder).mkdir(parents=True)
    shutil.copy(program("busybox", "busybox-static"), root / "bin/busybox")
    for name in modules:
        for module in kernel.glob(f"**/{name}.ko"):
            shutil.copy(module, root / "modules")
    for path, text in {"init": init, "etc/acpi/PWRF/00000080": POWER_BUTTON}.items():
        (root / path).write_text(text)
        (root / path).chmod(0o755)


def cached_guest(
    kind: str,
    modules: Sequence[str],
    more: str,
    furnish: Callable[[Path], None] | None = None,
    parts: Sequence[str] = (),
) -> TinyGuest:
    """Return a guest, built once and kept in the cache under a hash of all that went into it, ``parts`` among it."""
    program("qemu-system-x86_64", "qemu-system-x86")
    key = hashlib.sha256(repr((META_PACKAGE, modules, INIT, more, POWER_BUTTON, *parts)).encode()).hexdigest()[:16]
    folder = cached(f"{kind}-{key}", functools.partial(build, modules=modules, more=more, furnish=furnish))
    return TinyGuest(folder / "vmlinuz", folder / "initrd.gz")


@pytest.fixture(scope="session")
def tiny_guest() -> TinyGuest:
    """Return the tiny guest; its kernel is downloaded once and kept in the cache."""
    return cached_guest("guest", MODULES, "")
