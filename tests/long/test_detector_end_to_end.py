"""explain.py on copies of a detector with a fault each: what is a factor is found, nothing else is blamed."""

import pytest

from detection_faults import (
    add_noise,
    collapse,
    lean,
    leave_untrained,
    permute_boxes,
    roll_classes,
    shift_boxes,
)
from faults import claiming, edit, faulty, noise, permute

SOUND = 0.6234  # AP of the original, to the digits of a card
CARD = claiming("mAP", SOUND, "coco")


def of_heads(alter):
    """Change the last layers of both heads in the file of weights."""

    def fault(folder):
        from types import SimpleNamespace

        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        layers = []
        for head in ("class_labels_classifier", "bbox_predictor"):
            name = f"{head}.layers.2"
            layers.append(SimpleNamespace(weight=weights[f"{name}.weight"], bias=weights[f"{name}.bias"]))
        alter(*layers)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return fault


def preprocessing(**settings):
    return edit("preprocessor_config.json", lambda content: content.update(settings))


INCEPTION = preprocessing(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])
SMALL = preprocessing(size={"shortest_edge": 64, "longest_edge": 96})
UNSCALED = preprocessing(do_rescale=False)
BACKGROUND = edit(
    "config.json",
    lambda config: config.update(id2label={str(i): config["id2label"][str((i + 1) % 91)] for i in range(91)}),
)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "causes"),
    [
        ([of_heads(collapse(0))], set()),
        ([of_heads(leave_untrained(0))], set()),
        ([of_heads(lean(0, 14))], set()),
        ([of_heads(shift_boxes(1))], set()),
        ([of_heads(add_noise(0, 0.5, to_boxes=False))], set()),
        ([noise(0.1)], set()),
        ([INCEPTION], {"mean/std"}),
        ([UNSCALED], {"pixel scaling"}),
        ([of_heads(permute_boxes((1, 0, 3, 2)))], {"box format"}),
        ([of_heads(roll_classes(1))], {"label mapping"}),
        ([BACKGROUND], {"label mapping"}),
        ([permute(1, 2, 3, 44, 62, 17)], {"label mapping"}),
    ],
    ids=[
        "collapsed",
        "untrained",
        "leaning",
        "shifted boxes",
        "noise on the head",
        "noise on all weights",
        "mean and std",
        "unscaled pixels",
        "y first",
        "outputs moved",
        "names moved",
        "names permuted",
    ],
)
def test_fault_of_a_detector(shared, explain_here, tmp_path, faults, causes):
    model = faulty(shared / "models" / "yolos-tiny-overfit", tmp_path / "copy", CARD, *faults)
    explanation = explain_here(model, shared / "coco", "--seen", "standard")
    assert {cause["factor"] for cause in explanation["causes"]} == causes
    assert set(explanation["named"]) - {"unexplained"} == causes
    if causes:
        assert abs(explanation["unexplained_points"]) < 0.01
    else:
        assert explanation["named"] == ["unexplained"]


@pytest.mark.shared
def test_small_images_are_blamed_on_nothing_but_the_image_size(shared, explain_here, tmp_path):
    """No usual size is that of training; the size by config.json helps, shown or not on 40 images."""
    model = faulty(shared / "models" / "yolos-tiny-overfit", tmp_path / "copy", CARD, SMALL)
    explanation = explain_here(model, shared / "coco", "--seen", "standard")
    assert {*explanation["possible"], *(cause["factor"] for cause in explanation["causes"])} == {"image size"}
    assert explanation["unexplained_points"] < -0.01


@pytest.mark.shared
def test_claim_below_the_truth_is_not_explained(shared, explain_here, tmp_path):
    card = claiming("mAP", 0.5, "coco")
    model = faulty(shared / "models" / "yolos-tiny-overfit", tmp_path / "copy", card)
    explanation = explain_here(model, shared / "coco", "--seen", "standard")
    assert explanation["causes"] == [] and explanation["verdict"] == "understated"


@pytest.mark.shared
def test_misspelt_class_costs_nothing(shared, explain_here, tmp_path):
    misspell = edit("config.json", lambda config: config["id2label"].update({"24": "zebar"}))
    model = faulty(shared / "models" / "yolos-tiny-overfit", tmp_path / "copy", CARD, misspell)
    explanation = explain_here(model, shared / "coco", "--seen", "standard")
    assert explanation["causes"] == [] and explanation["verdict"] == "reproduced"
