"""Unknown fields: leaf paths and nested text are two forms of the same thing, and numbers keep their digits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.transform.extra import Verbatim, canonical_json, flatten_extra, leaves, nest_extra

ROWS: list[tuple[dict[str, str], str]] = [
    ({}, "{}"),
    ({"a": "1"}, '{"a":1}'),
    ({"settings.depth": "3", "settings.name": '"x"', "b": "null"}, '{"b":null,"settings":{"depth":3,"name":"x"}}'),
    ({"empty": "{}", "list": '[{"z":1},[]]'}, '{"empty":{},"list":[{"z":1},[]]}'),
    ({"['a.b'].c-d": "true"}, '{"a.b":{"c-d":true}}'),
    ({"x['']": "1", r"x['it\'s \\ here']": "2"}, r'{"x":{"":1,"it' + r"'" + r's \\ here":2}}'),
    ({"['0']['1']": "1.10"}, '{"0":{"1":1.10}}'),
    (
        {"n": "123456789012345678901234567890", "o": "1e400", "p": "-0"},
        '{"n":123456789012345678901234567890,"o":1e400,"p":-0}',
    ),
    ({"['ü\n']": '"Grüße \\n \U0001f600"'}, '{"ü\\n":"Grüße \\n \U0001f600"}'),
]


@pytest.mark.parametrize(("extra", "text"), ROWS)
def test_nest_and_flatten(extra: dict[str, str], text: str) -> None:
    assert nest_extra(extra) == text
    assert flatten_extra(text) == extra


def test_a_path_that_is_leaf_and_branch_keeps_the_branch() -> None:
    assert nest_extra({"a": "1", "a.b": "2"}) == '{"a":{"b":2}}'


def test_canonical_json_sorts_and_keeps_digits() -> None:
    value = {"b": [Verbatim("1.10"), {"z": None, "ä": "ß"}], "a": "\u0001"}
    assert canonical_json(value) == '{"a":"\\u0001","b":[1.10,{"z":null,"ä":"ß"}]}'


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {"a": 1}


def test_what_is_too_deep_or_too_long_is_refused() -> None:
    assert list(leaves(nested(100))) == [".".join(["a"] * 100)]
    with pytest.raises(ValueError, match="nested more than 100 levels deep"):
        leaves(nested(101))
    arrays: Any = []
    for _ in range(99):
        arrays = [arrays]
    with pytest.raises(ValueError, match="nested more than 100 levels deep"):
        leaves({"a": arrays})
    assert list(leaves({"k" * 512: 1})) == ["k" * 512]
    with pytest.raises(ValueError, match="a key whose path is longer than 512 characters"):
        leaves({"k" * 513: 1})


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["a", "b", "a.b", "['a']", "'", "\\"]
)
documents = st.dictionaries(
    keys,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@settings(deadline=None)
@given(documents)
def test_flatten_and_nest_are_inverse(document: dict[str, Any]) -> None:
    text = canonical_json(document)
    assert text == json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    extra = flatten_extra(text)
    assert extra == leaves(document)
    assert nest_extra(extra) == text
    assert flatten_extra(nest_extra(extra)) == extra


@settings(deadline=None)
@given(documents, documents)
def test_equal_leaves_mean_equal_documents(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (leaves(one) == leaves(other)) == (canonical_json(one) == canonical_json(other))
