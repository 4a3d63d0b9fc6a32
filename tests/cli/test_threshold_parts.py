"""`edge-ad threshold` where looks do not tell parts apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from edge_ad.manifest import load_sidecar
from tests.conftest import invoke

MakePath: TypeAlias = Callable[..., Path]


def test_parts_that_looks_cannot_count_carry_no_guarantee_but_the_users_word_does(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 9)
    done = invoke("threshold", engine, "--images", good, "--json")
    assert load_sidecar(engine) is None
    refusal = json.loads(done.stdout)
    assert done.returncode == refusal["exit"] == 4
    assert "no guarantee by part can be stated" in refusal["message"]
    assert (refusal["parts_at_most"], refusal["images"]) == (9, 9)
    assert refusal["second_exposures"] == {"tried": 9, "recognised": 0}
    done = invoke("threshold", engine, "--images", good, "--json", "--parts-from", "each")
    result, sidecar = json.loads(done.stdout), load_sidecar(engine)
    assert result["decided_by"] == "each" and result["second_exposures"] is None
    assert sidecar is not None and sidecar.threshold is not None
    assert sidecar.threshold.decided_by == "each"
