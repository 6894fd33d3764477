"""Read and write files of Hub records such as modelinfo.json: a JSON array with one record per line."""

import gzip
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from scored.files import UserError, atomic_write, display_path

BLOCK = 1 << 16  # bytes of lines that are decoded at once
CHUNK = 1000  # lines that are written at once
MAX_WITHHELD = 100  # reports, until a record shows that this is a file of records
REFRESH = "refresh it with modelinfo.py"
GROUPS = {  # the group of a record's fields to which an attribute of PTM belongs
    "tags": "card",
    "license": "card",
    "library": "card",
    "likes": "card",
    "modified": "card",
    "claims": "card",
    "author": "hub",
    "task": "hub",
    "downloads": "hub",
    "created": "hub",
}


class Taken(msgspec.Struct, frozen=True, gc=False):
    """When the groups of a record's fields were taken, as ISO dates; None for a group that was not."""

    hub: str | None = None  # task, downloads, creation
    card: str | None = None  # tags, license, library, likes, model-index
    sha: str | None = None  # the date at which the commit was last seen
    name: str | None = None  # only the name


def date_taken(taken: Taken | None, attribute: str) -> str | None:
    """Return the date at which an attribute of PTM was taken; None if it was not, or without dates."""
    group = GROUPS.get(attribute)
    return getattr(taken, group) if taken and group else None


def is_known(taken: Taken | None, attribute: str) -> bool:
    """Tell whether a record says all that there was to say on an attribute of PTM: absent then means none.

    A record without `taken` was fetched whole. In any other, what belongs to no group is unknown.
    """
    return taken is None or date_taken(taken, attribute) is not None


def record_id(record: dict) -> str:
    """Return a record's id. Raises ValueError if it has none."""
    name = record.get("id") or record.get("modelId")
    if not isinstance(name, str) or not name:
        raise ValueError("a record without an id")
    return name


def write_records(path: Path, lines: Iterable[bytes]) -> int:
    """Write encoded records as a JSON array, one record per line; return how many."""
    lines, count = iter(lines), 0
    with atomic_write(path, "wb") as file:
        file.write(b"[")
        chunk = list(itertools.islice(lines, CHUNK))
        while chunk:
            file.write(b",\n" if count else b"\n")
            file.write(b",\n".join(chunk))
            count += len(chunk)
            chunk = list(itertools.islice(lines, CHUNK))
        file.write(b"\n]\n")
    return count


def parse_record(line: bytes) -> dict:
    """Read one record from JSON. What msgspec refuses but Python reads (NaN, lone surrogates) is read too."""
    try:
        record = msgspec.json.decode(line)
    except ValueError:
        record = json.loads(line)
    return _check_record(record)


def read_records(
    path: Path, report: Callable[[str], None] | None = None, decode: Callable | None = None
) -> Iterator:
    """Read the Hub records in a file, plain or gzipped, one at a time.

    The file is an array with one record per line or a record per line without the brackets, which are
    streamed, or any other JSON array, which is read whole. `decode` turns the bytes of a JSON array into a
    list of records, faster than one by one. A broken line is reported with its number (default: on stderr)
    and the rest is read. Raises UserError for a file that is missing, empty, of anything else, or cut off
    (after what could be read of it).
    """
    path = Path(path)
    report = report or _print_to_stderr
    try:
        with _open(path) as file:
            start = file.readline(1 << 20).strip()
            if not start:
                raise UserError(f"{display_path(path)} is empty; {REFRESH}, or give another file")
            is_array = start == b"["
            second = file.readline(1 << 30).strip() if is_array else b""
            file.seek(0)
            if second == b"{" or (start[:1] == b"[" and not is_array):
                yield from _read_array(file.read(), path, report)
            elif start[:1] in b"[{":
                yield from _LineReader(path, report, decode, is_array).read(file)
            else:
                raise UserError(f"{display_path(path)} must hold a JSON array of records, one per line")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {display_path(path)}: {reason}; {REFRESH}") from error


def _print_to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _open(path: Path):
    with open(path, "rb") as file:
        is_zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_zipped else open(path, "rb", buffering=1 << 20)


def _check_record(value: object) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"a record must be an object, not {type(value).__name__}")
    record_id(value)
    return value


def _read_array(data: bytes, path: Path, report: Callable[[str], None]) -> Iterator[dict]:
    """Read a JSON array of any layout."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{display_path(path)} is truncated or invalid JSON ({error}); {REFRESH}") from error
    for number, value in enumerate(values, 1):
        try:
            record = _check_record(value)
        except ValueError as error:
            report(f"{display_path(path)}, record {number}: skipped: {error}")
        else:
            yield record


class _LineReader:
    """Reads records line by line; withholds reports until a record shows that this is a file of records."""

    def __init__(self, path: Path, report: Callable[[str], None], decode: Callable | None, is_array: bool):
        self.path, self.report, self.decode, self.is_array = path, report, decode, is_array
        self.number = 0  # of the last line read
        self.is_closed = not is_array
        self.has_record = False
        self.withheld = []

    def read(self, file) -> Iterator:
        block = file.readlines(BLOCK)
        while block:
            records = self._decode_block(block)
            if records:
                self._confirm()
                yield from records
            else:
                yield from self._read_each(block)
            block = file.readlines(BLOCK)
        if not self.is_closed:
            raise UserError(
                f"{display_path(self.path)} is cut off: the closing bracket is missing; {REFRESH}"
            )
        if self.withheld:
            raise UserError(f"{display_path(self.path)} holds no Hub record; {REFRESH}")

    def _decode_block(self, block: list[bytes]) -> list:
        """Decode many lines of an array at once; empty if any of them needs a closer look."""
        if not self.decode or not self.is_array:
            return []
        rows = [line for line in block if len(line) > 4]
        short = [line.strip() for line in block if len(line) <= 4]
        if not {b"", b"[", b"]"}.issuperset(short):
            return []
        records = []
        with suppress(ValueError, RecursionError):
            records = self.decode(b"[%b]" % b"".join(rows).rstrip().removesuffix(b","))
        if len(records) != len(rows):  # a record over two lines, or two on one line
            return []
        if records:
            self.number += len(block)
            self.is_closed = self.is_closed or b"]" in short
        return records

    def _read_each(self, block: list[bytes]) -> Iterator:
        for line in block:
            self.number += 1
            body = line.strip().rstrip(b",")
            if body in (b"", b"[", b"]"):
                self.is_closed = self.is_closed or body == b"]"
                continue
            try:
                records = self._decode_line(body)
            except (ValueError, RecursionError) as error:
                self._skip(line, error)
                continue
            self._confirm()
            yield from records

    def _decode_line(self, line: bytes) -> list:
        if self.decode:
            with suppress(ValueError, RecursionError):
                return self.decode(b"[%b]" % line)
        return [parse_record(line)]

    def _skip(self, line: bytes, error: Exception) -> None:
        if not line.endswith(b"\n"):
            raise UserError(
                f"{display_path(self.path)} is cut off in line {self.number}; {REFRESH}"
            ) from error
        message = f"{display_path(self.path)}, line {self.number}: skipped: {error}"
        if self.has_record:
            self.report(message)
        elif len(self.withheld) < MAX_WITHHELD:
            self.withheld.append(message)

    def _confirm(self) -> None:
        self.has_record = True
        for message in self.withheld:
            self.report(message)
        self.withheld = []
