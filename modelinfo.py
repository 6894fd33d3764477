"""Which models are on the Hub, and what do their records say? Brings `modelinfo.json` up to date.

Without a file, with --full, or while a record in it has `taken` (as shipped), it sweeps the whole Hub at
one request per thousand models; otherwise it fetches what was modified since the newest `lastModified` in it.
Each page is on disk before the next is requested (`modelinfo.json.journal`): the same command goes on where a
killed run stopped. Models that are gone or refused go to `ignore.json`. The token is HF_TOKEN or that of
`hf auth login`.

    python modelinfo.py
"""

import argparse
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec

from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.hub import Hub, HubRefused
from scored.hub_records import (
    FIELDS,
    HUB_TIME,
    MODEL_ID,
    encode,
    last_modified,
    read_page,
    read_record,
    to_line,
)
from scored.journal import Journal, Page, Plan, open_journal
from scored.records import read_records, record_id, write_records

HUB_URL = "https://huggingface.co"
HUB_SIZE = 3_117_871  # models on it in October 2026: for the time left that a first sweep shows
PAGE_SIZE = 1000  # the most records that the Hub gives at once
CLOCK_SKEW = timedelta(minutes=5)  # between the Hub's machines
REASON_PREFIX = "Hub: "  # begins the reasons in ignore.json that this script adds and removes


