"""Which models are on the Hub, and what do their records say? Brings `modelinfo.json` up to date.

Without a file, with --full, or while a record in it has `taken` (as shipped), it sweeps the whole Hub at
one request per thousand models; otherwise it fetches what was modified or created since the newest in it.
Each page is on disk before the next is requested (`modelinfo.json.journal`): the same command goes on where a
killed run stopped. Models that are gone or refused go to `ignore.json`. The token is HF_TOKEN or that of
`hf auth login`.

    python modelinfo.py
"""

import argparse
import functools
import hashlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.hub import Hub
from scored.hub_records import HUB_TIME, MODEL_ID, encode, time_of
from scored.journal import Journal, Plan, open_journal, remove_journal
from scored.listing import RESULTS, fetch_first_page, fetch_model, fetch_page, list_walks
from scored.records import read_records, record_id, write_records

HUB_URL = "https://huggingface.co"
HUB_SIZE = 3_117_871  # models on it in October 2026: for the time left that a first sweep shows
CLOCK_SKEW = timedelta(minutes=5)  # between the Hub's machines
REASON_PREFIX = "Hub: "  # begins the reasons in ignore.json that this script adds and removes
ONLY_FULL = "what was deleted, renamed, made private, or made public or changed with an old date"


def format_time(when: datetime) -> str:
    """Write a time as the Hub does, so that strings compare as times do."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def today() -> str:
    return format_time(datetime.now(UTC))[:10]


def digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def earlier(time: str) -> str:
    """Return the time by which the clocks of the Hub's machines may differ before this one."""
    with suppress(ValueError, OverflowError):  # "" and what is not a date
        return format_time(datetime.fromisoformat(time) - CLOCK_SKEW)
    return time


def load_plan(journal: Journal, args: argparse.Namespace, watermark: Path) -> Plan:
    """Go on with an unfinished run, or begin one. Raises UserError if its arguments were others."""
    arguments = {key: getattr(args, key) for key in ("endpoint", "filter", "task", "author", "limit", "ids")}
    plan = journal.read_plan()
    if not plan or journal.count("pages") == 0:
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
        journal.clear()
        known = note_old_records(journal, args, is_replaced=full and not args.partial)
        since = "" if known.has_groups else marked or known.newest
        full = full or not (args.ids or since)  # records without dates do not say where to begin
        if known.has_groups and full:
            file = display_path(args.output)
            print(f"{file} holds records with fields from other sources: sweeping the Hub", file=sys.stderr)
        created_since = earlier(marked or known.newest_created)
        plan = Plan(arguments, full, known.newest, earlier(since), created_since)
        journal.write_plan(plan)
    return plan


@dataclass
class KnownRecords:
    """What the old records say about where to begin."""

    newest: str = ""  # `lastModified`; "" without one
    newest_created: str = ""
    has_groups: bool = False  # fields of a record were taken in groups, not fetched


def note_old_records(journal: Journal, args: argparse.Namespace, is_replaced: bool) -> KnownRecords:
    """Copy the old file to the journal, only digests if the run replaces it."""
    known = KnownRecords()
    if not args.output.exists():
        return known
    file = display_path(args.output)
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
            known.has_groups = known.has_groups or record.get("taken") is not None
            modified, created = time_of(record, "lastModified"), time_of(record, "createdAt")
            if modified < horizon:
                known.newest = max(known.newest, modified)
            if created < horizon:
                known.newest_created = max(known.newest_created, created)
    except UserError as error:
        if not is_replaced:
            raise UserError(f"{error}. With --full, this run replaces the file") from None
        print(f"{error}. Going on without the rest of it", file=sys.stderr)
    return known


def fetch(journal: Journal, hub: Hub, args: argparse.Namespace, plan: Plan, bar) -> tuple[Plan, list[str]]:
    """Fetch the pages in order; commit each with its cursor before requesting the next.

    Return the plan as the Hub's answers changed it, and the ids of which it says nothing.
    """
    number, fetched, failed = journal.count("pages"), journal.count("lines WHERE page > 0"), []
    stage, url = journal.last_request()
    report = functools.cache(functools.partial(bar.write, file=sys.stderr))  # pages overlap: say it once
    bar.update(fetched)
    while True:
        if url is None:
            stage += 1
        if stage >= (len(args.ids) or len(list_walks(plan))) or (args.limit and fetched >= args.limit):
            return plan, failed
        if args.ids:
            page, plan = fetch_model(hub, plan, args.ids[stage], report)
        elif url:
            page = fetch_page(hub, url, list_walks(plan)[stage], report)
        else:
            page, plan = fetch_first_page(hub, plan, stage, report)
        if plan.full and number == 0:
            plan = msgspec.structs.replace(plan, since=format_time(page.date - CLOCK_SKEW))
        if args.limit:
            del page.lines[args.limit - fetched :]
        number, fetched, url = number + 1, fetched + len(page.lines), page.next_url
        failed += page.failed
        try:
            journal.add_page(page, number, stage, plan)
        except sqlite3.IntegrityError:
            raise UserError(
                f"{args.endpoint} returned the same next page twice (pagination loop); try again later"
            ) from None
        bar.update(len(page.lines))


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
    has_results: bool = False  # any model has `evalResults`


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
    known_ids = {name.casefold(): name for name in summary.gone}
    for name, reason in refused.items():
        if reason.casefold() != f"404 renamed to {name}".casefold():  # else it is the id in other letter case
            name = known_ids.get(name.casefold(), name)
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
    # The Hub takes an id in any letter case.
    removed = {name.casefold() for name, reason in journal.refused().items() if "gated" not in reason}
    results = f'"{RESULTS}":'.encode()
    added = changed = 0
    for (_, first_page, old), (name, last_page, line) in journal.versions():
        if last_page == 0:  # not fetched
            if complete or name.casefold() in removed:
                summary.gone.append(name)
                continue
        elif first_page > 0:
            added += 1
        elif old not in (line, digest(line)):
            changed += 1
        if name in ignored and last_page > 0:
            summary.fetched_again.append(name)
        if not summary.has_results:
            summary.has_results = results in line
        summary.models += 1
        yield line
    summary.added, summary.changed = added, changed
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
    add("--full", action="store_true", help=f"sweep the whole Hub: only this sees {ONLY_FULL}")
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


def describe(args: argparse.Namespace, plan: Plan, summary: Summary, failed: list[str]) -> list[str]:
    """Say what the new file holds, and what this run cannot have seen."""
    lines = [
        f"{display_path(args.output)}: {summary.models:,} models: {summary.added:,} added, "
        f"{summary.changed:,} changed, {len(summary.gone):,} gone; {summary.ignored:,} ignored."
    ]
    if not plan.has_results:
        lines.append(f"The Hub refuses {RESULTS}: the records are without them.")
    elif plan.full and not args.partial and not summary.has_results:
        lines.append(f"No record has {RESULTS}: no model has any, or the Hub leaves them out.")
    if not plan.full and not args.ids:
        lines.append(f"Only --full sees {ONLY_FULL}.")
    if failed:
        lines.append(f"{len(failed):,} of {len(args.ids):,} models were not refreshed, see above.")
    return lines


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
            plan, failed = fetch(journal, hub, args, plan, bar)
        summary = write_outputs(journal, args, plan, watermark)
        remove_journal(path)
    cost = f"{hub.requests:,} requests, {hub.bytes / 1e6:,.1f} MB, {time.monotonic() - began:,.1f} s"
    print(*describe(args, plan, summary, failed), cost, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
