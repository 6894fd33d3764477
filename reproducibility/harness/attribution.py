"""Attribution: split one discrepancy into points per cause. Pure functions; used by explain.py."""

import math
from collections.abc import Callable, Iterable
from itertools import combinations


def subsets(names: Iterable[str]) -> list[frozenset[str]]:
    """Return all subsets, the empty set first."""
    names, result = list(names), []
    for size in range(len(names) + 1):
        result += [frozenset(chosen) for chosen in combinations(names, size)]
    return result


def shapley(value: Callable[[frozenset[str]], float], names: Iterable[str]) -> dict[str, float]:
    """Compute the Shapley value (Shapley, 1953) of each factor, in the unit of `value`.

    `value` gives the metric with a subset of the k factors switched; it is called for all 2^k subsets. The
    result adds up to value(all) - value(none).
    """
    names, points = list(names), {}
    for name in names:
        others = [other for other in names if other != name]
        gains = []
        for chosen in subsets(others):
            weight = 1 / (len(names) * math.comb(len(others), len(chosen)))
            gains.append(weight * (value(chosen | {name}) - value(chosen)))
        points[name] = math.fsum(gains)
    return points
