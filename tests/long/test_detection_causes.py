"""Causes of faults in a detector's heads, several seeds each: none is false; what is a factor is found."""

import numpy as np
import pytest

from detection_faults import (
    WEIGHT_FAULTS,
    ap_claim,
    explain_detector,
    factors,
    permute_boxes,
    roll_classes,
    sound_ap,
    yolos_heads,
)

pytestmark = pytest.mark.shared
SEEDS = range(3)


@pytest.fixture(scope="module")
def sound():
    return yolos_heads()


@pytest.fixture(scope="module")
def claim(sound):
    return ap_claim(sound_ap())


@pytest.mark.parametrize("fault", WEIGHT_FAULTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_fault_of_the_weights_has_no_cause(sound, claim, fault, seed):
    explanation = explain_detector(sound.altered(WEIGHT_FAULTS[fault](seed)), claim)
    assert explanation["verdict"] == "overstated"
    assert factors(explanation) == [] and explanation["named"] == ["unexplained"]


def test_claim_below_the_truth_has_no_cause(sound, claim):
    lower = ap_claim(claim["fraction"] - 0.12)
    explanation = explain_detector(sound, lower)
    assert explanation["verdict"] == "understated" and factors(explanation) == []


# ── Factors: found ────────────────────────────────────────────────────────────────────────────────────────


def test_boxes_with_y_first_are_a_box_format(sound, claim):
    explanation = explain_detector(sound.altered(permute_boxes((1, 0, 3, 2))), claim)
    assert factors(explanation) == ["box format"] == explanation["named"]
    assert explanation["causes"][0]["faithful"] == "cycxhw"
    assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("by", [1, -1])
def test_classes_moved_by_one_are_a_label_mapping(sound, claim, by):
    explanation = explain_detector(sound.altered(roll_classes(by)), claim)
    assert factors(explanation) == ["label mapping"] == explanation["named"]
    assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_names_in_another_order_are_a_label_mapping(sound, claim, seed):
    labels = np.array(sound.facts["labels"])
    is_name = labels != "N/A"
    labels[is_name] = np.random.default_rng(seed).permutation(labels[is_name])
    explanation = explain_detector(sound.relabeled(labels.tolist()), claim)
    assert factors(explanation) == ["label mapping"] == explanation["named"]


@pytest.mark.parametrize(
    ("seen", "causes"),
    [
        ("standard,threshold=0.95", {"score threshold"}),
        ("standard,boxes=int", {"box rounding"}),
        ("standard,max_detections=5", {"detections per image"}),
        ("scored-2022,threshold=0.95", {"score threshold", "box rounding"}),
        ("standard,box_format=xyxy", {"box format"}),
        ("standard,box_scale=centered square", {"box scaling"}),
    ],
)
def test_choice_of_the_measurer_is_the_cause(sound, claim, seen, causes):
    explanation = explain_detector(sound, claim, seen)
    assert set(factors(explanation)) == causes == set(explanation["named"])
    assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-9)


def test_two_factors_at_once(sound, claim):
    detector = sound.altered(permute_boxes((1, 0, 3, 2))).altered(roll_classes(1))
    explanation = explain_detector(detector, claim)
    assert set(factors(explanation)) == {"box format", "label mapping"}
