"""Training settings: their base classes, and groups of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge_ad.methods.method import Config
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.textures import Textures


@dataclass(frozen=True)
class IsLearningRate:
    """Marks a setting as a learning rate, which a diverged training should lower."""


LearningRate = Annotated[float, Field(gt=0), IsLearningRate()]
LossWeight = Annotated[float, Field(ge=0)]
Tiles = Annotated[int, Field(ge=2, le=1024)]  # per step; batch norm needs two
Steps = Annotated[int, Field(ge=2)]


class SetAside(BaseModel):
    """Shares of the parts that are not trained on: to choose by, and for the threshold.

    0 and 0 train on all parts, as papers do; then no threshold can be set from them. Which parts
    these are depends on their names and on `draw`, and not on the training's seed, so that seeds
    are compared on the same parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    selection: Annotated[float, Field(ge=0, lt=1)] = 0.1
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.2
    draw: Annotated[int, Field(ge=0)] = 0

    @property
    def shares_given(self) -> bool:
        """Return whether shares were given, which few parts do not change."""
        return bool({"selection", "threshold"} & self.model_fields_set)

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each use that has one."""
        shares = {"selection": self.selection, "threshold": self.threshold}
        return {use: share for use, share in shares.items() if share}

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.selection + self.threshold >= 1:
            raise ValueError("the shares leave no part to train on; their sum must be below 1")
        return self


class TrainingSettings(BaseModel):
    """Base of a method's training settings; `--set name=value` reaches every field.

    `network` is the configuration of the network to train, `synthesis` that of the synthetic
    anomalies; a dot reaches inside them, like `network.width`. `lr_tail` is the last part of a
    phase over which the learning rates fall to 0; papers keep them constant. `average` is the share
    of the earlier weights in the running average that ends each phase; 0 takes the last weights, as
    papers do. `checks` is how often the weights are measured on the parts set aside in the second
    half of the last phase, to keep the best; 0 keeps the last. `set_aside` are the shares of parts
    that are not trained on. With `repetition` each tile is drawn from all, as DRAEM's code does, in
    place of passes over all tiles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    unused: ClassVar[tuple[str, ...]] = ()  # fields without effect, which a user cannot set

    batch: Tiles = 32
    lr_tail: Annotated[float, Field(ge=0, le=1)] = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    checks: Annotated[int, Field(ge=0, le=100)] = 0
    set_aside: SetAside = SetAside()
    repetition: bool = False
    network: Config = Config()
    synthesis: SynthesisConfig = SynthesisConfig()

    def rate(self, done: float) -> float:
        """Return the factor on the learning rates, 0 to 1, after the share `done` of a phase."""
        return min(1.0, (1 - done) / self.lr_tail) if self.lr_tail else 1.0

    @property
    def lower_rates(self) -> str:
        """Return options that set every learning rate to a third of its value."""
        marked = [
            name
            for name, field in type(self).model_fields.items()
            if any(isinstance(mark, IsLearningRate) for mark in field.metadata)
        ]
        return " ".join(f"--set {name}={getattr(self, name) / 3:.2g}" for name in marked)

    def prepare_textures(self, textures: Textures) -> Textures:
        """Return the textures as this method blends them in; most methods use them unchanged."""
        return textures


class OnePassSettings(TrainingSettings):
    """Base for methods that collect features of the normal tiles, in one pass by default.

    `steps` of `batch` tiles end it earlier, or repeat it for rotated tiles. No weights are learned,
    so the settings that say how do not apply.
    """

    unused: ClassVar[tuple[str, ...]] = ("lr_tail", "average", "checks")

    batch: Tiles = 8
    steps: Steps | None = None
    synthesis: SynthesisConfig = SynthesisConfig(anomaly_share=0.0)


def decayed(done: float, factor: float, at: tuple[float, ...]) -> float:
    """Return a rate that is multiplied by `factor` at each share of the steps in `at`."""
    return factor ** sum(done >= share for share in at)
