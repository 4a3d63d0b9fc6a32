"""What there is to choose from: the methods side by side, readable without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Fidelity = Literal["exact", "faithful", "reconstructed"]


@dataclass(frozen=True)
class MethodCost:
    """Of one image: parameters in millions, multiplications and additions in billions."""

    parameters_m: float
    gflops: float


@dataclass(frozen=True)
class MethodCard:
    """One method. `full` is the published network at 256x256, `edge` the preset at 128x128.

    `fidelity`: exact answers what the authors' code answers under the same weights; faithful
    follows the published pipeline where parts were not published; reconstructed is built from an
    abstract.
    """

    name: str
    title: str
    idea: str
    needs: str
    choose: str
    fidelity: Fidelity
    source: str
    full: MethodCost
    edge: MethodCost

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


CARDS = (
    MethodCard(
        name="destseg",
        title="DeSTSeg",
        idea="a student repairs a frozen teacher's features; a net segments where they differ",
        needs="ResNet-18 weights (ImageNet)",
        choose="first choice: best published accuracy for its cost",
        fidelity="exact",
        source="Zhang et al., CVPR 2023, arXiv 2211.11317",
        full=MethodCost(35.15, 76.9),
        edge=MethodCost(5.05, 2.5),
    ),
    MethodCard(
        name="draem",
        title="DRAEM",
        idea="one net repairs the image, another segments what the repair changed",
        needs="nothing pretrained",
        choose="no pretrained weights allowed, and a GPU to train on",
        fidelity="exact",
        source="Zavrtanik et al., ICCV 2021, arXiv 2108.07610",
        full=MethodCost(97.42, 395.9),
        edge=MethodCost(2.86, 2.5),
    ),
    MethodCard(
        name="clflow",
        title="CL-Flow (reconstructed)",
        idea="a normalising flow on frozen features, taught by contrast with self-made damage",
        needs="Wide ResNet-50-2 or ResNet-18 weights (ImageNet)",
        choose="textures, and parts whose features vary little",
        fidelity="reconstructed",
        source="Wang et al., ISPP 2024, arXiv 2311.06794 (abstract); FastFlow, arXiv 2111.07677",
        full=MethodCost(69.87, 72.3),
        edge=MethodCost(4.31, 1.3),
    ),
    MethodCard(
        name="ear",
        title="EAR",
        idea="hides what stands out behind a mosaic, restores it, compares edges",
        needs="DINO ViT or our digit attention; nothing with attention=none",
        choose="good parts look alike; in full size trained without imitated damage",
        fidelity="faithful",
        source="Park et al., Scientific Reports 14:18872, 2024, arXiv 2310.04010",
        full=MethodCost(47.63, 184.8),
        edge=MethodCost(1.62, 2.0),
    ),
    MethodCard(
        name="pmb",
        title="PMB (reconstructed)",
        idea="restores the image through memories of normal patterns, one per partition",
        needs="nothing pretrained",
        choose="parts that always lie the same way; in full size without imitated damage",
        fidelity="reconstructed",
        source="Xing and Li, IEEE TCSVT 33(8), 2023, arXiv 2209.12441 (abstract)",
        full=MethodCost(25.01, 92.5),
        edge=MethodCost(2.68, 1.6),
    ),
)


def titled(method: str) -> str:
    """A method's name in reports: 'PMB (reconstructed)'; as it is when unknown here."""
    return next((entry.title for entry in CARDS if entry.name == method), method)
