"""Intervals cover as often as they say, by simulation."""

from functools import cache

import numpy
import pytest

from scored.intervals import newcombe_difference, wilson


@pytest.mark.parametrize("truth", [0.6, 0.92])
def test_interval_covers_as_often_as_it_says(truth):
    """20,000 pairs of samples of 2,000 texts from one accuracy: 95 ± 1% of the intervals hold the true 0."""
    cached_wilson = cache(wilson)
    counts = numpy.random.default_rng(0).binomial(2000, truth, size=(20_000, 2)).tolist()
    covered = 0
    for first, second in counts:
        intervals = cached_wilson(first, 2000), cached_wilson(second, 2000)
        low, high = newcombe_difference(first / 2000, intervals[0], second / 2000, intervals[1])
        covered += low <= 0 <= high
    assert 0.94 < covered / 20_000 < 0.96
