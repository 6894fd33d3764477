"""Paired comparisons, against hand-made tables, numeric likelihoods and scipy."""

import itertools

import numpy as np
import pytest

from scored.paired import (
    compare_draws,
    compare_proportions,
    holm,
    judge_differences,
    mcnemar,
    score_interval,
    score_statistic,
)

MARGIN = 0.01


def outcomes(both: int, only_first: int, only_second: int, neither: int) -> tuple:
    """Which examples the first and the second model got right."""
    first = [True] * both + [True] * only_first + [False] * only_second + [False] * neither
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def likelihood_statistic(only_first: int, only_second: int, n: int, difference: float) -> float:
    """The score statistic with the nuisance parameter from a numeric search for the maximum likelihood."""
    from scipy.optimize import minimize_scalar

    def surprise(lost: float) -> float:
        shares = (lost, lost + difference, 1 - 2 * lost - difference)
        counts = (only_first, only_second, n - only_first - only_second)
        return -sum(k * np.log(max(p, 1e-300)) for k, p in zip(counts, shares, strict=True) if k)

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    lost = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * lost + difference - difference**2)
    return (only_second - only_first - n * difference) / np.sqrt(variance)


def test_mcnemar_is_the_exact_binomial_test():
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)


def test_the_score_statistic_is_that_of_the_likeliest_table():
    for only_first, only_second, n, difference in (
        (3, 9, 50, 0.1),
        (3, 9, 50, -0.05),
        (0, 4, 30, 0.02),
        (16, 32, 100, 0.3),
        (7, 1, 40, 0.2),
    ):
        expected = likelihood_statistic(only_first, only_second, n, difference)
        assert score_statistic(only_first, only_second, n, difference) == pytest.approx(expected, abs=1e-5)


def test_the_interval_ends_where_the_test_begins_to_reject():
    from scipy.stats import norm

    low, high = score_interval(16, 32, 100, level=0.95)
    assert likelihood_statistic(16, 32, 100, low) == pytest.approx(norm.ppf(0.975), abs=1e-5)
    assert likelihood_statistic(16, 32, 100, high) == pytest.approx(-norm.ppf(0.975), abs=1e-5)
    mirrored = score_interval(32, 16, 100, level=0.95)
    assert mirrored == pytest.approx((-high, -low))


def test_without_a_change_the_interval_has_the_width_that_the_number_of_examples_allows():
    z = 1.6448536  # 90%
    low, high = score_interval(0, 0, 2000)
    assert (low, high) == pytest.approx((-(z**2) / (2000 + z**2), z**2 / (2000 + z**2)), rel=1e-4)
    assert score_interval(0, 0, 10)[1] > 0.2


def test_intervals_at_the_edges_stay_within_one():
    assert score_interval(100, 0, 100)[0] == -1 and score_interval(0, 100, 100)[1] == 1
    for counts in itertools.product((0, 1, 2), repeat=2):
        low, high = score_interval(*counts, 4)
        assert -1 <= low <= (counts[1] - counts[0]) / 4 <= high <= 1


def test_the_interval_covers_the_truth():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        only_first, only_second, _ = rng.multinomial(300, (0.04, 0.03, 0.93))
        low, high = score_interval(int(only_first), int(only_second), 300)
        covered += low <= -0.01 <= high
    assert 0.86 <= covered / 400 <= 0.94


def test_equivalence_is_an_interval_within_the_margin():
    for only_first, only_second in ((0, 0), (5, 5), (12, 4), (15, 4), (30, 30), (40, 40), (4, 15)):
        first, second = outcomes(1700, only_first, only_second, 300 - only_first - only_second)
        entry = compare_proportions(first, second, MARGIN)
        within = entry.interval[0] > -MARGIN and entry.interval[1] < MARGIN
        assert (entry.p_equivalence < 0.05) == within, (only_first, only_second)


def test_verdicts_of_hand_made_tables():
    tables = {
        "equivalent": (1700, 5, 5, 290),
        "worse": (1600, 60, 5, 335),
        "better": (1600, 5, 60, 335),
        "not worse": (1600, 25, 38, 337),
        "undecided": (90, 3, 2, 5),
    }
    for verdict, table in tables.items():
        assert judge_differences([compare_proportions(*outcomes(*table), MARGIN)]) == [verdict]


def test_bootstrap_agrees_with_scipy():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    first = rng.random(400) < 0.8
    second = first ^ (rng.random(400) < 0.05)
    places = rng.integers(400, size=(4000, 400))
    values = (first.mean(), second.mean())
    entry = compare_draws(*values, first[places].mean(1), second[places].mean(1), 400, MARGIN)
    reference = bootstrap(
        (first, second),
        lambda a, b, axis: b.mean(axis) - a.mean(axis),
        paired=True,
        confidence_level=0.9,
        n_resamples=4000,
        method="percentile",
        rng=2,
    ).confidence_interval
    assert entry.interval == pytest.approx(tuple(reference), abs=0.003)


def test_few_examples_without_a_change_are_not_called_equivalent():
    for n, verdict in ((20, "undecided"), (2000, "equivalent")):
        draws = np.full(500, 0.9)
        entry = compare_draws(0.9, 0.9, draws, draws, n, MARGIN)
        assert judge_differences([entry]) == [verdict]
        assert entry.p_difference == 1


def test_a_clear_loss_of_a_bootstrapped_metric_is_worse():
    rng = np.random.default_rng(0)
    entry = compare_draws(
        0.9, 0.8, 0.9 + rng.normal(0, 0.01, 500), 0.8 + rng.normal(0, 0.01, 500), 500, MARGIN
    )
    assert judge_differences([entry]) == ["worse"] and entry.interval[1] < -0.05


def test_holm_of_a_hand_computed_table():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1] and holm([]) == []


def test_one_loss_that_is_only_just_significant_is_not_among_many():
    barely = compare_proportions(*outcomes(300, 12, 3, 85), MARGIN)
    assert 0.025 < barely.p_difference < 0.05
    assert judge_differences([barely]) == ["worse"]
    assert judge_differences([barely, barely]) == ["undecided", "undecided"]


def test_interval_of_draws_lies_around_the_difference_although_draws_are_biased():
    """mAP of a draw is too high: rare categories drop out. The mean offset is taken off."""
    noise = np.random.default_rng(0).normal(0, 0.01, 2000)
    difference = compare_draws(0.50, 0.53, np.full(2000, 0.5), 0.53 + 0.04 + noise, 5000, 0.01)
    low, high = difference.interval
    assert (low + high) / 2 == pytest.approx(0.03, abs=0.001)
    assert high - low == pytest.approx(2 * 1.645 * 0.01, rel=0.05)
