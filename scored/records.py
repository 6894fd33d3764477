"""Hub records in files such as modelinfo.json: a JSON array with one record per line, read as a stream."""

import gzip
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from scored.files import UserError, atomic_write, display_path


def record_id(record: dict) -> str:
    name = record.get("id") or record.get("modelId")
    if not isinstance(name, str) or not name:
        raise ValueError("a record without an id")
    return name


def write_records(path: Path, lines: Iterable[bytes]) -> int:
    """Writes a JSON array, one record a line, from encoded records; returns how many."""
    count = 0
    with atomic_write(path, "wb") as file:
        file.write(b"[")
        for line in lines:
            file.write(b",\n" if count else b"\n")
            file.write(line)
            count += 1
        file.write(b"\n]\n")
    return count


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _record(value: object) -> dict:
    """The value, if it is a record of a model."""
    if not isinstance(value, dict):
        raise ValueError(f"a record must be an object, not {type(value).__name__}")
    record_id(value)
    return value


def parse(line: bytes) -> dict:
    """One record. What msgspec refuses but Python reads (NaN, lone surrogates) is read all the same."""
    try:
        record = msgspec.json.decode(line)
    except ValueError:
        record = json.loads(line)
    return _record(record)


def _found(line: bytes, decode: Callable | None) -> list:
    """What a line holds, read as in `records` among others; one record if it takes another reader."""
    if decode:
        with suppress(ValueError, RecursionError):
            return decode(b"[%b]" % line)
    return [parse(line)]


def read_records(
    path: Path, report: Callable[[str], None] = _report, decode: Callable | None = None
) -> Iterator:
    """The Hub records in a file: an array with one record a line (streamed), a record a line without the
    brackets (streamed), any other JSON array (read whole); plain or gzipped.

    `decode` turns the bytes of a list of records into records, faster than one by one. A broken line is
    reported with its number and the rest is read. Raises UserError for a file that is missing,
    empty, not records at all, or cut off before its closing bracket (after what could be read of it).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb", buffering=1 << 20) as file:
            first = file.readline(1 << 20).strip()
            if not first:
                raise UserError(
                    f"{display_path(path)} is empty; refresh it with modelinfo.py, or give another file"
                )
            second = file.readline(1 << 30).strip() if first == b"[" else b""
            file.seek(0)
            if (first[:1] == b"[" and first != b"[") or second == b"{":
                yield from _whole(file.read(), path, report)
            elif first[:1] in b"[{":
                yield from _lines(file, path, report, decode, closed=first != b"[")
            else:
                raise UserError(f"{display_path(path)} must hold a JSON array of records, one a line")
    except (OSError, EOFError) as why:
        reason = getattr(why, "strerror", None) or why
        raise UserError(f"cannot read {display_path(path)}: {reason}; refresh it with modelinfo.py") from why


def _whole(data: bytes, path: Path, report: Callable[[str], None]) -> Iterator[dict]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as why:
        raise UserError(
            f"{display_path(path)} is not whole JSON ({why}); refresh it with modelinfo.py"
        ) from why
    for number, value in enumerate(values, 1):
        try:
            record = _record(value)
        except ValueError as why:
            report(f"{display_path(path)}, record {number}: left out: {why}")
        else:
            yield record


def _lines(file, path: Path, report: Callable[[str], None], decode, closed: bool) -> Iterator[dict]:
    # Broken lines are reported once a record shows that this is the right kind of file.
    read, held, number, commas = False, [], 0, not closed
    while block := file.readlines(1 << 16):
        rows, short = [line for line in block if len(line) > 4], [x.strip() for x in block if len(x) <= 4]
        many = ()
        if commas and decode and {b"", b"[", b"]"}.issuperset(short):
            with suppress(ValueError, RecursionError):  # many lines at once, where each is a record
                many = decode(b"[%b]" % b"".join(rows).rstrip().removesuffix(b","))
        if many and len(many) == len(rows):
            number += len(block)
            closed = closed or b"]" in short
            while held:
                report(held.pop(0))
            read = True
            yield from many
            continue
        for number, line in enumerate(block, number + 1):  # noqa: B020
            body = line.strip().rstrip(b",")
            if body in (b"", b"[", b"]"):
                closed = closed or body == b"]"
                continue
            try:
                found = _found(body, decode)
            except (ValueError, RecursionError) as why:
                if not line.endswith(b"\n"):
                    cut = f"{display_path(path)} is cut off in line {number}; refresh it with modelinfo.py"
                    raise UserError(cut) from why
                if read or len(held) < 100:
                    (report if read else held.append)(f"{display_path(path)}, line {number}: left out: {why}")
                continue
            while held:
                report(held.pop(0))
            read = True
            yield from found
    if not closed:
        raise UserError(
            f"{display_path(path)} is cut off: its last line is no bracket; refresh it with modelinfo.py"
        )
    if held:
        raise UserError(f"{display_path(path)} holds no record of the Hub; refresh it with modelinfo.py")
