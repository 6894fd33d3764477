"""Attribution: split one discrepancy into points per cause, and find the order of labels that fits best.

Pure functions; used by explain.py.
"""

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


def best_label_order(predicted, true, declared: list[int]) -> tuple[list[int], float]:
    """Find the order of labels that fits best, and its gain over the declared order in points of accuracy.

    `predicted` (n) is the output that won, `true` (n) the right class, `declared` the class that each output
    stands for (-1: none). The gain is cross-validated: the order is fitted to one half of the examples and
    judged on the other, both ways, so that with few examples per class chance gains nothing. The order
    returned is fitted to all examples.
    """
    import numpy as np

    predicted, true, declared = np.asarray(predicted), np.asarray(true), np.asarray(declared)
    hits = 0
    for half in (0, 1):
        is_judged = np.arange(len(predicted)) % 2 == half
        fitted = _fit_order(predicted[~is_judged], true[~is_judged], declared, int(true.max()))
        hits += (fitted[predicted[is_judged]] == true[is_judged]).sum()
    gain = 100 * (hits - (declared[predicted] == true).sum()) / len(predicted)
    return _fit_order(predicted, true, declared, int(true.max())).tolist(), float(gain)


def _fit_order(predicted, true, declared, last_class: int):
    """Assign a class to each output so that most examples are right: array (outputs), -1 for none."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((len(declared), max(last_class, int(declared.max())) + 1))
    np.add.at(counts, (predicted, true), 1)
    has_class = np.flatnonzero(declared >= 0)
    counts[has_class, declared[has_class]] += 1e-3  # a tie stays as declared
    outputs, classes = linear_sum_assignment(counts, maximize=True)
    order = np.full(len(declared), -1)
    order[outputs] = classes
    return order
