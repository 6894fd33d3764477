"""Which models are on the Hub, and what do their records say? Brings `modelinfo.json` up to date.

Without a file, or with --full, it sweeps the whole Hub at one request per thousand models; with a file it
fetches what was created or modified since the newest `lastModified` in it. Every page is on disk before the
next is asked for (`modelinfo.json.journal`): the same command goes on where a killed run stopped.
Models that are gone or refused go to `ignore.json`. The token is HF_TOKEN or that of `hf auth login`.

    python modelinfo.py
"""

import argparse
import functools
import glob
import hashlib
import itertools
import json
import math
import os
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import orjson

from scored.cli import HelpFormatter, redact, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.records import read_records, write_records

# What ptm.py and audit.py read. `model-index` comes alone: `cardData` would repeat it in a larger object.
FIELDS = ["author", "sha", "createdAt", "lastModified", "pipeline_tag", "library_name", "downloads", "likes"]
FIELDS += ["gated", "disabled", "tags", "model-index", "evalResults"]
PAGE = 1000  # the most records that the Hub gives at once
HUB, CENSUS = "https://huggingface.co", 3_117_871  # models on it in October 2026: a first sweep's time left
ATTEMPTS, BACKOFF, LONGEST, TIMEOUT = 10, 1.0, 60.0, 60.0  # of one request; seconds
PATIENCE = 3600  # seconds; asked to wait longer, we stop and leave the journal
SKEW = timedelta(minutes=5)  # between the clocks of the Hub's machines
ID = re.compile(r"(?!\.{1,2}(/|$))[\w.-]{1,255}(/(?!\.{1,2}$)[\w.-]{1,255})?", re.ASCII)
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# A long number in a text whose digits are made 0 and whose signs before numbers are made :
SHAPE, LONG = bytes.maketrans(b"0123456789:,[- \t\r\n", b"0000000000::::::::"), b":" + b"0" * 19
DEEP = 250  # levels of nesting that orjson writes; json.load gives up at about a thousand
TOKEN = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[][{}]', re.DOTALL
)  # a text without end is one, too
OURS = "Hub: "  # begins the reasons in ignore.json that this script gives and takes back


