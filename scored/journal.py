"""The journal of modelinfo.py, an SQLite file: it gives transactions, a lock and an external sort."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from scored.files import UserError, display_path

SCHEMA = [
    "PRAGMA page_size=16384",  # a row is a line: fewer pages to write
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA synchronous=EXTRA",
    "PRAGMA cache_size=-65536",
    "PRAGMA temp_store=FILE",
    "BEGIN EXCLUSIVE",
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE IF NOT EXISTS pages(stage INTEGER, next TEXT, UNIQUE(stage, next))",
    "CREATE TABLE IF NOT EXISTS lines(id TEXT, page INTEGER, line BLOB)",  # page 0: the old file
    "CREATE TABLE IF NOT EXISTS refused(id TEXT, reason TEXT)",
    "COMMIT",
]


class Plan(msgspec.Struct, frozen=True):
    """What a run is to do."""

    arguments: dict = msgspec.field(name="asked")
    full: bool  # sweep the Hub, not only what has changed
    newest: str  # the newest `lastModified` in the old file; "" without one
    since: str  # fetch what was modified from then on
    created_since: str = ""  # and what was created from then on
    is_descending: bool = False  # the Hub does not list the oldest models first
    has_results: bool = True  # ask for `evalResults`, which some Hubs refuse


@dataclass(frozen=True)
class Page:
    """What one request brought: (id, line) of each model, (id, reason) if it was refused, the next URL."""

    lines: list[tuple[str, bytes]]
    refused: list[tuple[str, str]]
    next_url: str | None = None
    date: datetime | None = None
    failed: Sequence[str] = ()  # ids of which the Hub says nothing: their records stay as they are


class Journal:
    """The plan of a run, the old records and the pages fetched so far."""

    def __init__(self, db: sqlite3.Connection):
        self.db = db

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes at once, durably; none of them if it is left by an exception."""
        self.db.execute("BEGIN")
        yield
        self.db.execute("COMMIT")

    def read_plan(self) -> Plan | None:
        row = self.db.execute("SELECT value FROM meta").fetchone()
        return msgspec.json.decode(row[0], type=Plan) if row else None

    def clear(self) -> None:
        """Forget the plan and the old records of a run that has fetched nothing."""
        self.db.execute("DELETE FROM meta")
        self.db.execute("DELETE FROM lines")

    def write_plan(self, plan: Plan) -> None:
        value = msgspec.json.encode(plan).decode()
        self.db.execute("INSERT OR REPLACE INTO meta VALUES('plan', ?)", (value,))

    def add_old(self, name: str, line: bytes) -> None:
        self.db.execute("INSERT INTO lines VALUES(?, 0, ?)", (name, line))

    def add_page(self, page: Page, number: int, stage: int, plan: Plan) -> None:
        """Note a page and the URL that follows it. Raises IntegrityError if that followed another page."""
        rows = [(name, number, line) for name, line in page.lines]
        with self.transaction():
            self.write_plan(plan)
            self.db.executemany("INSERT INTO lines VALUES(?, ?, ?)", rows)
            self.db.executemany("INSERT INTO refused VALUES(?, ?)", page.refused)
            self.db.execute("INSERT INTO pages VALUES(?, ?)", (stage, page.next_url))

    def count(self, rows: str) -> int:
        return self.db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]

    def last_request(self) -> tuple[int, str | None]:
        """Return the stage of the last page and the URL that follows it; (-1, None) before the first."""
        last = self.db.execute("SELECT stage, next FROM pages ORDER BY rowid DESC LIMIT 1").fetchone()
        return last or (-1, None)

    def refused(self) -> dict[str, str]:
        return dict(self.db.execute("SELECT id, reason FROM refused"))

    def versions(self) -> Iterator[tuple[tuple[str, int, bytes], tuple[str, int, bytes]]]:
        """Yield (id, page, line) of each model's oldest version and of its newest, sorted by id."""
        oldest = newest = None
        for row in self.db.execute("SELECT id, page, line FROM lines ORDER BY id, rowid"):
            if newest and row[0] != newest[0]:
                yield oldest, newest
                oldest = None
            oldest = oldest or row
            newest = row
        if newest:
            yield oldest, newest


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the journal, locked against a second run; its transactions survive a kill and a power cut."""
    os.environ["SQLITE_TMPDIR"] = str(path.parent)  # room for the sort where there is room for the result
    db, is_empty = None, False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=0, isolation_level=None)
        for statement in SCHEMA:
            db.execute(statement)
        try:
            yield Journal(db)
        finally:
            with suppress(sqlite3.Error):  # without a page there is nothing to go on from
                is_empty = Journal(db).count("pages") == 0
    except (sqlite3.Error, OSError) as error:
        if "locked" in str(error):
            raise UserError(f"another run is using {display_path(path)}; wait for it to end") from None
        advice = "free the disk; the journal keeps what it has"
        if "not a database" in str(error):
            advice = "it is not a journal: delete it"
        elif not os.access(path.parent, os.W_OK):  # also where root meets a file system for reading only
            advice = "its folder cannot be written to: choose another --output"
        raise UserError(f"{display_path(path)}: {error}; {advice}, and run the same command again") from error
    finally:
        if is_empty:
            remove_journal(path)
        if db:
            db.close()


def remove_journal(path: Path) -> None:
    """Remove the journal, and SQLite's own beside it, which would be played back into a new one."""
    for ending in ("-journal", ""):
        path.with_name(path.name + ending).unlink(missing_ok=True)