def format_time(when: datetime) -> str:
    """Write a time as the Hub does, so that strings compare as times do."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def today() -> str:
    return format_time(datetime.now(UTC))[:10]


def digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def load_plan(journal: Journal, args: argparse.Namespace, watermark: Path) -> Plan:
    """Go on with an unfinished run, or begin one. Raises UserError if its arguments were others."""
    arguments = {key: getattr(args, key) for key in ("endpoint", "filter", "task", "author", "limit", "ids")}
    plan = journal.read_plan()
    if not plan:
        return make_plan(journal, args, watermark, arguments)
    if plan.arguments != arguments or (args.full and not plan.full):
        given = {key: value for key, value in plan.arguments.items() if value} | {"full": plan.full}
        raise UserError(
            f"{display_path(args.output)}.journal holds an unfinished run with other arguments "
            f"({str(given)[:200]}); finish that run, or delete the journal"
        )
    return plan


def make_plan(journal: Journal, args: argparse.Namespace, watermark: Path, arguments: dict) -> Plan:
    """Decide between a sweep and what has changed; note that, and the old records, in the journal."""
    marked = watermark.read_text(errors="replace").strip() if watermark.exists() else ""
    is_marked_badly = watermark.exists() and not HUB_TIME.fullmatch(marked)
    full = not args.ids and (args.full or not args.output.exists() or is_marked_badly)
    with journal.transaction():
        newest, has_groups = note_old_records(journal, args, is_replaced=full and not args.partial)
        since = "" if has_groups else marked or newest
        full = full or not (args.ids or since)  # records without dates do not say where to begin
        if has_groups and full:
            file = display_path(args.output)
            print(f"{file} holds records with fields from other sources: sweeping the Hub", file=sys.stderr)
        plan = Plan(arguments, full, newest, since)
        journal.write_plan(plan)
    return plan


def note_old_records(journal: Journal, args: argparse.Namespace, is_replaced: bool) -> tuple[str, bool]:
    """Copy the old file to the journal, only digests if the run replaces it.

    Return its newest date, and whether any of its records was taken in groups, not fetched.
    """
    if not args.output.exists():
        return "", False
    newest, has_groups, file = "", False, display_path(args.output)
    # A date from after the file was written is not where to begin: it would hide the changes before it.
    written = min(args.output.stat().st_mtime, time.time())
    horizon = format_time(datetime.fromtimestamp(written, UTC) + CLOCK_SKEW)
    try:
        for record in read_records(args.output):
            name, line = record_id(record), encode(record)
            if not MODEL_ID.fullmatch(name):
                print(f"left out of {file}: not a model id: {ascii(name)[:80]}", file=sys.stderr)
                continue
            journal.add_old(name, digest(line) if is_replaced else line)
            has_groups = has_groups or record.get("taken") is not None
            modified = last_modified(record)
            if modified < horizon:
                newest = max(newest, modified)
    except UserError as error:
        if not is_replaced:
            raise UserError(f"{error}; --full replaces it") from None
        print(f"{error} (going on without the rest of it)", file=sys.stderr)
    return newest, has_groups


def start_urls(args: argparse.Namespace, plan: Plan) -> list[str]:
    """List the first URL of each stage of the run. A sweep ends with what changed while it went on."""
    expand = [("expand", name) for name in [*FIELDS, "private"]]
    models = f"{args.endpoint}/api/models"
    if args.ids:
        return [f"{models}/{name}?{urlencode(expand)}" for name in args.ids]
    chosen = {"filter": args.filter, "pipeline_tag": args.task, "author": args.author}
    query = [("limit", min(PAGE_SIZE, args.limit or PAGE_SIZE))]
    query += [(key, value) for key, value in chosen.items() if value]
    query += expand
    by_creation = f"{models}?{urlencode([('sort', 'createdAt'), ('direction', 1), *query])}"
    by_change = f"{models}?{urlencode([('sort', 'lastModified'), ('direction', -1), *query])}"
    return [by_creation, by_change] if plan.full else [by_change]


def fetch(journal: Journal, hub: Hub, args: argparse.Namespace, plan: Plan, bar) -> Plan:
    """Fetch the pages in order; commit each with its cursor before requesting the next."""
    urls = start_urls(args, plan)
    number, fetched = journal.count("pages"), journal.count("lines WHERE page > 0")
    stage, url = next_request(urls, *journal.last_request())
    bar.update(fetched)
    while stage < len(urls) and not (args.limit and fetched >= args.limit):
        if args.ids:
            page = fetch_model(hub, url, args.ids[stage], bar)
        else:
            page = fetch_page(hub, url, plan, bar, is_by_change=stage == len(urls) - 1)
            if plan.full and number == 0:
                plan = msgspec.structs.replace(plan, since=format_time(page.date - CLOCK_SKEW))
        if args.limit:
            del page.lines[args.limit - fetched :]
        number, fetched = number + 1, fetched + len(page.lines)
        try:
            journal.add_page(page, number, stage, plan)
        except sqlite3.IntegrityError:
            raise UserError(
                f"{args.endpoint} returned the same next page twice (pagination loop); try again later"
            ) from None
        bar.update(len(page.lines))
        stage, url = next_request(urls, stage, page.next_url)
    return plan


def next_request(urls: list[str], stage: int, next_url: str | None) -> tuple[int, str | None]:
    """Return stage and URL of the next request; the stage is len(urls) after the last one."""
    if next_url:
        return stage, next_url
    return stage + 1, urls[stage + 1] if stage + 1 < len(urls) else None


def fetch_model(hub: Hub, url: str, name: str, bar) -> Page:
    """Fetch the record of one model that --ids names."""
    try:
        answer = hub.get(url, read_record)
    except HubRefused as reason:
        return Page([], [(name, str(reason))])
    lines, refused = make_lines([answer.value], bar), []
    if lines and lines[0][0].casefold() != name.casefold():
        refused = [(name, f"404 renamed to {lines[0][0]}")]
    return Page(lines, refused)


def fetch_page(hub: Hub, url: str, plan: Plan, bar, is_by_change: bool) -> Page:
    """Fetch a page of the list; the pages by change end where nothing is newer than plan.since."""
    answer = hub.get(url, read_page)
    records, next_url = answer.value, answer.next_url
    if is_by_change and records:
        oldest = last_modified(records[-1])
        if oldest and oldest < plan.since:
            next_url = None
        # A sweep has seen the records without a date before.
        undated = "" if plan.full else plan.since
        records = [record for record in records if (last_modified(record) or undated) >= plan.since]
    return Page(make_lines(records, bar), [], next_url, answer.date)


def make_lines(records: list, bar) -> list[tuple[str, bytes]]:
    """Convert records to (id, line), and report those that are left out."""
    lines = []
    for record in records:
        line = to_line(record)
        if isinstance(line, str):
            bar.write(f"left out: {line}", file=sys.stderr)
        else:
            lines.append(line)
    return lines


def read_ignored(path: Path) -> dict[str, dict]:
    """Read ignore.json; a plain list of ids, its older form, becomes entries of today. Raises UserError."""
    if not path.exists():
        return {}
    value = read_json(path, object, "Fix it, or delete it to start a new one.")
    if isinstance(value, list):
        reason = f"{REASON_PREFIX}listed without a reason"
        value = {str(name): {"reason": reason, "since": today()} for name in value}
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise UserError(
            f"{display_path(path)} must map each id to an object with reason and since; fix or delete it"
        )
    return value


@dataclass
class Summary:
    """What the new file holds, compared with the old one."""

    models: int = 0
    added: int = 0
    changed: int = 0
    gone: list[str] = field(default_factory=list)
    fetched_again: list[str] = field(default_factory=list)  # of the ignored models
    ignored: int = 0


def write_outputs(journal: Journal, args: argparse.Namespace, plan: Plan, watermark: Path) -> Summary:
    """Write both files from the journal. Killed anywhere in here, the next run does the same again."""
    complete = plan.full and not args.partial
    refused, ignored, summary = journal.refused(), read_ignored(args.ignore), Summary()
    if args.partial and not watermark.exists():  # this run's newest date hides changes that it did not fetch
        with atomic_write(watermark) as file:
            file.write(plan.newest)
    lines = newest_lines(journal, args, complete, ignored, summary)
    with closing(lines):  # with its query, which would keep the journal locked
        write_records(args.output, lines)
    if not args.partial:
        watermark.unlink(missing_ok=True)
    for name in summary.fetched_again:
        if name not in refused and str(ignored[name].get("reason")).startswith(REASON_PREFIX):
            del ignored[name]
    if complete:
        refused |= dict.fromkeys(summary.gone, "not seen by a full sweep")
    for name, reason in refused.items():
        ignored.setdefault(name, {"reason": REASON_PREFIX + reason, "since": today()})
    write_json(args.ignore, ignored)
    sync_folders({args.output.parent, args.ignore.parent})
    summary.ignored = len(ignored)
    return summary


def newest_lines(
    journal: Journal, args: argparse.Namespace, complete: bool, ignored: dict, summary: Summary
) -> Iterator[bytes]:
    """Yield the newest line of each model that is still there, sorted by id, and count.

    Raises UserError at the end if a complete sweep misses more of the old models than it has seen.
    """
    # The record of a gated model stays; any other model that is refused is not there any more.
    removed = {name for name, reason in journal.refused().items() if "gated" not in reason}
    for name, versions in journal.versions():
        (_, first_page, old), (_, last_page, line) = versions[0], versions[-1]
        is_fetched = last_page > 0
        if not is_fetched and (complete or name in removed):
            summary.gone.append(name)
            continue
        if is_fetched and name in ignored:
            summary.fetched_again.append(name)
        summary.models += 1
        summary.added += first_page > 0
        summary.changed += first_page == 0 and is_fetched and old not in (line, digest(line))
        yield line
    if complete and len(summary.gone) > max(100, summary.models):
        file = display_path(args.output)
        raise UserError(
            f"the sweep found {summary.models} models but {len(summary.gone)} known ones are missing; "
            f"nothing was changed. Delete {file}.journal to sweep again, "
            f"and {file} too if this is correct"
        )


def sync_folders(folders: set[Path]) -> None:
    """Make the replacement of files durable; without it, a power cut could undo it."""
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description = "Update modelinfo.json from the Hub. The token is HF_TOKEN or that of `hf auth login`."
    parser = argparse.ArgumentParser(description=description, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--full", action="store_true", help="sweep the whole Hub, not only what has changed")
    add("--ids", nargs="+", metavar="ID", help="refresh only these models")
    add("--ids-file", type=Path, help="file of models to refresh, one id per line")
    add("--limit", type=int, help="stop after this number of models")
    add("--filter", help="only models with this tag, e.g. pytorch")
    add("--task", help="only models of this task, e.g. image-classification")
    add("--author", help="only models of this user or organization, e.g. google")
    add("--output", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records")
    add("--ignore", type=Path, default=ROOT / "ignore.json", help="file of models that are gone or refused")
    endpoint = os.environ.get("HF_ENDPOINT") or HUB_URL
    add("--endpoint", default=endpoint, help="the Hub's URL; HF_ENDPOINT sets it too")
    args = parser.parse_args(argv)
    args.ids = list(dict.fromkeys((args.ids or []) + read_ids(args.ids_file)))
    args.endpoint = args.endpoint.rstrip("/")
    check_selection(args)
    check_endpoint(args.endpoint)
    args.partial = bool(args.ids or args.limit or args.filter or args.task or args.author)
    return args


def read_ids(path: Path | None) -> list[str]:
    """Read a file with one id per line. Raises UserError if it names no model."""
    if not path:
        return []
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read --ids-file {display_path(path)}: {error}") from error
    if not any(lines):
        raise UserError(f"--ids-file {display_path(path)} names no model")
    return [line for line in lines if line]


def check_selection(args: argparse.Namespace) -> None:
    """Raise UserError for models that cannot be selected so."""
    for name in args.ids:
        if not MODEL_ID.fullmatch(name):
            raise UserError(f"--ids: {ascii(name)[:80]} is not a model id such as google/vit-base")
    if args.ids and (args.full or args.limit or args.filter or args.task or args.author):
        raise UserError("--ids names the models: omit --full, --limit, --filter, --task and --author")
    if args.limit is not None and args.limit < 1:
        raise UserError("--limit must be at least 1")


def check_endpoint(endpoint: str) -> None:
    """Raise UserError unless it is an http(s) URL without name and password."""
    try:
        parts = urlsplit(endpoint)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # unbalanced brackets, or a port that is not a number
        is_url = False
    if not is_url:
        raise UserError(f"--endpoint must be a URL such as {HUB_URL}, not {endpoint!r}")
    if parts.username is not None:  # it would stand in the journal and in messages
        raise UserError("--endpoint must hold no name and password; the token is HF_TOKEN")


def expected_models(journal: Journal, args: argparse.Namespace, plan: Plan) -> int | None:
    """Estimate how many models the run fetches; None if nothing says so."""
    if args.ids or args.limit or not plan.full:
        return len(args.ids) or args.limit
    known = journal.count("lines WHERE page = 0")
    is_whole_hub = args.endpoint == HUB_URL and not args.partial
    return max(known, HUB_SIZE) if is_whole_hub else known or None


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    from tqdm import tqdm

    read_ignored(args.ignore)  # a file that cannot be rewritten is better known before the sweep
    began = time.monotonic()
    path = args.output.with_name(f"{args.output.name}.journal")
    watermark = args.output.with_name(f"{args.output.name}.since")
    with open_journal(path) as journal:
        plan = load_plan(journal, args, watermark)
        total = expected_models(journal, args, plan)
        with tqdm(total=total, unit=" models", smoothing=0.05, dynamic_ncols=True) as bar:
            hub = Hub(args.endpoint, bar.set_postfix_str)
            plan = fetch(journal, hub, args, plan, bar)
        summary = write_outputs(journal, args, plan, watermark)
        for ending in ("-journal", ""):  # SQLite's own beside it, which would be played back into a new one
            path.with_name(path.name + ending).unlink(missing_ok=True)
    print(
        f"{display_path(args.output)}: {summary.models:,} models: {summary.added:,} added, "
        f"{summary.changed:,} changed, {len(summary.gone):,} gone; {summary.ignored:,} ignored. "
        f"{hub.requests:,} requests, {hub.bytes / 1e6:,.1f} MB, {time.monotonic() - began:,.1f} s",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    run(main)
