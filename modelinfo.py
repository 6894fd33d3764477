"""Which models are on the Hub, and what do their records say? Brings `modelinfo.json` up to date.

Without a file, or with --full, it sweeps the whole Hub at one request per thousand models; with a file it
fetches what was created or modified since the newest `lastModified` in it. Every page is on disk before the
next is asked for (`modelinfo.json.journal`): the same command goes on where a killed run stopped.
Models that are gone or refused go to `ignore.json`. The token is HF_TOKEN or that of `hf auth login`.

    python modelinfo.py
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import orjson

from ptm import ROOT, Problem, atomic, read_json, records, run, shown, write_json, write_records

# What ptm.py and audit.py read. `model-index` comes alone: `cardData` would repeat it in a larger object.
FIELDS = ["author", "sha", "createdAt", "lastModified", "pipeline_tag", "library_name", "downloads", "likes"]
FIELDS += ["gated", "disabled", "tags", "model-index", "evalResults"]
PAGE = 1000  # the most records that the Hub gives at once
ATTEMPTS, BACKOFF, LONGEST, TIMEOUT = 10, 1.0, 60.0, 60.0  # of one request; seconds
PATIENCE = 3600  # seconds; asked to wait longer, we stop and leave the journal
SKEW = timedelta(minutes=5)  # between the clocks of the Hub's machines
ID = re.compile(r"(?!\.{1,2}(/|$))[\w.-]{1,255}(/(?!\.{1,2}$)[\w.-]{1,255})?", re.ASCII)
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
OURS = "Hub: "  # begins the reasons in ignore.json that this script gives and takes back


def stamp(when: datetime) -> str:
    """A time as the Hub writes it, so that strings compare as times do."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def today() -> str:
    return datetime.now(UTC).date().isoformat()


# ── Records ───────────────────────────────────────────────────────────────────────────────────────────────


def decode(body: bytes) -> object:
    """JSON from a stranger. What orjson refuses (NaN, 1e999, lone surrogates) is read, numbers as text."""

    def number(text: str) -> float | str:
        return float(text) if math.isfinite(float(text)) else text

    def whole(text: str) -> int | str:
        return int(text) if len(text) < 400 else text

    try:
        return orjson.loads(body)
    except ValueError:
        return json.loads(body, parse_constant=str, parse_float=number, parse_int=whole)


def encode(record: dict) -> bytes:
    """One line of strict JSON in UTF-8; lone surrogates, which have no UTF-8, are escaped."""
    try:
        return orjson.dumps(record)
    except TypeError:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()


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


