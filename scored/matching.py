"""From rows and claims to comparisons: what is compared, what counts, and the summary of a data set."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from msgspec import UNSET
from msgspec.structs import replace

from scored.benchmarks import Benchmark
from scored.claims import VOCABULARY
from scored.comparisons import Comparison, Summary
from scored.intervals import wilson
from scored.schema import Differences
from scored.verdicts import (
    STUDY,
    difference_in_points,
    is_whole,
    judge,
    latest_rows,
    why_incomplete,
    why_underspecified,
)

SAME_CLAIM = Decimal("0.0005")  # the study's claims are rounded to a tenth of a point


@dataclass(frozen=True)
class KnownClaims:
    """Claims read elsewhere than on the measured card: in the Hub's records, and by the study."""

    at_revision: dict[tuple[str, str | None], list[dict]]  # (model, commit); None for an unknown commit
    at_any: dict[str, list[dict]]  # model -> claims that are not tied to a revision


def claims_for(row: dict, known: KnownClaims) -> list[dict]:
    """Return the claims that a row is compared with.

    Those of the model's card at the revision measured; if it has none, the known ones of that revision, then
    those of any. A failed model has no revision to compare with.
    """
    if row.get("claims") or ("claims" in row and row["source"] == STUDY):
        return row["claims"]
    revision = None if row.get("error") else row.get("revision")
    return known.at_revision.get((row["model"], revision)) or known.at_any.get(row["model"], [])


# ── All claims beside one row ─────────────────────────────────────────────────────────────────────────────


def place_in_card(claim: dict) -> str:
    """Return where a claim stands on the measured card: its metadata, or a line of its text."""
    if claim.get("source") == "card text":
        return f"card text, line {claim['line']}"
    return "card"


def compare_claim(claim: dict, row: dict, benchmark: Benchmark) -> Comparison | None:
    """Compare one claim with a row; None where the row says nothing about it."""
    comparison = Comparison(
        model=row["model"],
        revision=row.get("revision"),
        metric=claim["metric"],
        claimed=claim["fraction"],
        claimed_as=claim["value"],
        claimed_split=claim["split"],
        claim_from=claim.get("from") or place_in_card(claim),
        contradicts=UNSET if claim.get("contradicts") is None else claim["contradicts"],
        verdict="failed to run",
    )
    if row.get("error"):
        return replace(comparison, why=row["error"])
    if not is_whole(row):
        return None
    why = why_underspecified(claim, row, benchmark)
    if why:
        return replace(comparison, verdict="claim underspecified", why=why)
    if claim["metric"] not in row["metrics"]:
        return None
    measured = row["metrics"][claim["metric"]]
    discrepancy = float(difference_in_points(claim["fraction"], measured))
    comparison = replace(comparison, measured=measured, measured_split=row["split"], discrepancy=discrepancy)
    return judge(comparison, claim, row, benchmark)


def compare_row(row: dict, claims: list[dict], benchmark: Benchmark) -> tuple[list[Comparison], str | None]:
    """Compare a row with each claim on its data set; also return why none can count, None if any can."""
    names = (benchmark.name, *VOCABULARY["loaders"])
    claims_here = [claim for claim in claims if claim["dataset"] in names]
    comparisons = []
    for claim in claims_here:
        if claim.get("bound"):  # "over 90%" is compared with nothing
            continue
        comparison = compare_claim(claim, row, benchmark)
        if comparison is not None:
            comparisons.append(comparison)
    return comparisons, why_left_out(row, claims, claims_here, comparisons, benchmark)


def why_left_out(
    row: dict,
    claims: list[dict],
    claims_here: list[dict],
    comparisons: list[Comparison],
    benchmark: Benchmark,
) -> str | None:
    """Return why none of a row's comparisons can count in the headline; None if any can."""
    if any(can_count(comparison, benchmark) for comparison in comparisons):
        return None
    if row.get("error"):
        return f"failed ({row['stage']})" if row.get("stage") else row["error"]
    if not claims:
        return "no claim"
    if not claims_here:
        return "no claim on this data set"
    if not is_whole(row):
        return why_incomplete(row)
    if any(comparison.verdict == "claim underspecified" for comparison in comparisons):
        return "claim underspecified"
    if all(claim.get("bound") for claim in claims_here):
        return "only a bound is claimed"
    return "claim on another metric"


def can_count(comparison: Comparison, benchmark: Benchmark) -> bool:
    """Return whether a comparison can count in the headline: of two values of the headline metric."""
    return comparison.metric == benchmark.headline and comparison.measured is not UNSET


