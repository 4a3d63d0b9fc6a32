"""The registry of methods: one entry each, readable without torch.

Commands, benchmarks, docs and tests take the methods' names, titles and modules from here. An
installed package adds a method by an entry point, see `edge_ad.installed`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from edge_ad.errors import UsageError
from edge_ad.installed import find_entry, installed_names

GROUP = "edge_ad.methods"
Fidelity = Literal["exact", "faithful", "reconstructed"]
COSTS_FILE = "costs.json"  # written by benchmarks/method_costs.py


@dataclass(frozen=True)
class MethodEntry:
    """One method: what a user reads about it, and where its code is.

    `fidelity`: an exact method gives the same output as the authors' code under the same weights;
    a faithful one follows the published pipeline where parts were not published; a reconstructed
    one is built from an abstract.
    `network` and `training` are the import paths of the modules that define METHOD and TRAINING;
    `foreign_checkpoints`, for methods that others train too, the one that defines READERS.
    `parameter_prefix` starts a parameter's name in weights of this method and of no other.
    `edge_teacher` names the backbone whose weights the preset `edge` needs; empty for none.
    """

    name: str
    title: str
    idea: str
    needs: str
    choose: str
    fidelity: Fidelity
    source: str
    network: str
    training: str
    parameter_prefix: str
    foreign_checkpoints: str = ""
    edge_teacher: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What an installed package may call its entry point for this method."""
        return (self.name,)

    def as_json(self) -> dict[str, Any]:
        """Return what `edge-ad methods --json` prints of the entry."""
        shown = ("name", "title", "idea", "needs", "choose", "fidelity", "source")
        return {key: getattr(self, key) for key in shown}


@dataclass(frozen=True)
class MethodCost:
    """Cost of one image: parameters in millions, multiplications and additions in billions."""

    parameters_m: float
    gflops: float


@dataclass(frozen=True)
class MethodCosts:
    """Costs of the published network at 256x256 (`full`) and of preset `edge` at 128x128."""

    full: MethodCost
    edge: MethodCost

    def as_json(self) -> dict[str, Any]:
        """Return both costs as plain values."""
        return asdict(self)


