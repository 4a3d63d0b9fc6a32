from __future__ import annotations

import numpy as np
import pytest

from edge_ad.onnx_graph.external import ExternalWeight, external_weights, is_self_contained
from edge_ad.onnx_graph.wire import encode, varint_field


def tensor(name: str, shape: tuple[int, ...], dtype: int, **place: str) -> bytes:
    """Return a TensorProto as bytes; `place` is its external data."""
    dims = b"".join(varint_field(1, side) for side in shape)
    entries = [encode(1, key.encode()) + encode(2, value.encode()) for key, value in place.items()]
    external = b"".join(encode(13, entry) for entry in entries)
    return dims + varint_field(2, dtype) + encode(8, name.encode()) + external


def test_weights_in_another_file_are_found() -> None:
    tensors = [
        tensor("inside", (3,), 1),
        tensor("w", (2, 300), 1, location="weights.bin", offset="4096", length="2400"),
        tensor("first", (8,), 3, location="weights.bin", length="8"),
        tensor("of a type that numpy lacks", (8,), 16, location="weights.bin", length="16"),
    ]
    graph = b"".join(encode(5, each) for each in tensors)
    model = varint_field(1, 8) + encode(7, graph)
    assert list(external_weights(model)) == [
        ExternalWeight("w", (2, 300), np.float32, 4096, 2400),
        ExternalWeight("first", (8,), np.int8, 0, 8),
    ]


def nested(*numbers: int, content: bytes) -> bytes:
    """Return messages inside each other, the outermost field first."""
    for number in reversed(numbers):
        content = encode(number, content)
    return content


OUTSIDE = tensor("w", (8,), 1, location="weights.bin")


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(nested(7, 5, content=OUTSIDE), id="a weight, without a length"),
        pytest.param(
            nested(7, 5, content=tensor("w", (8,), 16, location="weights.bin", length="16")),
            id="a weight of a type that numpy lacks",
        ),
        pytest.param(nested(7, 15, 1, content=OUTSIDE), id="a sparse weight"),
        pytest.param(nested(7, 1, 5, 5, content=OUTSIDE), id="a constant"),
        pytest.param(nested(7, 1, 5, 6, 5, content=OUTSIDE), id="a weight of a branch"),
        pytest.param(nested(25, 7, 5, 5, content=OUTSIDE), id="a constant of a function"),
    ],
)
def test_a_model_is_self_contained_without_data_beside_it(model: bytes) -> None:
    inside = nested(7, 5, content=tensor("v", (3,), 1)) + nested(7, 1, 1, content=b"x")
    assert is_self_contained(inside)
    assert not is_self_contained(inside + model)
