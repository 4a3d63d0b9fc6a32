"""The views that let people in and out."""

from __future__ import annotations

from edge_ad.page.door import LoginRefused, TooManyLogins
from edge_ad.page.person import Role
from edge_ad.page.view import Answer, Html, Json, PageRequest


def login_page(request: PageRequest) -> Answer:
    """Show the fields for name and password; `to` is the view that was asked for."""
    return Html("login.html", {"to": _own(request.one("to", "/"))})


def log_in(request: PageRequest) -> Answer:
    """Begin a session, and end the one that the browser had before."""
    entry = request.entry
    if entry is None:
        return Json({"ok": True})
    name, password = request.body.get("name"), request.body.get("password")
    if not isinstance(name, str) or not isinstance(password, str):
        raise LoginRefused(request.texts("login_wrong"))
    try:
        token = entry.door.log_in(name, password, entry.address)
    except TooManyLogins as error:
        raise TooManyLogins(request.texts("login_wait", seconds=str(error))) from error
    except LoginRefused as error:
        raise LoginRefused(request.texts("login_wrong")) from error
    entry.door.log_out(entry.token, entry.address)
    return Json({"ok": True}, session=token)


def log_out(request: PageRequest) -> Answer:
    """End the session."""
    if request.entry is not None:
        request.entry.door.log_out(request.entry.token, request.entry.address)
    return Json({"ok": True}, session="")


def needs_login(request: PageRequest) -> bool:
    """Return whether somebody has to log in first."""
    return request.entry is not None and request.person.role is Role.ANONYMOUS


def _own(address: str) -> str:
    """Return an address of this page; another one becomes that of the first view."""
    own = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if own and address.isprintable() else "/"
