"""Refuse requests that no browser of this page would send, and set the headers that protect it.

- Host: a page on loopback answers to loopback names only, so that a foreign site whose name is made
  to point here (DNS rebinding) reaches nothing.
- Origin: what another site's script sends is refused.
- POST: needs JSON and a header that forms and other sites cannot set.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from edge_ad.address import is_ip, is_loopback

HEADER, HEADER_VALUE = "X-Edge-Ad", "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "edge-ad",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The names under which a page answers: those given, loopback's or any address in digits."""

    names: frozenset[str]
    loopback: bool

    def __contains__(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
            urlsplit(f"//{host}").port  # noqa: B018  raises for an invalid port
        except ValueError:
            return False
        if name in self.names or name == "localhost":
            return True
        return is_loopback(name) if self.loopback else is_ip(name)


def check_request(request: web.Request, hosts: AllowedHosts) -> None:
    """Raise HTTPForbidden, or what fits, for a request that this page did not cause."""
    host = request.headers.get("Host", "")
    if host not in hosts or len(request.headers.getall("Host", [])) > 1:
        raise web.HTTPMisdirectedRequest(
            text="This page does not answer to that name. If it should: edge-ad page --allowed-host"
        )
    origin = request.headers.get("Origin")
    own = (f"http://{host}".lower(), f"https://{host}".lower())  # a proxy may speak TLS for it
    if origin is not None and origin.lower() not in own:
        raise web.HTTPForbidden(
            text="Another site may not ask this page. A proxy must pass on the Host that the "
            "browser sends, with its port."
        )
    if request.method == "POST":
        _check_post(request)
    elif "Upgrade" in request.headers and origin is None:
        raise web.HTTPForbidden(text="A WebSocket needs an Origin.")


def over_tls(request: web.Request) -> bool:
    """Return whether the browser speaks TLS, to this page or to a proxy before it.

    Only for a request with an Origin, such as a POST of a browser.
    """
    return request.secure or request.headers.get("Origin", "").lower().startswith("https://")


def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that protect a page; what is not static is not kept by browsers."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")


def _check_post(request: web.Request) -> None:
    if request.headers.get(HEADER) != HEADER_VALUE:
        raise web.HTTPForbidden(text=f"A POST needs the header {HEADER}: {HEADER_VALUE}.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise web.HTTPForbidden(text="Another site may not ask this page.")
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="A POST is JSON.")
