"""What a runner says about a model: a line per row, the verdict, and the splits that it still depends on."""

import copy
import sys
from collections import defaultdict
from collections.abc import Container
from dataclasses import replace

from harness.plan import passes_to_do, plan_passes
from harness.task import CLAIM, Job, Run
from scored.benchmarks import Benchmark
from scored.comparisons import Comparison
from scored.files import UserError
from scored.matching import compare_model, mark_headline, rows_by_model
from scored.result_rows import latest_rows
from scored.verdicts import STANDARD, splits_left_open

COLUMNS = 120  # of a printed row


class Outcome:
    """The rows of each model, from earlier runs and from this one, and what became of the models."""

    def __init__(self, rows: list[dict]):
        self.rows: dict[str, list[dict]] = defaultdict(list)  # model -> its rows
        for row in rows:
            self.rows[row["model"]].append(row)
        self.done = {row.get("key") for row in rows if "error" not in row}
        self.results: dict[tuple, str] = {}  # model, revision -> measured, failed, measured before
        self.left_open: list[Job] = []

    def rows_of(self, model) -> list[dict]:
        """Return the rows of a model at the revision that is measured."""
        return [row for row in self.rows[model.name] if row.get("revision") == model.revision]

    def count(self, model, result: str) -> None:
        """Record what became of a model at a revision; a failure stays one."""
        place = (model.name, model.revision)
        if self.results.get(place) != "failed":
            self.results[place] = result


# ── Lines ─────────────────────────────────────────────────────────────────────────────────────────────────


def printable_name(model: str) -> str:
    """Replace what a terminal cannot print in a model's name, which may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in model)


def format_row(row: dict, benchmark: Benchmark) -> str:
    """Format a row as one line: model, split, protocol, headline metric with its interval; or the error."""
    name = printable_name(row["model"])
    if "error" in row:
        place = [name, row["split"], row["protocol"]]
        return f"{'  '.join(filter(None, place))}  failed at {row['stage']}: {row['error']}"
    metric = benchmark.headline
    parts = [row["split"], row["protocol"], f"{metric} undefined"]
    if metric in row["metrics"]:
        parts[-1] = f"{metric} {row['metrics'][metric]:.4f}"
    interval = row["intervals"].get(metric)
    if interval:
        parts[-1] += f" [{interval[0]:.4f}, {interval[1]:.4f}]"
    rest = "  ".join(parts)
    space = COLUMNS - len(rest) - 2
    if len(name) > space:
        name = "…" + name[1 - space :]
    return f"{name}  {rest}"


def format_verdict(rows: list[dict], benchmark: Benchmark) -> str | None:
    """Say in one sentence how the headline claim of a model stands by its rows; None without a claim."""
    protocols = {row["protocol"] for row in rows if "error" not in row}
    for protocol in sorted(protocols, key=lambda name: (name != STANDARD, name)):
        comparisons = mark_headline(compare_under(protocol, rows, benchmark), benchmark)
        if comparisons:
            best = max(comparisons, key=lambda comparison: comparison.headline)
            return f"{printable_name(best.model)}  {best.sentence}"
    return None


def compare_under(protocol: str, rows: list[dict], benchmark: Benchmark) -> list[Comparison]:
    """Compare a model's claims with its latest rows under a protocol."""
    measured = [row for row in rows if "error" not in row and row["protocol"] == protocol]
    comparisons = []
    for model_rows in rows_by_model(latest_rows(measured)).values():
        comparisons += compare_model(model_rows, model_rows[-1]["claims"], benchmark)[0]
    return comparisons


# ── Splits on which a verdict depends ─────────────────────────────────────────────────────────────────────


def plan_open_splits(run: Run, job: Job, rows: list[dict], done: Container[str]) -> Job | None:
    """Plan the splits on which a verdict still depends, such as a Trainer's training split; None for none."""
    args = run.args
    if args.split or args.limit or args.from_predictions or job.error:
        return None
    passes = []
    for name in args.protocol or run.task.protocols:
        if run.task.protocols[name].split != CLAIM:
            continue
        comparisons = compare_under(name, rows, run.task.benchmark)
        for split in splits_left_open(comparisons, run.task.splits):
            narrow = copy.copy(args)
            narrow.split, narrow.protocol = split, [name]
            try:
                passes += plan_passes(replace(run, args=narrow), job.model, job.claims)
            except UserError as error:  # the verdict stands without it
                print(f"{printable_name(job.model.name)}  {split} is not measured: {error}", file=sys.stderr)
    passes = passes_to_do(passes, done)
    return replace(job, passes=passes) if passes else None
