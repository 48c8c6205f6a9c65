"""
A real Debian in a disk image: systemd, cloud-init, qemu's guest agent, and a Salt minion that waits to be told.

Made without root mounts, nbd or chroot: packages are installed in a container, and ``mke2fs -d`` writes its tree. The
guest boots its own kernel directly, under TCG; every guest writes into an image of its own that stands on this one.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.support.containers import SALT, running_container
from tests.support.docker import DockerHost
from tests.support.processes import program, run
from tests.support.roots import cached
from tests.support.sessions import remove_tree

PACKAGES = (
    "cloud-init",
    "initramfs-tools",
    "linux-image-cloud-amd64",
    "netbase",
    "qemu-guest-agent",
    "systemd-resolved",
)
SIZE = "2200M"
AGENT = "org.qemu.guest_agent.0"
FILES = {  # what an administrator's image has, and what makes a boot without KVM shorter
    "etc/systemd/system/salt-minion.service": (
        "[Unit]\nDescription=The Salt Minion\nAfter=network.target cloud-init.service\n"
        f"[Service]\nType=notify\nNotifyAccess=all\nKillMode=process\nExecStart={SALT}/bin/salt-minion\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
    "etc/salt/minion": "enable_fqdns_grains: false\n",
    "etc/cloud/cloud.cfg.d/90_short.cfg": (
        "datasource_list: [NoCloud, None]\n"
        "cloud_init_modules: [seed_random, bootcmd, write-files, set_hostname, update_hostname, users-groups, ssh]\n"
        "cloud_config_modules: [runcmd]\ncloud_final_modules: [scripts-user, final-message]\n"
    ),
    "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
}
UNWANTED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-networkd-wait-online.service",
)
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 nokaslr net.ifnames=0 quiet"
PARTS = """
<domain type='qemu'>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{command_line}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <serial type='file'><source path='{serial}'/><target port='0'/></serial>
    <channel type='unix'><target type='virtio' name='{agent}'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
"""


@dataclass(frozen=True)
class DebianGuest:
    """The image (qcow2, never written), and the kernel and initramfs that boot it."""

    image: Path
    kernel: Path
    initrd: Path

    def parts(self, serial: Path) -> str:
        """Return the definition of such a guest without name, memory, disks and cards; its console is a file."""
        return PARTS.format(
            kernel=escape(str(self.kernel)),
            initrd=escape(str(self.initrd)),
            command_line=COMMAND_LINE,
            serial=escape(str(serial)),
            agent=AGENT,
        )

    def overlay(self, path: Path) -> Path:
        """Make an image that begins as a copy of this one, and return its path."""
        run(program("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self.image, path)
        return path

    def xml(self, name: str, disk: Path, serial: Path, *, memory_mib: int = 1024, devices: str = "") -> str:
        """Return the whole definition of a guest on ``disk``; ``devices`` is more XML for its ``<devices>``."""
        sizes = f"<name>{name}</name><memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>"
        own = (
            f"<disk type='file'><driver type='qcow2'/><source file='{escape(str(disk))}'/>"
            "<target dev='vda' bus='virtio'/></disk>"
        )
        text = self.parts(serial).replace("<domain type='qemu'>", f"<domain type='qemu'>{sizes}", 1)
        return text.replace("</devices>", f"{own}{devices}</devices>", 1)


def _build(target: Path, host: DockerHost, image: str, salt: Path) -> None:
    """Install in a container, take its tree, and write it into an image."""
    work = target.with_name(f"{target.name}.work")
    remove_tree(work)
    tree = work / "tree"
    tree.mkdir(parents=True)
    _install(tree, host, image)
    for path, text in FILES.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").symlink_to("/run/systemd/resolve/resolv.conf")
    for name in UNWANTED:
        (tree / "etc/systemd/system" / name).unlink(missing_ok=True)
        (tree / "etc/systemd/system" / name).symlink_to("/dev/null")
    shutil.copytree(salt, tree / SALT.lstrip("/"), symlinks=True)
    target.mkdir()
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy(next((tree / "boot").glob(pattern)), target / name)
    remove_tree(tree / "boot")
    (tree / "boot").mkdir()
    raw = work / "root.raw"
    run(program("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", tree, raw, SIZE, timeout=600)
    run(program("qemu-img", "qemu-utils"), "convert", "-O", "qcow2", raw, target / "root.qcow2", timeout=600)
    remove_tree(work)


def _install(tree: Path, host: DockerHost, image: str) -> None:
    """Install the packages in a container and unpack what it holds then into ``tree``."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with running_container(host, image) as made:
        made.exec("apt-get", "update", env=quiet)
        made.exec("apt-get", "install", "-y", "--no-install-recommends", *PACKAGES, env=quiet)
        made.exec("systemctl", "enable", "systemd-networkd.service", "serial-getty@ttyS0.service")
        made.exec("sh", "-c", "rm -rf /var/lib/apt/lists/* /etc/machine-id && touch /etc/machine-id")
        with subprocess.Popen(["tar", "-x", "-C", str(tree)], stdin=subprocess.PIPE) as unpacking:
            for chunk in made.container.export():
                unpacking.stdin.write(chunk)  # type: ignore[union-attr]
            unpacking.stdin.close()  # type: ignore[union-attr]
        if unpacking.returncode:
            raise RuntimeError(f"tar returned {unpacking.returncode}")


@pytest.fixture(scope="session")
def debian_guest(connected_docker_host: DockerHost, debian_image: str, salt_tree: Path) -> DebianGuest:
    """Return the Debian guest; its image is built once, in about two minutes, and kept in the cache."""
    program("qemu-system-x86_64", "qemu-system-x86")
    code = inspect.getsource(_build) + inspect.getsource(_install)
    parts = repr((debian_image, salt_tree.name, PACKAGES, SIZE, FILES, UNWANTED, code))
    key = hashlib.sha256(parts.encode()).hexdigest()[:16]
    folder = cached(
        f"debian-guest-{key}", lambda target: _build(target, connected_docker_host, debian_image, salt_tree)
    )
    return DebianGuest(folder / "root.qcow2", folder / "vmlinuz", folder / "initrd")
