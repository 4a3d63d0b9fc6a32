"""Send requests that no browser would to the operator's page, and look for answers of 500.

    python benchmarks/fuzz_page.py [--requests 10000] [--seed 0]

Every address of the table of routes, with odd values in its places, its queries, headers and
bodies, as an admin; raw bytes in between. A finding is an answer of 500, none at all, or a page
that does not answer afterwards. Exits with 1 when there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from results import write_result  # the script's own folder is on the path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the page of the tests

from edge_ad.inspection import Region  # noqa: E402
from edge_ad.page.routes import ROUTES, Route  # noqa: E402
from edge_ad.store.event import EventType, StoreEvent  # noqa: E402
from tests.page.served import make_store, served  # noqa: E402

_PLACE = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
_WITHIN_S = 30.0
_WORDS = (
    *("", "0", "1", "-1", "1e999", "nan", "null", "9" * 40, "\u0661", "top", "8h", "-8h", "99999w"),
    *("2026-11-28T06:00", "2026-13-45", "' OR 1=1--", "<script>", "../../etc/passwd", "%00", "\0"),
    *("\U0001f600", "\ud800", "a" * 3000, "{{7*7}}", "${ENV:HOME}", "C:\\", "//evil.example"),
    "\r\n",
)
_NAMES = (
    *("camera", "since", "until", "what", "age", "noted", "size", "before", "after", "page"),
    *("part", "threshold", "reason", "ids", "seq", "e1", "as", "note", "name", "password", "to"),
    *("lang", "x"),
)
_HEADERS = (
    *("Accept-Language", "Cookie", "Range", "If-None-Match", "X-Forwarded-For", "Content-Encoding"),
    *("Transfer-Encoding", "Expect", "Upgrade", "Connection", "Sec-WebSocket-Key", "Referer"),
)
_EVENT = StoreEvent(
    EventType.REJECT,
    camera="top",
    part=1,
    score=0.9,
    threshold=0.5,
    regions=(Region(1, 2, 3, 4, 12, 0.9, (1, 2)),),
    evidence="evidence/part-00000001.jpg",
)


@dataclass
class Tally:
    """Answers by status, and what went wrong."""

    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def value(draw: random.Random) -> object:
    """Return any JSON value."""
    kind = draw.randrange(6)
    if kind == 0:
        return [value(draw) for _ in range(draw.randrange(4))]
    if kind == 1:
        return {draw.choice(_NAMES): value(draw) for _ in range(draw.randrange(4))}
    if kind == 2:
        return draw.choice([None, True, False, 0, -1, 1e308, 10**400])
    return draw.choice(_WORDS)


def address(draw: random.Random, route: Route) -> str:
    """Return an address of a route, with odd values in its places and a query."""
    path = _PLACE.sub(lambda _: escaped(draw.choice((*_WORDS, "1", "whole"))), route.path)
    pairs = [
        f"{draw.choice(_NAMES)}={escaped(draw.choice(_WORDS))}" for _ in range(draw.randrange(5))
    ]
    return path + ("?" + "&".join(pairs) if pairs else "")


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="/")


def body(draw: random.Random) -> bytes:
    """Return a body: mostly an object, sometimes anything."""
    if draw.random() < 0.2:
        return draw.randbytes(draw.randrange(200))
    content = {draw.choice(_NAMES): value(draw) for _ in range(draw.randrange(6))}
    return json.dumps(content)[: None if draw.random() < 0.9 else -1].encode()


def request(draw: random.Random, port: int) -> bytes:
    """Return one request as bytes."""
    if draw.random() < 0.05:
        return draw.randbytes(draw.randrange(1, 400)) + b"\r\n\r\n"
    route = draw.choice(ROUTES)
    method = route.method if draw.random() < 0.9 else draw.choice(["PUT", "HEAD", "OPTIONS", "G"])
    lines = [f"{method} {address(draw, route)} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines.append("Connection: close")
    sent = b""
    if method == "POST":
        sent = body(draw)
        lines += ["X-Edge-Ad: page", "Content-Type: application/json"]
        lines.append(f"Content-Length: {len(sent) if draw.random() < 0.97 else 10**9}")
    if draw.random() < 0.2:
        odd = draw.choice(_WORDS).encode("utf-8", "surrogatepass").decode("latin-1")
        lines.append(f"{draw.choice(_HEADERS)}: {odd}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + sent


def ask(port: int, data: bytes) -> str:
    """Return the status of the answer; `closed` when the page ended the connection without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=_WITHIN_S) as connection:
        try:
            connection.sendall(data)
            answer = connection.recv(64)
            while answer and len(answer) < 12:
                answer += connection.recv(64)
        except ConnectionError:
            return "closed"
        except TimeoutError:
            return "silent"
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/") else "closed"


def work(port: int, seed: int, count: int, tally: Tally) -> None:
    """Send requests one after the other."""
    draw = random.Random(seed)
    for _ in range(count):
        data = request(draw, port)
        status = ask(port, data)
        tally.statuses[status] += 1
        if status in ("500", "silent"):
            tally.findings.append(f"{status}: {data[:500]!r}")


def fuzz(threads: int, count: int, seed: int) -> Tally:
    """Serve a page and send it `count` requests from each of some threads."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name, served(make_store(Path(name), [_EVENT])) as page:
        senders = [
            threading.Thread(target=work, args=(page.port, seed + number, count, tally))
            for number in range(threads)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        if page.get("/").status != 200:
            tally.findings.append("the page does not answer any more")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, share = time.monotonic(), options.requests // options.threads
    tally = fuzz(options.threads, share, options.seed)
    metrics = {
        "requests": share * options.threads,
        "findings": len(tally.findings),
        "seconds": round(time.monotonic() - began, 1),
        **{f"status_{status}": count for status, count in sorted(tally.statuses.items())},
    }
    print(metrics)
    for finding in tally.findings[:20]:
        print(finding)
    print(
        write_result(
            "fuzz_page", "mutated requests", "all", metrics=metrics, settings=vars(options)
        )
    )
    sys.exit(bool(tally.findings))


if __name__ == "__main__":
    main()
