"""One HTTP request with limits on everything: time, redirects and what comes back."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from edge_ad.address import basic_login

LONGEST_WAIT_S = 3600.0
_ANSWER_BYTES = 4096  # of a longer answer the rest is not read


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the other side said; `retry_after_s` is its header of that name."""

    status: int
    text: str
    location: str = ""
    retry_after_s: float | None = None


class HttpRequest:
    """A POST to one URL, a connection for each, through the proxy of the environment if any.

    It takes `connect_s` for connecting to an address of the name, and `total_s` in all at most.
    Redirects are not followed.
    """

    def __init__(
        self, url: SplitResult, context: ssl.SSLContext | None, connect_s: float, total_s: float
    ) -> None:
        self._url, self._context = url, context
        self._connect_s, self._total_s = connect_s, total_s
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._aborted = ""
        self._reached: tuple[str, int] | None = None

    def post(self, body: bytes, headers: Mapping[str, str], target: str) -> HttpAnswer:
        """Send a body and return the answer. Raises OSError, TimeoutError when time is up."""
        self._aborted = ""
        try:
            connection, prefix, proxy_headers = self._connect()
        except ValueError as error:
            raise ConnectionError(f"the environment's proxy is not an address ({error})") from error
        timer = threading.Timer(self._total_s, self.abort, [f"no answer in {self._total_s:g} s"])
        timer.daemon = True
        timer.start()
        self._connection = connection
        connection._create_connection = self._dial  # type: ignore[attr-defined]
        try:
            connection.connect()
            self._socket = connection.sock
            self._socket.settimeout(None)  # what follows is limited by the timer alone
            self._raise_abort()  # it may have come before there was a socket to close
            connection.request("POST", prefix + target, body, {**headers, **proxy_headers})
            answer = _answer(connection.getresponse())
            self._raise_abort()  # a head cut short looks complete
            return answer
        except HTTPException as error:
            self._raise_abort()
            raise ConnectionError(f"no answer in HTTP ({_words(error)})") from error
        except (OSError, ValueError) as error:  # ValueError: of a socket closed by the timer
            self._raise_abort()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no connection in {self._connect_s:g} s") from error
            raise error if isinstance(error, OSError) else ConnectionError(str(error)) from error
        finally:
            timer.cancel()
            connection.close()
            self._connection = self._socket = None

    def abort(self, reason: str) -> None:
        """End a request under way in another thread, which raises TimeoutError with the reason."""
        connection = self._connection
        if connection is None:
            return
        self._aborted = reason
        sock = self._socket or connection.sock  # which it forgets when the other side will close
        if sock is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS knows nothing of it
            except OSError:
                pass

    def _raise_abort(self) -> None:
        if self._aborted:
            raise TimeoutError(self._aborted)

    def _dial(
        self, place: tuple[str, int], timeout_s: float, source: tuple[str, int] | None
    ) -> socket.socket:
        """Connect to a name, first to the address that was reached last: another may be dead."""
        found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
        addresses = [(str(info[4][0]), place[1]) for info in found]
        addresses.sort(key=lambda address: address != self._reached)
        for address in addresses:
            try:
                connected = socket.create_connection(address, timeout_s, source)
            except OSError:
                if address == addresses[-1]:
                    raise
            else:
                self._reached = address
                return connected
        raise OSError(f"{place[0]} has no address")

    def _connect(self) -> tuple[HTTPConnection, str, Mapping[str, str]]:
        """Return a connection, what stands before the path, and headers for a plain proxy.

        Raises ValueError for an invalid proxy.
        """
        host, secure = self._url.hostname or "", self._url.scheme == "https"
        port = self._url.port or (443 if secure else 80)
        proxy = _proxy(self._url)
        address = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        if not secure:
            prefix = f"http://{_host_port(host, port)}" if proxy else ""
            return HTTPConnection(*address, timeout=self._connect_s), prefix, _login(proxy)
        connection = HTTPSConnection(*address, timeout=self._connect_s, context=self._context)
        if proxy:
            connection.set_tunnel(host, port, dict(_login(proxy)))
        return connection, "", {}


def _proxy(url: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for a URL, as curl reads it."""
    text = getproxies().get(url.scheme)
    if not text or proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(text if "://" in text else f"http://{text}")


def _login(proxy: SplitResult | None) -> Mapping[str, str]:
    """Return the header with the user and password that a proxy's URL names."""
    if proxy is None or not proxy.username:
        return {}
    return {"Proxy-Authorization": basic_login(proxy)}


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _answer(response: HTTPResponse) -> HttpAnswer:
    return HttpAnswer(
        status=response.status,
        text=response.read(_ANSWER_BYTES).decode(errors="replace").strip(),
        location=response.headers.get("Location", ""),
        retry_after_s=_retry_after_s(response.headers.get("Retry-After", "")),
    )


def _retry_after_s(value: str) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; an hour at most."""
    if value.isascii() and value.strip().isdigit():
        return min(float(value), LONGEST_WAIT_S)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def _words(error: HTTPException) -> str:
    return f"{type(error).__name__}: {str(error)[:100]!r}" if str(error) else type(error).__name__
