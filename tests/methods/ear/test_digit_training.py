"""The digit attention is trained on folders of digits, here the 8x8 ones of scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import load_digits

from edge_ad.cli.attention import command
from edge_ad.errors import DataError
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.pretrained import fill, read_state


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for index, (image, label) in enumerate(zip(data.images[:400], data.target, strict=False)):
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        cv2.imwrite(str(place / f"{index}.png"), (image * 15).astype(np.uint8))
    return folder


def test_training_on_digits_gives_weights_that_fit(digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "attention.pt"
    words = ["--digits", str(digits), "-o", str(path), "--steps", "3", "--batch", "4", "--json"]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    result = json.loads(done.stdout)
    assert result["images"] == 400 and result["held_back"] == 40 and 0 <= result["accuracy"] <= 1
    net, fresh = DigitAttention(), _untrained()
    fill(net, read_state(path, "attention"), path, "attention")
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, fresh[k])}
    trained = {k for k, _ in net.named_parameters()} - {"attend.bias"}  # a softmax ignores it
    assert moved == trained


def _untrained() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return DigitAttention().state_dict()


def test_a_missing_digit_is_named(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    with pytest.raises(DataError, match=r"no images of the digit 0"):
        words = ["--digits", str(tmp_path), "-o", str(tmp_path / "x.pt")]
        CliRunner().invoke(command, words, catch_exceptions=False)
