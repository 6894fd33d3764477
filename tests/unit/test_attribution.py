"""Points per cause add up."""

import random
from math import fsum

import pytest

from harness.attribution import shapley, subsets


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
