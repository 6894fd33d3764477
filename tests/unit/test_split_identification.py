"""The chance that a claim made on other examples equals a measured value; splits that k of n excludes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claims_without_split import claim_of
from scored.split_identification import (
    MAX_CHANCE,
    chance_by_deviation,
    chance_of_coincidence,
    is_impossible,
    rounded_values,
)


def exact_chance(fraction: float, targets: list[float], half_unit: float) -> float:
    """Compute the largest probability over all sizes with scipy's distribution, one size at a time."""
    import numpy
    from scipy.stats import binom

    n = numpy.arange(200, 10_001)
    total = numpy.zeros(len(n))
    for target in targets:
        last = numpy.floor(n * (target + half_unit) + 1e-7)
        before = numpy.ceil(n * (target - half_unit) - 1e-7) - 1
        total += numpy.maximum(binom.cdf(last, n, fraction) - binom.cdf(before, n, fraction), 0)
    return min(1.0, total.max())


@pytest.mark.parametrize(
    ("fraction", "targets", "half_unit"),
    [
        (0.9025, [0.9025, 0.8885], 0.00005),
        (0.9025, [0.902, 0.903, 0.888, 0.889], 0.0005),
        (0.9505, [0.9505], 0.00005),
        (0.5, [0.5], 0.00005),
        (0.9995, [0.9995, 1.0], 0.00005),
        (0.9403125, [0.9403125], 1e-11),
    ],
)
def test_chance_is_the_exact_sum(fraction, targets, half_unit):
    chance = chance_of_coincidence(fraction, frozenset(targets), half_unit)
    assert chance == pytest.approx(exact_chance(fraction, targets, half_unit), rel=1e-8, abs=1e-12)


def test_chance_by_hand():
    """0.9025 is 361 of 400; the likeliest of the sizes is 236, where 213 rounds to it: about 1 in 11."""
    assert 0.085 < chance_of_coincidence(0.9025, frozenset([0.9025]), 0.00005) < 0.09
    assert chance_of_coincidence(1.0, frozenset([1.0]), 0.00005) == 1.0


@given(st.integers(1, 9999).map(lambda k: k / 10_000))
def test_two_digits_never_identify(fraction):
    """Only the largest size is looked at, which is enough to exceed the limit."""
    half_unit = 0.005
    chance = chance_of_coincidence(fraction, frozenset(rounded_values(fraction, half_unit)), half_unit)
    assert chance > 3 * MAX_CHANCE


@pytest.mark.parametrize(
    ("value", "half_unit", "expected"),
    [
        (0.9025, 0.00005, {0.9025}),
        (0.9025, 0.0005, {0.902, 0.903}),  # just between both
        (0.9026, 0.0005, {0.903}),
        (0.9025, 0.005, {0.9}),
        (0.0, 0.005, {0.0}),
    ],
)
def test_rounded_values(value, half_unit, expected):
    assert sorted(rounded_values(value, half_unit)) == pytest.approx(sorted(expected))


def test_chance_of_a_normal_metric_is_largest_on_the_largest_sample():
    """Deviation 0.3 of one example: 0.003 of 10,000, so a window of 0.0001 holds 0.0001 / 0.003 / 2.507."""
    chance = chance_by_deviation(0.87, frozenset([0.87]), 0.00005, 0.3)
    assert chance == pytest.approx(0.0001 / 0.003 / 2.5066, rel=1e-3)
    assert chance_by_deviation(0.87, frozenset([0.87]), 0.00005, 0.0) == 1.0


@pytest.mark.parametrize(
    ("value", "n", "impossible"),
    [
        (0.9025, 2000, False),
        (0.9026, 2000, True),  # 1805.2 of 2,000
        (0.903, 2000, False),  # 1,806 or, rounded, 1,805 and 1,807
        (0.9026, 16_000, False),  # 14,442 of 16,000 is 0.902625
        (0.90261, 16_000, True),
        (0.9403125, 16_000, False),
        (0.9251012149383893, 16_000, True),
    ],
)
def test_k_of_n(value, n, impossible):
    assert is_impossible(claim_of(value), n) is impossible
    assert not is_impossible(claim_of(value, "f1-macro"), n)
