"""Every address of the page, with the least role that may use it.

A view of a new kind is a module with its function, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_ad.page.audit import audit
from edge_ad.page.dataset import dataset, dataset_zip
from edge_ad.page.events import events, note_events, one_event
from edge_ad.page.evidence import event_image
from edge_ad.page.health import change_outbox, health, pause_camera, set_rule
from edge_ad.page.live import live
from edge_ad.page.login import log_in, log_out, login_page
from edge_ad.page.person import Role
from edge_ad.page.threshold import ask_what_if, set_threshold, threshold, undo_threshold
from edge_ad.page.trends import trends
from edge_ad.page.view import View


@dataclass(frozen=True, slots=True)
class Route:
    """One address: GET shows, POST changes. With `menu`, a key of the texts, it has a link.

    Without a view it is the WebSocket of the live view.
    """

    method: str
    path: str
    role: Role
    view: View | None = None
    menu: str = ""


_EVENT = "/events/{seq:[0-9]{1,18}}"
ROUTES = (
    Route("GET", "/", Role.VIEWER, live, menu="menu_live"),
    Route("GET", "/live/feed", Role.VIEWER),
    Route("GET", "/login", Role.ANONYMOUS, login_page),
    Route("POST", "/login", Role.ANONYMOUS, log_in),
    Route("POST", "/logout", Role.ANONYMOUS, log_out),
    Route("GET", "/events", Role.VIEWER, events, menu="menu_events"),
    Route("GET", _EVENT, Role.VIEWER, one_event),
    Route("GET", f"{_EVENT}/{{panel:whole|left|right|small}}", Role.VIEWER, event_image),
    Route("POST", "/events/notes", Role.OPERATOR, note_events),
    Route("GET", "/dataset", Role.OPERATOR, dataset),
    Route("GET", "/dataset.zip", Role.OPERATOR, dataset_zip),
    Route("GET", "/threshold", Role.VIEWER, threshold, menu="menu_threshold"),
    Route("GET", "/api/what-if", Role.VIEWER, ask_what_if),
    Route("POST", "/threshold", Role.ADMIN, set_threshold),
    Route("POST", "/threshold/undo", Role.ADMIN, undo_threshold),
    Route("GET", "/trends", Role.VIEWER, trends, menu="menu_trends"),
    Route("GET", "/health", Role.VIEWER, health, menu="menu_health"),
    Route("POST", "/cameras/pause", Role.OPERATOR, pause_camera),
    Route("POST", "/cameras/rule", Role.ADMIN, set_rule),
    Route("POST", "/outbox", Role.ADMIN, change_outbox),
    Route("GET", "/audit", Role.VIEWER, audit, menu="menu_audit"),
)
MENU = tuple(route for route in ROUTES if route.menu)
