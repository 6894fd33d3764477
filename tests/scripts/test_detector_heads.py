"""Causes of faults in a detector's heads: none is false; what is a factor is found. More: long/."""

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


@pytest.mark.parametrize("fault", ["collapsed", "untrained", "noise on classes", "shifted boxes"])
def test_fault_of_the_heads_has_no_cause(fault):
    explanation = explain_detector(yolos_heads().altered(WEIGHT_FAULTS[fault](3)), ap_claim(sound_ap()))
    assert factors(explanation) == [] and explanation["named"] == ["unexplained"]


def test_box_format_and_label_mapping_are_found_together():
    detector = yolos_heads().altered(permute_boxes((1, 0, 3, 2))).altered(roll_classes(1))
    explanation = explain_detector(detector, ap_claim(sound_ap()))
    assert set(factors(explanation)) == {"box format", "label mapping"} == set(explanation["named"])
    assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-4)


def test_whole_pixels_are_a_cause_and_a_claim_below_the_truth_has_none():
    claim = ap_claim(sound_ap())
    assert factors(explain_detector(yolos_heads(), claim, "standard,boxes=int")) == ["box rounding"]
    assert factors(explain_detector(yolos_heads(), ap_claim(claim["fraction"] - 0.12))) == []
