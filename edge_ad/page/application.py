"""The application: routes, guards and errors, around the views."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from edge_ad.control.client import LineAway, RequestRefused
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.page.connections import Connections
from edge_ad.page.door import Door, LoginRefused, TooManyLogins
from edge_ad.page.feed import LiveFeed
from edge_ad.page.guard import AllowedHosts, Handler, check_request, over_tls, protect
from edge_ad.page.login import needs_login
from edge_ad.page.person import Person, Role
from edge_ad.page.render import render, static_files
from edge_ad.page.routes import MENU, ROUTES, Route
from edge_ad.page.texts import best_language, languages, read_texts, text_problems
from edge_ad.page.users import UserFile
from edge_ad.page.view import (
    Answer,
    Content,
    Entry,
    Html,
    Json,
    NotAllowed,
    NotThere,
    PageRequest,
    Stream,
    View,
)

_log = logging.getLogger(__name__)
_THREADS = 4  # views at work; more would only wait for the disk
_MOST_BYTES = 64 << 10  # of a POST
_BODY_WITHIN_S = 10.0
_STATUS: dict[type[EdgeAdError], int] = {
    NotThere: 404,
    LoginRefused: 401,
    TooManyLogins: 429,
    NotAllowed: 403,
    RequestRefused: 409,
    UsageError: 400,
    LineAway: 503,
}
_SESSION = "X-Session"  # from a view to its cookie; never sent
_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What a page serves and to whom.

    `language` is "" for the browser's. `local` is who uses a page without users. `cookie` is the
    name of the one with the session. `certificate` is the file of the page's own.
    """

    folder: Path
    hosts: AllowedHosts
    local: Person
    language: str = ""
    users: UserFile | None = None
    cookie: str = "edge-ad"
    certificate: Path | None = None


class PageApplication:
    """Answers requests with the views of `routes`, through `connections`."""

    def __init__(self, settings: PageSettings, routes: Sequence[Route] = ROUTES) -> None:
        self._settings = settings
        self._door = Door(settings.users, settings.folder) if settings.users else None
        self._pool = ThreadPoolExecutor(_THREADS, "view")
        self.connections = Connections()
        self.app = web.Application(middlewares=[self._guarded], client_max_size=_MOST_BYTES)
        self.app.on_response_prepare.append(_protect)
        self._feed = LiveFeed(settings.folder, settings.certificate)
        self.app.on_shutdown.append(self._shutdown)
        self.app.on_cleanup.append(self._cleanup)
        for problem in text_problems():
            _log.warning("%s", problem)
        for name in static_files():
            self._add("GET", f"/static/{name}", _static(name))
        for route in routes:
            self._add(route.method, route.path, self._handler(route))
        self._add("*", "/{nothing:.*}", _not_there)

    def _add(self, method: str, path: str, handler: Handler) -> None:
        self.app.router.add_route(method, path, handler, expect_handler=_expect)

    def _handler(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            asked = await self._asked(request)
            if needs_login(asked) and route.role > Role.ANONYMOUS:
                return self._to_login(request, asked, route)
            _allow(asked, route)
            if route.view is None:
                return await self._feed.stream(request, asked.texts, partial(self._still, asked))
            work = partial(_answered, route.view, asked, route.path)
            return self._with_session(await self._in_thread(work), secure=over_tls(request))

        return handle

    async def _asked(self, request: web.Request) -> PageRequest:
        body = await _body(request) if request.method == "POST" else {}
        query = {name: request.query.getall(name) for name in request.query}
        path = dict(request.match_info) if request.match_info.http_exception is None else {}
        settings = self._settings
        language = settings.language or best_language(
            request.headers.get("Accept-Language", ""), languages()
        )
        texts = read_texts(language)
        person, entry = settings.local, None
        if self._door is not None:
            token = request.cookies.get(settings.cookie, "")
            person = self._door.person(token)
            entry = Entry(self._door, token, request.remote or "")
        own = settings.certificate
        return PageRequest(settings.folder, person, texts, query, path, body, entry, own)

    def _still(self, asked: PageRequest) -> bool:
        """Return whether somebody who looks may still do so: sessions end, and users go."""
        entry = asked.entry
        return entry is None or entry.door.person(entry.token).role >= Role.VIEWER

    def _to_login(self, request: web.Request, asked: PageRequest, route: Route) -> web.Response:
        """Return where to log in, and after that the view that was asked for."""
        if request.method != "GET" or route.view is None:
            return web.json_response({"error": asked.texts("login_first")}, status=401)
        to = quote(request.path_qs[:1000], safe="/")
        return web.Response(status=303, headers={"Location": f"/login?to={to}"})

    def _with_session(self, response: web.Response, *, secure: bool) -> web.Response:
        """Set or remove the cookie of a session, which no script and no other site can read."""
        token = response.headers.pop(_SESSION, None)
        if token is None:
            return response
        if token:
            response.set_cookie(
                self._settings.cookie,
                token,
                httponly=True,
                samesite="Strict",
                secure=secure,
            )
        else:
            response.del_cookie(self._settings.cookie, secure=secure)
        return response

    async def _in_thread(self, work: Callable[[], web.Response]) -> web.Response:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        with self.connections.answering(request.transport):
            return await self._answer(request, handler)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            check_request(request, self._settings.hosts)
        except web.HTTPException as error:  # without anything of this line
            return web.json_response({"error": error.text}, status=error.status)
        try:
            return await handler(request)
        except web.HTTPException as error:
            text = "" if error.status == 404 else error.text or error.reason
            return await self._problem(request, error.status, text)
        except EdgeAdError as error:
            return await self._problem(request, _status(error), str(error))
        except ConnectionError:
            raise  # who asked has left
        except Exception:
            _log.exception("%s %s", request.method, request.path)
            return await self._problem(request, 500, "")

    async def _problem(self, request: web.Request, status: int, message: str) -> web.Response:
        """Return an error as the one who asked can read it: JSON for a script, else a page."""
        if request.method not in ("GET", "HEAD") or request.path.startswith("/api/"):
            return web.json_response({"error": message}, status=status)
        request = request.clone(method="GET")
        asked = await self._asked(request)
        if needs_login(asked):
            return web.Response(text=message or str(status), status=status)
        text = message or asked.texts("error_404" if status == 404 else "error_inside")
        page = Html("error.html", {"message": text})
        return await self._in_thread(lambda: _response(page, asked, "", status))

    async def _shutdown(self, app: web.Application) -> None:
        await self._feed.close()

    async def _cleanup(self, app: web.Application) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _allow(asked: PageRequest, route: Route) -> None:
    if not asked.may(route.role):
        raise NotAllowed(asked.texts("not_allowed", role=asked.texts.word("role", route.role.name)))


def _status(error: EdgeAdError) -> int:
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 503)


