"""The reference implementations behind results.py --check, and what counts as a difference."""

import numpy as np
import pytest

from harness.reference import TOLERANCE, compare, top_k_accuracies


def test_top_5_accuracy_follows_the_saved_order():
    ranked = np.array([[3, 1, 2, 4, 5, 0], [0, 1, 2, 3, 4, 5], [-1, 7, 8, 9, 6, 5], [9, 8, 7, 6, 5, 4]])
    accuracies = top_k_accuracies([3, 5, 6, 5], ranked, classes=10)  # second: its class is the sixth
    assert accuracies == {"accuracy": 0.25, "accuracy-top5": 0.75}


def test_top_5_accuracy_of_more_images_than_are_scored_at_once():
    draw = np.random.default_rng(0)
    ranked = np.argsort(draw.random((5_003, 20)), axis=1)[:, :10]
    true = draw.integers(0, 20, 5_003)
    accuracies = top_k_accuracies(true, ranked, classes=20)
    hits = ranked == true[:, None]
    assert accuracies["accuracy"] == pytest.approx(hits[:, 0].mean(), abs=1e-15)
    assert accuracies["accuracy-top5"] == pytest.approx(hits[:, :5].any(1).mean(), abs=1e-15)


@pytest.mark.parametrize(
    ("ours", "fault"),
    [
        ({"AP": 0.5}, ""),
        ({"AP": 0.5 + TOLERANCE / 2}, ""),
        ({"AP": 0.500001}, "DIFFERS: AP 0.500001, reference 0.5"),
        ({"AP": float("nan")}, "DIFFERS: AP nan, reference 0.5"),
        ({}, "DIFFERS: AP nan, reference 0.5"),
        ({"AP": 0.5, "AR1": 0.1}, "DIFFERS: AR1 0.1, reference nan"),
    ],
)
def test_difference_is_named_with_both_values(ours, fault):
    assert compare(ours, {"AP": 0.5}) == fault
