"""Home Assistant's MQTT device discovery: one device for a line, its entities for each camera.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import edge_ad


def discovery_topic(discovery_prefix: str, prefix: str) -> str:
    """Return the topic of a line's discovery message."""
    return f"{discovery_prefix}/device/{_id(prefix)}/config"


def discovery(
    prefix: str, cameras: Mapping[str, str], commands: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the discovery message; `cameras` has the level of topics for each camera's name."""
    ids = _unique_ids(cameras.values())
    origin = {"name": "edge-ad", "sw": edge_ad.__version__}
    return {
        "dev": {"ids": [_id(prefix)], "name": prefix, "mf": "edge-ad", "sw": edge_ad.__version__},
        "o": origin,
        "availability_topic": f"{prefix}/available",
        "cmps": {
            f"{ids[level]}_{name}": {**component, "unique_id": f"{_id(prefix)}_{ids[level]}_{name}"}
            for camera, level in cameras.items()
            for name, component in _components(camera, f"{prefix}/{level}", commands).items()
        },
    }


def _unique_ids(levels: Iterable[str]) -> dict[str, str]:
    """Return an id for each camera's level of topics; `a.b` and `a_b` differ."""
    ids: dict[str, str] = {}
    for level in levels:
        name = _id(level)
        while name in ids.values():
            name += "_"
        ids[level] = name
    return ids


def _components(camera: str, topics: str, commands: Sequence[str]) -> dict[str, dict[str, object]]:
    taken: dict[str, dict[str, object]] = {
        "trigger": {"p": "button", "name": f"{camera} trigger"},
        "threshold": _sensor(f"{camera} threshold", f"{topics}/verdict", "threshold")
        | {"p": "number", "min": -1e6, "max": 1e6, "step": 0.001, "mode": "box"},
    }
    return {
        **{name: taken[name] | {"command_topic": f"{topics}/command/{name}"} for name in commands},
        "alarm": _binary(f"{camera} alarm", f"{topics}/state", "alarm"),
        "fault": _binary(f"{camera} fault", f"{topics}/state", "fault"),
        "verdict": _sensor(f"{camera} verdict", f"{topics}/verdict", "verdict"),
        "score": _sensor(f"{camera} score", f"{topics}/verdict", "score")
        | {"state_class": "measurement"},
    }


def _binary(name: str, topic: str, state: str) -> dict[str, object]:
    return {
        "p": "binary_sensor",
        "name": name,
        "device_class": "problem",
        "state_topic": topic,
        "value_template": f"{{{{ 'ON' if value_json.state == '{state}' else 'OFF' }}}}",
    }


def _sensor(name: str, topic: str, key: str) -> dict[str, object]:
    template = f"{{{{ value_json.{key} }}}}"
    return {"p": "sensor", "name": name, "state_topic": topic, "value_template": template}


def _id(text: str) -> str:
    """Return a text as an id of letters, digits, dashes and underscores."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", text)
