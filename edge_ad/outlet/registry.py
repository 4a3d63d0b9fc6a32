"""The kinds of outlets that alarm events can be sent to.

A new kind is one entry here, a module with its opener, a test, and an extra in setup.cfg if it
needs a package. `run --outlet`, its help and error messages and the table in docs/outlets.md read
this list. An installed package adds a scheme by an entry point, see `edge_ad.installed`.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_ad.errors import IncompatibleError, OutletLost, UsageError
from edge_ad.installed import find_entry, installed_names
from edge_ad.outlet.base import Outlet
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.tls import TLS_OPTIONS, TLS_PATHS, certificate_files
from edge_ad.secret import in_folder, with_secrets
from edge_ad.store.event import EventType
from edge_ad.uri import Uri, UriKind, unknown_scheme, without_credentials

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "edge_ad.outlets"
COMMON = {"events": "types of events with commas, or all"}  # options of every durable outlet
_CHECK = (
    "Check that what it names is there, is not in use by another program, and that this user may "
    "use it."
)
_PORT_TAKEN = "Another program serves there, a running line perhaps: end it, or give another port."


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletKind(UriKind):
    """A kind of outlet. A `durable` one returns a DurableOutlet, and has the options of `COMMON`.

    Its opener makes no connection: the other side may be absent at the start.
    """

    durable: bool = False

    @property
    def known_options(self) -> Mapping[str, str]:
        return {**self.options, **(COMMON if self.durable else {})}


_MODBUS = {
    "camera": "the only camera, by its name; without it all, 100 registers apart",
    "stale_ms": "after how long a result is no longer valid, 2000",
    "words": "big (high word first) or little, big",
}
OUTLETS: tuple[OutletKind, ...] = (
    OutletKind(
        schemes=("file",),
        example="file:alarms.jsonl",
        description="appends alarm events to a file, one JSON object a line; at 64 MiB it becomes "
        "`NAME.1`, and four old files are kept",
        opener="edge_ad.outlet.jsonl:open_file",
        checker="edge_ad.outlet.jsonl:check_file",
        syntax="text",
        place_is_path=True,
    ),
    OutletKind(
        schemes=("exec",),
        example="exec:./notify.sh --hall 3#timeout_s=10",
        description="runs a command for each event, without a shell, with the event as JSON on its "
        "standard input",
        opener="edge_ad.outlet.exec:open_exec",
        syntax="command",
        options={"timeout_s": "seconds after which the command is killed, 30"},
        durable=True,
    ),
    OutletKind(
        schemes=("mqtt", "mqtts"),
        example="mqtts://line:${ENV:MQTT_PASSWORD}@broker.local/hall/3",
        description="publishes events, verdicts and states to an MQTT broker under a prefix",
        opener="edge_ad.outlet.mqtt:open_mqtt",
        options={
            "version": "of the protocol: 3.1.1 or 5, 3.1.1",
            "client_id": "as the broker knows the line, made of host name and prefix",
            "keepalive_s": "seconds after which a broken connection is noticed, 30",
            "discovery": "homeassistant announces the cameras there",
            "commands": "trigger, threshold: those that the line takes; without it none",
            **TLS_OPTIONS,
        },
        extra="mqtt",
        path_options=TLS_PATHS,
        durable=True,
    ),
    OutletKind(
        schemes=("https", "http"),
        example="https://mes.local/alarms#secret=${ENV:HOOK_SECRET}",
        description="posts each event as JSON to a web server, or to a chat channel",
        opener="edge_ad.outlet.webhook:open_webhook",
        syntax="url-fragment",
        options={
            "secret": "key of the signature",
            "template": "slack, teams or ntfy",
            "evidence": "yes adds the evidence image",
            "bearer": "token for the header Authorization",
            "connect_s": "seconds for connecting, 5",
            "timeout_s": "seconds in all, 15",
            **TLS_OPTIONS,
        },
        path_options=TLS_PATHS,
        durable=True,
    ),
    OutletKind(
        schemes=("modbus-tcp",),
        example="modbus-tcp://127.0.0.1:5020?handshake=1",
        description="a Modbus TCP server with the newest result of each camera, for a PLC that "
        "polls, see [Modbus](modbus.md)",
        opener="edge_ad.outlet.modbus_server:open_modbus_server",
        checker="edge_ad.outlet.modbus_server:parse_server",
        options={
            **_MODBUS,
            "handshake": "1: results wait until the PLC acknowledges them, 0",
            "trigger": "1: coils fire the software triggers of cameras, 0",
        },
        extra="modbus",
    ),
    OutletKind(
        schemes=("modbus-client",),
        example="modbus-client://10.0.0.9:502/100",
        description="writes the newest result of each camera into a PLC that is a Modbus TCP "
        "server, from a holding register on, see [Modbus](modbus.md#plcs-that-are-servers)",
        opener="edge_ad.outlet.modbus_client:open_modbus_client",
        checker="edge_ad.outlet.modbus_client:parse_client",
        options={**_MODBUS, "unit": "unit id of the PLC, 1"},
        extra="modbus",
    ),
    OutletKind(
        schemes=("gpio",),
        example="gpio://gpiochip0/17?delay_ms=200&pulse_ms=50",
        description="a pulse on a GPIO line for every part that is rejected or INVALID, when it "
        "reaches the rejector, see [GPIO](gpio.md)",
        opener="edge_ad.outlet.gpio:open_gpio",
        checker="edge_ad.outlet.gpio:parse_gpio",
        options={
            "delay_ms": "from the part's trigger or capture to the pulse, 0",
            "pulse_ms": "how long a pulse lasts, 50",
            "active_low": "1: a pulse is the low level, 0",
            "failsafe": "reject (active) or pass, without verdicts; reject",
            "stale_ms": "also so long after a camera's last verdict, never",
        },
        extra="gpio",
    ),
    OutletKind(
        schemes=("opcua",),
        example="opcua://127.0.0.1:4840",
        description="an OPC UA server in a process beside the line: state, results, counters and "
        "alarms of each camera, see [OPC UA](opcua.md)",
        opener="edge_ad.outlet.opcua:open_opcua",
        checker="edge_ad.outlet.opcua_options:parse_opcua",
        options={
            "stale_ms": "age at which a result counts no more, 2000",
            "anonymous": "read or no; read on 127.0.0.1 only, unless given",
            "users": "file with a line NAME:PASSWORD for each user who may acknowledge alarms",
            "pki": "folder of certificate.pem and key.pem, which are made when there are none",
            "certificate": "file of a certificate, PEM",
            "key": "file of its key, PEM",
        },
        path_options={"users": (), "pki": (), "certificate": (), "key": ()},
        extra="opcua",
    ),
)


def open_outlet(text: str) -> Outlet:
    """Open the outlet that a URI names.

    Raises UsageError for an unknown scheme or option, MissingExtra for a package that is not
    installed, IncompatibleError for an installed one that does not load or is no outlet,
    OutletLost when the other side cannot be opened.
    """
    kind, uri = _resolve(text)
    opener = kind.load_opener()
    try:
        outlet: Outlet = opener(uri)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _PORT_TAKEN if error.errno == errno.EADDRINUSE else _CHECK
        raise OutletLost(
            f"{without_credentials(text)}: cannot be opened ({reason}). {advice}"
        ) from error
    _check_type(outlet, kind, uri)
    outlet.certificates = certificate_files(uri)
    if isinstance(outlet, DurableOutlet):
        outlet.identity = outlet.identity or str(uri)
        outlet.types = _types(uri)
    return outlet


def _check_type(outlet: object, kind: OutletKind, uri: Uri) -> None:
    """Raise IncompatibleError when an opener does not return what its entry says."""
    expected = DurableOutlet if kind.durable else Outlet
    if not isinstance(outlet, Outlet) or isinstance(outlet, DurableOutlet) != kind.durable:
        raise IncompatibleError(
            f"{uri}: {kind.opener} returned {type(outlet).__name__}. Expected an "
            f"edge_ad.{expected.__name__}, since its entry has durable={kind.durable}."
        )


def outlet_in_folder(text: str, folder: Path) -> str:
    """Return an outlet's URI whose relative paths are relative to `folder`."""
    text = in_folder(text, folder)
    kind = outlet_kind(text.partition(":")[0])
    return kind.in_folder(text, folder) if kind and text.startswith(kind.prefixes) else text


