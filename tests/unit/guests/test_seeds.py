"""What a guest is told, the image that tells it, key pairs, and offers that count only with a signature."""

from __future__ import annotations

import dataclasses
import io
import stat
from pathlib import Path
from typing import Any

import pycdlib
import pytest
import salt.utils.crypt
import yaml
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError, UnavailableError, WireError
from saltext_logilab.guests.seeds import keys, nocloud, offer, wish
from saltext_logilab.guests.seeds.offer import Offer

HYPERVISOR, OTHER = keys.make_pair(), keys.make_pair()
MINION = {"master": ["one", "two"], "grains": {"role": "web"}}
OFFER = Offer("kvm1", "20261123T101500-1a2b3c4d", "nonce", "web", 900, keys.make_pair().public)


def told(**more: Any) -> dict[str, Any]:
    """Return what an operator tells."""
    return {"minion": MINION, **more}


def test_what_is_told_comes_back_as_it_was() -> None:
    """The record keeps it as plain data; id and hostname are the guest's name where nothing else is told."""
    found = wish.read("web", told(users=["me", {"name": "you"}], ssh_keys=["ssh-ed25519 A"], network={"version": 2}))
    assert (found.id, found.hostname) == ("web", "web")
    assert wish.of(found.plain()) == found


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"id": "../web"}, "letters, digits"),
        ({"id": "web*"}, "letters, digits"),
        ({"id": "a" * 254}, "letters, digits"),
        ({"hostname": "-web"}, "hostname must be such as"),
        ({"hostname": "a..b"}, "hostname must be such as"),
        ({"minion": {}}, "minion must say the master"),
        ({"minion": {"master": "x", "id": "y"}}, "id is told as id"),
        ({"users": [7]}, "users must be"),
        ({"ssh_keys": [{}]}, "ssh_keys must be texts"),
        ({"network": {"ethernets": {}}}, "version 1 or 2"),
        ({"user_data": {"hostname": "x"}}, "a parameter of its own"),
        ({"user_data": {"password": "x"}}, "would be read by others"),
        ({"users": [{"name": "me", "plain_text_passwd": "x"}]}, "would be read by others"),
        ({"user_data": {"write_files": [{"chpasswd": {}}]}}, "would be read by others"),
        ({"userdata": {}}, "did you mean 'user_data'"),
    ],
)
def test_what_cannot_be_told(more: dict[str, Any], sentence: str) -> None:
    """Impossible ids and names, unknown keys and open passwords are sentences that name what is at fault."""
    with pytest.raises(ConfigurationError, match=sentence):
        wish.read("web", {**told(), **more})


def inside(image: bytes) -> dict[str, str]:
    """Return the files of an image, by the names that Linux shows."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found = {}
    for child in iso.list_children(rr_path="/"):
        if not child.is_dot() and not child.is_dotdot():
            target, name = io.BytesIO(), child.rock_ridge.name().decode()
            iso.get_file_from_iso_fp(target, rr_path=f"/{name}")
            found[name] = target.getvalue().decode()
    assert iso.pvd.volume_identifier.strip() == b"cidata"
    iso.close()
    return found


def test_the_image_tells_all_of_it() -> None:
    """Label, names and words are those of cloud-init; the private key is closed, and the user's own lines go first."""
    more = {"packages": ["jq"], "runcmd": [["true"]], "write_files": [{"path": "/own"}]}
    named = told(id="web.example.com", users=["me"], ssh_keys=["k"], network={"version": 2}, user_data=more)
    asked = wish.read("web", named)
    pair = keys.make_pair()
    found = inside(nocloud.image(nocloud.files(asked, pair, "instance-1")))
    assert set(found) == {"user-data", "meta-data", "network-config"}
    assert yaml.safe_load(found["meta-data"]) == {"instance-id": "instance-1", "local-hostname": "web.example.com"}
    assert yaml.safe_load(found["network-config"]) == {"version": 2}
    assert found["user-data"].startswith("#cloud-config\n")
    data = yaml.safe_load(found["user-data"])
    files = {one["path"]: one for one in data["write_files"]}
    assert (data["hostname"], data["fqdn"]) == ("web", "web.example.com")
    assert data["users"] == ["default", "me"]
    assert data["packages"] == ["jq"]
    assert data["runcmd"][0] == ["true"]
    assert next(iter(files)) == "/own"
    assert files["/etc/salt/pki/minion/minion.pem"]["content"] == pair.private
    assert files["/etc/salt/pki/minion/minion.pem"]["permissions"] == "0400"
    assert yaml.safe_load(files["/etc/salt/minion.d/99-seed.conf"]["content"]) == {**MINION, "id": "web.example.com"}


