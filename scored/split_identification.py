"""Which split is a claim about that names none? Its possible splits, and the one that its digits identify.

A claim that equals the value measured on a split is about that split, unless a claim made on other examples
would often have these digits too. That chance is computed exactly for a share of examples, and from the
measured interval for other metrics.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec.structs import replace

from scored.benchmarks import Benchmark
from scored.claim_numbers import CLOSE, PROPORTIONS, is_equal, misses_in_points, stated_precision
from scored.claims import TRAINER_NOTE
from scored.comparisons import OTHER_SAMPLE, PossibleSplit
from scored.intervals import NORMAL_QUANTILE

MIN_SAMPLE, MAX_SAMPLE = 200, 10_000  # examples that a claim on an unknown sample may have been made on
MAX_CHANCE = 0.10  # of a coincidence, up to which equal digits identify a split
COARSE = 0.005  # unit of a claim's last digit, as a fraction


@dataclass(frozen=True)
class Case:
    """A claim, and all that is known to judge it by."""

    claim: dict
    rows: dict[str, dict]  # split -> whole row of the model under one source and protocol
    benchmark: Benchmark
    others: Sequence[dict] = field(default=())  # the other claims of the same result


@dataclass(frozen=True)
class Identification:
    """The splits that a result's digits fit, and the chance that they would fit by coincidence."""

    splits: tuple[str, ...]
    chance: float | None  # None where it is not known


# ── Possible splits ───────────────────────────────────────────────────────────────────────────────────────


def possible_splits(case: Case, metric: str) -> list[PossibleSplit]:
    """List what a claim that names no split may be about, with the values measured there.

    The labelled evaluation splits, or those between which the card leaves it open; the training split only
    if the card names it so; and a sample that nobody named.
    """
    possible = []
    for split in candidate_splits(case.claim, case.benchmark):
        n = case.benchmark.splits[split]
        entry = PossibleSplit(split=split, n=n)
        row = case.rows.get(split)
        if row and metric in row["metrics"]:
            value, n = row["metrics"][metric], row["examples"]["expected"]
            misses = misses_in_points(case.claim, value)
            entry = PossibleSplit(split=split, n=n, value=value, misses_points=misses)
        if split == "train" and any(is_impossible(claim, n) for claim in (case.claim, *case.others)):
            entry = replace(entry, excluded=f"no k of {n:,} gives these digits")
        possible.append(entry)
    return [*possible, PossibleSplit(split=OTHER_SAMPLE, n=MIN_SAMPLE)]


def candidate_splits(claim: dict, benchmark: Benchmark) -> list[str]:
    """List the labelled splits that a claim may be about that names none."""
    evaluation = [split for split in benchmark.public if split != "train"]
    stated = claim.get("possible_splits") or ()
    if (claim.get("split_note") or "").startswith(TRAINER_NOTE):
        return [*evaluation, "train"]
    if not stated:
        return evaluation
    return [split for split in (*evaluation, "train") if split in stated]


def is_impossible(claim: dict, n: int) -> bool:
    """Return whether no k of n examples, rounded, gives the digits of a claim."""
    if claim.get("fraction") is None or claim["metric"] not in PROPORTIONS:
        return False
    value, half_unit = Decimal(repr(claim["fraction"])), Decimal(repr(stated_precision(claim))) / 100
    nearest = round(value * n) / Decimal(n)
    return abs(nearest - value) > half_unit * Decimal("1.000001")


# ── Identification ────────────────────────────────────────────────────────────────────────────────────────


def identify(case: Case, splits: Sequence[str]) -> Identification:
    """Identify the splits that all claims of a result fit: each nearly, and at least one to its digits.

    All claims equal on a split by coincidence no more often than the rarest of them does; where only some
    are equal, no more often than all of them together.
    """
    claims = [claim for claim in (case.claim, *case.others) if is_comparable(claim, case.rows, splits)]
    equal_on_all, fitting = [], []
    for split in splits:
        values = case.rows[split]["metrics"]
        here = [claim for claim in claims if claim["metric"] in values]
        equal = [claim for claim in here if is_equal(claim, values[claim["metric"]])]
        near = [claim for claim in here if abs(misses_in_points(claim, values[claim["metric"]])) <= CLOSE]
        if equal and len(near) == len(here):
            fitting.append(split)
            if len(equal) == len(here):
                equal_on_all.append(split)
    if not fitting:
        return Identification((), None)
    chances = [chance_of_claim(claim, case.rows, splits) for claim in claims]
    known = [chance for chance in chances if chance is not None]
    if equal_on_all:
        return Identification(tuple(equal_on_all), min(known, default=None))
    is_known = len(known) == len(chances)
    return Identification(tuple(fitting), min(1.0, sum(known)) if is_known else None)


