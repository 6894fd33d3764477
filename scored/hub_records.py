"""Records as the Hub sends them, made lines of modelinfo.json without reading what nobody here looks at."""

import functools
import json
import math
import re
from contextlib import suppress
from operator import attrgetter
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

# What ptm.py and audit.py read. Without `cardData`, which would repeat `model-index` in a larger object.
FIELDS = ["author", "sha", "createdAt", "lastModified", "pipeline_tag", "library_name", "downloads", "likes"]
FIELDS += ["gated", "disabled", "tags", "model-index", "evalResults"]
MODEL_ID = re.compile(r"(?!\.{1,2}(/|$))[\w.-]{1,255}(/(?!\.{1,2}$)[\w.-]{1,255})?", re.ASCII)
HUB_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MAX_DEPTH = 250  # levels of nesting in a line; Python's own json gives up at about a thousand
MAX_FLAT = 2 * MAX_DEPTH  # bytes of a line that cannot be nested more deeply
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[][{}]', re.DOTALL)
SPACE, UNUSUAL_NUMBER = re.compile(rb"\s"), re.compile(rb"\d(?:[eE]|\d{18})")  # an exponent, or 19 digits

# What becomes a line. Simple values are read and written again, which gives the same bytes; the two that may
# hold anything pass as bytes if these are canonical, because nobody reads them here.
TEXT = str | None | UnsetType
NUMBER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None | UnsetType
TYPES = {
    "downloads": NUMBER,
    "likes": NUMBER,
    "gated": bool | str | None | UnsetType,
    "disabled": bool | None | UnsetType,
    "tags": list[str] | None | UnsetType,
    "model-index": msgspec.Raw | UnsetType,
    "evalResults": msgspec.Raw | UnsetType,
}
HubRecord = msgspec.defstruct(
    "HubRecord",
    [
        ("id", str),
        *((key.replace("-", "_"), TYPES.get(key, TEXT), UNSET) for key in FIELDS),
        ("private", bool, False),  # as the default it is not written; a private model is left out
    ],
    rename={"model_index": "model-index"},
    omit_defaults=True,
    gc=False,  # they refer to nothing that refers to them
)
_decode_page = msgspec.json.Decoder(list[HubRecord]).decode
_split_page = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode_lines = msgspec.json.Encoder().encode_lines


def read_page(body: bytes) -> list:
    """Read a page of the Hub's list: HubRecords and, if they cannot pass as they are, other JSON values.

    Raises ValueError or RecursionError for what is not JSON or not a list.
    """
    with suppress(ValueError, RecursionError):  # perhaps not all of it is records
        records = _decode_public_records(body)
        if records is not None:
            return records
    try:
        return [_read_value(bytes(value)) for value in _split_page(body)]
    except (ValueError, RecursionError):
        values = decode_tolerantly(body)
    if not isinstance(values, list):
        raise ValueError(f"a JSON {type(values).__name__}")
    return values


def read_record(body: bytes) -> HubRecord | dict:
    """Read the record of one model, as `read_page` reads many."""
    value = _read_value(body)
    if not isinstance(value, HubRecord | dict):
        raise ValueError(f"a JSON {type(value).__name__}")
    return value


def _read_value(data: bytes) -> object:
    with suppress(ValueError, RecursionError):
        records = _decode_public_records(b"[%b]" % data)
        if records is not None and len(records) == 1:
            return records[0]
    return decode_tolerantly(data)


def _decode_public_records(page: bytes) -> list[HubRecord] | None:
    """Decode records of public models that `encode` surely writes as they are; None if any needs a look."""
    if b"\\" in page or not _is_utf8(page):
        return None
    records = _decode_page(page)
    if any(map(attrgetter("private"), records)):
        return None
    values = [record.model_index for record in records if record.model_index]
    values += [record.evalResults for record in records if record.evalResults]
    return records if is_canonical(b",".join(values)) else None


def is_canonical(data: bytes) -> bool:
    """Tell whether JSON without escapes has no spaces outside of strings, and no unusual number."""
    outside_strings = b"".join(data.split(b'"')[::2])
    return not SPACE.search(outside_strings) and not UNUSUAL_NUMBER.search(outside_strings)


def _is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8; msgspec does not check that in what it leaves as it is."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def time_of(record: object, key: str) -> str:
    """Return a record's `createdAt` or `lastModified`, or "" unless it is a time as the Hub writes it."""
    value = record.get(key) if isinstance(record, dict) else getattr(record, key, "")
    return value if isinstance(value, str) and HUB_TIME.fullmatch(value) else ""


def to_line(record: object) -> tuple[str, bytes] | str:
    """Convert a Hub record to (id, line of the requested fields), or say why it is left out."""
    if isinstance(record, HubRecord):
        if MODEL_ID.fullmatch(record.id):
            return record.id, encode(record)
        return f"not a model id: {ascii(record.id)[:80]}"
    if not isinstance(record, dict):
        return f"not an object: a JSON {type(record).__name__}"
    name = record.get("id") or record.get("modelId")
    if not isinstance(name, str):
        return f"not a model id: a JSON {type(name).__name__}"
    if not MODEL_ID.fullmatch(name):
        return f"not a model id: {ascii(name)[:80]}"
    if record.get("private") is True:
        return f"private: {name}"
    fields = {"id": name}
    for key in FIELDS:
        if key in record:
            fields[key] = record[key]
    try:
        return name, encode(fields)
    except (ValueError, RecursionError) as error:
        return f"{name}: {error}"


def to_lines(records: list) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Do `to_line` for a page; return the lines, and why records are left out.

    It takes one step for the whole page, unless something on it needs a closer look.
    """
    if set(map(type, records)) == {HubRecord}:
        names = [record.id for record in records]
        lines = _encode_lines(records).split(b"\n")[:-1]
        if len(lines) == len(names) and all(map(MODEL_ID.fullmatch, names)):
            for place in [place for place, line in enumerate(lines) if len(line) > MAX_FLAT]:
                lines[place] = flatten(lines[place])
            return list(zip(names, lines, strict=True)), []
    results = [to_line(record) for record in records]
    left_out = [result for result in results if isinstance(result, str)]
    return [result for result in results if not isinstance(result, str)], left_out


def encode(record: object) -> bytes:
    """Encode a record as one line of strict JSON in UTF-8, where lone surrogates are escaped."""
    try:
        line = msgspec.json.encode(record)
    except ValueError:
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return flatten(line)


def flatten(line: bytes) -> bytes:
    """Cut values that are nested too deeply for readers of JSON."""
    if len(line) <= MAX_FLAT or line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return line
    return cut_deep_values(line)


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
