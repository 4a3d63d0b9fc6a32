"""The pipe to the line: one JSON object a line, in both directions.

From the line: the settings, then `cameras`, `paused`, `result`, `alarm`, `beat`, `acknowledged` and
`stop`. To the line: `ready`, `beat`, `acknowledge`, `report` and `failed`. The line's end of a pipe
closes when the line dies.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

Message = dict[str, Any]
LONGEST = 1 << 20  # bytes of a message


class Link:
    """The server's end. Sending never waits: a line that does not read loses messages."""

    def __init__(self, source: BinaryIO, target: int) -> None:
        self._source, self._target = source, target
        os.set_blocking(target, False)
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._asked = 0

    async def messages(self) -> AsyncIterator[Message]:
        """Yield messages until the line has closed the pipe."""
        reader = asyncio.StreamReader(limit=LONGEST)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._source)
        while text := await reader.readline():
            message: Message = json.loads(text)
            if "acknowledged" in message:
                self._answered(message["acknowledged"], message["error"])
            else:
                yield message

    def send(self, message: Message) -> bool:
        """Send a message and return whether it was."""
        try:
            data = json.dumps(message).encode() + b"\n"
            return os.write(self._target, data) == len(data)
        except OSError:
            return False

    def report(self, text: str) -> None:
        """Report to the line what its user should know."""
        self.send({"report": text})

    async def acknowledge(self, alarm: str, who: str, comment: str, timeout_s: float = 5.0) -> str:
        """Let the line record an acknowledgement; return why it could not, empty when it has."""
        self._asked += 1
        number = self._asked
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        asked = {"number": number, "alarm": alarm, "who": who, "comment": comment}
        try:
            if not self.send({"acknowledge": asked}):
                return "the line cannot be reached"
            return await asyncio.wait_for(answer, timeout_s)
        except asyncio.TimeoutError:
            return "the line did not answer"
        finally:
            del self._waiting[number]

    def _answered(self, number: int, error: str) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(error)
