"""Intervals against formulas and published tables."""

import pytest

from scored.intervals import newcombe_difference, wilson


@pytest.mark.parametrize(("successes", "n"), [(3, 4), (0, 10), (10, 10), (1777, 2000), (1, 3)])
def test_interval_of_a_proportion_is_wilsons(successes, n):
    """Computed by the equation of Wilson (1927), for z = 1.959964."""
    z, p = 1.959963984540054, successes / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert wilson(successes, n) == pytest.approx([center - half, center + half], abs=1e-12)
    assert wilson(0, 0) is None


def test_interval_of_a_difference_is_newcombes():
    """Newcombe 1998, table II (a): 56/70 against 48/80 by method 10 gives 0.0524 to 0.3339."""
    interval = newcombe_difference(48 / 80, wilson(48, 80), 56 / 70, wilson(56, 70))
    assert [round(end, 2) for end in interval] == [5.24, 33.39]
