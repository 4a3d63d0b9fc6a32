"""YAML is read by one rule, and what readers disagree about is refused with its place."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.strict_yaml import YamlProblem, decode, dump_yaml, load_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("010", "010"),
        ("-007", "-007"),
        ("00.5", "00.5"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-11-28", "2026-11-28"),
        ("=", "="),
        ("1e3", 1000.0),
        ("0x1f", 31),
        ("0o17", 15),
        ("0", 0),
        ("-5", -5),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("'true'", "true"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    result = parse_yaml(f"a: {text}")["a"]
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: duplicate key 'a', first given in line 1"),
        ("a: {b: 1, b: 2}", "line 1, column 11: duplicate key 'b'"),
        ("- a: 1\n  a: 2", "line 2, column 3: duplicate key 'a'"),
        ("a: 1\n---\nb: 2", "line 2, column 1: a second document begins here"),
        ("a:\n\t- 1", "line 2, column 1: a tab in the indentation"),
        ("a: 1\n\ufeffb: 2", "line 2, column 1: a byte order mark"),
        ("a: \x00", "line 1, column 4: special characters are not allowed"),
        ("a: !!python/object:os.system x", "unknown tag"),
        ("a: !!int 010", "expected a whole number, got '010'"),
        ("a: &a [*a]", "an alias stands inside its own anchor"),
        ("a: *b", "undefined alias 'b'"),
        ("? [a]\n: 1", "a key must be one word or text"),
        ("a: [", "line 1, column 5"),
        ("a: " + "[" * 700, "nested too deeply"),
        ("a: " + "9" * 5000, "expected a whole number"),
        ("a: 1e999", "too large"),
    ],
)
def test_what_readers_disagree_about_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(YamlProblem, match=message.replace("[", r"\[")):
        parse_yaml(text)


def test_anchors_and_merge_keys_work() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y\n  <<: *x\n  b: 2\nz:\n  <<: *y\n  c: 3\n"
    content = parse_yaml(text)
    assert content["y"] == {"a": 1, "b": 2} and content["z"] == {"a": 1, "b": 2, "c": 3}


def test_aliases_that_expand_without_bound_are_refused() -> None:
    text = "l0: &l0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"l{level}: &l{level} [{','.join([f'*l{level - 1}'] * 10)}]\n" for level in range(1, 9)
    )
    with pytest.raises(YamlProblem, match="more than 200000 values"):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: caf\xe9", "line 2, column 7: byte 0xe9 is not UTF-8"),
        ("a: é".encode("utf-16"), "UTF-16. Save it as UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(YamlProblem, match=message):
        load_yaml(path)


def test_a_byte_order_mark_at_the_start_is_skipped() -> None:
    assert parse_yaml(decode(b"\xef\xbb\xbfa: 1")) == {"a": 1}


def test_as_written_keeps_numbers_and_booleans_as_text() -> None:
    text = "a: 010\nb: true\nc: 1.10\nd:\ne: [1e3, ~]"
    expected = {"a": "010", "b": "true", "c": "1.10", "d": None, "e": ["1e3", None]}
    assert parse_yaml(text, as_written=True) == expected


@pytest.mark.parametrize("text", ["\x85", "a\x85b", "\u2028", "a\u2029", "\x0b", "\ufeff", "\r"])
@pytest.mark.parametrize("flow", [False, None, True])
def test_unusual_characters_are_read_back(text: str, flow: bool | None) -> None:  # noqa: FBT001
    for value in ({"a": text}, {"a": {text: None}}):
        assert parse_yaml(dump_yaml(value, flow=flow)) == value


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.floats(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert repr(parse_yaml(dump_yaml({"a": value}))) == repr({"a": value})


@pytest.mark.parametrize("text", ["1e5", "0o7", "010", "1_000", "no", "1:30", "<<", "2026-11-28"])
def test_text_that_looks_like_a_number_anywhere_is_quoted(text: str) -> None:
    written = dump_yaml({"a": text})
    assert parse_yaml(written) == yaml.safe_load(written) == {"a": text}


def test_damaged_files_end_with_the_one_error() -> None:
    rng = random.Random(0)
    whole = b"camera:\n  - 0\n  - &a 'x'\nroi: [0, 0, 64, 32]\nb: {<<: {c: 1}, d: *a}\n"
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.choice(b"\t\n\x00:-&*[]{}!'\"%@|>?#,\xff 0a")
        try:
            parse_yaml(decode(bytes(data)))
        except YamlProblem as error:
            assert str(error).endswith(".")
