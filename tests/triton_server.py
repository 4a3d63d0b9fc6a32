"""A small inference server: Triton's HTTP protocol over a model repository, on ONNX Runtime.

It reads config.pbtxt by NVIDIA's schema, and shapes tensors by what stands there and not by
what the ONNX file says, as Triton does. `broken` replaces the bytes of its answers to `infer`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge_ad.export.triton import load_schema, parse_config

_DATATYPES = {"TYPE_UINT8": "UINT8", "TYPE_FP32": "FP32"}


class ServedFolder:
    """A model repository that is served from `start` until `stop`, on a port of this machine."""

    def __init__(self, repository: Path) -> None:
        schema = load_schema()
        self.calls: list[tuple[int, ...]] = []  # shapes of the inputs
        self.broken: Callable[[bytes], bytes] | None = None
        self.models: dict[str, tuple[Any, ort.InferenceSession]] = {}
        for folder in sorted(repository.iterdir()):
            config = parse_config(folder / "config.pbtxt", schema)
            version = folder / str(config.version_policy.specific.versions[0])
            file = version / config.default_model_filename
            self.models[config.name] = config, ort.InferenceSession(str(file))
            self._warm_up(folder, config)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def start(self) -> ServedFolder:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop; connections that are open end with the next request."""
        self._server.shutdown()
        self._server.server_close()
        self.models.clear()

    def metadata(self, name: str) -> dict[str, Any]:
        config, _ = self.models[name]
        batch = [-1] if config.max_batch_size else []

        def tensor(of: Any) -> dict[str, Any]:
            kind = of.DESCRIPTOR.fields_by_name["data_type"].enum_type
            datatype = _DATATYPES[kind.values_by_number[of.data_type].name]
            return {"name": of.name, "datatype": datatype, "shape": [*batch, *of.dims]}

        return {
            "name": name,
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [tensor(of) for of in config.input],
            "outputs": [tensor(of) for of in config.output],
        }

    def infer(self, name: str, head: dict[str, Any], data: bytes) -> bytes | str:
        """Return the body of an answer, or an error as Triton words it."""
        config, session = self.models[name]
        (given,) = head["inputs"]
        expected = [*config.input[0].dims]
        if config.max_batch_size:
            if given["shape"][0] > config.max_batch_size:
                return f"inference request batch-size must be <= {config.max_batch_size}"
            expected = [given["shape"][0], *expected]
        if given["datatype"] != "UINT8" or given["shape"] != expected:
            return f"unexpected shape for input 'image': {given['shape']}, expected {expected}"
        assert given["parameters"]["binary_data_size"] == len(data)
        image = np.frombuffer(data, np.uint8).reshape(given["shape"])
        self.calls.append(image.shape)
        names = [output["name"] for output in head["outputs"]]
        arrays = session.run(names, {given["name"]: image})
        return _binary(names, arrays, config)

    def config_json(self, name: str) -> dict[str, Any]:
        from google.protobuf import json_format

        config, _ = self.models[name]
        return dict(json_format.MessageToDict(config, preserving_proto_field_name=True))

    def _warm_up(self, folder: Path, config: Any) -> None:
        for warm_up in config.model_warmup:
            for tensor in warm_up.inputs.values():
                if tensor.input_data_file:
                    data = (folder / "warmup" / tensor.input_data_file).read_bytes()
                    assert len(data) == np.prod(tensor.dims), "Triton refuses another size"


def _binary(names: list[str], arrays: list[Any], config: Any) -> bytes:
    dims = {output.name: list(output.dims) for output in config.output}
    shown = [
        array.reshape(-1, *dims[name]) if config.max_batch_size else array
        for name, array in zip(names, arrays, strict=True)
    ]
    outputs = [
        {
            "name": name,
            "datatype": "FP32",
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in zip(names, shown, strict=True)
    ]
    head = json.dumps({"model_name": config.name, "outputs": outputs}).encode()
    return len(head).to_bytes(4, "big") + head + b"".join(array.tobytes() for array in shown)


def _handler(server: ServedFolder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _, _, _, name, *rest = self.path.split("/")
            if name not in server.models:
                return self._json(404, {"error": f"Request for unknown model: '{name}'"})
            answer = server.config_json(name) if rest == ["config"] else server.metadata(name)
            return self._json(200, answer)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            length = int(self.headers["Inference-Header-Content-Length"])
            name = self.path.split("/")[3]
            if name not in server.models:
                return self._json(400, {"error": f"Request for unknown model: '{name}'"})
            answer = server.infer(name, json.loads(body[:length]), body[length:])
            if isinstance(answer, str):
                return self._json(400, {"error": answer})
            head, content = int.from_bytes(answer[:4], "big"), answer[4:]
            if server.broken is not None:
                self.wfile.write(server.broken(content))
                self.close_connection = True
                return None
            return self._send(200, content, {"Inference-Header-Content-Length": str(head)})

        def _json(self, status: int, content: dict[str, Any]) -> None:
            self._send(status, json.dumps(content).encode(), {})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing to stderr."""

    return Handler
