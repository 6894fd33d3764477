"""How often is a verdict wrong where the card names no split and the claim was made on other examples?"""

import itertools
from collections import Counter

import numpy
import pytest

from claims_without_split import claim_of, judge, rows_on

pytestmark = pytest.mark.long
DIFFERENCES = (0, 0.5, -0.5, 1.5, -1.5, 3, -3)  # points: the model's accuracy minus the claimed model's
TRIALS = 1000


def is_wrong(verdict: str, difference: float) -> bool:
    """Return whether a verdict contradicts the true difference."""
    if verdict == "reproduced":
        return abs(difference) > 1
    if verdict == "overstated":
        return difference >= -1
    return verdict == "understated" and difference <= 1


def draw_verdicts(rng, accuracy: float, n: int, decimals: int, difference: float, trainer: bool) -> Counter:
    """Judge claims made on n private examples; the model is measured on emotion's evaluation splits."""
    verdicts = Counter()
    for _ in range(TRIALS):
        values = {split: int(rng.binomial(2000, accuracy)) / 2000 for split in ("validation", "test")}
        if trainer:  # it knows its training examples better
            values["train"] = int(rng.binomial(16_000, accuracy + 0.4 * (1 - accuracy))) / 16_000
        claimed = int(rng.binomial(n, accuracy - difference / 100)) / n
        claim = claim_of(round(claimed, decimals), trainer=trainer)
        verdicts[judge(claim, rows_on(**values)).verdict] += 1
    return verdicts


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("accuracy", "trainer"), [(0.6, False), (0.9, False), (0.9, True), (0.96, False)])
def test_fewer_than_5_in_100_verdicts_are_wrong(accuracy, trainer, seed):
    rng = numpy.random.default_rng(seed)
    for n, decimals, difference in itertools.product((200, 2000, 10_000), (2, 4), DIFFERENCES):
        verdicts = draw_verdicts(rng, accuracy, n, decimals, difference, trainer)
        wrong = sum(count for verdict, count in verdicts.items() if is_wrong(verdict, difference))
        assert wrong < 0.05 * TRIALS, (n, decimals, difference, verdicts)


def test_verdicts_are_given_where_the_difference_is_plain():
    """A tool that never says anything is never wrong either."""
    rng = numpy.random.default_rng(0)
    verdicts = draw_verdicts(rng, 0.9, 10_000, 4, -9, False)
    assert verdicts["overstated"] > 0.9 * TRIALS
    exact = Counter()
    for _ in range(TRIALS):
        values = {split: int(rng.binomial(2000, 0.8)) / 2000 for split in ("validation", "test")}
        values["validation"] = (round(1000 * values["validation"]) + 0.5) / 1000  # four digits
        exact[judge(claim_of(values["validation"]), rows_on(**values)).verdict] += 1
    assert exact["reproduced"] > 0.8 * TRIALS and set(exact) <= {"reproduced", "close"}