def stamp(when: datetime) -> str:
    """A time as the Hub writes it, so that strings compare as times do."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def today() -> str:
    return stamp(datetime.now(UTC))[:10]


# ── Records ───────────────────────────────────────────────────────────────────────────────────────────────


def shallow(body: bytes) -> bytes:
    """JSON in which a text stands for what is nested too deeply to be parsed."""
    parts, depth, kept = [], 0, 0
    for token in TOKEN.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth == DEEP + 1:
                parts += [body[kept : token.start()], b'"nested too deeply"']
        elif token[0] in b"]}":
            if depth == DEEP + 1:
                kept = token.end()
            depth -= 1
    return b"".join(parts) + body[kept:]


def decode(body: bytes) -> object:
    """JSON from a stranger. NaN, 1e999 and integers beyond 64 bits become texts: no number holds them."""

    def number(text: str) -> float | str:
        return float(text) if math.isfinite(float(text)) else text

    def whole(text: str) -> int | str:
        return int(text) if len(text) <= 20 and -(2**63) <= int(text) < 2**64 else text

    if LONG not in body.translate(SHAPE):  # orjson would round an integer beyond 64 bits
        with suppress(ValueError):
            return orjson.loads(body)
    loads = functools.partial(json.loads, parse_constant=str, parse_float=number, parse_int=whole)
    try:
        return loads(body)  # lone surrogates too
    except RecursionError:
        return loads(shallow(body))


def encode(record: dict) -> bytes:
    """One line of strict JSON in UTF-8; lone surrogates, which have no UTF-8, are escaped."""
    try:
        return orjson.dumps(record)
    except TypeError:
        return shallow(json.dumps(record, separators=(",", ":"), allow_nan=False).encode())


def reduced(record: object) -> tuple[str, bytes] | str:
    """A Hub record as (id, line of the requested fields), or why it is left out."""
    if not isinstance(record, dict):
        return f"not an object: {ascii(record)[:80]}"
    name = record.get("id") or record.get("modelId")
    if not isinstance(name, str) or not ID.fullmatch(name):
        return f"not a model id: {ascii(name)[:80]}"
    if record.get("private") is True:
        return f"private: {name}"
    try:
        return name, encode({"id": name, **{key: record[key] for key in FIELDS if key in record}})
    except (ValueError, RecursionError) as why:
        return f"{name}: {why}"


def digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


# ── The Hub ───────────────────────────────────────────────────────────────────────────────────────────────


class HubRefused(Exception):
    """The Hub says that it will not show this one model."""


class Hub:
    """GETs JSON from one endpoint through huggingface_hub's session, no faster than the quota allows."""

    def __init__(self, endpoint: str, bar):
        from huggingface_hub.utils import build_hf_headers

        self.endpoint, self.bar = endpoint, bar
        self.requests = self.bytes = 0
        self.page, self.why = 1, ""
        self.left, self.ready = "", 0.0  # requests left in the window; when we may ask again (monotonic)
        self.headers = build_hf_headers(library_name="scored")
        if not re.fullmatch(r"[ -~]*", self.headers.get("authorization", "")):
            raise UserError("the token holds characters that no token has; set HF_TOKEN or log in again")

    def get(self, url: str, kind: type):
        """(value of `kind`, URL of the next page or None, the Hub's time); HubRefused or UserError."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import fix_hf_endpoint_in_url, get_session, hf_raise_for_status

        for attempt in range(ATTEMPTS):
            self._wait()
            self.requests += 1
            stated = 0.0
            try:
                response = get_session().get(url, headers=self.headers, timeout=TIMEOUT)
                self.bytes += response.num_bytes_downloaded
                self._ours(str(response.url))
                stated = self._quota(response)
                hf_raise_for_status(response)
                value = decode(response.content)
                if not isinstance(value, kind):
                    raise ValueError(f"a JSON {type(value).__name__}")
                following = response.links.get("next", {}).get("url")
                if following:
                    following = self._ours(fix_hf_endpoint_in_url(following, self.endpoint))
                return value, following, self._date(response)
            except HfHubHTTPError as error:
                self.why = f"HTTP {error.response.status_code}"
                if error.response.status_code not in (408, 429) and error.response.status_code < 500:
                    self._refuse(error, url)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                self.why = f"{type(error).__name__}: {error}"
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:  # redirects in a circle, offline
                raise UserError(f"cannot ask {self.endpoint}: {error}") from None
            except UserError:
                raise
            except Exception as error:  # what libraries make of a stranger's page, header or error message
                self.why = f"not the JSON that was asked for ({str(error)[:80]})"
            if not stated:
                self.ready = time.monotonic() + min(BACKOFF * 2**attempt, LONGEST)
        again = "Run the same command again to go on"
        raise UserError(f"{self.endpoint} failed {ATTEMPTS} times, lastly: {self.why}. {again}")

    def _ours(self, url: str) -> str:
        """The URL, if it lies on the endpoint; the token and the file are for no one else."""

        def origin(url: str) -> tuple:
            parts = urlsplit(url)
            return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

        if origin(url) != origin(self.endpoint):
            host = urlsplit(url).netloc.rpartition("@")[2]
            raise UserError(f"{self.endpoint} sends us to another host, {host!r}; set --endpoint")
        return url

    def _quota(self, response) -> float:
        """Notes what is left of the quota; returns the seconds that the server wants us to wait."""
        from huggingface_hub.utils import parse_ratelimit_headers

        failed = response.status_code == 429 or response.status_code >= 500
        stated, info = 0.0, parse_ratelimit_headers(response.headers)
        if info:
            self.left = f"{info.remaining} requests left"
            if info.remaining == 0:
                stated, self.why = float(info.reset_in_seconds), "quota used up"
        after = response.headers.get("retry-after", "").strip()
        if failed and not stated and after.isdecimal():
            stated = float(after)
        elif failed and not stated and after:
            with suppress(ValueError, TypeError, OverflowError):  # neither seconds nor a date
                stated = (parsedate_to_datetime(after) - self._date(response)).total_seconds()
        if stated > PATIENCE:
            raise UserError(f"the Hub asks us to wait {stated:.0f} s; run the same command again after that")
        self.ready = time.monotonic() + max(stated, 0)
        return max(stated, 0)

    def _wait(self) -> None:
        while (left := self.ready - time.monotonic()) > 0:
            self.bar.set_postfix_str(f"{self.why}: waiting {left:.0f} s")
            time.sleep(min(left, 1))
        self.bar.set_postfix_str(f"page {self.page:,}" + (f", {self.left}" if self.left else ""))

    def _refuse(self, error, url: str) -> None:
        """A 4xx: HubRefused if it is the Hub's own word on one model, else a UserError."""
        from huggingface_hub.errors import DisabledRepoError, GatedRepoError

        response, code, body = error.response, error.response.status_code, None
        said = redact(response.headers.get("X-Error-Message") or "")
        with suppress(ValueError, RecursionError):
            body = decode(response.content)
        hubs = "X-Error-Code" in response.headers or (isinstance(body, dict) and "error" in body)
        single = urlsplit(url).path != urlsplit(f"{self.endpoint}/api/models").path
        if single and hubs and code in (401, 403, 404) and "Invalid credentials" not in said + str(body):
            kinds = {401: "not found or private", 403: "forbidden", 404: "not found"}
            gated, disabled = isinstance(error, GatedRepoError), isinstance(error, DisabledRepoError)
            raise HubRefused(f"{code} {'gated' if gated else 'disabled' if disabled else kinds[code]}")
        advice = {401: "check HF_TOKEN", 400: "check --filter, --task, --author; or the journal is too old"}
        raise UserError(f"{self.endpoint} answers {code} {said[:80]}; {advice.get(code, 'check --endpoint')}")

    @staticmethod
    def _date(response) -> datetime:
        try:
            return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError, TypeError, OverflowError):
            return datetime.now(UTC)


