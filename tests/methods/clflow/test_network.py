"""CL-Flow's flow: invertible, exact in its density, foldable; and the network around it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.func import jacrev

from edge_ad.methods.clflow.flow import Flow, Kernels, Step
from edge_ad.methods.clflow.network import METHOD, CLFlow, CLFlowConfig
from tests.methods.conftest import Exported
from tests.methods.network_checks import (
    SIZE,
    check_contract,
    gflops,
    millions,
    shaken,
)

SMALL = CLFlowConfig(backbone="resnet18", flow_steps=3, hidden_ratio=0.16)


def _flow(channels: int = 6, steps: int = 4, kernels: Kernels = "alternate") -> Flow:
    torch.manual_seed(0)
    return Flow((channels, 4, 5), steps=steps, kernels=kernels, ratio=1.0, clamp=2.0, pre_scale=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "flow_millions", "norm_millions", "flow_gflops", "backbone_millions"),
    [
        (CLFlowConfig(backbone="resnet18", kernels="3x3"), 4.66, 0.92, 5.4, 2.78),
        (CLFlowConfig(backbone="resnet18"), 2.59, 0.92, 3.0, 2.78),
        (CLFlowConfig(), 41.34, 3.67, 48.3, 24.86),
        (CLFlowConfig(hidden_ratio=0.16), 6.56, 3.67, 7.6, 24.86),
    ],
)
def test_cost_is_fastflows(
    config: CLFlowConfig,
    flow_millions: float,
    norm_millions: float,
    flow_gflops: float,
    backbone_millions: float,
) -> None:
    with torch.device("meta"):
        net = CLFlow(config, (256, 256))
        cost = gflops(net) - gflops(net.backbone)
    norms = sum(millions(flow.norm) for flow in net.flows if isinstance(flow, Flow))
    assert millions(net.flows) - norms == pytest.approx(flow_millions, abs=0.006)
    assert norms == pytest.approx(norm_millions, abs=0.006)
    assert millions(net.backbone) == pytest.approx(backbone_millions, abs=0.006)
    assert cost == pytest.approx(flow_gflops, abs=0.06)


@pytest.mark.parametrize("channels", [6, 7])
def test_a_flow_is_invertible(channels: int) -> None:
    flow = _flow(channels)
    shaken(flow, by=0.2)
    x = torch.randn(2, channels, 4, 5)
    with torch.no_grad():
        z, _ = flow(x)
        torch.testing.assert_close(flow.inverse(z), flow.norm(x), atol=1e-5, rtol=1e-5)


def test_the_log_determinant_is_the_jacobians() -> None:
    torch.manual_seed(0)
    step = Step(4, kernel=3, ratio=1.0, clamp=2.0, pre_scale=0.1).double()
    shaken(step, by=0.5)
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    jacobian = jacrev(lambda v: step(v.view(1, 4, 2, 3))[0].flatten())(x.flatten())
    expected = torch.linalg.slogdet(jacobian)[1]
    assert step(x)[1].item() == pytest.approx(expected.item(), abs=1e-9)


def test_a_fresh_step_has_unit_scale_and_hardly_changes_the_volume() -> None:
    torch.manual_seed(0)
    step = Step(64, kernel=3, ratio=1.0, clamp=2.0, pre_scale=0.1)
    torch.testing.assert_close(step.gain(), torch.ones(1, 64, 1, 1), atol=1e-6, rtol=0)
    x = torch.randn(2, 64, 16, 16)
    with torch.no_grad():
        log_scale, _ = step.scale_and_shift(x[:, :32])
    assert log_scale.abs().mean().item() < 0.1


def test_kernels_alternate_or_stay() -> None:
    def sides(flow: Flow) -> list[int]:
        return [step.subnet[0].kernel_size[0] for step in flow.steps]  # type: ignore[union-attr,index]

    assert sides(_flow()) == [3, 1, 3, 1]
    assert sides(_flow(kernels="3x3")) == [3, 3, 3, 3]


def test_shuffles_are_kept_with_the_weights() -> None:
    torch.manual_seed(1)
    one = CLFlow(SMALL, SIZE)
    torch.manual_seed(2)
    other = CLFlow(SMALL, SIZE)
    other.load_state_dict(one.state_dict())
    rgb = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(rgb), other.eval()(rgb))


def test_the_backbone_stays_in_eval_mode_and_frozen() -> None:
    net = CLFlow(SMALL, SIZE).train()
    assert not net.backbone.training and net.flows.training
    assert not any(parameter.requires_grad for parameter in net.backbone.parameters())


def test_the_contract_holds() -> None:
    check_contract(shaken(CLFlow(SMALL, SIZE)), METHOD.score(SMALL, SIZE))


def test_the_map_is_in_range_and_of_any_size() -> None:
    net = shaken(CLFlow(SMALL, (50, 70)))
    anomaly_map, _ = net(torch.rand(1, 3, 50, 70))
    assert anomaly_map.shape == (1, 50, 70)
    assert 0 <= anomaly_map.min().item() and anomaly_map.max().item() < 1


@pytest.mark.slow
def test_the_exported_graph_gathers_whole_channels(exported: Callable[[str], Exported]) -> None:
    assert not exported("clflow").operators.keys() & {"GatherND", "ScatterND"}
