"""Give untrained networks values that a trained one could have, for figures about speed."""

from __future__ import annotations

import torch
from torch import nn


def spread_norms(network: nn.Module) -> None:
    """Draw statistics and weights of all batch norms, so that no layer's values vanish.

    They come from torch's global generator, which the caller seeds.
    """
    with torch.no_grad():
        for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
