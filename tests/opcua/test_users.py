"""Logins: right ones pass, and guessing is slow."""

from __future__ import annotations

import pytest

from edge_ad.opcua import users
from edge_ad.opcua.settings import ServerSettings
from edge_ad.opcua.users import FAILURES, Logins

SETTINGS = ServerSettings("127.0.0.1", 4840, "urn:x", users={"operator": "correct horse", "": ""})


@pytest.mark.parametrize("password", ["", "correct", "correct horse ", "CORRECT HORSE", "\udc80"])
def test_a_wrong_password_is_refused(password: str) -> None:
    logins = Logins(SETTINGS)
    assert logins.check("operator", password, "10.0.0.9") == "wrong name or password"
    assert logins.check("operator", "correct horse", "10.0.0.9") == ""


@pytest.mark.parametrize("name", ["", "nobody", "admin", "Operator"])
def test_who_is_not_there_is_refused(name: str) -> None:
    for password in ("", "correct horse"):
        assert Logins(SETTINGS).check(name, password, "10.0.0.9")


def test_an_address_that_fails_too_often_waits() -> None:
    now = 100.0
    logins = Logins(SETTINGS, lambda: now)
    for _ in range(FAILURES):
        logins.check("operator", "guess", "10.0.0.9")
    assert "failed logins" in logins.check("operator", "correct horse", "10.0.0.9")
    assert logins.check("operator", "correct horse", "10.0.0.8") == ""
    now += 61.0
    assert logins.check("operator", "correct horse", "10.0.0.9") == ""


def test_a_right_login_forgets_the_failed_ones_before() -> None:
    logins = Logins(SETTINGS, lambda: 100.0)
    for _ in range(2):
        for _ in range(FAILURES - 1):
            assert logins.check("operator", "guess", "10.0.0.9") == "wrong name or password"
        assert logins.check("operator", "correct horse", "10.0.0.9") == ""


def test_beyond_the_bound_the_address_that_failed_last_still_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(users, "_ADDRESSES", 2)
    logins = Logins(SETTINGS, lambda: 100.0)
    for address in ("10.0.0.8", "10.0.0.9", *["10.0.0.8"] * (FAILURES - 1), "10.0.0.7"):
        logins.check("operator", "guess", address)
    assert "failed logins" in logins.check("operator", "correct horse", "10.0.0.8")


def test_passwords_are_not_printed() -> None:
    assert "horse" not in repr(SETTINGS)
    assert ServerSettings.from_json(SETTINGS.to_json()) == SETTINGS
