"""
A Debian with systemd as a tar, built once by mmdebstrap and kept in the cache under a hash of all that went into it.

What is special about this machine's way to the outside (apt's sources and options, certificates, pip's index) is read
from the machine at build time, and is a part of the hash.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import program, run
from tests.support.roots import cached

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "procps",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-sysv",
)
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
DEFAULT_SOURCES = f"deb http://deb.debian.org/debian {SUITE} main\n"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
OWN_SOURCES = re.compile(r"https?://\S+/debian(-security)?/?(\s|$)", re.MULTILINE)
CARRIED_OPTION = re.compile(r"^Acquire::(https?|Check-Valid-Until|Check-Date|Retries|Languages)\b.* \"[^\"]+\";$")


@dataclass(frozen=True)
class Outside:
    """How this machine reaches packages."""

    sources: str
    apt_options: tuple[str, ...]
    certificates: str
    pip_index: str

    @classmethod
    def of_this_machine(cls) -> Outside:
        """Read it."""
        dump = run(program("apt-config", "apt"), "dump").splitlines()
        return cls(
            sources=debian_sources(Path("/etc/apt")),
            apt_options=tuple(line for line in dump if CARRIED_OPTION.match(line)),
            certificates=BUNDLE.read_text() if BUNDLE.exists() else "",
            pip_index=pip_index(),
        )

    @property
    def pip_conf(self) -> str:
        """pip's settings in the image."""
        index = f"index-url = {self.pip_index}\n" if self.pip_index else ""
        return f"[global]\ncert = {BUNDLE}\ndisable-pip-version-check = true\n{index}"


def debian_sources(apt: Path) -> str:
    """Return apt's sources of Debian itself, without those of other vendors, comments left out."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    texts = [file.read_text() for file in files if file.is_file()]
    own = ["".join(it + "\n" for it in text.splitlines() if not it.startswith("#")) for text in texts]
    return "\n".join(text for text in own if OWN_SOURCES.search(text)) or DEFAULT_SOURCES


def pip_index() -> str:
    """Return the index that pip is told to use; empty for its default."""
    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.stdout.startswith("http") else ""


def debian_tar() -> Path:
    """Return the tar of the Debian root; about a minute where it has to be built."""
    outside = Outside.of_this_machine()
    parts = repr((SUITE, PACKAGES, DPKG_OPTIONS, outside, Path(__file__).read_text()))
    key = hashlib.sha256(parts.encode()).hexdigest()[:16]
    return cached(f"debian-{SUITE}-{key}.tar", lambda target: build(target, outside))


def build(target: Path, outside: Outside) -> None:
    """Make the tar."""
    deb822 = "URIs:" in outside.sources
    sources = target.with_name(f"{target.name}.{'sources' if deb822 else 'list'}")
    sources.write_text(outside.sources)
    files = {
        "/etc/pip.conf": outside.pip_conf,
        "/etc/hostname": "",
        "/etc/machine-id": "uninitialized\n",
    }
    hooks = [f'printf %s {shlex.quote(text)} > "$1"{path}' for path, text in files.items()]
    if LOCAL_CERTIFICATES.is_dir():
        hooks.append(f'cp -R {LOCAL_CERTIFICATES}/. "$1"{LOCAL_CERTIFICATES} && chroot "$1" update-ca-certificates')
    if outside.certificates:
        hooks.append(f'cp {BUNDLE} "$1"{BUNDLE}')
    run(
        *(program("mmdebstrap", "mmdebstrap"), "--mode=root", "--variant=minbase", "--format=tar"),
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
        *(f"--aptopt={option}" for option in outside.apt_options),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(SUITE, target, sources),
        timeout=900,
    )
    sources.unlink()