class Refused(Exception):
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
            raise Problem("the token holds characters that no token has; set HF_TOKEN or log in again")

    def get(self, url: str, kind: type):
        """(value of `kind`, URL of the next page or None, the Hub's time); Refused or Problem."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import fix_hf_endpoint_in_url, get_session, hf_raise_for_status

        for attempt in range(ATTEMPTS):
            self._wait()
            self.requests += 1
            stated = None
            try:
                response = get_session().get(url, headers=self.headers, timeout=TIMEOUT)
                self.bytes += response.num_bytes_downloaded
                if self._origin(str(response.url)) != self._origin(self.endpoint):
                    raise Problem(
                        f"{self.endpoint} redirects to another host, {response.url.host!r}; set --endpoint"
                    )
                stated = self._quota(response)
                hf_raise_for_status(response)
                if response.is_redirect:
                    raise Problem(
                        f"{self.endpoint} answers {response.status_code} without a page; check --endpoint"
                    )
                value = decode(response.content)
                if not isinstance(value, kind):
                    raise ValueError(f"a JSON {type(value).__name__}")
                following = response.links.get("next", {}).get("url")
                following = following and fix_hf_endpoint_in_url(following, self.endpoint)
                if following and self._origin(following) != self._origin(self.endpoint):
                    raise Problem(
                        f"the next page lies on another host ({urlsplit(following).hostname}); not followed"
                    )
                return value, following, self._date(response)
            except HfHubHTTPError as error:
                why = f"HTTP {error.response.status_code}"
                if error.response.status_code not in (408, 429) and error.response.status_code < 500:
                    self._refuse(error, url)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                why = f"{type(error).__name__}: {error}"
            except (
                httpx2.HTTPError,
                httpx2.InvalidURL,
                OSError,
            ) as error:  # a loop of redirects, offline mode
                raise Problem(f"cannot ask {self.endpoint}: {error}") from None
            except (ValueError, RecursionError) as error:
                why = f"not the JSON that was asked for ({str(error)[:80]})"
            self.why = why
            pause = stated or min(BACKOFF * 2**attempt, LONGEST)
            self.ready = max(self.ready, time.monotonic() + pause)
        raise Problem(
            f"{self.endpoint} gave up {ATTEMPTS} times, lastly: {why}. Run the same command again to go on"
        )

    def _quota(self, response) -> float | None:
        """Notes what is left of the quota; returns the seconds that the server wants us to wait."""
        from huggingface_hub.utils import parse_ratelimit_headers

        failed = response.status_code == 429 or response.status_code >= 500
        stated, info = None, parse_ratelimit_headers(response.headers)
        if info:
            self.left = f"{info.remaining} requests left"
            if info.remaining == 0:
                stated, self.why = float(info.reset_in_seconds), "quota used up"
        if failed and stated is None and (after := response.headers.get("retry-after", "").strip()):
            try:
                stated = (
                    float(after)
                    if after.isdecimal()
                    else (parsedate_to_datetime(after) - self._date(response)).total_seconds()
                )
            except (ValueError, TypeError):  # neither seconds nor a date
                stated = None
        if stated and stated > PATIENCE:
            raise Problem(f"the Hub asks us to wait {stated:.0f} s; run the same command again after that")
        if stated and stated > 0:
            self.ready = time.monotonic() + stated
        return max(stated, 0) if stated else None

    def _wait(self) -> None:
        while (left := self.ready - time.monotonic()) > 0:
            self.bar.set_postfix_str(f"{self.why}: waiting {left:.0f} s")
            time.sleep(min(left, 1))
        self.bar.set_postfix_str(f"page {self.page:,}" + (f", {self.left}" if self.left else ""))

    def _refuse(self, error, url: str) -> None:
        """A 4xx: Refused if it is the Hub's own word on one model, else a Problem."""
        from huggingface_hub.errors import DisabledRepoError, GatedRepoError

        response, code = error.response, error.response.status_code
        said = response.headers.get("X-Error-Message") or ""
        try:
            body = decode(response.content)
        except (ValueError, RecursionError):
            body = None
        hubs = "X-Error-Code" in response.headers or (isinstance(body, dict) and "error" in body)
        single = urlsplit(url).path != urlsplit(f"{self.endpoint}/api/models").path
        if single and hubs and code in (401, 403, 404) and "Invalid credentials" not in said + str(body):
            kinds = {401: "not found or private", 403: "forbidden", 404: "not found"}
            gated, disabled = isinstance(error, GatedRepoError), isinstance(error, DisabledRepoError)
            raise Refused(f"{code} {'gated' if gated else 'disabled' if disabled else kinds[code]}")
        advice = {
            401: "check HF_TOKEN",
            400: "check --filter, --task and --author; a journal's cursor may be too old",
        }
        raise Problem(f"{self.endpoint} answers {code} {said[:80]}; {advice.get(code, 'check --endpoint')}")

    @staticmethod
    def _origin(url: str) -> tuple:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

    @staticmethod
    def _date(response) -> datetime:
        try:
            return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError, TypeError):
            return datetime.now(UTC)


# ── The journal: an SQLite file, since it gives transactions, a lock and an external sort ──────────────────


