"""Rollbacks by a command: their event, and what they keep from being installed again."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from edge_ad.cli.bundle_install import _restart, rollback
from edge_ad.errors import EdgeAdError, IncompatibleError
from edge_ad.store.store import Store
from tests.bundle.conftest import Workshop, reasons, two_versions


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_rollback_is_the_event_of_the_version_that_was_taken_back(
    workshop: Workshop, *, by_hand: bool
) -> None:
    output = two_versions(workshop)
    output.mkdir()
    with Store(output):
        pass
    if by_hand:
        words = [str(workshop.device), "--reason", "rejects good parts"]
        assert "back to plates version 1" in CliRunner().invoke(rollback, words).output
    else:
        with pytest.raises(EdgeAdError, match="is back at plates version 1"):
            _restart(workshop.device, workshop.running()[0], "false")
    why = "rejects good parts" if by_hand else "the line could not be started again"
    ((step, reason),) = reasons(output)
    assert step == "rollback" and reason.startswith(f"plates version 2 is taken back: {why}")


def test_a_version_that_was_taken_back_for_no_reason_is_refused_too(workshop: Workshop) -> None:
    workshop.have_installed()
    second = workshop.bundle(2)
    workshop.install(second)
    assert CliRunner().invoke(rollback, [str(workshop.device), "--reason", ""]).exit_code == 0
    with pytest.raises(IncompatibleError, match=r"taken back on .*: by hand\. Install a newer one"):
        workshop.install(second)
