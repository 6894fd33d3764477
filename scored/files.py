"""Files: where the project lies, and how the scripts read, write and lock what they share."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class UserError(Exception):
    """Bad input or an unavailable file: one line that says what, where, and what to do. Exit code 2."""


def display_path(path: Path) -> str:
    """Show a path in messages: relative to the project where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def require_regular_file(path: Path) -> None:
    """Raise UserError for a path that cannot be replaced: a folder, or a device such as /dev/stdout."""
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {display_path(path)}: it is not a regular file; choose another path")


@contextmanager
def atomic_write(path: Path, mode: str = "w"):
    """Write a file atomically: it replaces `path` once it is on disk.

    Text is UTF-8; a character without UTF-8 (a lone surrogate) is escaped. Raises UserError.
    """
    path = Path(path)
    require_regular_file(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    options = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n", "errors": "backslashreplace"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write {display_path(path)}: {reason}; free the disk or choose another path"
        ) from error
    finally:
        with suppress(OSError):  # it has replaced `path`, or cannot be removed either
            temporary.unlink()


@contextmanager
def exclusive(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock while a file is rewritten, so that no other run's change is lost.

    Waits for another run, with a message after two seconds; without `wait`, yields False instead.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=2 if wait else 0)
        except Timeout:
            if not wait:
                yield False
                return
            print(f"waiting for another run to release {display_path(path)}", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot lock {display_path(path)}: {reason}; choose another path") from error
    try:
        yield True
    finally:
        lock.release()


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write JSON indented, keys sorted, without NaN, atomically. Raises UserError."""
    try:
        with atomic_write(path) as file:
            json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)
            file.write("\n")
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot write {display_path(path)}: {error}") from error


def read_json(path: Path, kind: type, advice: str = "") -> object:
    """Read a JSON file that must hold a value of `kind`, dict or list. Raises UserError with `advice`."""
    try:
        value = json.loads(Path(path).read_bytes(), parse_float=_finite, parse_constant=_finite)
    except OSError as error:
        raise UserError(f"cannot read {display_path(path)}: {error.strerror or error}. {advice}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{display_path(path)} is truncated or invalid JSON ({error}). {advice}") from error
    if not isinstance(value, kind):
        expected = {dict: "an object", list: "an array"}.get(kind, "an object or an array")
        actual = type(value).__name__
        raise UserError(f"{display_path(path)} must hold {expected}, not {actual}. {advice}")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a JSON number")
    return number
