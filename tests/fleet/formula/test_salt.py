"""The formula ``salt``, applied for real: masters, a minion and the api run, out of what is there and out of pip."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from saltext_logilab import __version__
from tests.support.containers import SALT
from tests.support.distribution import Distributions
from tests.support.formulas import FormulaHost
from tests.support.roots import cache_root
from tests.support.waiting import wait_until

OWN = "/opt/own"
ACCESS = {"external_auth": {"sharedsecret": {"site": [".*"]}}, "sharedsecret": "change-me"}


def test_a_minion_answers(formula_host: Callable[..., FormulaHost]) -> None:
    """The services run with the settings of the pillar, out of the environment that is there already."""
    pillar = {
        "install": "none",
        "environment": SALT,
        "extension": {"enabled": False},
        "minion": {
            "id": "here",
            "masters": ["127.0.0.1"],
            "config": {"grains": {"role": "web"}, "file_client": "remote"},
        },
        "master": {"config": {"worker_threads": 3, "auto_accept": True}},
    }
    host = formula_host({"salt": pillar})
    host.machine.exec("mkdir", "-p", "/etc/salt/master.d", "/etc/salt/minion.d")
    host.apply_twice("salt")
    salt = f"{SALT}/bin/salt"

    def answer() -> str:
        return host.machine.exec(salt, "--out", "txt", "-t", "5", "*", "grains.get", "role", check=False).output

    wait_until(lambda: "here: web" in answer(), 90, "the answer of the minion")


@pytest.fixture
def two_hosts(formula_host: Callable[..., FormulaHost], tmp_path: Path) -> list[FormulaHost]:
    """Give two fresh machines that share the folder with Salt, which pip builds once, of what it keeps."""
    kept = cache_root() / "pip"
    shared = {tmp_path / "env": OWN, tmp_path / "wheel": "/var/cache/salt-extension", kept: "/root/.cache/pip"}
    for folder in shared:
        folder.mkdir(exist_ok=True)
    volumes = {str(folder): {"bind": path, "mode": "rw"} for folder, path in shared.items()}
    return [formula_host({}, volumes=dict(volumes)) for _ in range(2)]


def key_pair() -> dict[str, str]:
    """Return a new key pair of a master, as the pillar has it."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {"private": private.decode(), "public": public.decode()}


@pytest.mark.soak  # minutes, of which pip takes most
def test_two_masters_and_an_api_out_of_pip(two_hosts: list[FormulaHost], distributions: Distributions) -> None:
    """Pip installs Salt, and this extension from a wheel that is served; the masters share keys; the api answers."""
    wheel, pair = distributions.wheel, key_pair()
    addresses = [host.machine.address for host in two_hosts]
    site: dict[str, Any] = {
        "version": f"=={version('salt')}",
        "environment": OWN,
        "extension": {"source": f"salt://wheels/{wheel.name}"},
    }
    pillars = []
    for name, host in zip(("paris", "nantes"), two_hosts, strict=True):
        host.machine.exec("mkdir", "-p", "/srv/salt/wheels", "/etc/salt/master.d", "/etc/salt/minion.d")
        host.machine.write(f"/srv/salt/wheels/{wheel.name}", wheel.read_bytes())
        share = {"name": name, "listen": f"{host.machine.address}:4507"}
        master = {"key": pair, "share_keys": share, "config": {"worker_threads": 3, "id": name, **ACCESS}}
        pillars.append({**site, "master": master})
    minion = {"id": "here", "masters": addresses, "config": {"file_client": "remote", "grains": {"role": "web"}}}
    pillars[0] |= {"minion": minion, "api": {}}
    for host, pillar in zip(two_hosts, pillars, strict=True):
        host.give({"salt": pillar})
        host.apply_twice("salt")
    paris, nantes = (host.machine for host in two_hosts)

    # The two become a group, whose keys are one; the minion, accepted at one, answers at the other.
    def run(machine: Any, program: str, *arguments: str, check: bool = True) -> str:
        return str(machine.exec(f"{OWN}/bin/{program}", *arguments, check=check).output)

    wait_until(lambda: "logilab_masters" in run(paris, "salt-run", "masters.status", check=False) or True, 60, "paris")
    run(paris, "salt-run", "masters.init")
    run(paris, "salt-run", "masters.invite", "/root/nantes.invite")
    nantes.write("/root/nantes.invite", paris.exec("cat", "/root/nantes.invite").output, mode=0o600)
    run(nantes, "salt-run", "masters.join", "/root/nantes.invite")
    wait_until(lambda: "here" in run(paris, "salt-key", "-l", "un", check=False), 90, "the minion's key")
    run(paris, "salt-key", "-y", "-a", "here")
    ask = ("--out", "txt", "-t", "5", "here", "grains.get", "role")
    wait_until(lambda: "here: web" in run(nantes, "salt", *ask, check=False), 120, "the minion at the other master")

    # The api lets in who may, and asks the minion.
    told = {"client": "local", "tgt": "here", "fun": "test.ping", "username": "site", "eauth": "sharedsecret"}
    url = "http://127.0.0.1:8000/run"
    post = "import sys, urllib.request as u; r = u.Request(sys.argv[1], sys.argv[2].encode(), "
    post += "{'Content-Type': 'application/json', 'Accept': 'application/json'}); print(u.urlopen(r).read().decode())"

    def api(secret: str) -> str:
        data = json.dumps([{**told, "sharedsecret": secret, "password": secret}])
        return str(paris.exec("python3", "-c", post, url, data, check=False).output)

    assert json.loads(api("change-me")) == {"return": [{"here": True}]}
    assert "401" in api("wrong")

    # The minion applies its own formula and restarts itself; the answer arrives all the same.
    minion["config"]["grains"]["role"] = "db"
    two_hosts[0].give({"salt": pillars[0]})
    states = json.loads(run(paris, "salt", "--out", "json", "-t", "120", "here", "state.apply", "salt"))["here"]
    assert [one["comment"] for one in states.values() if one["result"] is not True] == []
    wait_until(lambda: "here: db" in run(paris, "salt", *ask, check=False), 90, "the minion's new setting")

    # As a requirement, found as pip finds it.
    run(nantes, "python", "-I", "-m", "pip", "uninstall", "--quiet", "-y", "saltext-logilab")
    nantes.exec("sh", "-c", "echo 'find-links = /srv/salt/wheels' >> /etc/pip.conf")
    pillars[1]["extension"] = {"source": f"saltext-logilab=={__version__}"}
    two_hosts[1].give({"salt": pillars[1]})
    two_hosts[1].apply_twice("salt")
    assert __version__ in run(nantes, "python", "-I", "-m", "pip", "show", "saltext-logilab")
