"""Commands to a line by MQTT: only those that the line's configuration allows, one at a time.

PREFIX/CAMERA/command/trigger     any payload
PREFIX/CAMERA/command/threshold   a number, or {"threshold": 0.7, "reason": "new lamp"}

The answers go to PREFIX/CAMERA/answer.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.outlet.base import Ask

COMMANDS = {"trigger": 0, "threshold": 1}  # QoS: a trigger that came twice would take another part
_WAITING = 16
_LONGEST_BYTES = 4096

Answer = Callable[[str, Mapping[str, object]], None]  # level of topics, answer


def parse_commands(text: str) -> tuple[str, ...]:
    """Return the commands that a list with commas allows. Raises UsageError."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if wrong := [name for name in names if name not in COMMANDS]:
        raise UsageError(f"commands are {' and '.join(COMMANDS)}, got '{wrong[0]}'.")
    return names


class MqttCommands:
    """Asks the line what comes by MQTT, in a thread; `answer` publishes what it says."""

    def __init__(self, allowed: Sequence[str], prefix: str, who: str, answer: Answer) -> None:
        self._allowed, self._prefix, self._who, self._answer = allowed, prefix, who, answer
        self._ask: Ask | None = None
        self._jobs: queue.Queue[tuple[str, dict[str, object]] | None] = queue.Queue(_WAITING)

    @property
    def topics(self) -> dict[str, int]:
        """Topics to subscribe to, with their QoS; none before `begin`."""
        if self._ask is None:
            return {}
        return {f"{self._prefix}/+/command/{name}": COMMANDS[name] for name in self._allowed}

    def begin(self, ask: Ask) -> None:
        """Take commands from now on."""
        if self._allowed and self._ask is None:
            self._ask = ask
            threading.Thread(target=self._work, name="mqtt commands", daemon=True).start()

    def received(
        self, topic: str, payload: bytes, cameras: Mapping[str, str], *, retained: bool
    ) -> None:
        """Take a message, if it is a command; `cameras` are names by level."""
        parts = topic.removeprefix(f"{self._prefix}/").split("/")
        if len(parts) != 3 or parts[1] != "command" or parts[2] not in self._allowed:
            return
        level, _, command = parts
        request = _request(command, cameras.get(level, level), payload, retained=retained)
        try:
            self._jobs.put_nowait((level, request))
        except queue.Full:
            self._answer(level, {"type": "error", "message": "too many commands at once"})

    def close(self) -> None:
        """Take no more; what waits is dropped."""
        self._allowed = ()
        while True:
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        self._jobs.put_nowait(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            level, request = job
            assert self._ask is not None
            self._answer(level, self._ask(request, self._who))


def _request(command: str, camera: str, payload: bytes, *, retained: bool) -> dict[str, object]:
    """Return the request of a message; the line refuses what has invalid keys or values."""
    if retained:
        return {"command": f"{command}, retained: it would be repeated at every connection"}
    if command == "trigger":
        return {"command": "trigger", "camera": camera}
    try:
        content: Any = json.loads(payload[:_LONGEST_BYTES])
    except (ValueError, RecursionError):
        content = {"threshold": payload[:100].decode(errors="replace")}
    if not isinstance(content, dict):
        content = {"threshold": content}
    return {**content, "command": "set_threshold", "camera": camera}
