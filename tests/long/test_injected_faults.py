"""Each fault injected into an image model is the cause that explain.py names."""

import pytest

from faults import claiming, edit, faulty, noise, permute

FEW = ("--limit", "60")  # images: enough to tell the faults apart, and quick
rescaled = edit(
    "preprocessor_config.json",
    lambda c: c.update(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]),
)
uncropped = edit("preprocessor_config.json", lambda c: c.update(do_center_crop=False))
shifted = permute(*range(1, 1001))


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
    ("faults", "causes"),
    [
        ([rescaled], {"mean/std"}),
        ([uncropped], {"resize and crop"}),
        ([shifted], {"label mapping"}),
        ([noise(0.3)], {"unexplained"}),
        ([rescaled, shifted], {"mean/std", "label mapping"}),
    ],
    ids=["mean and std", "crop", "labels", "weights", "mean and labels"],
)
def test_fault_injected_into_an_image_classifier_is_named(
    shared, explain_here, values, tmp_path, faults, causes
):
    original, data = shared / "models" / "mobilenet-v2", shared / "imagenet"
    claim = claiming("accuracy", sound_value(values, explain_here, tmp_path, original, data), "imagenet-1k")
    model = faulty(original, tmp_path / "copy", claim, *faults)
    explanation = explain_here(model, data, "--seen", "standard", *FEW)
    assert explanation["named"][0] in causes
    assert set(explanation["named"]) == causes


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "seen", "causes"),
    [
        ([], "standard,threshold=0.5", {"score threshold"}),
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
