"""Orders of labels: a permutation is found by the half of the answers that it was not fitted to."""

import numpy as np
import pytest

from harness import label_orders
from harness.label_orders import fit_order, fit_supported_order, is_plausible, is_supported

DECLARED = list(range(6))
SHIFTED = [1, 2, 3, 4, 5, 0]


def draw_answers(seed: int, share: float, n: int = 2000):
    """Classes of emotion's sizes, and answers of which this share is right."""
    draw = np.random.default_rng(seed)
    true = draw.choice(6, n, p=[0.29, 0.33, 0.08, 0.14, 0.12, 0.04])
    return np.where(draw.random(n) < share, true, draw.integers(0, 6, n)), true


@pytest.mark.parametrize("share", [0.8, 0.9])
@pytest.mark.parametrize("order", [[2, 0, 1, 3, 5, 4], [1, 0, 2, 3, 4, 5], SHIFTED, [5, 0, 1, 2, 3, 4]])
def test_permutation_is_found(order, share):
    right, true = draw_answers(0, share)
    predicted = np.argsort(order)[right]  # output i stands for class order[i]
    assert fit_order(predicted, true, DECLARED) == order
    assert fit_supported_order(predicted, true, DECLARED) == order


def test_order_is_found_in_data_that_alternate_between_classes():
    """Halves by position would each hold other classes."""
    true = np.tile(DECLARED, 100)
    assert fit_supported_order(np.argsort(SHIFTED)[true], true, DECLARED) == SHIFTED


def test_right_order_stays():
    predicted, true = draw_answers(1, 0.9)
    assert fit_order(predicted, true, DECLARED) == DECLARED
    assert fit_supported_order(predicted, true, DECLARED) is None  # nothing moves
    assert not is_supported(predicted, true, DECLARED, DECLARED)


def test_outputs_without_a_class_may_be_moved_to_one():
    right, true = draw_answers(2, 0.9)
    order = [-1, *DECLARED]  # a background class, declared last
    assert fit_supported_order(right + 1, true, [*DECLARED, -1]) == order


def test_support_by_hand():
    """Output 0 stands for class 1 and output 1 for class 0: 6 of 10 answers are right, of either."""
    predicted = np.repeat([0, 1], 10)
    order = [1, 0]
    for right, supported in [(6, True), (5, False)]:
        true = np.array([1] * 6 + [0] * 4 + [0] * right + [1] * (10 - right))
        assert is_supported(predicted, true, [0, 1], order) == supported
    few = slice(6, 14)  # 4 answers each: too few to say anything
    assert not is_supported(predicted[few], 1 - predicted[few], [0, 1], order)


def test_outputs_that_most_answers_do_not_support_may_have_a_tenth_of_them():
    """Three outputs move in a circle; the third has few answers, and all wrong."""
    for third, supported in [(10, True), (11, False)]:
        predicted = np.array([0] * 50 + [1] * 40 + [2] * third)
        true = np.array([1] * 50 + [2] * 40 + [1] * third)
        assert is_supported(predicted, true, [0, 1, 2], [1, 2, 0]) == supported


def test_classes_whose_examples_go_elsewhere_are_no_permutation():
    """A head that merges two classes: most answers of output 0 are of class 1, but class 0 has no output."""
    predicted = np.array([0] * 100 + [1] * 4 + [2] * 60)
    true = np.array([1] * 60 + [0] * 40 + [0] * 4 + [2] * 60)
    assert fit_order(predicted, true, [0, 1, 2]) == [1, 0, 2]
    assert not is_supported(predicted, true, [0, 1, 2], [1, 0, 2])


@pytest.mark.parametrize("seed", range(20))
def test_chance_permutes_nothing(seed):
    draw = np.random.default_rng(seed)
    _, true = draw_answers(seed, 1)
    assert fit_supported_order(draw.integers(0, 6, 2000), true, DECLARED) is None
    leaning = np.where(draw.random(2000) < 0.8, seed % 6, draw.integers(0, 6, 2000))
    assert fit_supported_order(leaning, true, DECLARED) is None
    assert not any(is_plausible(leaning, true, DECLARED, order) for order in ([1, 0, 2, 3, 4, 5], SHIFTED))


def test_few_examples_per_class_are_told_from_enough():
    true = np.repeat(range(100), 10)
    assert label_orders.has_enough_examples(true, range(100))
    assert not label_orders.has_enough_examples(true[::2], range(100))
    assert not label_orders.has_enough_examples(true, [*range(100), *range(100, 210)])


def test_shift_is_plausible_with_an_image_per_class_unless_a_single_output_gains():
    true = np.arange(200) * 5
    declared = list(range(1000))
    order = [-1, *range(999)]  # shifted by one
    predicted = (true + 1) % 1000
    assert is_plausible(predicted, true, declared, order)
    collapsed = np.full(200, 6)  # one right answer with the shift: 5
    assert not is_plausible(collapsed, true, declared, order)


def test_shift_of_many_classes_is_plausible_although_some_are_always_mistaken():
    draw = np.random.default_rng(0)
    true = np.repeat(range(100), 50)
    right = np.where(draw.random(5000) < 0.75, true, draw.integers(0, 100, 5000))
    hard = true % 5 == 0  # a fifth of the classes is taken for the next but one
    right = np.where(hard, (true + 2) % 100, right)
    order = [-1, *range(100)]
    assert not is_supported(right + 1, true, [*range(100), -1], order)
    assert is_plausible(right + 1, true, [*range(100), -1], order)


def test_heads_that_learned_nothing_are_described_where_it_is_plain():
    predicted, true = draw_answers(3, 0.9)
    labels = list("abcdef")
    assert label_orders.describe_head(predicted, true, DECLARED, labels) is None
    collapsed = np.where(np.arange(2000) < 1900, 2, predicted)
    head = label_orders.describe_head(collapsed, true, DECLARED, labels)
    assert head.startswith("collapsed: 9") and head.endswith("of the answers are 'c'")
    three = np.array([0, 1, 0, 1, 4, 0])[true]
    assert label_orders.describe_head(three, true, DECLARED, labels) == (
        "untrained head: 3 of 6 outputs get no answer"
    )
    assert label_orders.describe_head(np.zeros(50, int), np.zeros(50, int), DECLARED, labels) is None  # right


@pytest.mark.parametrize(("share", "has_collapsed"), [(0.9, True), (0.89, False)])
def test_head_has_collapsed_if_an_output_takes_nine_of_ten_answers(share, has_collapsed):
    true = np.repeat([0, 1, 2, 3], 50)
    predicted = np.zeros(200, int)
    predicted[: round(200 * (1 - share))] = np.arange(round(200 * (1 - share))) % 3 + 1
    finding = label_orders.describe_head(predicted, true, [0, 1, 2, 3], ["cat", "dog", "cow", "hen"])
    assert finding == ("collapsed: 90% of the answers are 'cat'" if has_collapsed else None)