def test_only_root_reads_an_image(tmp_path: Path) -> None:
    """It has the mode 0600, takes no file's place, and does not stay half."""
    path = tmp_path / "seed.iso"
    nocloud.write(path, b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UnavailableError, match="cannot be made"):
        nocloud.write(path, b"y")
    assert path.read_bytes() == b"x"
    with pytest.raises(UnavailableError, match="cannot be made"):
        nocloud.write(tmp_path / "none/seed.iso", b"y")


def test_half_an_image_does_not_stay(small_disk: Any) -> None:
    """On a full disk it fails with a sentence."""
    folder = small_disk(64 * 1024)
    with pytest.raises(UnavailableError, match="No space left"):
        nocloud.write(folder / "seed.iso", b"x" * 1024 * 1024)
    assert list(folder.iterdir()) == []


def test_a_pair_is_one_of_salts(tmp_path: Path) -> None:
    """Salt tells the same fingerprint of it; the private key shows up in no representation."""
    pair = keys.make_pair()
    (tmp_path / "k.pub").write_text(f"{pair.public}\n")
    assert keys.fingerprint(pair.public) == salt.utils.crypt.pem_finger(str(tmp_path / "k.pub"), sum_type="sha256")
    assert "PRIVATE" not in repr(pair)
    assert keys.same(pair.public, pair.public.replace("\n", "\r\n"))
    assert not keys.same(pair.public, HYPERVISOR.public)


def test_an_offer_counts_as_it_was_signed() -> None:
    """It is read with the hypervisor's key, and with no other."""
    signed = OFFER.signed(HYPERVISOR.private.encode())
    assert offer.read(signed.plain(), "kvm1", HYPERVISOR.public) == signed
    with pytest.raises(WireError, match="not that of the hypervisor"):
        offer.read(signed.plain(), "kvm1", OTHER.public)
    with pytest.raises(WireError, match="not of 'kvm2'"):
        offer.read(signed.plain(), "kvm2", HYPERVISOR.public)


@given(st.sampled_from(["task", "nonce", "id", "left", "public", "signature"]), st.data())
def test_no_part_of_an_offer_can_be_changed(name: str, data: st.DataObject) -> None:
    """Whatever is put in the place of one of its parts, it does not count."""
    plain = OFFER.signed(HYPERVISOR.private.encode()).plain()
    other = data.draw(st.integers() if name == "left" else st.text())
    if other != plain[name]:
        with pytest.raises(WireError):
            offer.read({**plain, name: other}, "kvm1", HYPERVISOR.public)


@pytest.mark.parametrize(
    "wrong", [None, [], "x", {}, {"host": "kvm1"}, {**OFFER.plain(), "more": 1}, {**OFFER.plain(), "left": "1"}]
)
def test_what_is_no_offer(wrong: object) -> None:
    """It is refused with a sentence, whatever it is."""
    with pytest.raises(WireError, match="sent no offer"):
        offer.read(wrong, "kvm1", HYPERVISOR.public)


def test_what_is_no_key() -> None:
    """Neither an offer of something else than an RSA key of 2048 bits nor a signature by something else counts."""
    for wrong in ("", "x", "-----BEGIN PUBLIC KEY-----\n", keys.make_pair(1024).public):
        signed = dataclasses.replace(OFFER, public=wrong).signed(HYPERVISOR.private.encode())
        with pytest.raises(WireError, match="public key"):
            offer.read(signed.plain(), "kvm1", HYPERVISOR.public)
    with pytest.raises(ConfigurationError, match="cannot sign"):
        OFFER.signed(b"x")
