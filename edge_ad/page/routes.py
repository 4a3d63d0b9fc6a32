"""Every address of the page, with the least role that may use it.

A view of a new kind is a module with its function, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_ad.page.overview import overview
from edge_ad.page.view import Role, View


@dataclass(frozen=True, slots=True)
class Route:
    """One address: GET shows, POST changes. With `menu`, a key of the texts, it has a link."""

    method: str
    path: str
    role: Role
    view: View
    menu: str = ""


ROUTES = (Route("GET", "/", Role.VIEWER, overview, menu="menu_live"),)
MENU = tuple(route for route in ROUTES if route.menu)
