"""What the cards of the study's models claimed, and which of its published differences each claim names.

The study published 139 absolute differences for emotion without their models, and the measured values with
their models. Where a card of 2022 is known, |claim - measured value| finds its entry in the list.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from ptm import PTM
from scored.benchmarks import Benchmark
from scored.claim_numbers import difference_in_points
from scored.comparisons import Comparison, SplitReading
from scored.files import ROOT, UserError, display_path, read_json
from scored.intervals import newcombe_difference, wilson
from scored.verdicts import judge_claim

CARD_CLAIMS = ROOT / "assets" / "data" / "claims-2022.json"
FROM = "card of 2022"
APART = 5  # points: differences that are no matter of splits, such as a wrong order of labels
DIGITS = 6  # decimals to which two differences are the same entry
INFERENCE = "the study measured on test what the cards measured on validation"


class HubValue(msgspec.Struct, frozen=True):
    """What the Hub's own evaluator measured on a split."""

    split: str
    accuracy: float


class CardClaim(msgspec.Struct, frozen=True):
    """One claim of a dated copy of a card."""

    model: str
    dataset: str
    metric: str
    stated: Any
    fraction: float
    split: str | None
    verified_by_hub: tuple[HubValue, ...] = ()


def read_card_claims(path: Path = CARD_CLAIMS) -> list[CardClaim]:
    """Read the claims of cards of 2022. Raises UserError."""
    entries = read_json(path, dict, "Take the file from the repository again.").get("claims")
    try:
        return msgspec.convert(entries, list[CardClaim])
    except ValueError as error:
        raise UserError(f"{display_path(path)}: {error}") from error


def as_claim(card: CardClaim) -> dict:
    """Read a claim as a card's metadata is read: its value as stated, without being told its unit."""
    dataset = {"type": card.dataset, "name": card.dataset, "split": card.split}
    result = {"dataset": dataset, "metrics": [{"type": card.metric, "value": card.stated}]}
    (claim,) = PTM.from_record({"id": card.model, "model-index": [{"results": [result]}]}).claims
    return asdict(claim) | {"from": FROM}


# ── Names for differences ─────────────────────────────────────────────────────────────────────────────────


def size_of(points: float | Decimal) -> Decimal:
    """Return a difference in points as it is compared with others: absolute, without floating-point error."""
    return round(abs(Decimal(repr(float(points)))), DIGITS - 2)


def compare_cards(cards: Sequence[CardClaim], rows: Sequence[dict], benchmark: Benchmark) -> list[Comparison]:
    """Compare the claims of cards on a data set's headline metric with the study's rows: one per model."""
    by_model = {row["model"]: row for row in rows if not row.get("error")}
    comparisons = []
    for card in cards:
        row = by_model.get(card.model)
        if (card.dataset, card.metric) == (benchmark.name, benchmark.headline) and row:
            comparison = judge_claim(as_claim(card), {row["split"]: row}, benchmark)
            if comparison is not None:
                comparisons.append(comparison)
    return comparisons


def name_differences(values: Sequence[float], comparisons: Sequence[Comparison]) -> list[Comparison | None]:
    """Return for each published difference (a fraction) the comparison that it is; None stays unnamed.

    Each comparison names one entry at most. Claims stated as fractions go first: the study subtracted values
    as they were stated, so that a 94.1 can have no entry while fractions of this difference are left.
    """
    waiting: dict[Decimal, list[Comparison]] = {}
    order = sorted(comparisons, key=lambda entry: (entry.claimed_as != entry.claimed, entry.model))
    for comparison in order:
        waiting.setdefault(size_of(comparison.discrepancy), []).append(comparison)
    named = []
    for value in values:
        candidates = waiting.get(size_of(difference_in_points(0, value)))
        named.append(replace(candidates.pop(0), headline=True) if candidates else None)
    return named


# ── What the names say about splits ───────────────────────────────────────────────────────────────────────


def read_splits(
    comparisons: Sequence[Comparison],
    named: Sequence[Comparison | None],
    cards: Sequence[CardClaim],
    benchmark: Benchmark,
) -> SplitReading:
    """Count on which side of the measured values the claims lie, and what the Hub's evaluator says."""
    from scipy.stats import binomtest

    apart = [entry for entry in comparisons if abs(entry.discrepancy) > APART]
    others = [entry for entry in comparisons if abs(entry.discrepancy) <= APART]
    sides = Counter(side_of(entry) for entry in others)
    n_claimed = min(benchmark.splits[split] for split in benchmark.public)
    decided = sides["above"] + sides["below"]
    measured = {entry.model: entry.measured for entry in comparisons}
    checked = [card for card in cards if card.verified_by_hub and card.model in measured]
    on_test, on_validation = [], []
    for card in checked:
        for value in card.verified_by_hub:
            if value.split == benchmark.study:
                on_test.append(value.accuracy == measured[card.model])
            else:
                on_validation.append(value.accuracy == card.fraction)
    return SplitReading(
        claims=len(comparisons),
        named=sum(entry is not None for entry in named),
        unnamed=sum(entry is None for entry in named),
        apart=sorted(entry.model for entry in apart),
        above=sides["above"],
        below=sides["below"],
        equal=sides["equal"],
        mean_points=sum(-entry.discrepancy for entry in others) / len(others) if others else 0.0,
        sign_test_p=float(binomtest(sides["above"], decided).pvalue) if decided else 1.0,
        beyond_sampling=sorted(entry.model for entry in others if is_beyond_sampling(entry, n_claimed)),
        hub_on_test=[sum(on_test), len(on_test)],
        hub_on_other_split=[sum(on_validation), len(on_validation)],
        inference=INFERENCE,
    )


def side_of(comparison: Comparison) -> str:
    """Say on which side of the measured value a claim lies: above, below or equal."""
    if not comparison.discrepancy:
        return "equal"
    return "above" if comparison.discrepancy < 0 else "below"


def is_beyond_sampling(comparison: Comparison, n: int) -> bool:
    """Tell whether two samples of n examples do not explain a difference: its 95% interval excludes 0."""
    claimed, measured = comparison.claimed, comparison.measured
    samples = [wilson(round(value * n), n) for value in (claimed, measured)]
    low, high = newcombe_difference(claimed, samples[0], measured, samples[1])
    return low > 0 or high < 0