def _answered(view: View, asked: PageRequest, here: str) -> web.Response:
    return _response(view(asked), asked, here)


def _response(answer: Answer, asked: PageRequest, here: str, status: int = 200) -> web.Response:
    if isinstance(answer, Html):
        text = render(answer, asked, MENU, here)
        return web.Response(text=text, content_type="text/html", status=status)
    if isinstance(answer, Json):
        headers = {} if answer.session is None else {_SESSION: answer.session}
        return web.json_response(dict(answer.values), dumps=_dumps, headers=headers)
    return _content(answer)


def _content(answer: Content | Stream) -> web.Response:
    body = _pieces(answer) if isinstance(answer, Stream) else _read(answer.data)
    response = web.Response(body=body, content_type=answer.kind)
    if answer.download:
        name = quote(answer.download)
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return response


async def _pieces(stream: Stream) -> AsyncIterator[bytes]:
    """Yield the pieces of a stream, each made in a thread."""
    loop = asyncio.get_running_loop()
    while (piece := await loop.run_in_executor(None, next, stream.pieces, None)) is not None:
        yield piece


def _read(data: bytes | Path) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return data.read_bytes()
    except OSError:
        raise NotThere(f"{data.name} is not kept any more.") from None


async def _body(request: web.Request) -> dict[str, Any]:
    if (request.content_length or 0) > _MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(_MOST_BYTES, request.content_length or 0)
    try:
        content = json.loads(await asyncio.wait_for(request.read(), _BODY_WITHIN_S))
    except asyncio.TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UsageError("expected one JSON object.")
    return content


def _static(name: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        data, kind = static_files()[name]
        headers = {"Cache-Control": _YEAR}
        return web.Response(body=data, content_type=kind, charset="utf-8", headers=headers)

    return handle


async def _not_there(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Let a client send its body that asks first; aiohttp fails at other words."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    protect(request, response)


def _dumps(values: Any) -> str:
    return json.dumps(values, allow_nan=False)
