"""Logins: right ones pass, and guessing is slow."""

from __future__ import annotations

import pytest

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


def test_passwords_are_not_printed() -> None:
    assert "horse" not in repr(SETTINGS)
    assert ServerSettings.from_json(SETTINGS.to_json()) == SETTINGS
