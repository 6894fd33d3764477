"""Records as the Hub sends them, made lines of modelinfo.json without reading what nobody here looks at."""

import functools
import json
import math
import re
from collections.abc import Callable

import msgspec

# What ptm.py and audit.py read. Without `cardData`, which would repeat `model-index` in a larger object.
FIELDS = ["author", "sha", "createdAt", "lastModified", "pipeline_tag", "library_name", "downloads", "likes"]
FIELDS += ["gated", "disabled", "tags", "model-index", "evalResults"]
MODEL_ID = re.compile(r"(?!\.{1,2}(/|$))[\w.-]{1,255}(/(?!\.{1,2}$)[\w.-]{1,255})?", re.ASCII)
HUB_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MAX_DEPTH = 250  # levels of nesting in a line; Python's own json gives up at about a thousand
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[][{}]', re.DOTALL)
REWRITTEN = re.compile(rb"\s|\d[eE]|\d{19}")  # outside strings: spaces, exponents, perhaps more than 64 bits

_decode_page = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_record = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_page(body: bytes) -> list:
    """Read a page of the Hub's list. Raises ValueError, RecursionError.

    The values in each record stay JSON (`msgspec.Raw`), except on a page that only a tolerant reader takes.
    """
    return _read(body, _decode_page, list)


def read_record(body: bytes) -> dict:
    """Read the record of one model, as `read_page` does."""
    return _read(body, _decode_record, dict)


def _read(body: bytes, decode: Callable, kind: type) -> object:
    try:
        body.decode()  # msgspec does not check the encoding of what it leaves as it is
        return decode(body)
    except (ValueError, RecursionError):
        value = decode_tolerantly(body)
    if not isinstance(value, kind):
        raise ValueError(f"a JSON {type(value).__name__}")
    return value


def get_value(record: dict, key: str) -> object:
    """Decode one value of a record; None if the record lacks it."""
    value = record.get(key)
    return decode_tolerantly(bytes(value)) if isinstance(value, msgspec.Raw) else value


def last_modified(record: object) -> str:
    """Return a record's `lastModified`, or "" unless it is a time as the Hub writes it."""
    modified = get_value(record, "lastModified") if isinstance(record, dict) else None
    return modified if isinstance(modified, str) and HUB_TIME.fullmatch(modified) else ""


def to_line(record: object) -> tuple[str, bytes] | str:
    """Convert a Hub record to (id, line of the requested fields), or say why it is left out."""
    if not isinstance(record, dict):
        return f"not an object: a JSON {type(record).__name__}"
    name = get_value(record, "id") or get_value(record, "modelId")
    if not isinstance(name, str):
        return f"not a model id: a JSON {type(name).__name__}"
    if not MODEL_ID.fullmatch(name):
        return f"not a model id: {ascii(name)[:80]}"
    if get_value(record, "private") is True:
        return f"private: {name}"
    fields = {"id": name}
    for key in FIELDS:
        if key in record:
            fields[key] = record[key]
    try:
        line = encode(fields)
        return name, line if is_canonical(line) else encode(decode_tolerantly(line))
    except (ValueError, RecursionError) as error:
        return f"{name}: {error}"


def is_canonical(line: bytes) -> bool:
    """Tell whether a line of JSON is surely what `encode` would make of its values."""
    if b"\\" in line:
        return False
    outside_strings = b"".join(line.split(b'"')[::2])
    return not REWRITTEN.search(outside_strings)


def encode(record: dict) -> bytes:
    """Encode a record as one line of strict JSON in UTF-8, where lone surrogates are escaped."""
    try:
        line = msgspec.json.encode(record)
    except ValueError:
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    is_flat = line.count(b"[") + line.count(b"{") <= MAX_DEPTH
    return line if is_flat else cut_deep_values(line)


def decode_tolerantly(data: bytes) -> object:
    """Decode JSON from a stranger. Raises ValueError, RecursionError.

    NaN, 1e999 and integers beyond 64 bits become strings, since no number holds them.
    """
    loads = functools.partial(
        json.loads, parse_constant=str, parse_float=_finite_or_text, parse_int=_64_bits_or_text
    )
    try:
        return loads(data)  # takes lone surrogates too
    except RecursionError:
        return loads(cut_deep_values(data))


def _finite_or_text(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _64_bits_or_text(text: str) -> int | str:
    return int(text) if len(text) <= 20 and -(2**63) <= int(text) < 2**64 else text


def cut_deep_values(data: bytes) -> bytes:
    """Replace what lies below MAX_DEPTH levels of JSON by a string: no parser goes down all the way."""
    parts, depth, start = [], 0, 0
    for match in STRING_OR_BRACKET.finditer(data):
        if match[0] in b"[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts += [data[start : match.start()], b'"nested too deeply"']
        elif match[0] in b"]}":
            if depth == MAX_DEPTH + 1:
                start = match.end()
            depth -= 1
    return b"".join(parts) + data[start:]
