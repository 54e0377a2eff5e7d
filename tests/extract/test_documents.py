from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.extract.documents import Malformed, cut_array, cut_one, cut_page, json_object, open_body

TEXTS = st.text() | st.sampled_from(["},{", "[{", "}]", '"', '\\"},{\\', "\\", '{"id":', "]},[{", "\u2028"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=8)
STYLES = st.fixed_dictionaries(
    {
        "indent": st.none() | st.sampled_from(["", "  ", "\t"]),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" \n,\r\n", "\t:"), (",  ", " :")]),
        "ensure_ascii": st.booleans(),
    }
)
SIZES = st.integers(min_value=1, max_value=90)
# Each is no JSON, but whole in its brackets and texts; the decoder of a later stage has to find out what is wrong.
BAD = st.sampled_from(
    [
        b'{"name":"half a pair \\ud800"}',
        b'{"ratio":NaN, "x":[{"a":1},{"b":[2,{}]}]}',
        b'{"name":"bad \xff\xfe bytes }{"}',
        b'{"name":"a raw \x01 control \n character"}',
        b'{"number":01}',
        b'{"a" "b"}',
        b"{nothing}",
        b"bare",
    ]
)


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def cut(body: bytes, size: int, chunk_size: int) -> list[bytes]:
    return [bytes(document) for batch in cut_array(in_pieces(body, size), chunk_size=chunk_size) for document in batch]


@settings(deadline=None)
@given(objects=OBJECTS, style=STYLES, size=SIZES, chunk_size=SIZES)
def test_an_array_comes_out_the_same_wherever_it_is_cut(
    objects: list[dict[str, Any]], style: dict[str, Any], size: int, chunk_size: int
) -> None:
    body = json.dumps(objects, **style).encode()

    assert [json.loads(document) for document in cut(body, size, chunk_size)] == objects


@settings(deadline=None)
@given(objects=OBJECTS, bad=BAD, place=st.integers(0, 8), style=STYLES, size=SIZES, chunk_size=SIZES)
def test_one_bad_document_comes_as_it_was_sent_and_its_neighbours_whole(
    objects: list[dict[str, Any]], bad: bytes, place: int, style: dict[str, Any], size: int, chunk_size: int
) -> None:
    texts = [json.dumps(each, **style).encode() for each in objects]
    texts.insert(place, bad)
    array = b"\n[ " + b" ,\t".join(texts) + b"\r\n] "

    assert cut(array, size, chunk_size) == texts
    page = cut_page(b'{"limit": 9, "Results": ' + array + b', "_links": {"Next": {"Href": "/v8/Jobs?offset=9"}}}')
    assert [bytes(document) for document in page.documents] == texts
    assert page.next_href == "/v8/Jobs?offset=9"


@settings(deadline=None)
@given(objects=OBJECTS.filter(len), style=STYLES, size=SIZES, chunk_size=SIZES, data=st.data())
def test_an_array_that_is_cut_off_is_never_taken_for_a_whole_one(
    objects: list[dict[str, Any]], style: dict[str, Any], size: int, chunk_size: int, data: st.DataObject
) -> None:
    body = json.dumps(objects, **style).encode()
    until = data.draw(st.integers(0, len(body) - 1))

    with pytest.raises(Malformed):
        cut(body[:until], size, chunk_size)


