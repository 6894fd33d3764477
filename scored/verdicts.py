"""Verdicts: the rules by which a claim is judged by a measurement. Rows and claims are dicts, as in JSON."""

import re
from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from scored.benchmarks import Benchmark
from scored.claims import VOCABULARY
from scored.comparisons import Comparison
from scored.intervals import newcombe_difference, wilson

STUDY = "study-2022"  # the `source` of the study's rows
VERDICTS = (
    "reproduced",
    "close",
    "inconclusive",
    "claim underspecified",
    "understated",
    "overstated",
    "failed to run",
)
PARTIAL = "measured on a part of the data set only"
SURPLUS = "measured on more examples than the split has"
PROPORTIONS = {"accuracy", "accuracy-top5", "f1-micro"}  # k of n examples, so that Wilson's interval holds
AVERAGES = ("macro", "micro", "weighted")
CLOSE = 0.5  # points: "close" on the same examples; a coarser claim counts as this precise
EQUIVALENT = 1  # points: two samples agree if the interval of their difference lies within this


# ── Numbers ───────────────────────────────────────────────────────────────────────────────────────────────


def difference_in_points(claimed: float, measured: float) -> Decimal:
    """Compute measured minus claimed in points (0.01), exact to ten decimals of a point.

    Both are taken as the decimals they print as: the subtraction of doubles would make 0.941 - 0.931 more
    than 0.01, by an error in the seventeenth digit.
    """
    return round((Decimal(repr(measured)) - Decimal(repr(claimed))) * 100, 10)


def stated_precision(claim: dict) -> float:
    """Compute half a unit of the last digit that the card states, in points; at most half a point."""
    value = claim["value"]
    if isinstance(value, (dict, list)):  # {"f1": 0.83}
        value = claim["number"]
    if isinstance(value, str):
        decimals = re.search(r"[.,](\d+)", value)
        exponent = -len(decimals[1]) if decimals else 0
    else:
        exponent = Decimal(repr(value)).as_tuple().exponent
    half_unit = float(Decimal(50).scaleb(max(exponent, -20)))
    if claim["unit"] == "percent":
        half_unit /= 100
    return min(max(half_unit, 1e-9), CLOSE)


def measured_interval(row: dict, metric: str) -> Sequence[float] | None:
    """Return the 95% interval of a measured metric; None if there is none for it."""
    interval = (row.get("intervals") or {}).get(metric)
    if interval is None and metric in PROPORTIONS:
        n = row["examples"]["expected"]
        return wilson(round(row["metrics"][metric] * n), n)
    return interval


def interval_at(value: float, metric: str, n: int, row: dict) -> list[float] | None:
    """Compute the 95% interval of a value obtained on n other examples; None if there is none.

    Wilson's for a proportion; for mAP and macro F1 the measured interval, moved to the value and scaled by
    the root of the sizes.
    """
    if metric in PROPORTIONS:
        return wilson(round(value * n), n)
    interval = (row.get("intervals") or {}).get(metric)
    if interval is None or not n:
        return None
    scale = (row["examples"]["expected"] / n) ** 0.5
    return [value + scale * (end - row["metrics"][metric]) for end in interval]


# ── Which rows count ──────────────────────────────────────────────────────────────────────────────────────


def is_whole(row: dict) -> bool:
    """Return whether a row is about each example of its split once; so are the study's, which do not say."""
    examples = row.get("examples") or {}
    return examples.get("evaluated") in (None, examples.get("expected"))


def why_incomplete(row: dict) -> str | None:
    """Return why a row is not about the whole split; None if it is."""
    if is_whole(row):
        return None
    return PARTIAL if row["examples"]["evaluated"] < row["examples"]["expected"] else SURPLUS


def latest_rows(rows: list[dict]) -> list[dict]:
    """Return the rows that count, in their order; failed rows all stay.

    Of several rows on one split of a model the newest counts, except that a row on all examples precedes one
    on a part, and one in float32 precedes one in another type.
    """

    def rank(row: dict) -> tuple:
        dtype = (row.get("settings") or {}).get("dtype")
        return is_whole(row), dtype == "float32", str(row.get("measured_at") or "")

    best = {}
    for row in sorted((row for row in rows if not row.get("error")), key=rank):
        best[tuple(row.get(key) for key in ("dataset", "source", "protocol", "model", "split"))] = row
    chosen = {id(row) for row in best.values()}
    return [row for row in rows if row.get("error") or id(row) in chosen]


# ── The verdict on one claim ──────────────────────────────────────────────────────────────────────────────


def judge(comparison: Comparison, claim: dict, row: dict, benchmark: Benchmark) -> Comparison:
    """Judge a claim by a measured value: on the same examples by its digits, else by intervals."""
    split = claim["config"] if claim["config"] in benchmark.splits else claim["split"]
    if split == row["split"]:
        return judge_same_examples(comparison, stated_precision(claim))
    return judge_two_samples(comparison, row, benchmark.splits.get(split) or smallest_sample(benchmark))


def smallest_sample(benchmark: Benchmark) -> int:
    """Return the size of the smallest split that a claim may be about, for the more careful verdict."""
    return min((n for name, n in benchmark.splits.items() if name != "train"), default=0)


def judge_same_examples(comparison: Comparison, precision: float) -> Comparison:
    """Judge a claim on the split that was measured: it must be equal to the stated digits."""
    size = abs(comparison.discrepancy)
    if size <= precision:
        verdict = "reproduced"
    elif size <= CLOSE:
        verdict = "close"
    else:
        verdict = direction(comparison)
    return replace(comparison, verdict=verdict, rule="same examples", precision_points=precision)


def judge_two_samples(comparison: Comparison, row: dict, n_claimed: int) -> Comparison:
    """Judge a claim on other examples than were measured, by the interval of the difference."""
    n_measured = row["examples"]["expected"]
    comparison = replace(comparison, rule="two samples", n_claimed=n_claimed, n_measured=n_measured)
    claimed, measured, metric = comparison.claimed, comparison.measured, comparison.metric
    interval_claimed = interval_at(claimed, metric, n_claimed, row)
    interval_measured = measured_interval(row, metric)
    if interval_claimed is None or interval_measured is None:
        return replace(comparison, verdict="inconclusive", why="no interval is known for this metric")
    low, high = newcombe_difference(claimed, interval_claimed, measured, interval_measured)
    if low >= -EQUIVALENT and high <= EQUIVALENT:
        verdict = "reproduced"
    elif high < -EQUIVALENT or low > EQUIVALENT:
        verdict = direction(comparison)
    else:
        verdict = "inconclusive"
    return replace(comparison, verdict=verdict, interval_points=[low, high])


def direction(comparison: Comparison) -> str:
    """Return the verdict on a claim that a measurement misses."""
    return "overstated" if comparison.discrepancy < 0 else "understated"


def why_underspecified(claim: dict, row: dict, benchmark: Benchmark) -> str | None:
    """Return why a claim cannot be compared although it is a number; None if it can."""
    metric = claim["metric"]
    if claim["dataset"] in VOCABULARY["loaders"]:
        return f"it names a way to load data, {claim['dataset']!r}, not a data set"
    if claim["config"] and claim["config"] not in benchmark.configs:
        return f"unknown configuration {claim['config']!r} for {benchmark.name}"
    if metric is None:
        return "it names no metric"
    if any(f"{metric}-{average}" in row["metrics"] for average in AVERAGES):
        return f"it does not say how {metric} is averaged"
    if metric in row["metrics"] and claim["fraction"] is None:
        return f"{claim['value']!r} may be a fraction or a percentage"
    return None
