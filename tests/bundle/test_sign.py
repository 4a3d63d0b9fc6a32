"""Signing a bundle that is there already."""

from __future__ import annotations

import pytest

from edge_ad.bundle.checks import verify_bundle
from edge_ad.bundle.create import sign_bundle
from edge_ad.bundle.signing import new_key
from edge_ad.errors import DataError
from tests.bundle.conftest import Workshop, trusting


def test_a_signature_is_added_to_those_that_are_there(workshop: Workshop) -> None:
    bundle, keys = workshop.bundle(1, []), [new_key(), new_key()]
    first, second = (key.public.key_id for key in keys)
    assert sign_bundle(bundle, keys[0]) == [first]
    assert sign_bundle(bundle, keys[1]) == [first, second]
    assert sign_bundle(bundle, keys[0]) == [second, first], "one signature a key"
    for key in keys:
        assert verify_bundle(bundle, trusting(key.public)).signers == ["key 0"]


def test_what_is_damaged_is_not_signed(workshop: Workshop) -> None:
    bundle = workshop.bundle(1, [])
    damaged = bytearray(bundle.read_bytes())
    damaged[-2000] ^= 1
    bundle.write_bytes(damaged)
    with pytest.raises(DataError, match=str(bundle)):
        sign_bundle(bundle, new_key())
    assert bundle.read_bytes() == damaged
    assert [path for path in bundle.parent.iterdir() if path.name.endswith(".part.edgead")] == []