@contextmanager
def journal(path: Path) -> Iterator[sqlite3.Connection]:
    """The open journal, locked against a second run; its transactions survive a kill and a power cut."""
    os.environ["SQLITE_TMPDIR"] = str(path.parent)  # room for the sort where there is room for the result
    db = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=0, isolation_level=None)
        for setting in (
            "locking_mode=EXCLUSIVE",
            "synchronous=EXTRA",
            "cache_size=-65536",
            "temp_store=FILE",
        ):
            db.execute(f"PRAGMA {setting}")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT)")
        db.execute("CREATE TABLE IF NOT EXISTS pages(stage INTEGER, next TEXT, UNIQUE(stage, next))")
        db.execute(
            "CREATE TABLE IF NOT EXISTS lines(id TEXT, page INTEGER, line BLOB)"
        )  # page 0: the old file
        db.execute("CREATE TABLE IF NOT EXISTS refused(id TEXT, reason TEXT)")
        db.execute("COMMIT")
        yield db
    except (sqlite3.Error, OSError) as why:
        if "locked" in str(why):
            raise Problem(f"another run is at work on {shown(path)}; wait for it to end") from None
        advice = (
            "it is no journal: delete it" if "not a database" in str(why) else "the journal keeps what it has"
        )
        raise Problem(f"{shown(path)}: {why}; {advice}, and run the same command again") from why
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
            raise Problem(
                f"{shown(args.output)}.journal holds an unfinished run with other arguments "
                f"({str(wanted)[:200]}); finish that run, or delete the journal"
            )
        return noted
    since = mark.read_text().strip() if mark.exists() else None
    full = not args.ids and (args.full or since == "" or not args.output.exists())
    plan = {"asked": asked, "full": full, "since": since or "", "new": not args.output.exists()}
    complete, newest = full and not args.partial, ""
    horizon = stamp(datetime.now(UTC) + timedelta(days=1))  # a date beyond it would hide every later change
    db.execute("BEGIN")
    try:
        for record in records(args.output) if args.output.exists() else ():
            name, line = record.get("id") or record["modelId"], encode(record)
            if not ID.fullmatch(name):
                print(
                    f"left out of {shown(args.output)}: not a model id: {ascii(name)[:80]}", file=sys.stderr
                )
                continue
            db.execute("INSERT INTO lines VALUES(?, 0, ?)", (name, digest(line) if complete else line))
            modified = record.get("lastModified")
            if isinstance(modified, str) and STAMP.fullmatch(modified) and newest < modified < horizon:
                newest = modified
    except Problem as problem:
        if not complete:
            raise Problem(f"{problem} --full") from None
        print(f"{problem}: going on without the rest of it", file=sys.stderr)
    plan["newest"] = newest
    plan["since"] = plan["since"] or newest
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
    limit = min(args.page_size, args.limit or PAGE)
    chosen = [("filter", args.filter), ("pipeline_tag", args.task), ("author", args.author)]
    query = [("limit", limit), *((key, value) for key, value in chosen if value), *expand]
    created = f"{models}?{urlencode([('sort', 'createdAt'), ('direction', 1), *query])}"
    recent = f"{models}?{urlencode([('sort', 'lastModified'), ('direction', -1), *query])}"
    return ([created] if plan["full"] else []) + [recent]


