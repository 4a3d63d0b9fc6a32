"""DeSTSeg for 256x256 with seeded weights: its maps are meaningless, its cost is realistic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from edge_ad.export.onnx import onnx_from_module
from edge_ad.manifest import Manifest

SIZE_HW = (256, 256)


@contextmanager
def engine_or_untrained(engine: Path | None) -> Iterator[Path]:
    """Yield the given engine, or an untrained one while the block runs."""
    if engine is not None:
        yield engine
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "destseg.onnx"
        write_untrained(path)
        yield path


def write_untrained(path: Path) -> None:
    """Write an untrained engine; norms get statistics too, so that no layer's values vanish."""
    import torch
    from untrained import spread_norms  # the script's own folder is on the path

    from edge_ad.methods.destseg.network import METHOD, DeSTSegConfig
    from edge_ad.methods.engine_graph import EngineGraph

    torch.manual_seed(0)
    config = DeSTSegConfig()
    network = METHOD.build(config, SIZE_HW).eval()
    spread_norms(network)
    manifest = Manifest(method="destseg", size_hw=SIZE_HW, score=METHOD.score(config, SIZE_HW))
    onnx.save(onnx_from_module(EngineGraph(network), manifest), path)
