"""Fill the page's templates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from edge_ad.clock import local_text
from edge_ad.page.view import Html, PageRequest

if TYPE_CHECKING:
    from edge_ad.page.routes import Route

_STATIC = resources.files("edge_ad.page") / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def render(page: Html, request: PageRequest, menu: Sequence[Route], here: str) -> str:
    """Return a page's HTML. `menu` are the routes of its navigation, `here` the route's path."""
    template = _environment().get_template(page.template)
    return template.render(
        **page.values,
        t=request.texts,
        person=request.person,
        line=request.folder.resolve().name if request.person.role else "",
        logged_in=request.entry is not None and request.person.role > 0,
        menu=[route for route in menu if request.may(route.role)],
        here=here,
    )


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the files that browsers load as they are, by name: content and media type."""
    files = {}
    for entry in _STATIC.iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        files[entry.name] = (entry.read_bytes(), _KINDS[suffix])
    return files


def static_address(name: str) -> str:
    """Return the address of such a file, which changes with its content."""
    return f"/static/{name}?{hashlib.sha256(static_files()[name][0]).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edge_ad.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_address
    environment.filters |= {
        "local": partial(local_text, zone=False),
        "clock": lambda time: local_text(time)[11:19],
        "score": lambda value: f"{value:.4g}",
        "share": lambda value: f"{value:.2%}",
    }
    return environment
