"""Causes of faults in emotion-tiny's head, several seeds each: none is false; permuted labels are found."""

from dataclasses import replace

import numpy as np
import pytest

import explain
import sentiment_analysis
from saved_outputs import SavedMeasurements, accuracy_claim, emotion_head, explain_saved

pytestmark = pytest.mark.shared
LABELS = sentiment_analysis.LABELS
TRUE = accuracy_claim(0.9025, "validation")
SEEDS = range(6)


@pytest.fixture
def head(monkeypatch):
    monkeypatch.setattr(sentiment_analysis, "RESAMPLES", 20)  # of intervals that nobody reads here
    return emotion_head()


def factors(explanation: dict) -> list[str]:
    return [cause["factor"] for cause in explanation["causes"]]


def check_no_cause(explanation: dict) -> None:
    """Assert that nothing is blamed; all that is missing is unexplained, with what was tried."""
    assert factors(explanation) == []
    if explanation["verdict"] in ("overstated", "understated"):
        miss = 100 * (explanation["seen"]["value"] - explanation["claim"]["fraction"])
        assert explanation["unexplained_points"] == pytest.approx(miss, abs=1e-9)
        assert explanation["named"] == ["unexplained"]
        assert "(tried: split" in explain.format_causes(explanation)
    else:
        assert explanation["unexplained_points"] is None and explanation["named"] == []


def changed(head, **parameters):
    parameters = {name: np.asarray(value, "float32") for name, value in parameters.items()}
    return SavedMeasurements(replace(head, **parameters))


# ── Heads at fault: no cause ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0])
def test_head_that_was_never_trained_has_no_cause(head, seed, scale):
    draw = np.random.default_rng(seed)
    measurements = changed(head, weight=draw.normal(0, scale, head.weight.shape), bias=np.zeros(6))
    check_no_cause(explain_saved(measurements, TRUE))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strength", [2, 4, 6, 12])
def test_head_that_leans_to_one_class_has_no_cause(head, seed, strength):
    bias = head.bias + strength * (np.arange(6) == seed)
    explanation = explain_saved(changed(head, bias=bias), TRUE)
    check_no_cause(explanation)
    if strength > 4:
        assert explanation["finding"].startswith("collapsed: ")
        assert explanation["finding"] in explain.format_causes(explanation)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [0.0, 0.03, 0.1, 0.3])
def test_head_that_collapsed_has_no_cause(head, seed, scale):
    bias = head.bias + np.random.default_rng(seed).normal(0, 0.5, 6)
    explanation = explain_saved(changed(head, weight=scale * head.weight, bias=bias), TRUE)
    check_no_cause(explanation)
    if scale == 0:
        assert explanation["finding"].startswith("collapsed: 100% of the answers are ")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_noise_on_a_head_has_no_cause(head, seed, scale):
    noise = np.random.default_rng(seed).normal(0, scale * head.weight.std(), head.weight.shape)
    check_no_cause(explain_saved(changed(head, weight=head.weight + noise), TRUE))


@pytest.mark.parametrize("seed", SEEDS)
def test_features_in_another_order_have_no_cause(head, seed):
    order = np.random.default_rng(seed).permutation(head.weight.shape[1])
    check_no_cause(explain_saved(changed(head, weight=head.weight[:, order]), TRUE))


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("output", range(6))
def test_answers_of_one_class_that_go_to_another_have_no_cause(head, output, share):
    draw, logits = np.random.default_rng(output), {}
    for split in head.data:
        values = head.logits(split).copy()
        is_moved = (values.argmax(1) == output) & (draw.random(len(values)) < share)
        values[is_moved] = np.eye(6)[(output + 2) % 6]
        logits[split] = values
    check_no_cause(explain_saved(SavedMeasurements(head, logits), TRUE))


# ── Claims: what they explain ─────────────────────────────────────────────────────────────────────────────


def test_true_claims_have_nothing_to_explain(head):
    measurements, test = SavedMeasurements(head), accuracy_claim(0.8885, "test")
    for claim in (TRUE, test, accuracy_claim(0.9025, None), accuracy_claim(0.888, "test")):
        explanation = explain_saved(measurements, claim)
        assert explanation["verdict"] in ("reproduced", "close")
        check_no_cause(explanation)
        assert explain.format_causes(explanation).startswith("nothing to explain: ")


