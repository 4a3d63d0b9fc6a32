"""Every address of the page is for its role, and answers nonsense without failing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from edge_ad.page.person import Person, Role
from edge_ad.page.routes import ROUTES, Route
from edge_ad.page.users import UserFile
from tests.page.served import ServedPage, make_store, served, user_file

# What stands in an address in the place of each name; a new name needs an entry.
EXAMPLES = {"seq": "1", "panel": "whole"}
_NAME = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
ODD = [
    "..%2F..%2Fetc%2Fpasswd",
    "%00",
    "'%20OR%201=1--",
    "-1",
    "%F0%9F%98%80",
    "9" * 30,
    "a" * 3000,
]


class Pages(NamedTuple):
    """One page for each role, and one whose visitor has not logged in."""

    by_role: dict[Role, ServedPage]
    closed: ServedPage


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = make_store(tmp_path_factory.mktemp("line"))
    viewer, operator, admin = (
        served(folder, local=Person(role.name, role))
        for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    )
    closed = served(folder, users=UserFile(user_file(folder, anna="admin")))
    with viewer as one, operator as two, admin as three, closed as four:
        yield Pages({Role.VIEWER: one, Role.OPERATOR: two, Role.ADMIN: three}, four)


def address(route: Route, value: str = "") -> str:
    """Return an address of a route, with examples or `value` in its variable places."""
    return _NAME.sub(lambda name: value or EXAMPLES[name[1]], route.path)


def named(route: Route) -> str:
    return f"{route.method} {_NAME.sub(lambda name: name[1], route.path)}"


def status(page: ServedPage, route: Route, where: str) -> int:
    return (page.get(where) if route.method == "GET" else page.post(where)).status


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_a_role_below_is_refused_and_others_are_not(route: Route, pages: Pages) -> None:
    for role, page in pages.by_role.items():
        got = status(page, route, address(route))
        assert (got == 403) == (role < route.role), role
        assert got < 500 or got == 503, role  # no line runs


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_who_has_not_logged_in_sees_the_login_only(route: Route, pages: Pages) -> None:
    got = status(pages.closed, route, address(route))
    if route.role is Role.ANONYMOUS:
        assert got in (200, 401)
    elif route.method == "GET" and route.view is not None:
        assert got == 303
    else:
        assert got == 401


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "POST"], ids=named)
def test_a_change_needs_the_header_of_this_page(route: Route, pages: Pages) -> None:
    page = pages.by_role[Role.ADMIN]
    assert page.post(address(route), X_Edge_Ad="").status == 403
    assert page.post(address(route), Origin="http://evil.example").status == 403
    assert page.get(address(route)).status in (200, 404, 405)


@pytest.mark.parametrize("value", ODD)
def test_odd_addresses_lead_nowhere(value: str, pages: Pages) -> None:
    for route in ROUTES:
        answer = pages.by_role[Role.ADMIN].get(address(route, value) + f"?camera={value}&q={value}")
        assert answer.status < 500 or answer.status == 503, route.path
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/static/../application.py", "/static/%2e%2e/users.py", "/static/", "/evidence/../line.db"],
)
def test_files_outside_the_table_are_not_there(path: str, pages: Pages) -> None:
    assert pages.by_role[Role.ADMIN].get(path).status == 404


def test_no_answer_has_a_password_hash(pages: Pages) -> None:
    for route in ROUTES:
        if route.method == "GET":
            assert "pbkdf2" not in pages.by_role[Role.ADMIN].get(address(route)).text
