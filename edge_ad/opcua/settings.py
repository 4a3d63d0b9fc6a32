"""What the server process is given before anything else, as one JSON object on its input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

NAMESPACE = "urn:edge-ad:line"
BEAT_S = 0.25  # between two beats of the line
SILENCE_S = 2.0  # without a beat, after which the line counts as dead
LINGER_S = 1.0  # that a server shows a dead line before it ends


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server.

    `users` maps names to passwords; they may call methods. `anonymous` clients may read.
    `certificate` and `key` are paths of PEM files; without them there is no encrypted endpoint.
    `plain` offers an endpoint without encryption, on which no user can log in. `uri` is the
    application's, which the certificate must contain. A result older than `stale_s` counts no more.
    """

    host: str
    port: int
    uri: str
    users: dict[str, str] = field(default_factory=dict, repr=False)
    anonymous: bool = True
    plain: bool = True
    certificate: str = ""
    key: str = ""
    stale_s: float = 2.0
    version: str = ""

    @property
    def url(self) -> str:
        """The address for clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"opc.tcp://{host}:{self.port}"

    def to_json(self) -> str:
        """Return one line of JSON; it contains the passwords."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> ServerSettings:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))
