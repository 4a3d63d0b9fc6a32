"""Read the options of `mqtt://` and `mqtts://`."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote

from edge_ad.address import url_with_host
from edge_ad.errors import UsageError, naming
from edge_ad.outlet.mqtt_commands import parse_commands
from edge_ad.outlet.mqtt_session import Broker
from edge_ad.outlet.tls import refuse_tls_options, tls_context
from edge_ad.uri import Uri, one_of, whole_number

_VERSIONS = {"3.1.1": 4, "5": 5}
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LONGEST_KEEPALIVE_S = 0xFFFF  # of the protocol


@dataclass(frozen=True)
class MqttOptions:
    """A broker and the prefix of all topics.

    Cameras are announced below `discovery_prefix`, if it is not empty; `commands` are those that
    the line takes.
    """

    broker: Broker
    prefix: str
    discovery_prefix: str
    commands: Sequence[str]


def parse_mqtt(uri: Uri) -> MqttOptions:
    """Read a URI of a broker. Raises UsageError for what is invalid."""
    parts = _split(uri)
    prefix = _prefix(uri, unquote(parts.path))
    if uri.scheme == "mqtt":
        refuse_tls_options(uri)
    broker = Broker(
        host=parts.hostname or "",
        port=parts.port or _PORTS[uri.scheme],
        client_id=uri.options.get("client_id") or _client_id(prefix),
        will=(f"{prefix}/available", "offline"),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        context=tls_context(uri) if uri.scheme == "mqtts" else None,
        version=_VERSIONS[one_of(uri, "version", tuple(_VERSIONS), "3.1.1")],
        keepalive_s=whole_number(uri, "keepalive_s", 30, least=5, most=_LONGEST_KEEPALIVE_S),
    )
    with naming(uri):
        commands = parse_commands(uri.options.get("commands", ""))
    home = one_of(uri, "discovery", ("homeassistant",), "")
    return MqttOptions(broker, prefix, home, commands)


def _split(uri: Uri) -> SplitResult:
    parts = url_with_host(f"{uri.scheme}://{uri.place}")
    if parts is None:
        raise UsageError(f"{uri}: expected a broker, such as {uri.scheme}://broker.local/hall/3.")
    if "#" in uri.place:
        raise UsageError(f"{uri}: topics have no #, and options follow a ?.")
    if parts.password and not parts.username:
        raise UsageError(
            f"{uri}: a password needs a user. Write {uri.scheme}://USER:PASSWORD@HOST."
        )
    return parts


def _prefix(uri: Uri, path: str) -> str:
    prefix = path.strip("/") or "edge-ad"
    if re.search(r"[+#\x00-\x1f]", prefix) or prefix.startswith("$") or "//" in prefix:
        raise UsageError(
            f"{uri}: '{prefix}' is not a prefix for topics. Expected one such as hall/3."
        )
    return prefix


def _client_id(prefix: str) -> str:
    """Return the same id at every start: a broker then ends what is left of the session before."""
    return "edge-ad-" + hashlib.sha256(f"{socket.gethostname()}/{prefix}".encode()).hexdigest()[:12]