@settings(deadline=None)
@given(objects=OBJECTS, style=STYLES)
def test_a_page_comes_out_the_same(objects: list[dict[str, Any]], style: dict[str, Any]) -> None:
    page = cut_page(json.dumps({"offset": 0, "results": objects, "_links": {}, "totalCount": 3}, **style).encode())

    assert [json.loads(bytes(document)) for document in page.documents] == objects
    assert page.next_href is None


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (b'{"next":{"href":"/v8/Jobs?offset=30&limit=30"}}', "/v8/Jobs?offset=30&limit=30"),
        (b'{"self":{"href":"/v8/Jobs"},"Next":{"Href":"?offset=30"}}', "?offset=30"),
        (b'{"next":null}', None),
        (b'{"next":{"href":null}}', None),
        (b'{"prev":{"href":"/v8/Jobs"}}', None),
        (b"null", None),
    ],
)
@pytest.mark.parametrize("document", [b'{"id":"a"}', b'{"id":NaN}'])
@pytest.mark.parametrize("names", [(b"results", b"_links"), (b"Results", b"_Links")])
def test_the_next_link_of_a_page(
    links: bytes, expected: str | None, document: bytes, names: tuple[bytes, bytes]
) -> None:
    page = cut_page(b'\xef\xbb\xbf {"%b":[%b],"%b":%b}' % (names[0], document, names[1], links))

    assert ([bytes(each) for each in page.documents], page.next_href) == ([document], expected)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON object"),
        (b"<html></html>", "no JSON object"),
        (b'{"message":"Something failed."}', "a page without results"),
        (b'{"results":null}', "a page without results"),
        (b'{"results":{}}', "a page without results"),
        (b'{"results":[{"id":"a"},{"id"', "JSON that is cut off"),
        (b'{"results":[{"id":"a"}]', "JSON that is cut off"),
        (b'{"results":[{"id":"a"]}}', "JSON whose brackets do not match"),
        (b'{"results":[{"id":NaN},]}', "JSON with a comma and nothing beside it"),
        (b'{"results":[]} more', "JSON with something behind its end"),
        (b'{"results":[],"_links":{"next":{"href":7}}}', "a next link that is no text"),
        (b'{"results":[NaN],"_links":{"next":{"href":NaN}}}', "a page whose links cannot be read"),
    ],
)
def test_a_body_that_is_no_page(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=f"^{why}$"):
        cut_page(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON array"),
        (b'{"message":"Something failed."}', "no JSON array"),
        (b'[{"id":"a"},', "JSON that is cut off"),
        (b'[{"id":"a"}', "JSON that is cut off"),
        (b'[{"id":"a"}] [', "JSON with something behind its end"),
        (b'[{"id":"a"},,{"id":"b"}]', "JSON with a comma and nothing beside it"),
        (b'[{"id":"a"},{"id":["b"}]', "JSON whose brackets do not match"),
        (b'[{"id":"a"}}', "JSON whose brackets do not match"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_body_that_is_no_array(body: bytes, why: str, size: int) -> None:
    with pytest.raises(Malformed, match=f"^{why}$"):
        cut(body, size, size)


def test_an_array_is_handed_on_while_it_arrives() -> None:
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        yield b"["
        for taken in range(1, 1001):
            yield b'{"id":"%04d","windows":[{"on":true},{"on":false}]},' % taken
        yield b'{"id":"last"}]'

    held = []
    seen = 0
    for batch in cut_array(chunks(), chunk_size=500):
        seen += len(batch)
        held.append(taken - seen)

    assert seen == 1001
    assert max(held) <= 1
    assert len(held) > 50


def test_a_long_document_passes_and_an_endless_one_is_refused() -> None:
    long = b'{"name":"%b"}' % (b"x" * 40_000)

    assert cut(b"[" + long + b"," + long + b"]", 64, 256) == [long, long]
    with pytest.raises(Malformed, match=r"^a document longer than 9000 bytes$"):
        list(cut_array(in_pieces(b"[" + long + b"]", 64), chunk_size=256, longest=9_000))


def test_deep_nesting_is_a_bad_document_not_a_crash() -> None:
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    assert cut(b'[{"id":"a"},' + deep + b"]", 65_536, 65_536) == [b'{"id":"a"}', deep]
    assert [bytes(each) for each in cut_page(b'{"results":[' + deep + b',{"id":"b"}]}').documents] == [
        deep,
        b'{"id":"b"}',
    ]


def test_one_document_is_taken_as_it_is() -> None:
    assert cut_one(b'\xef\xbb\xbf {"name":"\\ud800"}\r\n') == b'{"name":"\\ud800"}'
    for body, why in [
        (b"[]", "no JSON object"),
        (b"", "no JSON object"),
        (b'{"a":"}', "JSON that is cut off"),
        (b"{}{}", "JSON with something behind its end"),
    ]:
        with pytest.raises(Malformed, match=f"^{why}$"):
            cut_one(body)


def test_small_bodies() -> None:
    assert json_object(b'\xef\xbb\xbf{"Message":"no"}') == {"Message": "no"}
    assert [json_object(body) for body in (b"", b"[]", b"<html>", b'{"a":"\xff"}', b"null")] == [None] * 5
    assert open_body([b"", b" \r\n", b'\t{"a"', b":1}"]).bracket == b"{"
    assert b"".join(open_body([b"", b" \r\n", b'\t{"a"', b":1}"]).chunks) == b' \r\n\t{"a":1}'
    assert open_body([b" ", b"\n"]).bracket == b""
