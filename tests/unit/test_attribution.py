"""Points per cause add up; an order of labels is detected, chance is not."""

import random
from math import fsum

import numpy as np
import pytest

from explain import MIN_PERMUTATION_GAIN
from harness.attribution import best_label_order, shapley, subsets


def test_shapley_values_of_the_glove_game():
    """One left glove (a), two right (b, c); a pair is worth 1. Known: 2/3, 1/6, 1/6."""
    worth = lambda chosen: float("a" in chosen and len(chosen) > 1)  # noqa: E731
    assert shapley(worth, "abc") == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6})


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_points_add_up_and_an_idle_factor_gets_none(k):
    noise = random.Random(0)
    names = [f"f{i}" for i in range(k)]
    table = {chosen: noise.random() for chosen in subsets(names)}
    worth = lambda chosen: table[frozenset(chosen) - {"idle"}]  # noqa: E731
    points = shapley(worth, [*names, "idle"])
    assert fsum(points.values()) == pytest.approx(table[frozenset(names)] - table[frozenset()], abs=1e-12)
    assert points["idle"] == pytest.approx(0, abs=1e-12)


def test_permutation_is_detected_and_chance_is_not():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, 2000)
    right = np.where(rng.random(2000) < 0.9, true, rng.integers(0, 6, 2000))
    permutation = [2, 0, 1, 3, 5, 4]
    predicted = np.argsort(permutation)[right]  # output i stands for class permutation[i]
    order, gain = best_label_order(predicted, true, list(range(6)))
    assert (order, gain > 50) == (permutation, True)
    assert best_label_order(right, true, list(range(6))) == (list(range(6)), 0.0)
    few = rng.integers(0, 500, 400)  # a random model on fewer examples than classes: nothing is gained
    _, gain = best_label_order(rng.integers(0, 500, 400), few, list(range(500)))
    assert gain < MIN_PERMUTATION_GAIN
