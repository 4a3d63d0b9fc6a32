"""URIs of MQTT brokers: what is refused, and usual ports."""

from __future__ import annotations

import pytest

from edge_ad.errors import UsageError
from edge_ad.outlet.mqtt_options import parse_mqtt
from edge_ad.outlet.registry import OUTLETS, open_outlet


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mqtt:///hall", "expected a broker, such as mqtt://"),
        ("mqtt://host:port/hall", "expected a broker"),
        ("mqtt://host/hall/%23", "is not a prefix for topics"),
        ("mqtt://host/$SYS", "is not a prefix for topics"),
        ("mqtt://host/?version=4", "option version must be 3.1.1 or 5"),
        ("mqtt://host/?discovery=openhab", "option discovery must be homeassistant"),
        ("mqtt://host/?ca=x", "ca is for TLS. Write mqtts:// instead"),
        ("mqtt://u:hunter2@host/?keepalive_s=1", "mqtt://host/: option keepalive_s must be"),
        ("mqtt://host/?keepalive_s=65536", "option keepalive_s must be at most 65535"),
        ("mqtt://:hunter2@host/", "a password needs a user"),
        ("mqtt://u:hunter2@host/?versoin=5", "mqtt://host/ has no option 'versoin'"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        open_outlet(text)
    assert "hunter2" not in str(raised.value)


def test_the_port_is_that_of_the_scheme() -> None:
    for text, port in (("mqtt://h", 1883), ("mqtts://h", 8883), ("mqtts://h:1", 1)):
        kind = next(kind for kind in OUTLETS if text.startswith(kind.prefixes))
        assert parse_mqtt(kind.parse(text)).broker.port == port
