"""Keys and trust files: who can read them, what is refused, and that nothing secret is printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edge_ad.bundle.signing import parse_public, write_secret
from edge_ad.bundle.trust import Trust, TrustedKey, load_trust, save_trust
from edge_ad.errors import UsageError
from tests.conftest import invoke

SECRET = "correct horse"


def test_a_key_is_for_its_owner_only_and_is_not_printed(tmp_path: Path) -> None:
    key = tmp_path / "release.key"
    done = invoke("keys", "new", key)
    assert done.returncode == 0 and key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" in key.read_text() and "PRIVATE" not in done.stdout
    body = key.read_text().splitlines()[1]
    assert body not in done.stdout + done.stderr
    public = (tmp_path / "release.key.pub").read_text().strip()
    assert public in done.stdout and public in invoke("keys", "show", key).stdout
    assert invoke("keys", "show", public).stdout == invoke("keys", "show", f"{key}.pub").stdout


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    done = invoke("keys", "new", tmp_path / "release.key")
    assert done.returncode == 3 and "edge-ad[bundle]" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = tmp_path / "release.key"
    invoke("keys", "new", key)
    before = key.read_bytes()
    (tmp_path / "release.key.pub").unlink()
    done = invoke("keys", "new", key)
    assert done.returncode == 2 and "a key that is overwritten is lost" in done.stderr
    assert key.read_bytes() == before and not (tmp_path / "release.key.pub").exists()


def test_a_key_that_the_disk_has_no_room_for_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = invoke("keys", "new", tmp_path / "release.key")
    assert done.returncode == 6 and "No space left on device" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_passphrase_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "release.key"
    done = invoke("keys", "new", key, "--passphrase")
    assert done.returncode == 2 and "EDGE_AD_KEY_PASSPHRASE" in done.stderr and not key.exists()
    monkeypatch.setenv("EDGE_AD_KEY_PASSPHRASE", SECRET)
    assert invoke("keys", "new", key, "--passphrase").returncode == 0
    assert "ENCRYPTED" in key.read_text() and invoke("keys", "show", key).returncode == 0
    monkeypatch.setenv("EDGE_AD_KEY_PASSPHRASE", "another")
    wrong = invoke("keys", "show", key)
    assert wrong.returncode == 2 and "the passphrase is wrong" in wrong.stderr
    assert "another" not in wrong.stderr


# on secp112r1, a curve that the library does not support
ODD_CURVE = """-----BEGIN EC PRIVATE KEY-----
MD4CAQEEDnjj4RBEK5v+TXteljOuoAcGBSuBBAAGoSADHgAEmdFmK7wzT0Pu5bNf
3+IzN9LnRbEWIY42ipKQTQ==
-----END EC PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n", "ed25519:AAAA", ODD_CURVE]
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.key").write_text(text)
    (tmp_path / "x.key").chmod(0o600)
    done = invoke("keys", "show", tmp_path / "x.key")
    assert done.returncode == 2 and "x.key: " in done.stderr and "Traceback" not in done.stderr


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519

    write_secret(
        tmp_path / "x.key",
        x25519.X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    done = invoke("keys", "show", tmp_path / "x.key")
    assert done.returncode == 2 and "not an Ed25519 key" in done.stderr


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "release.key"
    invoke("keys", "new", key)
    key.chmod(0o640)
    done = invoke("bundle", "sign", tmp_path / "x.edgead", "--key", key)
    assert done.returncode == 2 and f"chmod 600 {key}" in done.stderr


def test_keys_are_trusted_and_revoked_by_name(tmp_path: Path) -> None:
    key, trust = tmp_path / "release.key", tmp_path / "trust.yaml"
    invoke("keys", "new", key)
    known = ["--trust", trust]
    assert invoke("keys", "trust", f"{key}.pub", "--name", "release", *known).returncode == 0
    assert invoke("keys", "trust", f"{key}.pub", "--name", "again", *known).returncode == 0
    assert " again\n" in invoke("keys", "show", *known).stdout  # renamed, not added
    assert len(load_trust(trust).keys) == 1
    done = invoke("keys", "revoke", "again", "--reason", "stolen", *known)
    assert done.returncode == 0 and "REVOKED stolen" in invoke("keys", "show", *known).stdout
    again = invoke("keys", "trust", f"{key}.pub", *known)
    assert again.returncode == 2 and "is revoked" in again.stderr
    unknown = invoke("keys", "revoke", "nobody", *known)
    assert unknown.returncode == 2 and "nobody: no such file" in unknown.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys: 3", "not a valid trust file"),
        ("keys:\n- name: a\n  key: ed25519:AAAA", "not a public key"),
        ("trusted: []", "not a valid trust file"),
        ("keys: [\n", "cannot be read"),
    ],
)
def test_with_a_wrong_trust_file_no_key_is_trusted(tmp_path: Path, text: str, message: str) -> None:
    trust = tmp_path / "trust.yaml"
    trust.write_text(text)
    trust.chmod(0o644)
    done = invoke("bundle", "verify", tmp_path / "x.edgead", "--trust", trust)
    assert done.returncode == 2 and message in done.stderr


def test_a_trust_file_is_its_owner_s_whatever_the_umask(tmp_path: Path) -> None:
    trust = ("--trust", tmp_path / "trust.yaml")
    invoke("keys", "new", tmp_path / "release.key")
    before = os.umask(0o002)  # as on Ubuntu
    try:
        assert invoke("keys", "trust", tmp_path / "release.key.pub", *trust).returncode == 0
    finally:
        os.umask(before)
    assert "release.key" in invoke("keys", "show", *trust).stdout
    assert (tmp_path / "trust.yaml").stat().st_mode & 0o777 == 0o644


def test_a_trust_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    trust = tmp_path / "trust.yaml"
    trust.write_text("keys: []\n")
    trust.chmod(0o666)
    done = invoke("keys", "show", "--trust", trust)
    assert done.returncode == 2 and f"chmod go-w {trust}" in done.stderr
    trust.chmod(0o644)
    tmp_path.chmod(0o777)
    done = invoke("keys", "show", "--trust", trust)
    assert done.returncode == 2 and f"chmod o-w {tmp_path}" in done.stderr
    tmp_path.chmod(0o1777)
    assert invoke("keys", "show", "--trust", trust).returncode == 0
    if os.geteuid() == 0:
        os.chown(trust, 12345, -1)
        done = invoke("keys", "show", "--trust", trust)
        assert done.returncode == 2 and "belongs to user 12345" in done.stderr


def test_a_trust_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_trust(tmp_path)


def test_without_a_trust_file_no_key_is_trusted(tmp_path: Path) -> None:
    done = invoke("bundle", "verify", tmp_path / "x", "--trust", tmp_path / "none.yaml")
    assert done.returncode == 2 and "edge-ad keys trust KEY.pub" in done.stderr


@pytest.mark.parametrize("names", [("first", "second"), ("same", "same")])
def test_a_key_and_a_name_stand_once(tmp_path: Path, names: tuple[str, str]) -> None:
    """With two keys of one name, revoking by the name would leave one of them."""
    one, other = (parse_public(f"ed25519:{letter * 42}A=", "") for letter in "AB")
    trust, second = tmp_path / "trust.yaml", other if names == ("same", "same") else one
    keys = [TrustedKey(name=names[0], key=str(one)), TrustedKey(name=names[1], key=str(second))]
    save_trust(trust, Trust(keys=tuple(keys)))
    with pytest.raises(UsageError, match="a key or a name stands twice"):
        load_trust(trust)
    with pytest.raises(UsageError, match="another key is called 'same'"):
        Trust().adding("same", one).adding("same", other)
