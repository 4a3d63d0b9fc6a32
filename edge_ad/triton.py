"""Addresses of models that NVIDIA's Triton Inference Server serves: `triton://HOST:8000/MODEL`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from edge_ad.errors import UsageError

PORT = 8000
TIMEOUT_S = 10.0
_LONGEST_S = 86_400.0  # longer ones do not fit a socket's clock
MANIFEST_PARAMETER, SIDECAR_PARAMETER = "edge_ad.manifest", "edge_ad.sidecar"
_SCHEME = re.compile(r"triton:/{0,2}")  # a Path joins the two slashes
_MODEL = re.compile(r"/([\w.-]+)(?:/([1-9]\d*))?")


class ServedModel(NamedTuple):
    """The address of a model; `version` is empty for the one that the server chooses."""

    host: str
    port: int
    model: str
    version: str = ""
    timeout_s: float = TIMEOUT_S

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        version = f"/{self.version}" if self.version else ""
        return f"triton://{host}:{self.port}/{self.model}{version}"

    @property
    def path(self) -> str:
        """Return the model's path on the server."""
        return f"/v2/models/{self.model}" + (f"/versions/{self.version}" if self.version else "")


def served_model(engine: Path | str) -> ServedModel | None:
    """Return the address in `triton://HOST[:PORT]/MODEL[/VERSION][?timeout_s=S]`, None for a file.

    Raises UsageError for a malformed address.
    """
    text = str(engine)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    try:
        parts = urlsplit("//" + text[scheme.end() :])
        port = PORT if parts.port is None else parts.port
        pairs = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
        options = dict(pairs)
        if len(pairs) > len(options) or parts.fragment or not port or "@" in parts.netloc:
            raise ValueError
        timeout_s = float(options.pop("timeout_s", TIMEOUT_S))
    except ValueError:
        options = {"": ""}
        parts, port, timeout_s = urlsplit(""), PORT, TIMEOUT_S
    model = _MODEL.fullmatch(parts.path)
    odd = options or not 0 < timeout_s <= _LONGEST_S
    if not parts.hostname or model is None or odd:
        raise UsageError(
            f"triton://{text[scheme.end() :]}: expected triton://HOST:PORT/MODEL or "
            "triton://HOST:PORT/MODEL/VERSION, with ?timeout_s=SECONDS if the server needs more "
            "than 10."
        )
    return ServedModel(parts.hostname, port, model[1], model[2] or "", timeout_s)


def engine_text(engine: Path | str) -> str:
    """Return an engine's file or address as a user writes it."""
    return str(served_model(engine) or engine)
