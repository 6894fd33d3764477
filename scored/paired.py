"""Compare two measurements of the same examples: exact tests, intervals, corrections for several tests.

Differences are the second value minus the first, as fractions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.90  # of intervals: one within ±margin is two one-sided tests at 5% (TOST)
ALPHA = 0.05  # of every test


@dataclass(frozen=True)
class PairedDifference:
    """How a second measurement differs from a first one of the same examples."""

    first: float
    second: float
    interval: tuple[float, float]  # of second minus first, LEVEL
    p_difference: float  # that there is none
    p_loss: float  # that the second is worse by the margin or more
    p_gain: float  # that the second is better by the margin or more

    @property
    def difference(self) -> float:
        """The second value minus the first."""
        return self.second - self.first

    @property
    def p_equivalence(self) -> float:
        """That the two differ by the margin or more, in either direction."""
        return max(self.p_loss, self.p_gain)


# ── Proportions ───────────────────────────────────────────────────────────────────────────────────────────


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the two-sided p-value of the exact McNemar test (1947).

    The arguments count the examples that only the first, and only the second, got right.
    """
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0


def score_statistic(only_first: int, only_second: int, n: int, difference: float) -> float:
    """Compute Tango's score statistic (1998) of a difference of paired proportions; standard normal."""
    a = 2 * n
    b = -only_second - only_first + (a - only_second + only_first) * difference
    c = -only_first * difference * (1 - difference)
    lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # likeliest share of `only_first`
    variance = n * (2 * lost + difference * (1 - difference))
    distance = only_second - only_first - n * difference
    if variance <= 1e-12:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def score_interval(only_first: int, only_second: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Compute Tango's interval of a difference of paired proportions, as fractions.

    It holds the differences that the score test does not reject, also where few examples differ or none.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    z, middle = float(norm.ppf((1 + level) / 2)), (only_second - only_first) / n

    def excess(difference: float, limit: float) -> float:
        return score_statistic(only_first, only_second, n, difference) - limit

    low = high = middle
    edge = 1 - 1e-9
    if middle > -edge:
        low = brentq(excess, -edge, middle, args=(z,), xtol=1e-12) if excess(-edge, z) > 0 else -1.0
    if middle < edge:
        high = brentq(excess, middle, edge, args=(-z,), xtol=1e-12) if excess(edge, -z) < 0 else 1.0
    return low, high


def compare_proportions(first: Sequence[bool], second: Sequence[bool], margin: float) -> PairedDifference:
    """Compare which examples (n) two models got right; `margin` is a fraction."""
    import numpy as np
    from scipy.stats import norm

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    n = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return PairedDifference(
        first=float(first.mean()),
        second=float(second.mean()),
        interval=score_interval(only_first, only_second, n),
        p_difference=mcnemar(only_first, only_second),
        p_loss=float(norm.sf(score_statistic(only_first, only_second, n, -margin))),
        p_gain=float(norm.cdf(score_statistic(only_first, only_second, n, margin))),
    )


# ── Any metric ────────────────────────────────────────────────────────────────────────────────────────────


def compare_draws(
    first: float, second: float, first_draws, second_draws, n: int, margin: float
) -> PairedDifference:
    """Compare a metric by its bootstrap draws (m) of n examples; draw i of both must hold the same ones.

    Percentiles of the differences, less their mean offset; but no surer than n examples that no model
    answers differently make a proportion, for draws of few or no changes do not vary. With m draws no
    p-value is below 1 / (m + 1).
    """
    import numpy as np
    from scipy.stats import norm

    draws, change = np.asarray(second_draws) - np.asarray(first_draws), second - first
    draws = draws[np.isfinite(draws)]
    draws = draws - (draws.mean() - change)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    least_low, least_high = score_interval(0, 0, n)

    def p_beyond(distance: float, is_beyond) -> float:
        share = float((is_beyond.sum() + 1) / (len(draws) + 1))
        if distance <= 0:
            return 1.0
        return max(share, float(norm.cdf(score_statistic(0, 0, n, min(distance, 1 - 1e-9)))))

    share_below, share_above = float((draws <= 0).mean()), float((draws >= 0).mean())
    return PairedDifference(
        first=first,
        second=second,
        interval=(min(float(low), change + least_low), max(float(high), change + least_high)),
        p_difference=min(1.0, max(2 * min(share_below, share_above), 1 / (len(draws) + 1))),
        p_loss=p_beyond(margin + change, draws <= -margin),
        p_gain=p_beyond(margin - change, draws >= margin),
    )


# ── Several comparisons ───────────────────────────────────────────────────────────────────────────────────


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979), in their order."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def judge_differences(differences: Sequence[PairedDifference]) -> list[str]:
    """Judge each second measurement: equivalent, better, not worse, worse or undecided.

    Equivalent: the interval lies within ±margin. Otherwise better or worse if McNemar's test, or the
    bootstrap's, tells them apart; not worse if a loss of the margin is excluded. Several are adjusted for.
    """
    equivalence = holm([entry.p_equivalence for entry in differences])
    difference = holm([entry.p_difference for entry in differences])
    loss = holm([entry.p_loss for entry in differences])
    judged = []
    for index, entry in enumerate(differences):
        if equivalence[index] < ALPHA:
            judged.append("equivalent")
        elif difference[index] < ALPHA:
            judged.append("worse" if entry.difference < 0 else "better")
        else:
            judged.append("not worse" if loss[index] < ALPHA else "undecided")
    return judged
