"""Records of the Hub as lines: values that pass as bytes, and those that must be read first."""

import gzip
import json

import pytest

from scored.hub_records import (
    FIELDS,
    MAX_DEPTH,
    decode_tolerantly,
    encode,
    read_page,
    read_record,
    time_of,
    to_line,
    to_lines,
)

# A value in a Hub record, and the same in our file. The right side was made with orjson, of another author.
VALUES = [
    (b"NaN", b'"NaN"'),
    (b"-Infinity", b'"-Infinity"'),
    (b"1e999", b'"1e999"'),
    (b"-1e999", b'"-1e999"'),
    (b"1E400", b'"1E400"'),
    (b"18446744073709551616", b'"18446744073709551616"'),
    (b"18446744073709551615", b"18446744073709551615"),
    (b"-9223372036854775809", b'"-9223372036854775809"'),
    (b"-9223372036854775808", b"-9223372036854775808"),
    (b"1e5", b"100000.0"),
    (b"1E+2", b"100.0"),
    (b"0.1", b"0.1"),
    (b"7.5e-05", b"0.000075"),
    (b"1e-7", b"1e-7"),
    (b"1234567890123456789", b"1234567890123456789"),
    (b'"\\ud800 \\u00e9"', b'"\\ud800 \\u00e9"'),
    (b'"\\u00e9"', b'"\xc3\xa9"'),
    (b'"\xc3\xa9"', b'"\xc3\xa9"'),
    (b'"\xed\xa0\x80"', b'"\\ud800"'),
    (b'"\\/"', b'"/"'),
    (b'"a\\"b"', b'"a\\"b"'),
    (b'"\\n"', b'"\\n"'),
    (b'"\\u0000 \x7f \\u2028"', b'"\\u0000 \x7f \xe2\x80\xa8"'),
    (b'[ 1 , "a, b: c" ]', b'[1,"a, b: c"]'),
    (b'{"a" :\t1}', b'{"a":1}'),
    (b'{\n"a":1}', b'{"a":1}'),
    (b"[\r1]", b"[1]"),
    (b'{"\\ud800":1}', b'{"\\ud800":1}'),
    (b'{"x\\u0041":1}', b'{"xA":1}'),
    (b'"[[[[{{{{"', b'"[[[[{{{{"'),
    (b'"1234567890123456789012 1e9"', b'"1234567890123456789012 1e9"'),
    (b'"\\\\"', b'"\\\\"'),
    (b"true", b"true"),
    (b"null", b"null"),
    (b"[]", b"[]"),
]
INVALID = [
    b"tru",
    b"01",
    b".5",
    b"1.",
    b"+1",
    b'"no end',
    b"[1,]",
    b'{"a":1,}',
    b'"a\nb"',
    b'"\x00"',
    b'"\xff"',
]


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize("given, written", VALUES)
def test_value_is_written_as_strict_json(given, written):
    """Also where a second record on the page, or a field that nobody reads, holds such a value."""
    page = b'[{"id":"a/b","tags":%b},{"id":"c/d","siblings":%b}]' % (given, given)
    assert [to_line(record) for record in read_page(page)] == [
        ("a/b", b'{"id":"a/b","tags":%b}' % written),
        ("c/d", b'{"id":"c/d"}'),
    ]


@pytest.mark.parametrize("given", INVALID)
@pytest.mark.parametrize("key", [b"tags", b"siblings"])
def test_invalid_json_is_rejected(given, key):
    with pytest.raises(ValueError):
        read_page(b'[{"id":"a/b","%b":%b}]' % (key, given))


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"1", b'"text"', b"", b'{"id":"a/b"},{"id":"a/c"}', b'{"id":"a/\xff"}']
)
def test_record_that_is_not_an_object_is_rejected(body):
    with pytest.raises(ValueError):
        read_record(body)


def test_record_of_one_model():
    assert to_line(read_record(b'{"id":"a/b","tags":[1],"x":2}')) == ("a/b", b'{"id":"a/b","tags":[1]}')
    assert to_line(read_record(b'{"id":"a/b", "tags":[1e999]}')) == ("a/b", b'{"id":"a/b","tags":["1e999"]}')
    assert to_line(read_record(b"{}")) == "not a model id: a JSON NoneType"


@pytest.mark.parametrize("page", [b"{}", b"null", b"1", b'"text"', b""])
def test_page_that_is_not_a_list_is_rejected(page):
    with pytest.raises(ValueError):
        read_page(page)


