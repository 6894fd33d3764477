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


@pytest.mark.shared
def test_interval_of_coco_covers_on_sets_of_val2017s_size(shared):
    """20 sets of 5,000 images of a population of 50,000; the whole study: tests/benchmarks/coverage.py."""
    from coco_population import DETECTORS, interval_coverage, read_counts
    from harness.coco import MIN_IMAGES

    counts = read_counts(shared / "coco" / "val2017-counts.json")
    result = interval_coverage(counts, DETECTORS[1], n=5000, sets=20, halves=50, seed=1)
    for name, share in result["covered"].items():
        if MIN_IMAGES[name] is not None:
            assert share >= 0.75, (name, share)  # of 20 sets; by chance fewer than 1 in 1,000 at 95%
    assert result["bias"]["AP"] > 0.001  # what a plain interval would be shifted by