def mark_headline(comparisons: list[Comparison], benchmark: Benchmark) -> list[Comparison]:
    """Mark the comparison of each model that counts: where there is a choice, on the claim's own split."""

    def rank(comparison: Comparison) -> int:
        if comparison.claimed_split == comparison.measured_split:
            return 0
        return 1 if comparison.claimed_split is None else 2

    candidates = [comparison for comparison in comparisons if can_count(comparison, benchmark)]
    best = {}
    for comparison in sorted(candidates, key=rank):
        best.setdefault(comparison.model, comparison)
    chosen = {id(comparison) for comparison in best.values()}
    return [replace(comparison, headline=id(comparison) in chosen) for comparison in comparisons]


# ── One data set in one series ────────────────────────────────────────────────────────────────────────────


def unnamed_comparisons(differences: Differences) -> list[Comparison]:
    """Make a comparison of each absolute difference that was published without its model."""
    return [
        Comparison(
            model=None,
            metric=differences["metric"],
            discrepancy=float(difference_in_points(0, value)),
            headline=True,
            verdict="inconclusive",
            why="the study published neither the model, nor the claim, nor its split",
        )
        for value in differences["values"]
    ]


def summarize(
    benchmark: Benchmark, rows: list[dict], unnamed: list[Differences], known: KnownClaims, threshold: Decimal
) -> Summary:
    """Summarize a data set in one series: k of n models off by over `threshold` points, who was left out.

    Each difference published without its model stands for one measured model, so as many of the rows
    without a claim are taken as counted.
    """
    current = latest_rows(rows)
    comparisons, reasons = [], {}
    for row in current:
        row_comparisons, reason = compare_row(row, claims_for(row, known), benchmark)
        comparisons += row_comparisons
        reasons[row["model"]] = reason
    comparisons = mark_headline(comparisons, benchmark)
    counted = {comparison.model for comparison in comparisons if comparison.headline}
    left_out = Counter(reason for model, reason in reasons.items() if model not in counted)
    for differences in unnamed:
        comparisons += unnamed_comparisons(differences)
        left_out["no claim"] -= len(differences["values"])
    comparisons = [replace(comparison, off=is_off(comparison, threshold)) for comparison in comparisons]
    headline = [comparison for comparison in comparisons if comparison.headline]
    others = {c.model: c for c in comparisons if c.model is not None and c.model not in counted}
    k, n = sum(comparison.off for comparison in headline), len(headline)
    return Summary(
        task=benchmark.task,
        k=k,
        n=n,
        fraction=k / n if n else None,
        interval=wilson(k, n),
        verdicts=dict(Counter(comparison.verdict for comparison in [*headline, *others.values()])),
        left_out={reason: count for reason, count in sorted(left_out.items()) if count > 0},
        superseded=len(rows) - len(current),
        models=sorted(comparisons, key=sort_key),
        note="; ".join(differences["note"] for differences in unnamed) if unnamed else UNSET,
    )


def is_off(comparison: Comparison, threshold: Decimal) -> bool:
    """Return whether a discrepancy is above the threshold, compared as decimals."""
    if comparison.discrepancy is UNSET:
        return False
    return abs(Decimal(repr(comparison.discrepancy))) > threshold


def sort_key(comparison: Comparison) -> tuple:
    """Sort by model, metric and claim; differences without a model by size."""
    is_named = comparison.model is not None  # a model may be called None
    last = str(comparison.claimed_as) if is_named else comparison.discrepancy
    return str(comparison.model), str(comparison.metric), is_named, last


# ── The same claim under another protocol ─────────────────────────────────────────────────────────────────


def is_same_claim(first: Comparison, second: Comparison) -> bool:
    """Return whether two comparisons of a model and metric are of one claim."""
    if not isinstance(first.claimed, float | int) or not isinstance(second.claimed, float | int):
        return first.claimed_as == second.claimed_as
    return abs(Decimal(repr(first.claimed)) - Decimal(repr(second.claimed))) <= SAME_CLAIM


def match_rank(comparison: Comparison, standard: Comparison) -> tuple:
    """Rank a comparison under `standard` as judge of a claim, lowest first: on the claim's own split."""
    split = standard.claimed_split
    return (
        standard.measured is UNSET,
        comparison.claimed_split != split,
        standard.measured_split != split,
        not standard.headline,
    )


def verdict_under_standard(comparison: Comparison, standard: list[Comparison], protocol: str) -> str:
    """Return the verdict that a claim gets where the model was measured under `standard`."""
    candidates = [other for other in standard if is_same_claim(comparison, other)]
    if not candidates:
        return f"not known: measured under {protocol} only"
    return min(candidates, key=lambda other: match_rank(comparison, other)).verdict
