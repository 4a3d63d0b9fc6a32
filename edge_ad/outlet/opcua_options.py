"""Read the options of `opcua://`, and refuse what would not be safe."""

from __future__ import annotations

import importlib.util
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import edge_ad
from edge_ad.address import is_loopback
from edge_ad.errors import MissingExtra, UsageError
from edge_ad.opcua.settings import ServerSettings
from edge_ad.uri import Uri, host_and_port, number, one_of

_PORT = 4840
_SHORTEST = 8  # characters of a password


def parse_opcua(uri: Uri) -> ServerSettings:
    """Read the options as `open_opcua` does; a certificate that it would make is not made."""
    return server_settings(uri, make=False)


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
    _check_safe(uri, host, users, encrypted=encrypted)
    near = is_loopback(host)
    usual = "read" if near else "no"
    return ServerSettings(
        host=host,
        port=port,
        uri=_application_uri(certificate, key),
        users=users,
        anonymous=one_of(uri, "anonymous", ("read", "no"), usual) == "read",
        plain=near,
        certificate=str(certificate or ""),
        key=str(key or ""),
        stale_s=number(uri, "stale_ms", 2000.0, least=50.0) / 1e3,
        version=edge_ad.__version__,
    )


def _check_safe(uri: Uri, host: str, users: Mapping[str, str], *, encrypted: bool) -> None:
    if not is_loopback(host) and not (users and encrypted):
        raise UsageError(
            f"{uri}: {host} can be reached from other machines, so users and a certificate are "
            "needed. Give opcua://NAME:${ENV:PASSWORD}@HOST:PORT?pki=DIR, or serve on 127.0.0.1."
        )
    if users and not encrypted:
        raise UsageError(
            f"{uri}: users log in over an encrypted connection only, which needs a certificate. "
            "Give pki=DIR to have one made there, or certificate=FILE and key=FILE."
        )


def _one_user(uri: Uri, user: str) -> dict[str, str]:
    if not user:
        return {}
    name, _, password = user.partition(":")
    return _checked(uri, {unquote(name): unquote(password)})


def _users_of(uri: Uri) -> dict[str, str]:
    """Return the users of the file that the URI names."""
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
    return _checked(uri, _parsed(path, lines))


def _parsed(path: Path, lines: Iterable[str]) -> dict[str, str]:
    """Read a line each, NAME:PASSWORD, with comments and empty lines between."""
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
    return users


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
