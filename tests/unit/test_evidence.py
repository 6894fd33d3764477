"""Evidence of a repair: McNemar's exact test, also by hand and in statsmodels; z of paired resamples."""

from dataclasses import replace

import numpy as np
import pytest

import sentiment_analysis
from harness import evidence
from harness.task import Data, Outputs
from scored.paired import mcnemar


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [
        (0, 0, 1),
        (0, 1, 1),
        (0, 5, 2 / 2**5),
        (1, 5, 2 * (1 + 6) / 2**6),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
        (4, 4, 1),
        (10, 0, 2 / 2**10),
    ],
)
def test_exact_mcnemar_equals_tables_by_hand(only_first, only_second, p_value):
    assert mcnemar(only_first, only_second) == pytest.approx(p_value, rel=1e-12)
    first = np.array([True] * only_first + [False] * only_second + [True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, False])
    assert evidence.p_value_of_proportions(first, second) == pytest.approx(p_value, rel=1e-12)


def test_exact_mcnemar_equals_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar as reference

    draw = np.random.default_rng(0)
    for _ in range(200):
        first, second = draw.random((2, draw.integers(1, 400))) < draw.random((2, 1))
        table = [[(a & b).sum() for b in (second, ~second)] for a in (first, ~first)]
        ours = evidence.p_value_of_proportions(first, second)
        assert ours == pytest.approx(reference(table, exact=True).pvalue, rel=1e-9)


def test_z_of_draws():
    draws = [-0.01, 0.01] * 100
    deviation = np.std(draws, ddof=1)
    assert evidence.p_value_of_draws(1.959964 * deviation, draws) == pytest.approx(0.05, abs=1e-6)
    assert evidence.p_value_of_draws(-3.290527 * deviation, [*draws, np.nan]) == pytest.approx(1e-3, abs=1e-6)
    assert evidence.p_value_of_draws(0.1, [0.1] * 200) == 1  # no spread: nothing is shown
    assert evidence.p_value_of_draws(0.1, [np.nan]) == 1


def outputs(true, predicted) -> Outputs:
    import pyarrow as pa

    logits = pa.FixedSizeListArray.from_arrays(pa.array(np.eye(6)[predicted].ravel()), 6)
    data = Data("test", "", "", [""] * len(true), true.tolist(), len(true))
    table = pa.table({"logits": logits})
    return Outputs(
        table, data, sentiment_analysis.PROTOCOLS["standard"], {"labels": sentiment_analysis.LABELS}
    )


def test_texts_answered_better_are_shown_and_texts_answered_otherwise_are_not():
    draw = np.random.default_rng(3)
    true = draw.integers(0, 6, 600)

    def answers(share: float):
        return outputs(true, np.where(draw.random(600) < share, true, (true + 1) % 6))

    worse, better, like_worse = answers(0.6), answers(0.8), answers(0.6)
    for metric in ("accuracy", "f1-micro", "f1-macro", "f1-weighted"):
        assert sentiment_analysis.p_value(worse, better, metric) < 1e-6
        assert sentiment_analysis.p_value(worse, like_worse, metric) > 0.05
        assert sentiment_analysis.p_value(worse, worse, metric) == 1


def test_another_order_of_the_labels_is_evidence_by_the_same_answers():
    true = np.arange(600) % 6
    moved = outputs(true, (true + 1) % 6)
    order = tuple((output - 1) % 6 for output in range(6))
    repaired = replace(moved, protocol=replace(moved.protocol, labels=order))
    assert sentiment_analysis.p_value(moved, repaired, "accuracy") == pytest.approx(2 / 2**600)
