"""`edge-ad inspect`: print what a file is, what it expects and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@shared
def command(*, file: Path, as_json: bool) -> None:
    """Print what FILE is: weights (.pt), an engine (.onnx, .plan), or its sidecar (.yaml)."""
    from edge_ad.describe import inspect_file

    facts = inspect_file(file)
    if as_json:
        return emit({"type": "inspect", **facts})
    for name, value in _rows(facts):
        click.echo(f"{name:<12}{value}")


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield facts["kind"], f"{facts['file']}, {facts['bytes'] / 1e6:.2f} MB"
    yield "sha256", facts["sha256"]
    if manifest := facts["manifest"]:
        yield from _manifest_rows(manifest)
    if "build" in facts:
        yield from _build_rows(facts)
    if "contract" in facts:
        yield "contract", _contract(facts["contract"])
    if graph := facts["graph"]:
        yield from _graph_rows(graph)
    if "config" in facts:
        yield "config", ", ".join(f"{key} {value}" for key, value in facts["config"].items())
    if "threshold" in facts:
        yield from _threshold_rows(facts)
    if manifest:
        yield from _provenance_rows(manifest["provenance"])


def _manifest_rows(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    height, width = manifest["size_hw"]
    batch = manifest["batch"] or "any number of"
    images = "image" if batch == 1 else "images"
    yield "method", f"{manifest['method']}, {manifest['precision']}"
    yield "size", f"{height}x{width} (height x width), {batch} {images} a call"
    yield "geometry", _geometry(manifest["geometry"])
    score = manifest["score"]
    yield "score", _largest(score["top_k"]) + _filtered(score)


def _geometry(geometry: dict[str, Any]) -> str:
    parts = []
    if geometry["roi_xywh"]:
        parts.append("region x={} y={} width={} height={}".format(*geometry["roi_xywh"]))
    rows, columns = geometry["tiles"]
    if rows * columns > 1:
        parts.append(f"{rows}x{columns} tiles, {geometry['overlap']:.0%} overlap")
    if geometry["ignore"]:
        parts.append(f"{len(geometry['ignore'])} ignored polygons")
    if geometry["frame_wh"]:
        parts.append("of frames of {}x{}".format(*geometry["frame_wh"]))
    if geometry["shrink"] != "area":
        parts.append(f"shrunk {geometry['shrink']}ly")
    return ", ".join(parts) or "the whole frame"


def _largest(top_k: int) -> str:
    return "the largest value" if top_k == 1 else f"mean of the {top_k} largest values"


def _filtered(score: dict[str, Any]) -> str:
    side = score["mean_filter_px"]
    return f" after a {side}x{side} mean filter" if side > 1 else ""


def _contract(contract: dict[str, Any]) -> str:
    if contract["met"]:
        return "met: image uint8 in, anomaly_map and anomaly_score float32 out"
    return f"{'not checked' if contract['met'] is None else 'NOT met'}: {contract['problem']}"


def _graph_rows(graph: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for direction in ("inputs", "outputs"):
        for tensor in graph.get(direction, ()):
            yield direction[:-1], f"{tensor['name']} {tensor['type']} {tensor['shape']}"
    if "opset" in graph:
        opsets = ", ".join(f"{domain} {version}" for domain, version in graph["opset"].items())
        yield "opset", f"{opsets}; IR {graph['ir_version']}; {graph['producer']}"
    if "parameters" in graph:
        yield "parameters", _parameters(graph)
    if "layers" in graph:
        precisions = _counts(graph["precisions"])
        yield "layers", f"{graph['layers']} ({precisions}, {graph['reformats']} reformats)"
        yield "memory", f"{graph['device_memory_mib']:g} MiB of GPU memory while it runs"
    if graph.get("gflops") is not None:
        yield "arithmetic", f"{graph['gflops']:.3g} GFLOPs an image"
    if "operators" in graph:
        yield "operators", _counts(graph["operators"])


def _counts(by_name: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in by_name.items())


def _parameters(graph: dict[str, Any]) -> str:
    types = graph.get("weights", {})
    return f"{graph['parameters']:,}" + (f" ({_counts(types)})" if len(types) > 1 else "")


def _build_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    build, here = facts["build"], facts["runs_here"]
    gpu = f"{build['gpu']} ({build['compute_capability']})" if build["gpu"] else "no GPU"
    yield "built by", f"{build['runtime']} {build['version']} on {gpu}, {build['created_utc']}"
    yield "built from", f"{build['onnx']}, {build['onnx_sha256']}"
    yield "runs here", "yes" if here["fits"] else f"NO: {here['problem']}"


def _threshold_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    threshold = facts["threshold"]
    if threshold:
        yield "threshold", f"image {threshold['image']:.6g}, pixel {threshold['pixel']:.6g}"
        yield "guarantee", threshold["guarantee"]
    elif "sidecar_problem" in facts:
        yield "threshold", f"not usable: {facts['sidecar_problem']}"
    elif facts.get("contract", {}).get("met") is False:
        yield "threshold", "none"
    else:
        yield "threshold", f"none; set one: edge-ad threshold {facts['file']} --images GOOD_DIR"


def _provenance_rows(provenance: dict[str, Any]) -> Iterator[tuple[str, str]]:
    made = ", ".join(f"{name} {version}" for name, version in provenance["made_with"].items())
    if made:
        yield "made with", made
    if provenance["created_utc"]:
        yield "made at", provenance["created_utc"]
    if provenance["images"]:
        yield "trained on", f"{provenance['images']} images, {provenance['data_sha256'][:12]}"
    if provenance["parent_sha256"]:
        yield "made from", provenance["parent_sha256"]
    for name, value in provenance["notes"].items():
        yield "note", f"{name}: {value}"
