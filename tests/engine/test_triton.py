"""Engines on an inference server, and what a line does when the server misbehaves."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tritonclient", reason="the server reads NVIDIA's schema: edge-ad[triton]")

from edge_ad.engine import open_engine
from edge_ad.errors import EngineLost, IncompatibleError, UsageError
from edge_ad.export.triton import TritonConfig, export_triton
from edge_ad.triton import served_model
from edge_ad.triton_client import TritonClient
from tests.conftest import invoke
from tests.triton_server import ServedFolder

MakePath = Callable[..., Path]
Serve = Callable[..., ServedFolder]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that exports an engine as the model `part` and serves it."""
    servers: list[ServedFolder] = []

    def start(engine: Path, max_batch: int = 8) -> ServedFolder:
        config = TritonConfig(repository=tmp_path / "models", name="part", max_batch=max_batch)
        export_triton([engine], config)
        servers.append(ServedFolder(tmp_path / "models").start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("batch", [1, 3, None])
def test_a_served_engine_answers_like_the_file(
    make_engine: MakePath, serve: Serve, batch: int | None
) -> None:
    engine = make_engine(batch=batch)
    server = serve(engine, max_batch=4)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    with open_engine(engine) as here, open_engine(f"triton://127.0.0.1:{server.port}/part") as far:
        assert far.manifest == here.manifest
        expected, got = here.infer(images), far.infer(images)
        assert np.array_equal(got.maps, expected.maps)
        assert np.array_equal(got.scores, expected.scores) and got.scores.shape == (6,)
    sizes = {1: {1}, 3: {3}, None: {1, 4, 2}}[batch]
    assert {shape[0] for shape in server.calls} == sizes


def test_run_evaluate_bench_and_rejudge_work_against_a_server(
    make_engine: MakePath, make_folder: MakePath, serve: Serve, tmp_path: Path
) -> None:
    engine, folder = make_engine(), make_folder("parts", 4, bright=(1, 2))
    uri = f"triton://127.0.0.1:{serve(engine).port}/part"
    far = invoke("run", "--camera", folder, "--engine", uri, "--json")
    near = invoke("run", "--camera", folder, "--engine", engine, "--json")
    assert far.returncode == near.returncode == 0, far.stderr
    kept = ("verdict", "score", "threshold", "regions", "file")
    records = [
        [{key: one[key] for key in kept} for one in map(json.loads, done.stdout.splitlines())
         if one["type"] == "inspection"]
        for done in (far, near)
    ]  # fmt: skip
    assert records[0] == records[1] and len(records[0]) == 4
    (tmp_path / "run.yaml").write_text(f"engine: {uri}\ncamera: parts\n")
    assert invoke("run", "-c", tmp_path / "run.yaml", "--check").returncode == 0
    bench = invoke("bench", "--engine", uri, "--json", "--duration-s", "0.05", "--allow-unstable")
    assert bench.returncode == 0 and json.loads(bench.stdout)["engine"] == uri, bench.stderr


def test_evaluate_works_against_a_server(
    make_engine: MakePath, make_folder: MakePath, serve: Serve, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn", reason="metrics need edge-ad[evaluate]")
    engine = make_engine()
    uri = f"triton://127.0.0.1:{serve(engine).port}/part"
    (tmp_path / "test").mkdir()
    for name, bright in (("good", ()), ("spot", (0, 1, 2, 3))):
        make_folder(f"test/{name}", 4, bright=bright)
    done = invoke("evaluate", uri, "--data", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["image_auroc"] == 1 and result["at_threshold"]["from"] == "stored"


def test_a_server_that_is_not_there_is_named(make_engine: MakePath) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"triton://127.0.0.1:{unused.getsockname()[1]}/part"
        done = invoke("run", "--camera", "pattern://", "--engine", uri)
    assert done.returncode == EngineLost.exit_code
    assert uri in done.stderr and "no answer from the server (Connection refused)" in done.stderr


def test_a_model_that_is_not_there_or_not_ours_is_refused(
    make_engine: MakePath, serve: Serve
) -> None:
    server = serve(make_engine())
    with pytest.raises(IncompatibleError, match=r"no such model.*unknown model: 'other'"):
        open_engine(f"triton://127.0.0.1:{server.port}/other")
    server.models["part"][0].parameters.clear()
    with pytest.raises(IncompatibleError, match=r"edge_ad\.manifest.*edge-ad export-triton"):
        open_engine(f"triton://127.0.0.1:{server.port}/part")


def test_tensors_of_another_shape_are_refused_at_the_start(
    make_engine: MakePath, serve: Serve
) -> None:
    server = serve(make_engine())
    server.models["part"][0].output[0].dims[1] = 16
    with pytest.raises(IncompatibleError, match="do not match the engine contract"):
        open_engine(f"triton://127.0.0.1:{server.port}/part")


_OK = b"HTTP/1.1 200 OK\r\n"
_GARBAGE = {
    "no HTTP": lambda body: b"\x00\x01hello\r\n\r\n",
    "nothing": lambda body: b"",
    "no tensors": lambda body: _OK + b"Content-Length: 2\r\n\r\n{}",
    "half of it": lambda body: _OK + b"Content-Length: %d\r\n\r\n" % len(body) + body[:40],
    "endless": lambda body: _OK + b"\r\n" + b"x" * (3 << 20),
    "an error": lambda body: b"HTTP/1.1 500 no\r\nContent-Length: 15\r\n\r\n" + b'{"error":"oom"}',
    "deep JSON": lambda body: (
        _OK + b"Inference-Header-Content-Length: 100000\r\nContent-Length: 100000\r\n\r\n" +
        b"[" * 100_000
    ),
    "a deep error": lambda body: (
        b"HTTP/1.1 500 no\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000
    ),
    "other numbers": lambda body: (
        _OK + b"Inference-Header-Content-Length: %d\r\n" % (body.index(b"}]}") + 4) +
        b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body.replace(b'"FP32"', b'"INT32"', 1)
    ),
    "short tensors": lambda body: (
        _OK + b"Inference-Header-Content-Length: %d\r\n" % body.index(b"}]}") +
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", _GARBAGE)
def test_an_answer_that_is_garbage_gives_no_verdict(
    make_engine: MakePath, serve: Serve, kind: str
) -> None:
    server = serve(make_engine())
    with open_engine(f"triton://127.0.0.1:{server.port}/part") as engine:
        server.broken = _GARBAGE[kind]
        with pytest.raises(EngineLost, match=r"triton://127\.0\.0\.1"):
            engine.infer(np.zeros((1, 32, 32, 3), np.uint8))
        server.broken = None
        assert engine.infer(np.zeros((1, 32, 32, 3), np.uint8)).scores[0] == 0, "it recovers"


def test_a_batch_that_is_refused_is_told_with_the_servers_words(
    make_engine: MakePath, serve: Serve
) -> None:
    server = serve(make_engine())
    with open_engine(f"triton://127.0.0.1:{server.port}/part") as engine:
        server.broken = _GARBAGE["an error"]
        with pytest.raises(EngineLost, match=r"refused a batch \(500: oom\)"):
            engine.infer(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_server_that_never_answers_is_given_up_in_time(
    make_engine: MakePath, serve: Serve
) -> None:
    server, done = serve(make_engine()), threading.Event()

    def silent(body: bytes) -> bytes:
        done.wait(60)
        return b""

    server.broken = silent
    served = served_model(f"triton://127.0.0.1:{server.port}/part?timeout_s=0.2")
    assert served is not None
    client = TritonClient(served)
    with pytest.raises(EngineLost, match=r"no answer from the server \(none within 0\.2 s\)"):
        client.infer(np.zeros((1, 32, 32, 3), np.uint8), {"anomaly_score": (1,)})
    client.close()
    done.set()


def test_a_server_that_goes_away_ends_a_line_with_its_exit_code(
    make_engine: MakePath, make_folder: MakePath, serve: Serve
) -> None:
    server = serve(make_engine())
    with open_engine(f"triton://127.0.0.1:{server.port}/part") as engine:
        server.stop()
        with pytest.raises(EngineLost):
            engine.infer(np.zeros((1, 32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    "text",
    ["triton://", "triton://host", "triton://host/a/b", "triton://host:x/part",
     "triton://host/part?timeout=3", "triton://host/part?timeout_s=0", "triton://u:p@host/part",
     "triton://host/part?timeout_s=inf", "triton://host/part?timeout_s=1e9",
     "triton://:p@host/part", "triton://host:0/part", "triton://host/part#timeout_s=1",
     "triton://host/part?timeout_s=1&timeout_s=2"],
)  # fmt: skip
def test_a_malformed_address_is_refused(text: str) -> None:
    message = f"^{re.escape(text)}: expected triton://HOST:PORT/MODEL"
    for address in (text, Path(text)):  # a Path joins the slashes
        with pytest.raises(UsageError, match=message):
            open_engine(address)


def test_a_path_joins_the_slashes_of_an_address() -> None:
    assert served_model(Path("triton://[::1]:8010/part/3?timeout_s=2")) == (
        "::1", 8010, "part", "3", 2.0,
    )  # fmt: skip
    assert str(served_model("triton://cell/part")) == "triton://cell:8000/part"
    assert served_model(Path("models/part.onnx")) is None
