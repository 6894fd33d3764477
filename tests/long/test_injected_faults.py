"""Each fault injected into a detector is the cause that explain.py names."""

import pytest

from faults import claiming, faulty, noise, permute

FEW = ("--limit", "60")  # images: enough to tell the faults apart, and quick


@pytest.fixture(scope="module")
def values():
    """Model -> what it is measured to do under `standard`, without any fault."""
    return {}


def sound_value(values, explain_here, tmp_path, model, data) -> float:
    """Return what a model without any fault is measured to do; it is measured only once."""
    if model not in values:
        folder = tmp_path / "sound"
        folder.mkdir()
        explanation = explain_here(model, data, *FEW, folder=folder)
        assert explanation["claim"] is None
        values[model] = explanation["faithful"]["value"]
    return values[model]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "seen", "causes"),
    [
        ([], "standard,threshold=0.95", {"score threshold"}),
        ([], "standard,boxes=int", {"box rounding"}),
        ([], "standard,threshold=0.5,boxes=int", {"score threshold", "box rounding"}),
        ([permute(1, 2, 3, 44, 62, 17)], "standard", {"label mapping"}),
        ([noise(0.5)], "standard", {"unexplained"}),
    ],
    ids=["threshold", "rounding", "threshold and rounding", "labels", "weights"],
)
def test_fault_injected_into_a_detector_is_named(
    shared, explain_here, values, tmp_path, faults, seen, causes
):
    original, data = shared / "models" / "yolos-tiny-overfit", shared / "coco"
    claim = claiming("mAP", sound_value(values, explain_here, tmp_path, original, data), "coco")
    model = faulty(original, tmp_path / "copy", claim, *faults)
    explanation = explain_here(model, data, "--seen", seen, *FEW)
    assert explanation["named"][0] in causes
    assert set(explanation["named"]) == causes
    if not faults:  # threshold and rounding touch saved predictions only
        assert explanation["forward_passes"] == 1
        assert len(list((tmp_path / "predictions").rglob("*.parquet"))) == 1


@pytest.mark.shared
def test_threshold_that_hardly_costs_anything_explains_nothing(shared, explain_here, values, tmp_path):
    """The claim is met under it: 0.03 points away."""
    original, data = shared / "models" / "yolos-tiny-overfit", shared / "coco"
    claim = claiming("mAP", sound_value(values, explain_here, tmp_path, original, data), "coco")
    model = faulty(original, tmp_path / "copy", claim)
    explanation = explain_here(model, data, "--seen", "standard,threshold=0.5", *FEW)
    assert explanation["verdict"] == "agrees under standard,threshold=0.5"
    assert explanation["causes"] == explanation["named"] == []
