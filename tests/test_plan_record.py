"""Which plan runs where, and the command that builds one that does. Needs no TensorRT."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from edge_ad.cli.build import command
from edge_ad.plan_record import (
    BuildOptions,
    BuildRecord,
    Machine,
    NoGpu,
    Runtime,
    TargetGpu,
    build_command,
    denied,
    differences,
    options_for,
)
from tests.plan_records import ORIN, RTX_2080, RTX_4090, built, here

RTX: dict[str, Any] = {"runtime": "tensorrt-rtx", "version": "1.7.1", "compute_capability": ""}
PORTABLE = BuildOptions(version_compatible=True)
AMPERE = BuildOptions(hardware_compatible="ampere-plus")
SAME = BuildOptions(hardware_compatible="same-compute-capability")
OLDER_DRIVER = TargetGpu("Orin", "8.7", "12.2", "540.3.0", 30_000)


@pytest.mark.parametrize(
    ("build", "machine", "clauses"),
    [
        pytest.param(built(), here(), [], id="the machine that built it"),
        pytest.param(
            built(),
            here(version="10.16.0"),
            ["it was built by TensorRT 10.3.0, here is 10.16.0"],
            id="a newer version",
        ),
        pytest.param(
            built(),
            here(RTX_4090),
            [
                "it was built for compute capability 8.7 (Orin), "
                "here is an NVIDIA GeForce RTX 4090 with 8.9"
            ],
            id="another GPU",
        ),
        pytest.param(
            built(),
            here(OLDER_DRIVER),
            [
                "it was built under driver 540.4.0 for CUDA 12.6, here is 540.3.0 for CUDA 12.2: "
                "update the driver, or rebuild"
            ],
            id="an older driver",
        ),
        pytest.param(built(cuda="12.2"), here(), [], id="a newer driver"),
        pytest.param(built(cuda="12.10"), here(), ["driver"], id="minor versions are numbers"),
        pytest.param(
            built(),
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            ["it was built by TensorRT, here is TensorRT-RTX", "compute capability 8.7"],
            id="another runtime",
        ),
        pytest.param(
            built(),
            here(NoGpu("no driver"), "10.4.0"),
            ["10.3.0, here is 10.4.0", "there is no GPU to run it (no driver)"],
            id="everything that differs is named",
        ),
        pytest.param(built(options=PORTABLE), here(version="10.16.0"), [], id="portable, newer"),
        pytest.param(
            built(options=PORTABLE), here(version="11.4.1"), [], id="portable, next major"
        ),
        pytest.param(
            built(options=PORTABLE),
            here(version="12.0.0"),
            ["even version-compatible"],
            id="too new",
        ),
        pytest.param(
            built(version="10.16.0", options=PORTABLE),
            here(version="10.3.0"),
            ["even version-compatible"],
            id="portable, but older here",
        ),
        pytest.param(built(options=AMPERE), here(RTX_4090), [], id="for ampere and later"),
        pytest.param(built(options=AMPERE), here(RTX_2080), ["8.0 or later"], id="before ampere"),
        pytest.param(built(options=SAME), here(RTX_4090), ["8.7"], id="another capability"),
        pytest.param(
            built(**RTX), here(RTX_4090, "1.7.1", "tensorrt-rtx"), [], id="RTX, a GPU of its range"
        ),
        pytest.param(
            built(**RTX),
            here(RTX_2080, "1.7.1", "tensorrt-rtx"),
            ["8.0 or later"],
            id="RTX, too old",
        ),
        pytest.param(
            built(**RTX, options=BuildOptions(compute_capabilities=("7.5", "8.6"))),
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            ["built for compute capability 7.5, 8.6, here is an NVIDIA GeForce RTX 4090 with 8.9"],
            id="RTX, not a target",
        ),
        pytest.param(
            built(**RTX, options=BuildOptions(compute_capabilities=("7.5",))),
            here(RTX_2080, "1.7.1", "tensorrt-rtx"),
            [],
            id="RTX, a target",
        ),
        pytest.param(
            built(**{**RTX, "cuda": "13.1"}),
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            [],
            id="RTX kernels are made where the plan is loaded",
        ),
    ],
)
def test_what_differs_is_named(build: BuildRecord, machine: Machine, clauses: list[str]) -> None:
    observed = differences(build, machine)
    assert len(observed) == len(clauses)
    for clause, expected in zip(observed, clauses, strict=True):
        assert expected in clause


def parsed(command_line: str) -> dict[str, Any]:
    """Return what `edge-ad build` parses from a printed command."""
    words = shlex.split(command_line)
    assert words[:2] == ["edge-ad", "build"]
    context: click.Context = command.make_context("build", words[2:])
    return context.params


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(),
        BuildOptions(batch=(1, 4, 8), workspace_mib=512, optimization_level=5),
        BuildOptions(
            tf32=True, version_compatible=True, hardware_compatible="ampere-plus", dla_core=1
        ),
    ],
    ids=["none", "sizes", "compatible"],
)
def test_the_printed_command_has_the_options_of_the_build(options: BuildOptions) -> None:
    line = build_command(Path("my part.onnx"), Path("p.plan"), options, "tensorrt")
    words = parsed(line)
    assert (words["onnx"], words["output"]) == (Path("my part.onnx"), Path("p.plan"))
    assert words["runtime"] == "tensorrt"
    kept = {name: words[name] for name in BuildOptions.__struct_fields__}
    assert BuildOptions(**kept) == options


def test_the_command_for_another_runtime_leaves_out_options_it_does_not_have() -> None:
    options = BuildOptions(version_compatible=True, dla_core=0, hardware_compatible="ampere-plus")
    words = parsed(build_command(Path("p.onnx"), Path("p.plan"), options, "tensorrt-rtx"))
    assert (
        BuildOptions(**{name: words[name] for name in BuildOptions.__struct_fields__})
        == BuildOptions()
    )
    targets = BuildOptions(compute_capabilities=("8.9", "12.0"))
    line = build_command(Path("p.onnx"), Path("p.plan"), targets, "tensorrt-rtx")
    assert parsed(line)["compute_capabilities"] == ("8.9", "12.0")
    assert "8.9" not in build_command(Path("p.onnx"), Path("p.plan"), targets, "tensorrt")


@pytest.mark.parametrize("gpu", [ORIN, RTX_4090, RTX_2080], ids=lambda gpu: gpu.name)
@pytest.mark.parametrize(
    "options",
    [BuildOptions(), AMPERE, BuildOptions(compute_capabilities=("8.6",)), PORTABLE],
    ids=["plain", "ampere", "targets", "portable"],
)
@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_built_with_the_printed_command_runs(
    runtime: Runtime, options: BuildOptions, gpu: TargetGpu
) -> None:
    """For any options of the first build, the printed command fits the GPU of this machine."""
    machine = Machine(runtime, "1.7.1", gpu)
    rebuilt = built(
        runtime=runtime,
        version="1.7.1",
        compute_capability=gpu.compute_capability,
        cuda=gpu.cuda,
        options=BuildOptions(
            **{
                name: value
                for name, value in parsed(
                    build_command(
                        Path("p.onnx"),
                        Path("p.plan"),
                        options_for(built(options=options), machine),
                        runtime,
                    )
                ).items()
                if name in BuildOptions.__struct_fields__
            }
        ),
    )
    assert differences(rebuilt, machine) == []


def test_bad_versions_are_denied_with_a_reason() -> None:
    assert "libnvinfer_builder_resource_win" in denied("tensorrt", "10.2.0")
    assert denied("tensorrt", "10.3.0") == ""
