from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest

from hcbench.errors import ConfigError
from hcbench.harness.planning.parse import parse_value, split_sweep


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("3", int, 3),
        (3, float, 3.0),
        ("1e-3", float, 1e-3),
        ("true", bool, True),
        ("off", bool, False),
        ("none", float | None, None),
        (None, float | None, None),
        ("0.5", float | None, 0.5),
        ("none", str | None, None),
        ("poses", str | None, "poses"),
        (7, str, "7"),
        ("b", Literal["a", "b"], "b"),
        ("1,2", tuple[int, ...], (1, 2)),
        ("[1, 2]", tuple[int, ...], (1, 2)),
        ([1, 2], tuple[int, ...], (1, 2)),
        (5, tuple[int, ...], (5,)),
        ("0.8,1", tuple[float, float], (0.8, 1.0)),
        ({"coco": "/x"}, Mapping[str, str], {"coco": "/x"}),
    ],
)
def test_values_take_the_declared_type(value: Any, kind: Any, expected: Any) -> None:
    parsed = parse_value("a.b", value, kind, "--set")
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("abc", float, "expected a number"),
        ("nan", float, "expected a number"),
        (True, float, "expected a number"),
        ("1.5", int, "expected a whole number"),
        (True, int, "expected a whole number"),
        (1.5, int, "expected a whole number"),
        ("maybe", bool, "expected true or false"),
        (1, bool, "expected true or false"),
        ("c", Literal["a", "b"], "expected one of a, b"),
        ([1], str, "expected a text"),
        ("1,x", tuple[int, ...], "expected a list of whole numbers"),
        ("1", tuple[float, float], "found 1 values"),
        ("x", Mapping[str, str], "expected a mapping"),
    ],
)
def test_wrong_types_say_what_was_found_and_expected(value: Any, kind: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_value("pretrain.x", value, kind, "profiles/mine.yaml")
    assert words in caught.value.message
    assert "pretrain.x in profiles/mine.yaml" in caught.value.message
    assert repr(value) in caught.value.message
    assert caught.value.hint


def test_sweeps_split_outside_brackets_only() -> None:
    assert split_sweep("[1,2],[3,4]") == ["[1,2]", "[3,4]"]
    assert split_sweep("0.1, 0.2") == ["0.1", "0.2"]
