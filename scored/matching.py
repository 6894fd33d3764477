"""From rows and claims to comparisons: what is compared, what counts, and the summary of a data set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from scored.benchmarks import Benchmark
from scored.claim_numbers import difference_in_points
from scored.claims import VOCABULARY
from scored.comparisons import Comparison, SplitReading, Summary
from scored.intervals import wilson
from scored.result_rows import STUDY, is_whole, latest_rows, why_incomplete
from scored.schema import Differences
from scored.study_claims import CardClaim, compare_cards, name_differences, read_splits
from scored.verdict_sentences import write_sentence
from scored.verdicts import judge_claim, start_comparison

NOT_COMPARED = "claim on its card of 2022, not compared by the study"
SAME_CLAIM = Decimal("0.0005")  # the study's claims are rounded to a tenth of a point


@dataclass(frozen=True)
class KnownClaims:
    """Claims read elsewhere than on the measured card: in the Hub's records, and by the study."""

    at_revision: dict[tuple[str, str | None], list[dict]]  # (model, commit); None for an unknown commit
    at_any: dict[str, list[dict]]  # model -> claims that are not tied to a revision
    on_cards: Sequence[CardClaim] = ()  # of 2022, beside which the study's values are put


def claims_for(row: dict, known: KnownClaims) -> list[dict]:
    """Return the claims that a row is compared with.

    Those of the model's card at the revision measured; if it has none, the known ones of that revision, then
    those of any. A failed model has no revision to compare with.
    """
    if row.get("claims") or ("claims" in row and row["source"] == STUDY):
        return row["claims"]
    revision = None if row.get("error") else row.get("revision")
    return known.at_revision.get((row["model"], revision)) or known.at_any.get(row["model"], [])


def rows_by_model(rows: list[dict]) -> dict[str, list[dict]]:
    """Gather each model's rows at one revision: failed ones, then those of the newest measured revision."""
    by_model = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(row)
    for model, model_rows in by_model.items():
        failed = [row for row in model_rows if row.get("error")]
        measured = [row for row in model_rows if not row.get("error")]
        measured.sort(key=lambda row: (is_whole(row), str(row.get("measured_at") or "")))
        measured = [row for row in measured if row.get("revision") == measured[-1].get("revision")]
        by_model[model] = [*failed, *measured]
    return by_model


# ── All claims of a model beside its rows ─────────────────────────────────────────────────────────────────


def claims_of_result(claim: dict, claims: list[dict]) -> list[dict]:
    """Select the other claims of a claim's result: of its data set, split and place, one per metric.

    A card that states a metric twice has several results; which claim belongs to which is not known.
    """

    def result(claim: dict) -> tuple:
        split = claim["split"] or tuple(claim.get("possible_splits") or ())
        return claim["dataset"], claim["config"], split, claim.get("source"), claim.get("from")

    others = [other for other in claims if other is not claim and result(other) == result(claim)]
    metrics = [other["metric"] for other in (claim, *others)]
    return others if len(set(metrics)) == len(metrics) else []


def compare_model(
    rows: list[dict], claims: list[dict], benchmark: Benchmark
) -> tuple[list[Comparison], str | None]:
    """Compare each of a model's claims with its rows of one series; also say why none can count."""
    names = (benchmark.name, *VOCABULARY["loaders"])
    claims_here = [claim for claim in claims if claim["dataset"] in names]
    by_split = {row["split"]: row for row in rows if not row.get("error") and is_whole(row)}
    failed = [row for row in rows if row.get("error")]
    comparisons = []
    for claim in claims_here:
        comparison = judge_claim(claim, by_split, benchmark, claims_of_result(claim, claims_here))
        if comparison is None and failed and not claim.get("bound"):
            row = failed[-1]
            comparison = start_comparison(claim, row["model"], row.get("revision"))
            comparison = replace(comparison, why=row["error"])
            comparison = replace(comparison, sentence=write_sentence(comparison))
        if comparison is not None:
            comparisons.append(comparison)
    row = next(iter([*by_split.values(), *(row for row in rows if not row.get("error")), *failed]))
    return comparisons, why_left_out(row, claims, claims_here, comparisons, benchmark)


def why_left_out(
    row: dict,
    claims: list[dict],
    claims_here: list[dict],
    comparisons: list[Comparison],
    benchmark: Benchmark,
) -> str | None:
    """Return why none of a model's comparisons can count in the headline, by one row; None if any can."""
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


def unnamed_comparison(value: float, metric: str) -> Comparison:
    """Make a comparison of an absolute difference that was published without its model."""
    return Comparison(
        model=None,
        metric=metric,
        discrepancy=float(difference_in_points(0, value)),
        headline=True,
        verdict="inconclusive",
        why="the study published neither the model, nor the claim, nor its split",
    )


def compare_study(
    rows: list[dict], differences: list[Differences], counted: set, known: KnownClaims, benchmark: Benchmark
) -> tuple[list[Comparison], SplitReading | UnsetType]:
    """Compare the study's values with cards of 2022, for models that are not counted yet.

    A published difference gets the name of the model whose claim it is; other claims do not count. Also say
    what the named differences tell about splits.
    """
    study_rows = [row for row in rows if row["source"] == STUDY and row["model"] not in counted]
    on_cards = compare_cards(known.on_cards, study_rows, benchmark)
    values = [value for entry in differences for value in entry["values"]]
    named = name_differences(values, on_cards)
    models = {entry.model for entry in named if entry is not None}
    comparisons = [entry for entry in on_cards if entry.model not in models]
    for value, entry in zip(values, named, strict=True):
        comparisons.append(entry or unnamed_comparison(value, benchmark.headline))
    if not values or not on_cards:
        return comparisons, UNSET
    return comparisons, read_splits(on_cards, named, known.on_cards, benchmark)


def summarize(
    benchmark: Benchmark, rows: list[dict], unnamed: list[Differences], known: KnownClaims, threshold: Decimal
) -> Summary:
    """Summarize a data set in one series: k of n models off by over `threshold` points, who was left out.

    Each difference published without its model stands for one measured model, so as many of the rows
    without a claim are taken as counted.
    """
    current = latest_rows(rows)
    comparisons, reasons = [], {}
    for model, model_rows in rows_by_model(current).items():
        claims = claims_for(model_rows[-1], known)
        model_comparisons, reasons[model] = compare_model(model_rows, claims, benchmark)
        comparisons += model_comparisons
    comparisons = mark_headline(comparisons, benchmark)
    counted = {comparison.model for comparison in comparisons if comparison.headline}
    of_study, splits = compare_study(current, unnamed, counted, known, benchmark)
    for comparison in of_study:
        if comparison.model is not None and not comparison.headline:
            reasons[comparison.model] = NOT_COMPARED
    others = [comparison for comparison in comparisons if comparison.model not in counted]
    comparisons = [*comparisons, *of_study]
    left_out = Counter(reason for model, reason in reasons.items() if model not in counted)
    for differences in unnamed:
        left_out["no claim"] -= len(differences["values"])
    comparisons = [replace(comparison, off=is_off(comparison, threshold)) for comparison in comparisons]
    headline = [comparison for comparison in comparisons if comparison.headline]
    others = {comparison.model: comparison for comparison in others}
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
        splits=splits,
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