def fetch(db: sqlite3.Connection, hub: Hub, args: argparse.Namespace, plan: dict) -> None:
    """Asks for page after page, each durable with what follows it before the next one is asked for."""
    urls = stages(args, plan)
    count = db.execute("SELECT count(*) FROM pages").fetchone()[0]
    last = db.execute("SELECT stage, next FROM pages ORDER BY rowid DESC LIMIT 1").fetchone()
    at, following = last or (-1, None)
    at, url = (at, following) if following else (at + 1, urls[at + 1] if at + 1 < len(urls) else None)
    taken = db.execute("SELECT count(*) FROM lines WHERE page > 0").fetchone()[0]
    hub.bar.update(taken)
    while at < len(urls) and not (args.limit and taken >= args.limit):
        hub.page, refused, batch, following = count + 1, [], [], None
        try:
            batch, following, now = hub.get(url, dict if args.ids else list)
        except Refused as why:
            refused = [(args.ids[at], str(why))]
        if args.ids:
            batch = [batch] if batch else []
        elif count == 0 and plan["full"]:
            plan["since"] = stamp(now - SKEW)
        recent = not args.ids and at == len(urls) - 1
        if recent:
            dates = [record.get("lastModified") if isinstance(record, dict) else None for record in batch]
            stamps = [date for date in dates if isinstance(date, str) and STAMP.fullmatch(date)]
            undated = not plan["full"]  # a sweep has seen the records without a date
            kept = [d >= plan["since"] if d in stamps else undated for d in dates]
            batch = list(itertools.compress(batch, kept))
            if stamps and stamps[-1] < plan["since"]:
                following = None
        lines = [reduced(record) for record in batch]
        for line in [line for line in lines if isinstance(line, str)]:
            hub.bar.write(f"left out: {line}", file=sys.stderr)
        lines = [(name, count + 1, line) for name, line in (x for x in lines if not isinstance(x, str))]
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
            raise Problem(
                f"{args.endpoint} names the same next page twice; its cursor runs in a circle"
            ) from None
        db.execute("COMMIT")
        count, taken = count + 1, taken + len(lines)
        hub.bar.update(len(lines))
        at, url = (at, following) if following else (at + 1, urls[at + 1] if at + 1 < len(urls) else None)


# ── The files ─────────────────────────────────────────────────────────────────────────────────────────────


def merged(db: sqlite3.Connection, complete: bool, dropped: Container[str], tally: dict) -> Iterator[bytes]:
    """The newest line of each id, sorted by id; fills `tally` (added, changed, and the list of gone ids)."""
    rows = db.execute("SELECT id, page, line FROM lines ORDER BY id, rowid")
    for name, versions in itertools.groupby(rows, key=itemgetter(0)):
        versions = list(versions)
        (_, first, old), (_, last, line) = versions[0], versions[-1]
        if not last and (complete or name in dropped):
            tally["gone"].append(name)
            continue
        tally["added"] += first > 0
        tally["changed"] += first == 0 and last > 0 and old not in (line, digest(line))
        tally["old"] += first == 0
        yield line


def read_ignored(path: Path) -> dict[str, dict]:
    """ignore.json; a plain list of ids, the older form, becomes entries of today."""
    if not path.exists():
        return {}
    value = read_json(path, object, "Mend it, or delete it to start a new one.")
    if isinstance(value, list):
        value = {str(name): {"reason": f"{OURS}listed without a reason", "since": today()} for name in value}
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise Problem(f"{shown(path)} must map each id to an object with reason and since; mend or delete it")
    return value