def test_claim_below_the_truth_is_not_explained_by_a_worse_model(head):
    explanation = explain_saved(SavedMeasurements(head), accuracy_claim(0.7825, "validation"))
    check_no_cause(explanation)
    assert explanation["unexplained_points"] == pytest.approx(12)
    assert explanation["tried"] == ["split"]


def test_claim_above_the_truth_has_no_cause(head):
    for split in ("validation", "test", None):
        explanation = explain_saved(SavedMeasurements(head), accuracy_claim(0.9825, split))
        assert factors(explanation) == [] and explanation["unexplained_points"] < -7.9
        assert "(tried: " in explain.format_causes(explanation)


def test_split_is_a_cause_only_if_the_other_split_has_the_value_claimed(head):
    measurements = SavedMeasurements(head)
    for value, split, points in [(0.9025, "test", -1.4), (0.8885, "validation", 1.4)]:
        explanation = explain_saved(measurements, accuracy_claim(value, split))
        assert factors(explanation) == explanation["named"] == ["split"]
        assert explanation["causes"][0]["points"] == pytest.approx(points)
        assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-9)
    for value in (0.903, 0.902):
        check_no_cause(explain_saved(measurements, accuracy_claim(value, "test")))


def test_split_that_two_digits_fit_by_chance_is_not_shown(head):
    explanation = explain_saved(SavedMeasurements(head), accuracy_claim(0.90, "test"))
    assert explanation["verdict"] == "overstated" and explanation["possible"] == ["split"]
    check_no_cause(explanation)
    assert "possible, not shown on 2,000 examples: split" in explain.format_causes(explanation)


# ── Permuted labels: found ────────────────────────────────────────────────────────────────────────────────


def orders(seed: int) -> list[list[int]]:
    """A full permutation, a cycle and a swapped pair."""
    draw = np.random.default_rng(seed)
    first, second = draw.choice(6, 2, replace=False)
    swapped = list(range(6))
    swapped[first], swapped[second] = second, first
    return [draw.permutation(6).tolist(), [(i + 1 + seed % 5) % 6 for i in range(6)], swapped]


@pytest.mark.parametrize("seed", SEEDS)
def test_permuted_names_and_permuted_outputs_are_found(head, seed):
    for order in orders(seed):
        names = SavedMeasurements(head, labels=[LABELS[i] for i in order])
        outputs = SavedMeasurements(head, {split: head.logits(split)[:, order] for split in head.data})
        for measurements in (names, outputs):
            explanation = explain_saved(measurements, TRUE)
            assert factors(explanation) == explanation["named"] == ["label order"]
            assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-9)
            assert explanation["causes"][0]["p_value"] < 1e-6
        moved = {LABELS[i]: LABELS[order[i]] for i in range(6) if order[i] != i}
        assert explanation["moved"] == moved and explanation["finding"] is None


@pytest.mark.parametrize("order", orders(1))
def test_permuted_labels_are_found_whatever_the_claim_says_of_its_split(head, order):
    measurements = SavedMeasurements(head, {split: head.logits(split)[:, order] for split in head.data})
    for value, split, causes in [
        (0.9025, None, ["label order"]),
        (0.8885, None, ["label order"]),
        (0.9025, "test", ["label order", "split"]),
        (0.85, "validation", ["label order"]),  # a claim below the truth
    ]:
        explanation = explain_saved(measurements, accuracy_claim(value, split))
        assert factors(explanation) == causes
        total = sum(cause["points"] for cause in explanation["causes"]) + explanation["unexplained_points"]
        assert total == pytest.approx(100 * (explanation["seen"]["value"] - value), abs=1e-9)
    assert explanation["unexplained_points"] == pytest.approx(5.25)


def test_permuted_labels_with_few_examples_are_found_if_the_order_has_a_name(head):
    few = {split: data.take(range(50)) for split, data in head.data.items()}
    features = {split: values[:50] for split, values in head.features.items()}
    small = replace(head, data=few, features=features)
    right = SavedMeasurements(small)
    value = right.value(explain_saved(right, TRUE)["seen"]["choices"], "accuracy")
    claim = accuracy_claim(value, "validation")
    for order, causes in [([1, 2, 3, 4, 5, 0], ["label order"]), ([2, 0, 1, 4, 5, 3], [])]:
        logits = {split: small.logits(split)[:, order] for split in few}
        assert factors(explain_saved(SavedMeasurements(small, logits), claim)) == causes
