"""Proportions, and 95% confidence intervals of proportions and of differences."""

import math

NORMAL_QUANTILE = 1.959963984540054  # of 97.5%


def ratio(k: float, n: float) -> float | None:
    """Compute k / n; None for n = 0."""
    return k / n if n else None


def wilson(successes: int, n: int) -> list[float] | None:
    """Compute the Wilson score interval (1927) of a proportion, as fractions; None for n = 0."""
    from scipy.stats import binomtest

    if not n:
        return None
    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def wilson_at(fraction: float, n: float) -> list[float]:
    """Compute the Wilson score interval of a fraction of n > 0 examples that need not be k of n."""
    z = NORMAL_QUANTILE
    center = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    variance = fraction * (1 - fraction) / n + z * z / (4 * n * n)
    half = z / (1 + z * z / n) * math.sqrt(max(variance, 0))
    return [center - half, center + half]


def newcombe_difference(
    first: float, first_interval: list[float], second: float, second_interval: list[float]
) -> list[float]:
    """Compute the interval of second minus first, in points (0.01), of two independent samples.

    Newcombe's hybrid score interval (1998, method 10), which Zou and Donner (2008) show for any parameter.
    """
    change = second - first
    low = change - math.hypot(second - second_interval[0], first_interval[1] - first)
    high = change + math.hypot(second_interval[1] - second, first - first_interval[0])
    return [100 * low, 100 * high]