METHODS: dict[str, MethodEntry] = {
    entry.name: entry
    for entry in (
        MethodEntry(
            name="destseg",
            title="DeSTSeg",
            idea="a student repairs a frozen teacher's features; a net segments where they differ",
            needs="weights of ResNet-18 or EfficientNet-Lite (ImageNet)",
            choose="first choice: best published accuracy for its cost",
            fidelity="exact",
            source="Zhang et al., CVPR 2023, arXiv 2211.11317",
            network="edge_ad.methods.destseg.network",
            training="edge_ad.methods.destseg.training",
            foreign_checkpoints="edge_ad.methods.destseg.foreign_checkpoints",
            parameter_prefix="student.decoder",
            edge_teacher="resnet18",
        ),
        MethodEntry(
            name="draem",
            title="DRAEM",
            idea="one net repairs the image, another segments what the repair changed",
            needs="nothing pretrained",
            choose="no pretrained weights allowed, and a GPU to train on",
            fidelity="exact",
            source="Zavrtanik et al., ICCV 2021, arXiv 2108.07610",
            network="edge_ad.methods.draem.network",
            training="edge_ad.methods.draem.training",
            foreign_checkpoints="edge_ad.methods.draem.foreign_checkpoints",
            parameter_prefix="reconstructive.encoder.",
        ),
        MethodEntry(
            name="clflow",
            title="CL-Flow (reconstructed)",
            idea="a normalising flow on frozen features, contrasted with synthetic anomalies",
            needs="Wide ResNet-50-2 or ResNet-18 weights (ImageNet)",
            choose="textures, and parts whose features vary little",
            fidelity="reconstructed",
            source=(
                "Wang et al., ISPP 2024, arXiv 2311.06794 (abstract); FastFlow, arXiv 2111.07677"
            ),
            network="edge_ad.methods.clflow.network",
            training="edge_ad.methods.clflow.training",
            foreign_checkpoints="edge_ad.methods.clflow.foreign_checkpoints",
            parameter_prefix="flows.0.steps.",
            edge_teacher="resnet18",
        ),
        MethodEntry(
            name="ear",
            title="EAR",
            idea="hides what stands out behind a mosaic, restores it, compares edges",
            needs="DINO ViT or our digit attention; nothing with network.attention=none",
            choose="normal parts look alike; in full size trained without synthetic anomalies",
            fidelity="faithful",
            source="Park et al., Scientific Reports 14:18872, 2024, arXiv 2310.04010",
            network="edge_ad.methods.ear.network",
            training="edge_ad.methods.ear.training",
            parameter_prefix="unet.encoder.",
        ),
        MethodEntry(
            name="pmb",
            title="PMB (reconstructed)",
            idea="restores the image through memories of normal patterns, one per partition",
            needs="nothing pretrained",
            choose="parts that always lie the same way; in full size without synthetic anomalies",
            fidelity="reconstructed",
            source="Xing and Li, IEEE TCSVT 33(8), 2023, arXiv 2209.12441 (abstract)",
            network="edge_ad.methods.pmb.network",
            training="edge_ad.methods.pmb.training",
            parameter_prefix="decoder.0.up.",
        ),
        MethodEntry(
            name="patchcore",
            title="PatchCore",
            idea="distance of frozen features to the nearest of remembered normal patches",
            needs="weights of ResNet-18, EfficientNet-Lite or Wide ResNet-50-2 (ImageNet)",
            choose="trained in one pass, minutes on a CPU; also a prior: --prior patchcore",
            fidelity="exact",
            source="Roth et al., CVPR 2022, arXiv 2106.08265",
            network="edge_ad.methods.patchcore.network",
            training="edge_ad.methods.patchcore.training",
            parameter_prefix="memory.rows.weight",
            edge_teacher="resnet18",
        ),
        MethodEntry(
            name="gaussian",
            title="Gaussian",
            idea="Mahalanobis distance of frozen features to those of normal parts",
            needs="weights of ResNet-18, EfficientNet-Lite or Wide ResNet-50-2 (ImageNet)",
            choose="lightest and fastest to train; also a prior: --prior gaussian",
            fidelity="faithful",
            source="after PaDiM, Defard et al., ICPR 2020, arXiv 2011.08785; one Gaussian for all",
            network="edge_ad.methods.gaussian.network",
            training="edge_ad.methods.gaussian.training",
            parameter_prefix="gaussian.whiten",
            edge_teacher="resnet18",
        ),
    )
}


def all_methods() -> dict[str, MethodEntry]:
    """Return every method by name, those of installed packages behind our own.

    Raises IncompatibleError when a package has no entry that can be used.
    """
    names = (*METHODS, *(name for name in installed_names(GROUP) if name not in METHODS))
    return {name: method_entry(name) for name in names}


def find_method(name: str) -> MethodEntry | None:
    """Return a method's entry, None for a method that there is not.

    Raises IncompatibleError when it is of a package that has no entry that can be used.
    """
    return find_entry(METHODS.values(), GROUP, name, MethodEntry)


def method_entry(name: str) -> MethodEntry:
    """Return a method's entry; raises UsageError for a method that there is not."""
    if entry := find_method(name):
        return entry
    known = ", ".join((*METHODS, *installed_names(GROUP)))
    raise UsageError(f"no method '{name}'; this version has: {known}.")


def title_of(name: str) -> str:
    """Return a method's name in reports, like 'PMB (reconstructed)'; `name` itself if unknown."""
    entry = find_method(name)
    return entry.title if entry else name


@cache
def method_costs() -> dict[str, MethodCosts]:
    """Return the computed costs of every method that is shipped."""
    text = resources.files("edge_ad.methods").joinpath(COSTS_FILE).read_text(encoding="utf-8")
    return {
        name: MethodCosts(**{kind: MethodCost(**cost) for kind, cost in costs.items()})
        for name, costs in json.loads(text).items()
    }