def check_outlet(text: str) -> None:
    """Raise what `open_outlet` would raise before it opens anything."""
    kind, uri = _resolve(text)
    if kind.durable:  # its opener makes no connection
        open_outlet(text).close()
    else:
        kind.load_opener()
        kind.check(uri)


def is_durable(text: str) -> bool:
    """Return whether an outlet keeps its events in the line's store."""
    kind = outlet_kind(with_secrets(text).partition(":")[0])
    return kind is not None and kind.durable


def outlet_help() -> str:
    """Return the help text of `--outlet`."""
    return f"Send alarm events to a URI ({', '.join(_prefixes())}); repeats."


def outlet_kind(scheme: str) -> OutletKind | None:
    """Return the entry of a scheme, one of an installed package included; None for no entry.

    Raises IncompatibleError when that package has no entry that can be used.
    """
    return find_entry(OUTLETS, GROUP, scheme, OutletKind)


def _prefixes() -> list[str]:
    return [prefix for kind in OUTLETS for prefix in kind.prefixes]


def _resolve(text: str) -> tuple[OutletKind, Uri]:
    """Return the entry and the URI with its secrets; messages have their references.

    The text is read with its references first, so that this is what an error is about.
    """
    secret = with_secrets(text)
    if secret == text:
        return _parse(text)
    if text.startswith("${"):
        return _resolve_whole(text, secret)
    _, shown = _parse(text)
    kind, uri = _parse(secret)
    return kind, replace(uri, shown=str(shown))


def _resolve_whole(text: str, secret: str) -> tuple[OutletKind, Uri]:
    """Do the same for a text that begins with a reference: nothing else of it may be shown."""
    try:
        kind, uri = _parse(secret)
    except UsageError:
        raise UsageError(
            f"{text}: what it stands for is no URI of an outlet, or has an option that there is "
            "not. To see which, write it in place of the reference."
        ) from None
    return kind, replace(uri, shown=text)


def _parse(text: str) -> tuple[OutletKind, Uri]:
    scheme, separator, _ = text.partition(":")
    if separator and (kind := outlet_kind(scheme)):
        return kind, kind.parse(text)
    known = _prefixes() + [f"{name}:" for name in installed_names(GROUP)]
    if not separator:
        raise UsageError(f"outlet '{text}' has no scheme. Expected one of: {', '.join(known)}.")
    raise unknown_scheme("outlet", scheme, known)


def _types(uri: Uri) -> tuple[str, ...]:
    """Return the types of events that a URI asks for. Raises UsageError for an unknown one."""
    known = [kind.value for kind in EventType]
    names = (name.strip() for name in uri.options.get("events", "").split(","))
    types = tuple(name for name in names if name)
    if types == ("all",):
        return tuple(known)
    if wrong := [name for name in types if name not in known]:
        raise UsageError(
            f"{uri}: '{wrong[0]}' is not a type of event. Known: {', '.join(known)}, or all."
        )
    return types