# ── The journal: an SQLite file, since it gives transactions, a lock and an external sort ──────────────────


SCHEMA = [
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


@contextmanager
def journal(path: Path) -> Iterator[sqlite3.Connection]:
    """The open journal, locked against a second run; its transactions survive a kill and a power cut."""
    os.environ["SQLITE_TMPDIR"] = str(path.parent)  # room for the sort where there is room for the result
    db = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=0, isolation_level=None)
        for statement in SCHEMA:
            db.execute(statement)
        yield db
    except (sqlite3.Error, OSError) as why:
        if "locked" in str(why):
            raise UserError(f"another run is at work on {display_path(path)}; wait for it to end") from None
        advice = "make room; the journal keeps what it has"
        if "not a database" in str(why):
            advice = "it is no journal: delete it"
        elif not os.access(path.parent, os.W_OK):  # also where root meets a file system for reading only
            advice = "its folder cannot be written to: choose another --output"
        raise UserError(f"{display_path(path)}: {why}; {advice}, and run the same command again") from why
    finally:
        if db:
            db.close()


def begin(db: sqlite3.Connection, args: argparse.Namespace, mark: Path) -> dict:
    """What the run is to do: as an unfinished run noted it, else noted now beside the old records."""
    asked = {key: getattr(args, key) for key in ("endpoint", "filter", "task", "author", "limit", "ids")}
    noted = db.execute("SELECT value FROM meta").fetchone()
    if noted:
        noted = json.loads(noted[0])
        if noted["asked"] != asked or (args.full and not noted["full"]):
            wanted = {k: v for k, v in noted["asked"].items() if v} | {"full": noted["full"]}
            raise UserError(
                f"{display_path(args.output)}.journal holds an unfinished run with other arguments "
                f"({str(wanted)[:200]}); finish that run, or delete the journal"
            )
        return noted
    exists = args.output.exists()
    marked = mark.read_text(errors="replace").strip() if mark.exists() else None
    full = not args.ids and (args.full or not exists or (marked is not None and not STAMP.fullmatch(marked)))
    plan = {"asked": asked, "full": full, "newest": ""}
    complete = full and not args.partial
    # A date from after the file was written is none to begin at: it would hide the changes before it.
    written = args.output.stat().st_mtime if exists else 0
    horizon = stamp(datetime.fromtimestamp(min(written, time.time()), UTC) + SKEW)
    db.execute("BEGIN")
    try:
        for record in read_records(args.output) if exists else ():
            name, line = record.get("id") or record["modelId"], encode(record)
            if not ID.fullmatch(name):
                print(
                    f"left out of {display_path(args.output)}: no model id: {ascii(name)[:80]}",
                    file=sys.stderr,
                )
                continue
            db.execute("INSERT INTO lines VALUES(?, 0, ?)", (name, digest(line) if complete else line))
            modified = record.get("lastModified")
            if isinstance(modified, str) and STAMP.fullmatch(modified) and modified < horizon:
                plan["newest"] = max(plan["newest"], modified)
    except UserError as problem:
        if not complete:
            raise UserError(f"{problem} --full") from None
        print(f"{problem}: going on without the rest of it", file=sys.stderr)
    plan["since"] = marked or plan["newest"]
    plan["full"] = full or not (args.ids or plan["since"])  # records without dates do not say where to begin
    db.execute("INSERT INTO meta VALUES('plan', ?)", (json.dumps(plan),))
    db.execute("COMMIT")
    return plan


