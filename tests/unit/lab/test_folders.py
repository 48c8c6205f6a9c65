"""The lab directory, the keys in it, the caches of Salts, and what is shown."""

import json
import socket
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError
from saltext_logilab.lab import directory, keys, networks, salts, show
from saltext_logilab.lab.lab import Status


def test_default_folder() -> None:
    """The lab stands in the state folder of the XDG specification."""
    assert directory.default_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/saltext-logilab/lab")
    assert salts.cache_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/saltext-logilab")


def test_no_lab(tmp_path: Path) -> None:
    """An absent and an empty folder hold no lab; one with other files is refused; a damaged mark is told."""
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(directory.NoLabError):
            directory.read(folder)
    (tmp_path / ".lab.json.new").write_text("half")  # left by a crash before the mark was there
    with pytest.raises(directory.NoLabError):
        directory.read(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RefusedError):
        directory.read(tmp_path)
    (tmp_path / "lab.json").write_text("{")
    with pytest.raises(ConfigurationError):
        directory.read(tmp_path)
    with pytest.raises(RefusedError):
        directory.read(tmp_path / "thesis.tex")


def test_lock(tmp_path: Path) -> None:
    """Two commands cannot change a lab at once, and no lock file is left."""
    with directory.locked(tmp_path), pytest.raises(RefusedError, match="another salt-lab"), directory.locked(tmp_path):
        pass
    with directory.locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_shared_key_pair(tmp_path: Path) -> None:
    """All masters get one RSA pair; the private key is its owner's; a master that has a key keeps it."""
    keys.make_pair(tmp_path / "keys")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        keys.share_pair(tmp_path / "keys", tmp_path / name)
    private = load_pem_private_key((tmp_path / "a" / "master.pem").read_bytes(), None)
    public = load_pem_public_key((tmp_path / "b" / "master.pub").read_bytes())
    assert isinstance(private, RSAPrivateKey)
    assert isinstance(public, RSAPublicKey)
    assert private.public_key().public_numbers() == public.public_numbers()
    assert stat.S_IMODE((tmp_path / "a" / "master.pem").stat().st_mode) == 0o400
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "master.pem").symlink_to("c.pem")  # as Salt 3008 leaves it
    keys.share_pair(tmp_path / "keys", tmp_path / "c")
    assert (tmp_path / "c" / "master.pem").is_symlink()


def test_known_keys(tmp_path: Path) -> None:
    """Keys are read from the folders; a file that Salt is about to rename is no key."""
    for path in ("minions/m1", "minions/tmpa1b2c3_4", "minions/.key_cache", "minions_pre/tmpl"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert keys.known(tmp_path) == {"accepted": ["m1"], "pending": ["tmpl"], "rejected": [], "denied": []}


def test_address_in_use() -> None:
    """A network on which somebody listens is refused with the address; a chosen one is free."""
    network, ports = networks.choose(2)
    assert networks.first_taken(network, 2, (ports.publish, ports.request, ports.peers)) == ""
    with socket.create_server((f"{network}.2", 4506)), pytest.raises(UnavailableError, match=rf"{network}\.2:4506"):
        networks.choose(2, network)


@pytest.mark.parametrize(
    ("version", "wanted", "same"),
    [("3008.3", "3008", True), ("3008.3", "3008.3", True), ("3008.31", "3008.3", False), ("3007.1", "3008", False)],
)
def test_satisfied_versions(version: str, wanted: str, same: bool) -> None:
    """A series takes any of its versions, an exact version itself alone."""
    assert salts.satisfies(version, wanted) is same


def test_requirements() -> None:
    """pip is asked for a series by its bounds."""
    assert salts.requirement("3006") == "salt>=3006,<3007"
    assert salts.requirement("3007.1") == "salt==3007.1"
    required = ["salt>=3006", "saltext.x", "msgpack", "docker>=7; extra == 'docker'"]
    assert salts.requirements(required) == ["saltext.x", "msgpack"]


def test_salt_that_cannot_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing pip is one sentence with its log, and what was half made bears no mark."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UnavailableError, match=r"salt-3006\.1\.log"):
        salts.get("3006.1", lambda _text: None, tmp_path)
    assert not (tmp_path / "salt-3006.1" / salts.MARK).exists()
    assert "No matching distribution" in (tmp_path / "salt-3006.1.log").read_text()


def test_plain_table() -> None:
    """Without rich a table is aligned text."""
    assert show.plain(("a", "long"), [("xyz", "1"), ("", "2")]) == "a    long\nxyz  1\n     2\n"


def test_json() -> None:
    """A program gets the folder and all that is known of each daemon."""
    status = Status("m1", "minion", "3008.3", "", "up", 5, 1.5, 10, {}, ("paris",))
    shown = json.loads(show.as_json([status], "/lab"))
    assert shown["lab"] == "/lab"
    assert shown["members"][0]["connected"] == ["paris"]


def test_durations() -> None:
    """A time is told in the unit that fits."""
    assert [show.duration(seconds) for seconds in (4.2, 300, 9000)] == ["4 s", "5 min", "2.5 h"]
