"""Numbers behind a verdict: how far a value is from a claim, and the intervals of both."""

import re
from collections.abc import Sequence
from decimal import Decimal

from scored.intervals import wilson_at

PROPORTIONS = {"accuracy", "accuracy-top5", "f1-micro"}  # k of n examples, so that Wilson's interval holds
CLOSE = 0.5  # points: "close" on the same examples; a coarser claim counts as this precise


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


def misses_in_points(claim: dict, value: float) -> float:
    """Compute by how many points a measured value differs from a claim."""
    return float(difference_in_points(claim["fraction"], value))


def is_equal(claim: dict, value: float) -> bool:
    """Return whether a measured value equals a claim to the digits that the card states."""
    return abs(misses_in_points(claim, value)) <= stated_precision(claim)


def measured_interval(row: dict, metric: str) -> Sequence[float] | None:
    """Return the 95% interval of a measured metric; None if there is none for it."""
    interval = (row.get("intervals") or {}).get(metric)
    if interval is None and metric in PROPORTIONS:
        n = row["examples"]["expected"]
        return wilson_at(row["metrics"][metric], n) if n else None
    return interval


def interval_at(value: float, metric: str, n: int, row: dict) -> list[float] | None:
    """Compute the 95% interval of a value obtained on n other examples; None if there is none.

    Wilson's for a proportion; for mAP and macro F1 the measured interval, moved to the value and scaled by
    the root of the sizes.
    """
    if not n:
        return None
    if metric in PROPORTIONS:
        return wilson_at(value, n)
    interval = (row.get("intervals") or {}).get(metric)
    if interval is None:
        return None
    scale = (row["examples"]["expected"] / n) ** 0.5
    return [value + scale * (end - row["metrics"][metric]) for end in interval]
