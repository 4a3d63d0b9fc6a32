"""Logins, their limits and sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.page import door as door_module
from edge_ad.page import users as users_module
from edge_ad.page.door import ANONYMOUS, Door, LoginLimits, LoginRefused, TooManyLogins
from edge_ad.page.guard import AllowedHosts
from edge_ad.page.person import Person, Role
from edge_ad.page.users import PageUser, UserFile, add_user, hash_password, is_password
from edge_ad.store.reading import EventFilter, read_events
from tests.beside import Beside
from tests.page.served import make_store, served, user_file

PASSWORD = "correct horse battery"


class Clock:
    """A clock that calls `seam` when it is read."""

    now_s = 0.0
    seam: Callable[[], object] = staticmethod(lambda: None)

    def __call__(self) -> float:
        self.seam()
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Door:
    """Return a door of anna, an operator, and ben, an admin, that checks passwords fast."""

    def fast(user: PageUser | None, password: str) -> bool:
        return user is not None and password == PASSWORD

    monkeypatch.setattr(door_module, "is_password", fast)
    users = UserFile(user_file(tmp_path, anna="operator", ben="admin"))
    return Door(users, make_store(tmp_path), clock)


def test_a_password_is_kept_as_a_slow_salted_hash(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    add_user(path, "anna", Role.OPERATOR, PASSWORD)
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text() and "pbkdf2-sha256$600000$" in path.read_text()
    user = UserFile(path).read()["anna"]
    assert user.role is Role.OPERATOR and is_password(user, PASSWORD)
    assert not is_password(PageUser(Role.VIEWER, hash_password("another one", 1)), PASSWORD)
    assert hash_password(PASSWORD, 1) != hash_password(PASSWORD, 1)


def test_adding_a_user_keeps_the_others_and_adding_one_again_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    for name, role, password in (
        ("anna", Role.OPERATOR, PASSWORD),
        ("ben", Role.VIEWER, "another password"),
        ("anna", Role.ADMIN, "a new long password"),
    ):
        add_user(path, name, role, password)
    users = UserFile(path).read()
    assert {name: user.role for name, user in users.items()} == {
        "anna": Role.ADMIN,
        "ben": Role.VIEWER,
    }
    assert is_password(users["anna"], "a new long password")
    assert not is_password(users["anna"], PASSWORD)
    assert is_password(users["ben"], "another password")


@pytest.mark.parametrize("name", ["", "a b", "<b>", "x" * 65, "-a", "é"])
def test_odd_names_and_short_passwords_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a user name"):
        add_user(tmp_path / "u", name, Role.VIEWER, PASSWORD)
    with pytest.raises(UsageError, match="Expected at least 12"):
        add_user(tmp_path / "u", "anna", Role.VIEWER, "short")
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("users: {}", "has no users"),
        ("- anna", "has no users"),
        ("users: {anna: {role: boss, password: x}}", "expected a role"),
        ("users: {anna: {role: admin, password: secret}}", "no password hash"),
        ("users: {anna: {role: admin, password: pbkdf2-sha256$100000$%s$%s}}", "no password hash"),
        ("users: {anna: 1}", "expected a role"),
        ("users: [", "line 1"),
    ],
)
def test_an_unfit_file_of_users_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(content.replace("%s", "A" * 44))
    path.chmod(0o600)
    with pytest.raises(UsageError, match=reason):
        UserFile(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        UserFile(path)


def test_a_login_begins_a_session_of_its_user(door: Door, tmp_path: Path) -> None:
    token = door.log_in("anna", PASSWORD, "10.0.0.1")
    assert door.person(token) == Person("anna", Role.OPERATOR)
    assert door.person("") == ANONYMOUS and door.person(token[:-1]) == ANONYMOUS
    door.log_out(token, "10.0.0.1")
    assert door.person(token) == ANONYMOUS
    events = read_events(tmp_path, EventFilter(types=("page",)))
    steps = [(event["step"], event["who"], event["source"]) for event in events]
    assert steps == [("login", "anna", "10.0.0.1"), ("logout", "anna", "10.0.0.1")]


def test_sessions_end_by_themselves(door: Door, clock: Clock) -> None:
    idle = door.log_in("anna", PASSWORD, "10.0.0.1")
    clock.now_s = 11 * 3600.0
    used = door.log_in("anna", PASSWORD, "10.0.0.1")
    clock.now_s = 13 * 3600.0
    assert door.person(idle) == ANONYMOUS and door.person(used) != ANONYMOUS
    for hour in range(14, 181):
        clock.now_s = hour * 3600.0
        door.person(used)
    assert door.person(used) == ANONYMOUS  # after a week, however often it was used


def test_beyond_its_number_of_sessions_the_oldest_ends(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "_SESSIONS", 2)
    tokens = [door.log_in("anna", PASSWORD, f"10.0.0.{number}") for number in range(3)]
    assert [door.person(token) != ANONYMOUS for token in tokens] == [False, True, True]


def test_a_flood_of_addresses_takes_no_memory_and_the_newest_still_wait(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "_ADDRESSES", 2)
    limits = LoginLimits(clock)
    for number in range(3):
        assert limits.begin(f"10.0.0.{number}") == 0.0
    assert [limits.begin(f"10.0.0.{number}") > 0.0 for number in (1, 2)] == [True, True]
    assert limits.begin("10.0.0.0") == 0.0, "the oldest is forgotten"


def test_a_user_who_is_gone_or_has_another_password_or_role(door: Door, tmp_path: Path) -> None:
    tokens = {name: door.log_in(name, PASSWORD, "10.0.0.1") for name in ("anna", "ben")}
    user_file(tmp_path, anna="viewer", ben="admin")
    assert door.person(tokens["anna"]) == Person("anna", Role.VIEWER)
    text = (tmp_path / "page-users.yaml").read_text()
    (tmp_path / "page-users.yaml").write_text(text.replace("AAAA", "BBBB", 1))
    assert door.person(tokens["anna"]) == ANONYMOUS
    user_file(tmp_path, ben="admin", carl="viewer")
    assert door.person(tokens["anna"]) == ANONYMOUS and door.person(tokens["ben"]) != ANONYMOUS
    (tmp_path / "page-users.yaml").unlink()
    assert door.person(tokens["ben"]) == ANONYMOUS


def test_wrong_logins_wait_longer_and_longer(door: Door, clock: Clock, tmp_path: Path) -> None:
    def attempt() -> type[Exception]:
        with pytest.raises(UsageError) as caught:
            door.log_in("anna", "wrong password", "10.0.0.1")
        return caught.type

    assert [attempt(), attempt()] == [LoginRefused, TooManyLogins]  # one a second
    clock.now_s = 2.0
    assert attempt() is LoginRefused
    for second in (4.0, 6.0, 8.0):
        clock.now_s = second
        attempt()
    clock.now_s = 10.0
    assert attempt() is TooManyLogins  # five a minute
    assert door.log_in("ben", PASSWORD, "10.0.0.2")  # from elsewhere
    refused = [event for event in read_events(tmp_path, EventFilter(types=("page",)))]
    steps = [(event["step"], event["source"]) for event in refused]
    assert steps == [("refused", "10.0.0.1"), ("login", "10.0.0.2")]  # reported once an hour


def test_twenty_wrong_logins_an_hour_are_all(clock: Clock) -> None:
    limits = LoginLimits(clock)
    for _ in range(20):
        assert limits.begin("10.0.0.1") == 0.0
        clock.now_s += 61.0
    assert limits.begin("10.0.0.1") > 1000.0
    assert limits.begin("10.0.0.2") == 0.0


def test_an_ipv6_network_counts_as_one_address(clock: Clock) -> None:
    limits = LoginLimits(clock)
    assert limits.begin("2001:db8::1") == 0.0
    assert limits.begin("2001:db8::ffff:2") > 0.0
    assert limits.begin("2001:db8:1::1") == 0.0


def test_a_browser_logs_in_and_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "_ROUNDS", 100_000)  # the least that a file may have
    folder = make_store(tmp_path)
    add_user(folder / "page-users.yaml", "anna", Role.OPERATOR, PASSWORD)
    with served(folder, users=UserFile(folder / "page-users.yaml")) as page:
        answer = page.get("/events?camera=a")
        assert answer.status == 303
        assert answer.headers["Location"] == "/login?to=/events%3Fcamera%3Da"
        assert page.get("/login").status == 200
        page.cookie = "edge-ad=chosen-by-somebody-else"
        cookie = page.post("/login", {"name": "anna", "password": PASSWORD}).headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
        assert "chosen-by-somebody-else" not in cookie  # a session before the login is none after
        page.cookie = cookie.partition(";")[0]
        assert "anna (operator)" in page.get("/").text
        assert page.post("/logout").status == 200
        assert page.get("/").status == 303


@pytest.mark.parametrize(("scheme", "secure"), [("https", 1), ("http", 0)])
def test_a_cookie_behind_a_proxy_with_tls_is_for_tls_only(
    scheme: str, secure: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_module, "_ROUNDS", 100_000)
    folder = make_store(tmp_path)
    add_user(folder / "page-users.yaml", "anna", Role.VIEWER, PASSWORD)
    hosts = AllowedHosts(frozenset({"line1"}), loopback=True)
    asked = {"Host": "line1", "Origin": f"{scheme}://line1"}
    with served(folder, users=UserFile(folder / "page-users.yaml"), hosts=hosts) as page:
        login = page.post("/login", {"name": "anna", "password": PASSWORD}, **asked)
        page.cookie = login.headers["Set-Cookie"].partition(";")[0]
        logout = page.post("/logout", **asked)
    assert login.headers["Set-Cookie"].count("Secure") == secure
    assert logout.headers["Set-Cookie"].count("Secure") == secure


def test_wrong_and_odd_logins_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "is_password", lambda user, password: False)
    monkeypatch.setattr(door_module, "_LIMITS", ((3, 3600.0),))
    folder = make_store(tmp_path)
    with served(folder, users=UserFile(user_file(folder, anna="viewer"))) as page:
        wrong: list[object] = [{"name": "anna", "password": "x"}, {"name": 1, "password": []}, {}]
        statuses = [page.post("/login", values).status for values in wrong]
        assert statuses == [401, 401, 401]
        flood = [page.post("/login", wrong[0]).status for _ in range(10)]
        assert flood == [401, 401, *[429] * 8]


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "/\\evil.example", "x"])
def test_a_login_leads_to_this_page_only(to: str, tmp_path: Path) -> None:
    with served(make_store(tmp_path)) as page:
        assert 'data-then="/"' in page.get(f"/login?to={to}").text


class PassedBy(tuple[tuple[int, float], ...]):
    """Limits that call `seam` when a login is compared with them."""

    seam: Callable[[], None]

    def __iter__(self) -> Iterator[tuple[int, float]]:
        self.seam()
        return super().__iter__()


def compared(seam: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = PassedBy(((1, 60.0),))
    limits.seam = seam
    monkeypatch.setattr(door_module, "_LIMITS", limits)


def test_of_two_logins_at_once_one_waits(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = LoginLimits(clock)
    second = Beside(lambda: limits.begin("10.0.0.1"))
    compared(second, monkeypatch)
    assert sorted((limits.begin("10.0.0.1"), second.result())) == [0.0, 60.0]


def test_a_login_that_succeeds_beside_an_attempt_is_not_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = LoginLimits(clock)
    right = Beside(lambda: limits.succeeded("10.0.0.1"))
    compared(right, monkeypatch)
    limits.begin("10.0.0.1")
    right.result()
    assert limits.begin("10.0.0.1") == 0.0


@pytest.mark.parametrize("by", ["another request", "a logout", "a login beyond the bound"])
def test_a_session_ends_once_when_two_end_it(
    by: str, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "_SESSIONS", 1)
    token = door.log_in("anna", PASSWORD, "10.0.0.1")
    calls: dict[str, Callable[[], object]] = {
        "another request": lambda: door.person(token),
        "a logout": lambda: door.log_out(token, "10.0.0.1"),
        "a login beyond the bound": lambda: door.log_in("ben", PASSWORD, "10.0.0.2"),
    }
    clock.now_s = 13 * 3600.0
    second = clock.seam = Beside(calls[by])
    assert door.person(token) == ANONYMOUS
    second.result()
    assert door.person(token) == ANONYMOUS