def stages(args: argparse.Namespace, plan: dict) -> list[str]:
    """The first URL of each part of the run. A sweep ends with what changed while it went on."""
    expand = [("expand", field) for field in [*FIELDS, "private"]]
    models = f"{args.endpoint}/api/models"
    if args.ids:
        return [f"{models}/{name}?{urlencode(expand)}" for name in args.ids]
    limit = min(PAGE, args.limit or PAGE)
    chosen = [("filter", args.filter), ("pipeline_tag", args.task), ("author", args.author)]
    query = [("limit", limit), *((key, value) for key, value in chosen if value), *expand]
    created = f"{models}?{urlencode([('sort', 'createdAt'), ('direction', 1), *query])}"
    recent = f"{models}?{urlencode([('sort', 'lastModified'), ('direction', -1), *query])}"
    return ([created] if plan["full"] else []) + [recent]


def fetch(db: sqlite3.Connection, hub: Hub, args: argparse.Namespace, plan: dict) -> None:
    """Asks for page after page, each durable with what follows it before the next one is asked for."""
    urls = stages(args, plan)

    def after(at: int, following: str | None) -> tuple[int, str | None]:
        return (at, following) if following else (at + 1, urls[at + 1] if at + 1 < len(urls) else None)

    count = db.execute("SELECT count(*) FROM pages").fetchone()[0]
    last = db.execute("SELECT stage, next FROM pages ORDER BY rowid DESC LIMIT 1").fetchone()
    at, url = after(*(last or (-1, None)))
    taken = db.execute("SELECT count(*) FROM lines WHERE page > 0").fetchone()[0]
    hub.bar.update(taken)
    while at < len(urls) and not (args.limit and taken >= args.limit):
        hub.page, refused, batch, following = count + 1, [], [], None
        try:
            batch, following, now = hub.get(url, dict if args.ids else list)
        except HubRefused as why:
            refused = [(args.ids[at], str(why))]
        if args.ids:
            batch = [batch] if batch else []
        elif count == 0 and plan["full"]:
            plan["since"] = stamp(now - SKEW)
        recent = not args.ids and at == len(urls) - 1
        if recent:
            dates = [record.get("lastModified") if isinstance(record, dict) else None for record in batch]
            stamps = [d if isinstance(d, str) and STAMP.fullmatch(d) else None for d in dates]
            undated = "" if plan["full"] else "9"  # a sweep has seen the records without a date
            batch = list(itertools.compress(batch, ((d or undated) >= plan["since"] for d in stamps)))
            if stamps and (stamps[-1] or "9") < plan["since"]:
                following = None
        lines = [reduced(record) for record in batch]
        for line in (line for line in lines if isinstance(line, str)):
            hub.bar.write(f"left out: {line}", file=sys.stderr)
        lines = [(line[0], count + 1, line[1]) for line in lines if not isinstance(line, str)]
        if args.ids and lines and lines[0][0].casefold() != args.ids[at].casefold():
            refused = [(args.ids[at], f"404 renamed to {lines[0][0]}")]
        lines = lines[: args.limit - taken] if args.limit else lines
        db.execute("BEGIN")
        try:
            db.execute("UPDATE meta SET value = ?", (json.dumps(plan),))
            db.executemany("INSERT INTO lines VALUES(?, ?, ?)", lines)
            db.executemany("INSERT INTO refused VALUES(?, ?)", refused)
            db.execute("INSERT INTO pages VALUES(?, ?)", (at, following))
        except sqlite3.IntegrityError:
            raise UserError(f"{args.endpoint} names the same next page twice: a cursor in a circle") from None
        db.execute("COMMIT")
        count, taken = count + 1, taken + len(lines)
        hub.bar.update(len(lines))
        at, url = after(at, following)