def is_comparable(claim: dict, rows: dict[str, dict], splits: Sequence[str]) -> bool:
    """Return whether a claim has a value, and its metric was measured on one of these splits."""
    if claim.get("fraction") is None or claim.get("bound"):
        return False
    return any(claim["metric"] in rows[split]["metrics"] for split in splits)


def chance_of_claim(
    claim: dict, rows: dict[str, dict], splits: Sequence[str], metrics: Sequence[str] = ()
) -> float | None:
    """Compute the chance that a claim made on other examples equals a measured value; None if unknown.

    Measured are its metric, or these `metrics` of which it may be any, on these splits. The other examples
    are as hard as those whose value is nearest to the claim.
    """
    half_unit = stated_precision(claim) / 100
    targets, values = set(), []
    for split in splits:
        for metric in metrics or (claim["metric"],):
            value = rows[split]["metrics"].get(metric)
            if value is not None:
                targets |= rounded_values(value, half_unit)
                values.append((abs(misses_in_points(claim, value)), value, metric, split))
    _, value, metric, split = min(values)
    chance = chance_of_coincidence(value, frozenset(targets), half_unit)
    if metric in PROPORTIONS:
        return chance
    interval = (rows[split].get("intervals") or {}).get(metric)
    if interval is None:
        return None
    standard_error = (interval[1] - interval[0]) / (2 * NORMAL_QUANTILE)
    deviation = standard_error * rows[split]["examples"]["expected"] ** 0.5
    return max(chance, chance_by_deviation(value, frozenset(targets), half_unit, deviation))


def rounded_values(value: float, half_unit: float) -> set[float]:
    """Return what a value is written as with this precision; two numbers if it lies just between them."""
    half, exact = Decimal(repr(half_unit)), Decimal(repr(value))
    lowest = math.ceil((exact - half) / (2 * half))
    highest = math.floor((exact + half) / (2 * half))
    return {float(2 * half * step) for step in range(lowest, highest + 1)}


@functools.lru_cache(maxsize=10_000)
def chance_of_coincidence(fraction: float, targets: frozenset[float], half_unit: float) -> float:
    """Compute how often, at most, k of n other examples rounds to one of the targets.

    k is binomial with the probability `fraction`; the largest probability over all n from MIN_SAMPLE to
    MAX_SAMPLE, by the exact sum. Of a unit from COARSE on only the largest n is looked at: a third of all
    claims or more have these digits there, which is enough to identify nothing.
    """
    import numpy as np

    if not 0 < fraction < 1:
        return 1.0
    n = np.arange(MAX_SAMPLE if half_unit >= COARSE / 2 else MIN_SAMPLE, MAX_SAMPLE + 1)
    total = np.zeros(len(n))
    tolerance = 1e-7  # of a count: a k on the border counts
    for target in targets:
        first = np.ceil(n * (target - half_unit) - tolerance).clip(0).astype(int)
        last = np.floor(n * (target + half_unit) + tolerance).clip(-1, n).astype(int)
        counts = (last - first + 1).clip(0)
        places = np.repeat(np.arange(len(n)), counts)  # one entry for each k of each n
        k = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts) + first[places]
        total += np.bincount(places, binomial(k, n[places], fraction), len(n))
    return float(min(1.0, total.max()))


def binomial(k, n, fraction: float):
    """Compute the binomial probabilities of k of n, up to MAX_SAMPLE: arrays of one shape."""
    import numpy as np

    logs = log_factorials()
    odds = k * math.log(fraction) + (n - k) * math.log1p(-fraction)
    return np.exp(logs[n] - logs[k] - logs[n - k] + odds)


@functools.cache
def log_factorials():
    """Return the logarithms of the factorials from 0 to MAX_SAMPLE, as an array."""
    import numpy as np

    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, MAX_SAMPLE + 1)))])


def chance_by_deviation(value: float, targets: frozenset[float], half_unit: float, deviation: float) -> float:
    """Compute the same chance of a metric that is normal, with the standard deviation of one example."""
    import numpy as np
    from scipy.special import ndtr

    if not deviation > 0:
        return 1.0
    scale = deviation / np.sqrt(np.arange(MIN_SAMPLE, MAX_SAMPLE + 1))
    total = np.zeros(len(scale))
    for target in targets:
        total += ndtr((target + half_unit - value) / scale) - ndtr((target - half_unit - value) / scale)
    return float(min(1.0, total.max()))