def test_records_that_are_left_out():
    names = [b"null", b"5", b'"../x"', b'"a/b/c"', b'"\\ud800"', b"[" * 900 + b"]" * 900]
    page = b"[%b]" % b",".join(b'{"id":%b,"tags":[]}' % name for name in names)
    assert all(to_line(record).startswith("not a model id") for record in read_page(page))
    assert to_line(read_page(b'[{"id":"a/b","private":true}]')[0]) == "private: a/b"
    assert [to_line(item) for item in read_page(b'["text"]')] == ["not an object: a JSON str"]
    assert to_line(read_page(b'[{"id":null,"modelId":"a/b"}]')[0]) == ("a/b", b'{"id":"a/b"}')


@pytest.mark.parametrize("levels", [90, MAX_DEPTH - 2, MAX_DEPTH + 9, 900, 980, 990, 1000, 1010, 100_000])
@pytest.mark.parametrize("start, end", [(b"[", b"]"), (b'{"a":', b"}"), (b'["\\ud800",NaN,', b"]")])
def test_deep_nesting_is_cut(levels, start, end):
    deep = start * levels + b"1" + end * levels
    page = b'[{"id":"a/b","tags":["]\\"",%b],"likes":5},{"id":"c/d","likes":6}]' % deep
    (_, first), second = map(to_line, read_page(page))
    record = json.loads(first)
    assert record["tags"][0] == ']"' and record["likes"] == 5 and second == ("c/d", b'{"id":"c/d","likes":6}')
    assert MAX_DEPTH - 2 < depth(record) <= MAX_DEPTH if levels > MAX_DEPTH else b"too deeply" not in first


@pytest.mark.tried("an endless string inside endless brackets", 3, "read in one try, no hang")
@pytest.mark.parametrize("end", [b"", b"\\", b'"'])
def test_text_without_end_is_rejected_at_once(end):
    with pytest.raises(ValueError, match=r"JSON|Expecting|Invalid"):
        decode_tolerantly(b"[" * 2000 + rb"\"" * 10**6 + end)


def test_time_of_a_record():
    page = read_page(
        b'[{"lastModified":"2024-01-01T00:00:00.000Z"},{"lastModified":"2024"},{"lastModified":5},{}]'
    )
    assert [time_of(record, "lastModified") for record in page] == ["2024-01-01T00:00:00.000Z", "", "", ""]
    assert time_of("text", "lastModified") == ""
    record = {"createdAt": "2024-01-01T00:00:00.000Z"}
    assert time_of(record, "createdAt") == record["createdAt"] and time_of(record, "lastModified") == ""


@pytest.mark.shared
def test_real_records_pass_as_they_are(shared):
    """Lines of real pages equal what is read and written; the page in another form gives the same lines."""
    with gzip.open(shared / "hub/models-2022-02.jsonl.gz") as file:
        records = [json.loads(line) for line in file]
    compact = json.dumps(records, separators=(",", ":"), ensure_ascii=False).encode()
    lines = [to_line(record) for record in read_page(compact)]
    assert len(lines) == 29_432
    keys = ["id", *FIELDS]
    for (name, line), record in zip(lines, records, strict=True):
        fields = {key: record[key] for key in keys if key in record}
        assert name == record["id"] and line == encode(fields) and json.loads(line) == fields
    spaced = json.dumps(records[:2000], indent=1).encode()
    assert [to_line(record) for record in read_page(spaced)] == lines[:2000]


@pytest.mark.parametrize("key", FIELDS)
def test_fields_are_written_alike_whatever_they_hold(key):
    """Simple values, those that pass as bytes, and odd ones that are read first: the same line."""
    given = [value for value, _ in VALUES] + [
        b"1.0",
        b"-0.0",
        b"1e2",
        b"2.5",
        b"false",
        b"7",
        b'"auto"',
    ]
    for value in given:
        expected = encode({"id": "a/b", key: decode_tolerantly(value)})
        for page in (b'[{"id":"a/b","%b":%b}]', b'[{"id":"a/b","%b":%b},{"id":"c/d","private":false}]'):
            lines, left_out = to_lines(read_page(page % (key.encode(), value)))
            assert lines[0] == ("a/b", expected) and not left_out, (key, value)


@pytest.mark.parametrize("private", [b"true", b" true", b"null", b'"yes"'])
def test_private_model_is_left_out_of_its_page(private):
    page = b'[{"id":"a/b","private":%b},{"id":"c/d","private":false}]' % private
    lines, left_out = to_lines(read_page(page))
    assert (lines[-1], left_out) == (("c/d", b'{"id":"c/d"}'), ["private: a/b"] if b"true" in private else [])
