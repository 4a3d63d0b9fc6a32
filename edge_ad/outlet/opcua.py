"""Show the line to OPC UA clients, by a server in a process beside it."""

from __future__ import annotations

import errno
import importlib.util
import socket
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote

import edge_ad
from edge_ad.address import is_loopback
from edge_ad.errors import MissingExtra, UsageError
from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Verdict
from edge_ad.opcua.settings import ServerSettings
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.opcua_feed import Feed
from edge_ad.outlet.opcua_process import ServerProcess
from edge_ad.setting import Setting, SettingChange
from edge_ad.store.store import Store
from edge_ad.uri import Uri, host_and_port, number

_PORT = 4840
_LEFT_S = 6.0  # for the server of a line that has just ended to leave its port
_SHORTEST = 8  # characters of a password


def open_opcua(uri: Uri) -> Outlet:
    """Open `opcua://HOST:PORT`. Raises UsageError, MissingExtra, or OSError for a port in use."""
    settings = server_settings(uri)
    _check_port(settings.host, settings.port)
    return OpcUaOutlet(str(uri), settings)


def parse_opcua(uri: Uri) -> ServerSettings:
    """Read the options as `open_opcua` does; a certificate that it would make is not made."""
    return server_settings(uri, make=False)


class OpcUaOutlet(Outlet):
    """Hands states and alarms to the server, which is started again when it dies.

    A call only keeps what it is given; a thread does the rest. The server shows no PASS when it is
    given nothing fresh.
    """

    def __init__(self, name: str, settings: ServerSettings) -> None:
        self._name, self._url = name, settings.url
        began = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
        self._feed = Feed(began)
        self._process = ServerProcess(name, settings, self._feed)
        self._process.start()

    @property
    def name(self) -> str:
        return self._name

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        self._feed.cameras(cameras)
        self._process.use_store(store)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self._feed.result(inspection)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self._feed.alarm(event)
        if event.test:
            self._show_test(event)

    def setting_changed(self, change: SettingChange) -> None:
        if change.setting is Setting.PAUSED:
            self._feed.paused(change.camera, paused=bool(change.new))

    def close(self) -> None:
        self._process.close()

    def _show_test(self, event: AlarmEvent) -> None:
        """Show a simulated result too, and wait until clients can read it. Raises OSError."""
        self._feed.result(
            Inspection(
                Verdict.REJECT,
                event.peak_score,
                event.threshold,
                camera=event.camera,
                time_utc=event.time_utc,
            ),
            test=True,
        )
        self._process.wait_until_serving()
        self.answer = f"serves {self._url}"


def server_settings(uri: Uri, *, make: bool = True) -> ServerSettings:
    """Read the options of a URI, and `make` the certificate that `pki` does not have yet.

    Raises UsageError for what would not be safe.
    """
    if importlib.util.find_spec("asyncua") is None:
        raise MissingExtra("opcua://", "asyncua", "opcua")
    user, _, address = uri.place.rpartition("@")
    host, port = host_and_port(
        replace(uri, place=address.rstrip("/"), shown=str(uri)), "127.0.0.1", _PORT
    )
    users = {**_one_user(uri, user), **_users_of(uri)}
    certificate, key = _certificate(uri, host, make=make)
    encrypted = certificate is not None or "pki" in uri.options
    near = is_loopback(host)
    if not near and not (users and encrypted):
        raise UsageError(
            f"{uri}: {host} can be reached from other machines, so users and a certificate are "
            "needed. Give opcua://NAME:${ENV:PASSWORD}@HOST:PORT?pki=DIR, or serve on 127.0.0.1."
        )
    if users and not encrypted:
        raise UsageError(
            f"{uri}: users log in over an encrypted connection only, which needs a certificate. "
            "Give pki=DIR to have one made there, or certificate=FILE and key=FILE."
        )
    return ServerSettings(
        host=host,
        port=port,
        uri=_application_uri(certificate, key),
        users=users,
        anonymous=_anonymous(uri, near=near),
        plain=near,
        certificate=str(certificate or ""),
        key=str(key or ""),
        stale_s=number(uri, "stale_ms", 2000.0, least=50.0) / 1e3,
        version=edge_ad.__version__,
    )


def _anonymous(uri: Uri, *, near: bool) -> bool:
    value = uri.options.get("anonymous", "read" if near else "no")
    if value not in ("read", "no"):
        raise UsageError(f"{uri}: option anonymous must be read or no, got '{value}'.")
    return value == "read"


def _one_user(uri: Uri, user: str) -> dict[str, str]:
    if not user:
        return {}
    name, _, password = user.partition(":")
    return _checked(uri, {unquote(name): unquote(password)})


def _users_of(uri: Uri) -> dict[str, str]:
    """Read the file of users: a line each, NAME:PASSWORD."""
    if "users" not in uri.options:
        return {}
    path = Path(uri.options["users"])
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise UsageError(f"{uri}: users={path} cannot be read ({reason}).") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{uri}: others may read {path}, which has passwords. Run: chmod 600 {path}"
        )
    users: dict[str, str] = {}
    for number_, line in enumerate(lines, 1):
        name, separator, password = line.partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if not separator or name in users:
            problem = "is there twice" if separator else "is missing"
            raise UsageError(
                f"{path}, line {number_}: expected NAME:PASSWORD, each name once; "
                f"{'the name' if separator else 'the colon'} {problem}."
            )
        users[name] = password
    if not users:
        raise UsageError(f"{path} has no users. Expected a line NAME:PASSWORD for each.")
    return _checked(uri, users)


def _checked(uri: Uri, users: dict[str, str]) -> dict[str, str]:
    for name, password in users.items():
        if not name or name != name.strip():
            raise UsageError(f"{uri}: a user has no name, or one that begins or ends with a space.")
        if len(password) < _SHORTEST:
            raise UsageError(
                f"{uri}: the password of user {name} is shorter than {_SHORTEST} characters."
            )
    return users


def _certificate(uri: Uri, host: str, *, make: bool) -> tuple[Path | None, Path | None]:
    options = uri.options
    given = [name for name in ("certificate", "key") if name in options]
    if len(given) == 1 or (given and "pki" in options):
        raise UsageError(f"{uri}: give certificate=FILE together with key=FILE, or pki=DIR alone.")
    if given:
        return Path(options["certificate"]), Path(options["key"])
    if "pki" not in options:
        return None, None
    from edge_ad.opcua.certificate import CERTIFICATE_FILES, own_certificate

    folder = Path(options["pki"])
    if not make and not any((folder / name).exists() for name in CERTIFICATE_FILES):
        return None, None
    try:
        return own_certificate(folder, host)
    except OSError as error:
        raise UsageError(
            f"{uri}: no certificate can be made in {folder} ({error.strerror or error})."
        ) from error


def _application_uri(certificate: Path | None, key: Path | None) -> str:
    if certificate is None or key is None:
        return f"urn:edge-ad:{socket.gethostname()}"
    from edge_ad.opcua.certificate import application_uri

    return application_uri(certificate, key)


def _check_port(host: str, port: int) -> None:
    """Raise OSError when the port cannot be listened on, also not in a moment."""
    until = time.monotonic() + _LEFT_S
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except socket.gaierror as error:
            raise OSError(f"{host}: {error.strerror}") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            time.sleep(0.1)
