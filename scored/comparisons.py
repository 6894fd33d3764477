"""The records of err.json: claims beside measurements, by data set. err.py writes them, others read them."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from scored.files import display_path
from scored.schema import Count, check, read_versioned

OTHER_SAMPLE = "another sample"  # the possible split that nobody named


class PossibleSplit(msgspec.Struct, frozen=True, kw_only=True):
    """Examples that a claim may be about: a split, or a sample that nobody named."""

    split: str
    n: int  # examples; of a sample that nobody named, at least
    value: float | UnsetType = UNSET  # measured on it
    misses_points: float | UnsetType = UNSET  # that value minus the claim
    excluded: str | UnsetType = UNSET  # why the claim cannot be about it


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A claim beside a measurement in err.json; fields that do not apply are absent."""

    model: str | None  # None: a difference that was published without its model
    metric: str | None
    verdict: str
    headline: bool = False  # counts in k of n
    off: bool = False  # the discrepancy is above the threshold
    discrepancy: float | UnsetType = UNSET  # points: measured minus claimed
    revision: str | UnsetType | None = UNSET
    claimed: float | UnsetType | None = UNSET  # as a fraction
    claimed_as: int | float | str | list | dict | UnsetType = UNSET
    claimed_split: str | UnsetType | None = UNSET
    claim_from: str | UnsetType = UNSET
    contradicts: int | float | str | list | dict | UnsetType = UNSET  # another value on the same card
    measured: float | UnsetType = UNSET
    measured_split: str | UnsetType = UNSET
    measured_interval: list[float] | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    precision_points: float | UnsetType = UNSET
    n_claimed: int | UnsetType = UNSET
    n_measured: int | UnsetType = UNSET
    interval_points: list[float] | UnsetType = UNSET
    possible: list[PossibleSplit] | UnsetType = UNSET  # where the card leaves the split open
    identified_split: str | UnsetType = UNSET  # the one of them that the claim is about, by its digits
    identified_metric: str | UnsetType = UNSET  # f1-macro, where the card says only f1
    chance: float | UnsetType = UNSET  # that a claim made on other examples has these digits
    why: str | UnsetType = UNSET
    sentence: str | UnsetType = UNSET  # claim, values, verdict and reason in one line
    verdict_under_standard: str | UnsetType = UNSET


class SplitReading(msgspec.Struct, frozen=True, kw_only=True):
    """What cards of 2022 say about the study's differences: which get a name, and on which side they lie."""

    claims: Count  # measured models whose card's claim is known
    named: Count  # published differences that are the one of such a claim
    unnamed: Count
    apart: list[str]  # models too far off for a matter of splits; they are not in the counts below
    above: Count  # claims above the measured value
    below: Count
    equal: Count
    mean_points: float  # claim minus measured value
    sign_test_p: float  # exact, of `above` and `below`
    beyond_sampling: list[str]  # models whose two values differ by more than two samples explain
    hub_on_test: list[Count]  # k of n values of the Hub's evaluator there that equal the study's
    hub_on_other_split: list[Count]  # k of n of its values elsewhere that equal the card's claim
    inference: str  # not measured: what all of this fits


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The comparisons of one data set in one series: k of n models are off."""

    task: str
    k: Count
    n: Count
    fraction: float | None
    interval: list[float] | None
    verdicts: dict[str, int]
    left_out: dict[str, int]  # reason -> models
    superseded: Count  # rows that a newer or fuller measurement replaces
    models: list[Comparison]
    note: str | UnsetType = UNSET
    published: str | UnsetType | None = UNSET  # the study's rows only
    splits: SplitReading | UnsetType = UNSET  # the study's differences of emotion only


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one source measured under one protocol, by data set."""

    source: str
    protocol: str
    measured: str
    datasets: dict[str, Summary]


class LaboratoryValue(msgspec.Struct, frozen=True):
    """What one laboratory measured."""

    source: str
    protocol: str
    value: float


class SideBySide(msgspec.Struct, frozen=True, kw_only=True):
    """One model's headline metric on one split as several laboratories measured it."""

    dataset: str
    model: str
    split: str
    metric: str
    claimed: float | None  # as a fraction
    values: list[LaboratoryValue]  # the study's, ours, other laboratories'
    spread_points: float  # largest minus smallest value
    nearest_points: float | UnsetType = UNSET  # what the nearest value misses the claim by
    is_finding: bool  # laboratories differ by more than the threshold and than the nearest misses the claim


class ComparisonFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file err.json."""

    schema: int
    threshold_points: float
    series: list[Series]
    published: dict[str, Any]
    laboratories: list[SideBySide] = []


def read_comparisons(path: Path) -> ComparisonFile:
    """Read err.json. Raises UserError for another schema or content."""
    advice = "Write it with: python err.py"
    value = read_versioned(path, advice)
    check(value, ComparisonFile, display_path(path), advice)
    return msgspec.convert(value, ComparisonFile)