def finish(db: sqlite3.Connection, args: argparse.Namespace, plan: dict, mark: Path) -> dict:
    """Writes both files from the journal. Killed anywhere in here, the next run does the same again."""
    complete = plan["full"] and not args.partial
    refused = dict(db.execute("SELECT id, reason FROM refused"))
    ignored = read_ignored(args.ignore)
    tally = {"added": 0, "changed": 0, "old": 0, "gone": []}
    # What others than gated models are refused is not there any more; a gated model is, its record stays.
    dropped = {name for name, why in refused.items() if "gated" not in why}

    def lines() -> Iterator[bytes]:
        yield from merged(db, complete, dropped, tally)
        if complete and len(tally["gone"]) > max(100, tally["old"]):
            raise Problem(
                f"the sweep misses {len(tally['gone'])} of {len(tally['gone']) + tally['old']} models; "
                f"nothing was changed. If that is right, delete {shown(args.output)} and its "
                "journal, and run again"
            )

    if (
        args.partial and not mark.exists()
    ):  # else this run's newest date would hide changes it never asked for
        with atomic(mark) as file:
            file.write("" if plan["new"] else plan["newest"])
    tally["models"] = write_records(args.output, lines())
    if not args.partial:
        mark.unlink(missing_ok=True)
    seen = db.execute("SELECT DISTINCT id FROM lines WHERE page > 0")
    for (name,) in seen:
        if name not in refused and str(ignored.get(name, {}).get("reason", "")).startswith(OURS):
            del ignored[name]
    for name in [] if not complete else tally["gone"]:
        ignored.setdefault(name, {"reason": f"{OURS}not seen by a full sweep", "since": today()})
    for name, why in refused.items():
        ignored.setdefault(name, {"reason": OURS + why, "since": today()})
    write_json(args.ignore, ignored)
    return {**tally, "gone": len(tally["gone"]), "ignored": len(ignored)}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    home = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="Token: HF_TOKEN or the cached login."
    )
    add = parser.add_argument
    add(
        "--full",
        action="store_true",
        help="sweep everything, even where a file exists (default: only changes)",
    )
    add("--ids", nargs="+", default=[], metavar="ID", help="refresh just these models (default: none)")
    add("--ids-file", type=Path, metavar="FILE", help="the same, one id a line (default: none)")
    add("--limit", type=int, metavar="N", help="stop after N models (default: all)")
    add("--filter", metavar="TAG", help="only models with this tag (default: all)")
    add("--task", help="only models of this task, such as image-classification (default: all)")
    add("--author", help="only models of this user or organisation (default: all)")
    add(
        "--output", type=Path, default=ROOT / "modelinfo.json", metavar="FILE", help="default: modelinfo.json"
    )
    add("--ignore", type=Path, default=ROOT / "ignore.json", metavar="FILE", help="default: ignore.json")
    add("--endpoint", default=home, metavar="URL", help="default: HF_ENDPOINT or https://huggingface.co")
    add(
        "--page-size",
        type=int,
        default=PAGE,
        metavar="N",
        help=f"records a request (default: {PAGE}, the most)",
    )
    args = parser.parse_args(argv)
    if args.ids_file:
        try:
            args.ids += [line.strip() for line in args.ids_file.read_text().splitlines() if line.strip()]
        except (OSError, ValueError) as why:
            raise Problem(f"cannot read --ids-file {shown(args.ids_file)}: {why}") from why
        if not args.ids:
            raise Problem(f"--ids-file {shown(args.ids_file)} names no model")
    args.ids = list(dict.fromkeys(args.ids))
    for name in args.ids:
        if not ID.fullmatch(name):
            raise Problem(f"--ids: {ascii(name)[:80]} is not a model id such as google/vit-base-patch16-224")
    if args.ids and (args.full or args.limit or args.filter or args.task or args.author):
        raise Problem("--ids names the models: leave out --full, --limit, --filter, --task and --author")
    if (args.limit is not None and args.limit < 1) or not 1 <= args.page_size <= PAGE:
        raise Problem(f"--limit must be at least 1, --page-size from 1 to {PAGE}")
    args.endpoint = args.endpoint.rstrip("/")
    if urlsplit(args.endpoint).scheme not in ("http", "https") or not urlsplit(args.endpoint).hostname:
        raise Problem(f"--endpoint must be a URL such as https://huggingface.co, not {args.endpoint!r}")
    args.partial = bool(args.ids or args.limit or args.filter or args.task or args.author)
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from tqdm import tqdm

    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # as Ctrl-C: one line, and a journal to go on from
    read_ignored(args.ignore)  # a file that we could not write back is better known before the sweep
    began = time.monotonic()
    path, mark = (args.output.with_name(args.output.name + end) for end in (".journal", ".since"))
    with journal(path) as db:
        plan = begin(db, args, mark)
        known = db.execute("SELECT count(*) FROM lines WHERE page = 0").fetchone()[0]
        total = len(args.ids) or args.limit or (known if plan["full"] else 0) or None
        with tqdm(total=total, unit=" models", smoothing=0.05, dynamic_ncols=True) as bar:
            hub = Hub(args.endpoint, bar)
            fetch(db, hub, args, plan)
        done = finish(db, args, plan, mark)
        for ending in ("-journal", ""):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    print(
        f"{shown(args.output)}: {done['models']:,} models: {done['added']:,} added, "
        f"{done['changed']:,} changed, {done['gone']:,} gone; {done['ignored']:,} ignored. "
        f"{hub.requests:,} requests, {hub.bytes / 1e6:,.1f} MB, {time.monotonic() - began:,.1f} s",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    run(main)
