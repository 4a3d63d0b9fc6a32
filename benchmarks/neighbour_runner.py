"""Judge image files with one tool, in its own environment; started by bench_neighbours.py.

    python neighbour_runner.py KIND MODEL THRESHOLD

Prints one line when ready. Each line of standard input is a JSON list of image files; the answer is
one JSON line with milliseconds from file to verdict, processor milliseconds of all threads, and the
scores. A tool is used as its own documentation shows; nothing of edge-ad is imported unless it is
the tool.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE = 256
Judge = Callable[[str], tuple[float, bool]]  # image file -> score, anomalous


def edge_ad(model: str, threshold: float, runtime: str) -> Judge:
    from edge_ad import Detector
    from edge_ad.engine import EngineOptions
    from edge_ad.inspection import Verdict

    options = EngineOptions(runtime=runtime)  # type: ignore[arg-type]
    detector = Detector(model, threshold, options=options)

    def judge(file: str) -> tuple[float, bool]:
        inspection = detector(file)
        assert inspection.score is not None
        return inspection.score, inspection.verdict is Verdict.REJECT

    return judge


def anomalib_torch(model: str, threshold: float) -> Judge:
    os.environ["TRUST_REMOTE_CODE"] = "1"
    import_torchvision()
    from anomalib.deploy import TorchInferencer

    inferencer = TorchInferencer(path=model, device="cpu")

    def judge(file: str) -> tuple[float, bool]:
        prediction = inferencer.predict(image=file)
        return float(prediction.pred_score), bool(prediction.pred_label)

    return judge


def anomalib_openvino(model: str, threshold: float) -> Judge:
    import_torchvision()
    from anomalib.deploy import OpenVINOInferencer

    inferencer = OpenVINOInferencer(path=model, device="CPU")

    def judge(file: str) -> tuple[float, bool]:
        prediction = inferencer.predict(file)
        return float(prediction.pred_score.item()), bool(prediction.pred_label.item())

    return judge


def anomavision_onnx(model: str, threshold: float) -> Judge:
    """Return what AnomaVision's own `detect` does: dataset, wrapper, blur, classification."""
    import_torchvision()
    import anomavision
    import numpy as np
    from anomavision.inference.model.wrapper import ModelWrapper
    from anomavision.utils import adaptive_gaussian_blur
    from PIL import Image

    wrapper = ModelWrapper(model, "cpu")
    transforms = anomavision.AnodetDataset(
        os.path.dirname(model), resize=(SIDE, SIDE), crop_size=None, normalize=False
    ).image_transforms

    def judge(file: str) -> tuple[float, bool]:
        batch = transforms(Image.open(file).convert("RGB"))[None]
        scores, maps = wrapper.predict(batch)
        maps = adaptive_gaussian_blur(maps, kernel_size=33, sigma=4)
        mask = np.asarray(anomavision.classification(maps, threshold))
        return float(np.asarray(scores).ravel()[0]), bool(mask.any())

    return judge


def bare_onnxruntime(model: str, threshold: float) -> Judge:
    import onnxruntime as ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def judge(file: str) -> tuple[float, bool]:
        score = float(session.run(["score"], {name: _planes(file)})[0].ravel()[0])
        return score, score > threshold

    return judge


def bare_openvino(model: str, threshold: float, precision: str, *, own: bool = False) -> Judge:
    """Return a session alone; `own`: on a file of edge-ad's, which takes uint8 as it is read."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY"}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    read, output = (_pixels, "anomaly_score") if own else (_planes, "score")

    def judge(file: str) -> tuple[float, bool]:
        score = float(request.infer({0: read(file)})[output].ravel()[0])
        return score, score > threshold

    return judge


def naive(model: str, threshold: float) -> Judge:
    """Return the loop that one writes first: Pillow, NumPy, a session with its defaults."""
    import numpy as np
    import onnxruntime as ort
    from PIL import Image

    session = ort.InferenceSession(model)

    def judge(file: str) -> tuple[float, bool]:
        image = Image.open(file).convert("RGB").resize((SIDE, SIDE))
        array = np.array(image).astype(np.float32) / 255.0
        array = np.expand_dims(np.transpose(array, (2, 0, 1)), 0)
        score, _ = session.run(None, {session.get_inputs()[0].name: array})
        return float(score[0]), bool(score[0] > threshold)

    return judge


def import_torchvision() -> None:
    """Import torchvision where its compiled operators do not fit torch, too.

    PyPI has torchvision for torch with CUDA alone. Beside torch for the CPU its own operators do
    not load; no tool here calls one, but the import describes two of them.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define("torchvision::nms", boxes)
        torch.library.define("torchvision::qnms", boxes)
        import torchvision  # noqa: F401


def _planes(file: str) -> Any:
    """Read an image as float32 (1, 3, SIDE, SIDE), RGB in [0, 1], the cheapest way."""
    import cv2
    import numpy as np

    return np.ascontiguousarray(cv2.dnn.blobFromImage(_pixels(file)[0], 1 / 255, swapRB=True))


def _pixels(file: str) -> Any:
    """Read an image as uint8 (1, SIDE, SIDE, 3) BGR."""
    import cv2

    image = cv2.imread(file)
    assert image is not None, file
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[None]


KINDS: dict[str, Callable[[str, float], Judge]] = {
    "anomalib Torch": anomalib_torch,
    "anomalib OpenVINO": anomalib_openvino,
    "AnomaVision ONNX": anomavision_onnx,
    "naive loop": naive,
    "bare ONNX Runtime": bare_onnxruntime,
    "bare OpenVINO": lambda model, limit: bare_openvino(model, limit, ""),
    "bare OpenVINO fp32": lambda model, limit: bare_openvino(model, limit, "f32"),
    "bare OpenVINO int8": lambda model, limit: bare_openvino(model, limit, "f32", own=True),
    "edge-ad": lambda model, limit: edge_ad(model, limit, "auto"),
    "edge-ad OpenVINO": lambda model, limit: edge_ad(model, limit, "openvino"),
}


def measure(judge: Judge, files: list[str]) -> dict[str, list[float]]:
    """Return milliseconds, processor milliseconds and scores of every file."""
    answer: dict[str, list[float]] = {"ms": [], "processor_ms": [], "scores": []}
    for file in files:
        began, busy = time.perf_counter(), time.process_time()
        score, _ = judge(file)
        answer["ms"].append(1e3 * (time.perf_counter() - began))
        answer["processor_ms"].append(1e3 * (time.process_time() - busy))
        answer["scores"].append(score)
    return answer


def main() -> None:
    kind, model, threshold = sys.argv[1:]
    sys.path.remove(str(Path(__file__).resolve().parent))  # no module here may hide one of a tool
    with contextlib.redirect_stdout(sys.stderr):  # tools greet on standard output
        judge = KINDS[kind](model, float(threshold))
    print("ready", flush=True)
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            answer = measure(judge, json.loads(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
