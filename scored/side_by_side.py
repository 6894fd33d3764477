"""Several laboratories' values of one model side by side: the study's, ours, other laboratories'.

Where laboratories differ by more than one of them differs from the claim, the claim's discrepancy may be the
measurement's: a finding.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from scored.benchmarks import Benchmark
from scored.claim_numbers import difference_in_points
from scored.comparisons import LaboratoryValue, SideBySide
from scored.matching import KnownClaims, claims_for
from scored.result_rows import STUDY, is_whole, latest_rows

OURS = "measured"  # the `source` of our rows
STANDARD = "standard"


def rank(row: dict) -> tuple:
    """Order values from the study's over ours, `standard` first, to other laboratories'."""
    place = {STUDY: 0, OURS: 1}.get(row["source"], 2)
    return place, row["protocol"] != STANDARD, row["source"], row["protocol"]


def compare_laboratories(
    rows: Sequence[dict], benchmark: Benchmark, known: KnownClaims, threshold: Decimal
) -> list[SideBySide]:
    """Put whole measurements of a model's headline metric on one split side by side, if several exist."""
    by_model: dict[tuple, list[dict]] = {}
    for row in latest_rows([row for row in rows if row["dataset"] == benchmark.name]):
        if not row.get("error") and is_whole(row) and benchmark.headline in row["metrics"]:
            by_model.setdefault((row["model"], row["split"]), []).append(row)
    compared = []
    for (model, split), model_rows in sorted(by_model.items()):
        if len({row["source"] for row in model_rows}) > 1:
            ordered = sorted(model_rows, key=rank)
            claim = claimed_value(model, ordered, benchmark, known)
            compared.append(side_by_side(model, split, ordered, claim, benchmark, threshold))
    return compared


def claimed_value(model: str, rows: list[dict], benchmark: Benchmark, known: KnownClaims) -> float | None:
    """Return what a model's card claims, as a fraction; the copy of it in the study comes last."""
    for row in sorted(rows, key=lambda row: row["source"] == STUDY):
        for claim in claims_for(row, known):
            is_here = (claim["dataset"], claim["metric"]) == (benchmark.name, benchmark.headline)
            if is_here and claim["fraction"] is not None and not claim.get("bound"):
                return claim["fraction"]
    return None


def side_by_side(
    model: str, split: str, rows: list[dict], claimed: float | None, benchmark: Benchmark, threshold: Decimal
) -> SideBySide:
    """Compare one model's values with each other and with its claim."""
    values = [row["metrics"][benchmark.headline] for row in rows]
    spread = difference_in_points(min(values), max(values))
    nearest = None
    if claimed is not None:
        nearest = min(abs(difference_in_points(claimed, value)) for value in values)
    return SideBySide(
        dataset=benchmark.name,
        model=model,
        split=split,
        metric=benchmark.headline,
        claimed=claimed,
        values=[
            LaboratoryValue(row["source"], row["protocol"], row["metrics"][benchmark.headline])
            for row in rows
        ],
        spread_points=float(spread),
        nearest_points=msgspec.UNSET if nearest is None else float(nearest),
        is_finding=nearest is not None and spread > threshold and spread > nearest,
    )
