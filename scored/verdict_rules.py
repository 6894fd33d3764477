"""The rules for a claim whose split is known: the same examples were measured, or others."""

from msgspec import UNSET
from msgspec.structs import replace

from scored.benchmarks import Benchmark
from scored.claim_numbers import (
    CLOSE,
    difference_in_points,
    interval_at,
    measured_interval,
    stated_precision,
)
from scored.comparisons import Comparison
from scored.intervals import newcombe_difference
from scored.split_identification import MIN_SAMPLE
from scored.verdict_sentences import explain_same_examples

EQUIVALENT = 1  # points: two samples agree if the interval of their difference lies within this


def named_split(claim: dict, benchmark: Benchmark) -> str | None:
    """Return the split that a claim names, in its configuration or as split."""
    return claim["config"] if claim["config"] in benchmark.splits else claim["split"]


def only_public_split(claim: dict, benchmark: Benchmark) -> str | None:
    """Return the one split that a claim can be about that names none; None if there are several."""
    has_hint = bool(claim.get("possible_splits"))
    return benchmark.public[0] if len(benchmark.public) == 1 and not has_hint else None


def beside(comparison: Comparison, row: dict) -> Comparison:
    """Put a measured value and its interval beside a claim."""
    value = row["metrics"][comparison.metric]
    interval = measured_interval(row, comparison.metric)
    return replace(
        comparison,
        measured=value,
        measured_split=row["split"],
        measured_interval=UNSET if interval is None else list(interval),
        n_measured=row["examples"]["expected"],
        discrepancy=float(difference_in_points(comparison.claimed, value)),
    )


def direction(discrepancy: float) -> str:
    """Return the verdict on a claim that a measurement misses by these points."""
    return "overstated" if discrepancy < 0 else "understated"


# ── The same examples, or other ones ──────────────────────────────────────────────────────────────────────


def judge_same_examples(comparison: Comparison, claim: dict, rule: str) -> Comparison:
    """Judge a claim on the split that was measured: it must be equal to the stated digits."""
    size, precision = abs(comparison.discrepancy), stated_precision(claim)
    if size <= precision:
        verdict = "reproduced"
    elif size <= CLOSE:
        verdict = "close"
    else:
        verdict = direction(comparison.discrepancy)
    comparison = replace(comparison, verdict=verdict, rule=rule, precision_points=precision)
    return replace(comparison, why=explain_same_examples(comparison))


def judge_two_samples(
    comparison: Comparison, claim: dict, rows: dict[str, dict], benchmark: Benchmark, named: str
) -> Comparison:
    """Judge a claim on other examples than were measured, by the interval of the difference."""
    n_claimed = benchmark.splits.get(named, MIN_SAMPLE)
    comparison = replace(comparison, rule="two samples", n_claimed=n_claimed)
    evaluation = evaluation_rows(rows)
    if named == "train" or not evaluation:
        row = evaluation.get(benchmark.default) or next(iter(rows.values()))
        why = f"{named} was not measured, and training examples say nothing about others"
        return replace(beside(comparison, row), verdict="inconclusive", why=why)
    row = evaluation.get(benchmark.default) or next(iter(evaluation.values()))
    comparison = beside(comparison, row)
    interval = difference_interval(claim, comparison.metric, n_claimed, row)
    if interval is None:
        why = f"{named} was not measured, and no interval is known for this metric"
        return replace(comparison, verdict="inconclusive", why=why)
    verdict = verdict_by_interval(*interval)
    low, high = interval
    why = (
        f"{named} was not measured; by the sizes of both samples the difference is {low:+.2f} to {high:+.2f}"
    )
    return replace(comparison, verdict=verdict, interval_points=interval, why=why)


def evaluation_rows(rows: dict[str, dict]) -> dict[str, dict]:
    """Select the rows on other splits than the training split."""
    return {split: row for split, row in rows.items() if split != "train"}


def difference_interval(claim: dict, metric: str, n_claimed: int, row: dict) -> list[float] | None:
    """Compute the 95% interval, in points, of measured minus claimed on n other examples; None if unknown."""
    claimed, measured = claim["fraction"], row["metrics"][metric]
    interval_claimed = interval_at(claimed, metric, n_claimed, row)
    interval_measured = measured_interval(row, metric)
    if interval_claimed is None or interval_measured is None:
        return None
    return newcombe_difference(claimed, interval_claimed, measured, interval_measured)


def verdict_by_interval(low: float, high: float) -> str:
    """Return the verdict where the difference in points lies between these."""
    if low >= -EQUIVALENT and high <= EQUIVALENT:
        return "reproduced"
    if high < -EQUIVALENT or low > EQUIVALENT:
        return direction(high)
    return "inconclusive"
