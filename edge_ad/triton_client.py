"""A client of an inference server over HTTP.

The protocol is version 2 of the inference protocol, with Triton's extensions for the model's
configuration and for binary tensors.
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import EngineLost, IncompatibleError
from edge_ad.triton import ServedModel

_JSON_BYTES = 4 << 20  # of an answer without tensors
_HEADER_BYTES = 1 << 20  # of the JSON before tensors
_LENGTH_HEADER = "Inference-Header-Content-Length"


class TritonClient:
    """One connection to a server, for one thread. A call takes `timeout_s` of the model at most.

    Raises EngineLost when the server cannot be reached, does not answer in time or answers with
    something else than the protocol says; IncompatibleError for a model that it does not have.
    """

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._connection: HTTPConnection | None = None

    def metadata(self) -> dict[str, Any]:
        """Return names, types and shapes of the model's inputs and outputs."""
        return self._get("")

    def config(self) -> dict[str, Any]:
        """Return the model's configuration."""
        return self._get("/config")

    def infer(
        self, image: NDArray[np.uint8], outputs: Mapping[str, tuple[int, ...]]
    ) -> dict[str, NDArray[np.float32]]:
        """Send one batch and return the outputs, float32, of exactly the given shapes."""
        data = np.ascontiguousarray(image).tobytes()
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "image",
                        "shape": list(image.shape),
                        "datatype": "UINT8",
                        "parameters": {"binary_data_size": len(data)},
                    }
                ],
                "outputs": [{"name": n, "parameters": {"binary_data": True}} for n in outputs],
            }
        ).encode()
        headers = {
            "Content-Type": "application/octet-stream",
            _LENGTH_HEADER: str(len(head)),
        }
        sizes = {name: 4 * int(np.prod(shape)) for name, shape in outputs.items()}
        limit = sum(sizes.values()) + _HEADER_BYTES
        status, length, body = self._call("POST", "/infer", head + data, headers, limit)
        if status != 200:
            raise EngineLost(f"{self._served}: refused a batch ({_reason(status, body)}).")
        try:
            return _tensors(body, length, outputs)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise self._garbage(f"{error}") from error

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _get(self, path: str) -> dict[str, Any]:
        status, _, body = self._call("GET", path, None, {}, _JSON_BYTES)
        if status in (400, 404):
            raise IncompatibleError(
                f"{self._served}: the server has no such model, or it is not loaded "
                f"({_reason(status, body)}). Look into its log, and at its model repository."
            )
        if status != 200:
            raise EngineLost(f"{self._served}: the server fails ({_reason(status, body)}).")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._garbage("no JSON") from error
        if not isinstance(answer, dict):
            raise self._garbage("no JSON object")
        return answer

    def _garbage(self, what: str) -> EngineLost:
        self.close()  # what follows on it would be garbage, too
        return EngineLost(
            f"{self._served}: the answer is not that of an inference server ({what[:200]}). Check "
            "host and port; Triton's HTTP port is 8000."
        )

    def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], limit: int
    ) -> tuple[int, int | None, bytes]:
        """Return status, length of the JSON before tensors, and body.

        A connection that was kept may have been closed by the server meanwhile: then it is opened
        again, once.
        """
        kept = self._connection is not None
        try:
            return self._exchange(method, path, body, headers, limit)
        except ConnectionError as error:
            self.close()
            if not kept:
                raise self._lost(error) from error
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise self._lost(error) from error
        try:
            return self._exchange(method, path, body, headers, limit)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> EngineLost:
        if isinstance(error, HTTPException) and not isinstance(error, ConnectionError):
            return self._garbage(f"{type(error).__name__}: {error}")
        if isinstance(error, TimeoutError):
            error = TimeoutError(f"none within {self._served.timeout_s:g} s")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return EngineLost(f"{self._served}: no answer from the server ({reason}).")

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], limit: int
    ) -> tuple[int, int | None, bytes]:
        served = self._served
        if self._connection is None:
            self._connection = HTTPConnection(served.host, served.port, timeout=served.timeout_s)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _Deadline(self._connection.sock, served.timeout_s) as deadline:
            try:
                self._connection.request(method, served.path + path, body, headers)
                response = self._connection.getresponse()
                answer = _read(response, limit)
            except (OSError, HTTPException, ValueError):
                deadline.check()
                raise
            deadline.check()  # what was cut off may look complete
        if response.will_close:
            self.close()
        return answer


class _Deadline:
    """Shuts a socket down when time is up: a server may send one byte now and then for ever."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock, self._seconds, self._passed = sock, seconds, False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def check(self) -> None:
        """Raise TimeoutError when time is up."""
        if self._passed:
            raise TimeoutError(f"none within {self._seconds:g} s")

    def _end(self) -> None:
        self._passed = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already


def _read(response: HTTPResponse, limit: int) -> tuple[int, int | None, bytes]:
    body = response.read(limit + 1)
    if len(body) > limit:
        raise HTTPException(f"more than {limit} bytes")
    if response.length:
        raise IncompleteRead(body, response.length)
    length = response.headers.get(_LENGTH_HEADER)
    return response.status, int(length) if length else None, body


def _tensors(
    body: bytes, length: int | None, expected: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """Return the binary tensors of an answer. Raises ValueError and KeyError for another one."""
    if length is None or not 0 <= length <= len(body):
        raise ValueError("no binary tensors")
    place, tensors = length, {}
    for output in json.loads(body[:length])["outputs"]:
        name, shape = output["name"], tuple(output["shape"])
        if output["datatype"] != "FP32" or shape != expected[name]:
            raise ValueError(f"{name} is {output['datatype']} {list(shape)}")
        size = int(np.prod(shape)) * 4
        if output["parameters"]["binary_data_size"] != size or place + size > len(body):
            raise ValueError(f"{name} is cut off")
        values = np.frombuffer(body, "<f4", size // 4, place).reshape(shape)
        tensors[name] = values.astype(np.float32)
        place += size
    missing = expected.keys() - tensors.keys()
    if missing or place != len(body):
        raise ValueError(f"no {', '.join(sorted(missing))}" if missing else "too many bytes")
    return tensors


def _reason(status: int, body: bytes) -> str:
    """Return the server's own words, else the beginning of what it said."""
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = body[:100].decode(errors="replace")
    return " ".join(f"{status}: {text}".split())[:300]