# ── The files ─────────────────────────────────────────────────────────────────────────────────────────────


def read_ignored(path: Path) -> dict[str, dict]:
    """ignore.json; a plain list of ids, the older form, becomes entries of today."""
    if not path.exists():
        return {}
    value = read_json(path, object, "Mend it, or delete it to start a new one.")
    if isinstance(value, list):
        value = {str(name): {"reason": f"{OURS}listed without a reason", "since": today()} for name in value}
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise UserError(
            f"{display_path(path)} must map each id to an object with reason and since; mend or delete it"
        )
    return value


def finish(db: sqlite3.Connection, args: argparse.Namespace, plan: dict, mark: Path) -> Counter:
    """Writes both files from the journal. Killed anywhere in here, the next run does the same again."""
    complete = plan["full"] and not args.partial
    refused = dict(db.execute("SELECT id, reason FROM refused"))
    ignored, tally, gone = read_ignored(args.ignore), Counter(), []
    # What others than gated models are refused is not there any more; a gated model is, its record stays.
    dropped = {name for name, why in refused.items() if "gated" not in why}

    def lines() -> Iterator[bytes]:
        """The newest line of each id, sorted by id."""
        rows = db.execute("SELECT id, page, line FROM lines ORDER BY id, rowid")
        for name, versions in itertools.groupby(rows, key=itemgetter(0)):
            versions = list(versions)
            (_, first, old), (_, last, line) = versions[0], versions[-1]
            if not last and (complete or name in dropped):
                gone.append(name)
                continue
            tally["added"] += first > 0
            tally["changed"] += first == 0 and last > 0 and old not in (line, digest(line))
            if last and name not in refused and str(ignored.get(name, {}).get("reason")).startswith(OURS):
                del ignored[name]
            tally["models"] += 1
            yield line
        if complete and len(gone) > max(100, tally["models"]):
            found = (
                f"the sweep found {tally['models']} models and misses {len(gone)} old ones; nothing changed"
            )
            file = display_path(args.output)
            raise UserError(
                f"{found}. Delete {file}.journal to sweep again or, if it is right, {file} as well"
            )

    if args.partial and not mark.exists():  # this run's newest date hides changes it never asked for
        with atomic_write(mark) as file:
            file.write(plan["newest"])
    with closing(lines()) as made:  # with its query, which would keep the journal locked
        write_records(args.output, made)
    if not args.partial:
        mark.unlink(missing_ok=True)
    reasons = refused | ({name: "not seen by a full sweep" for name in gone} if complete else {})
    for name, why in reasons.items():
        ignored.setdefault(name, {"reason": OURS + why, "since": today()})
    write_json(args.ignore, ignored)
    for folder in {args.output.parent, args.ignore.parent}:  # else a power cut could undo the replacement
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    return tally + Counter(gone=len(gone), ignored=len(ignored))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    home = os.environ.get("HF_ENDPOINT") or HUB
    what = "Brings modelinfo.json up to date with the Hub. The token is HF_TOKEN or that of `hf auth login`."
    parser = argparse.ArgumentParser(description=what, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--full", action="store_true", help="sweep the whole Hub, not only what has changed")
    add("--ids", nargs="+", metavar="ID", help="refresh only these models")
    add("--ids-file", type=Path, help="the same, from a file with one id a line")
    add("--limit", type=int, help="stop after so many models")
    add("--filter", help="only models with this tag, e.g. pytorch")
    add("--task", help="only models of this task, e.g. image-classification")
    add("--author", help="only models of this user or organisation, e.g. google")
    add("--output", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records")
    add("--ignore", type=Path, default=ROOT / "ignore.json", help="file of models that are gone or refused")
    add("--endpoint", default=home, help="the Hub's URL; HF_ENDPOINT sets it too")
    args = parser.parse_args(argv)
    args.ids = args.ids or []
    if args.ids_file:
        try:
            args.ids += [line.strip() for line in args.ids_file.read_text().splitlines() if line.strip()]
        except (OSError, ValueError) as why:
            raise UserError(f"cannot read --ids-file {display_path(args.ids_file)}: {why}") from why
        if not args.ids:
            raise UserError(f"--ids-file {display_path(args.ids_file)} names no model")
    args.ids = list(dict.fromkeys(args.ids))
    for name in args.ids:
        if not ID.fullmatch(name):
            raise UserError(
                f"--ids: {ascii(name)[:80]} is not a model id such as google/vit-base-patch16-224"
            )
    if args.ids and (args.full or args.limit or args.filter or args.task or args.author):
        raise UserError("--ids names the models: leave out --full, --limit, --filter, --task and --author")
    if args.limit is not None and args.limit < 1:
        raise UserError("--limit must be at least 1")
    args.endpoint = args.endpoint.rstrip("/")
    try:
        parts = urlsplit(args.endpoint)
        proper = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of brackets or a port that is none
        proper = False
    if not proper:
        raise UserError(f"--endpoint must be a URL such as {HUB}, not {args.endpoint!r}")
    if parts.username is not None:  # it would stand in the journal and in every message
        raise UserError("--endpoint must hold no name and password; the token is HF_TOKEN")
    args.partial = bool(args.ids or args.limit or args.filter or args.task or args.author)
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    from tqdm import tqdm

    read_ignored(args.ignore)  # a file that we could not write back is better known before the sweep
    began = time.monotonic()
    path, mark = (args.output.with_name(args.output.name + end) for end in (".journal", ".since"))
    with journal(path) as db:
        for file in (args.output, args.ignore, mark):
            for stale in file.parent.glob(f".{glob.escape(file.name)}.[0-9]*.tmp"):
                stale.unlink(missing_ok=True)  # what a run killed while writing has left
        plan = begin(db, args, mark)
        known = db.execute("SELECT count(*) FROM lines WHERE page = 0").fetchone()[0]
        if plan["full"] and not args.partial and args.endpoint == HUB:
            known = max(known, CENSUS)
        total = len(args.ids) or args.limit or (known if plan["full"] else 0) or None
        with tqdm(total=total, unit=" models", smoothing=0.05, dynamic_ncols=True) as bar:
            hub = Hub(args.endpoint, bar)
            fetch(db, hub, args, plan)
        done = finish(db, args, plan, mark)
        for ending in ("-journal", ""):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    print(
        f"{display_path(args.output)}: {done['models']:,} models: {done['added']:,} added, "
        f"{done['changed']:,} changed, {done['gone']:,} gone; {done['ignored']:,} ignored. "
        f"{hub.requests:,} requests, {hub.bytes / 1e6:,.1f} MB, {time.monotonic() - began:,.1f} s",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    run(main)
