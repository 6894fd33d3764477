"""Other preprocessing to try: as transformers' own processors do it, and never what is published already."""

import numpy as np
import pytest
from PIL import Image

from harness import images
from harness.preprocessing import IMAGENET, INCEPTION, input_side, other_preprocessing, pixel_map

UNIT = {"do_rescale": True, "rescale_factor": 1 / 255}
PUBLISHED = {
    **{"do_resize": True, "size": {"shortest_edge": 256}, "resample": 2},
    **{"do_center_crop": True, "crop_size": {"height": 224, "width": 224}},
    **UNIT,
    **INCEPTION,
}


def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    return Image.fromarray(pixels).resize((180, 120))


def test_what_a_pixel_becomes():
    assert pixel_map(PUBLISHED) == [(-1, 1)] * 3
    assert pixel_map(PUBLISHED | {"do_rescale": False}) == [(-1, 509)] * 3
    assert pixel_map(UNIT) == [(0, 1)] * 3
    assert pixel_map({"do_rescale": False, "do_normalize": False}) == [(0, 255)] * 3
    assert (
        pixel_map({"do_rescale": True, "rescale_factor": 1 / 127.5, "rescale_offset": True}) == [(-1, 1)] * 3
    )
    assert pixel_map(UNIT | IMAGENET)[0] == (-2.12, 2.25)


def test_settings_with_the_published_effect_are_not_tried():
    tries = other_preprocessing({"preprocessing": PUBLISHED, "image_size": 224})
    assert tries["mean/std"] == [IMAGENET]
    ranges = [pixel_map(PUBLISHED | changes) for changes in tries["pixel scaling"]]
    assert ranges == [[(0, 1)] * 3, [(0, 255)] * 3]
    assert tries["interpolation"] == [{"resample": 3}]
    sizes = [changes["size"] for changes in tries["resize and crop"]]
    assert sizes == [{"height": 224, "width": 224}, {"shortest_edge": 224}]
    for values in tries.values():
        assert {} not in values and len(values) == len({repr(value) for value in values})


@pytest.mark.parametrize(
    ("fault", "choice"),
    [
        ({"do_rescale": False}, "pixel scaling"),
        ({"do_rescale": False, "do_normalize": False}, "pixel scaling"),
        ({"do_normalize": False}, "pixel scaling"),
        ({"rescale_factor": 1 / 127.5}, "pixel scaling"),
        (IMAGENET, "mean/std"),
        ({"image_mean": [127.5] * 3, "image_std": [127.5] * 3}, "mean/std"),
        ({"image_mean": [0.75] * 3, "image_std": [0.25] * 3}, "mean/std"),
        ({"size": {"height": 224, "width": 224}, "do_center_crop": False}, "resize and crop"),
        ({"size": {"shortest_edge": 224}}, "resize and crop"),
        ({"size": {"shortest_edge": 182}, "crop_size": {"height": 160, "width": 160}}, "resize and crop"),
        ({"resample": 3}, "interpolation"),
    ],
)
def test_one_choice_undoes_a_fault(fault, choice):
    """The repair of the right choice has the effect of the settings without the fault; no other has."""
    broken = PUBLISHED | fault

    def effect(settings: dict) -> tuple:
        crop = settings["crop_size"] if settings["do_center_crop"] else None
        return pixel_map(settings), settings["size"], crop, settings["resample"]

    undone = set()
    tries = other_preprocessing({"preprocessing": broken, "image_size": 224})
    tries.pop("channel order")
    for name, values in tries.items():
        for changes in values:
            if effect(broken | changes) == effect(PUBLISHED):
                undone.add(name)
    assert undone == {choice}


def test_processors_that_crop_by_themselves_get_no_square():
    published = {"do_resize": True, "size": {"shortest_edge": 224}, "crop_pct": 0.875, **UNIT, **IMAGENET}
    ways = other_preprocessing({"preprocessing": published})["resize and crop"]
    assert ways == [{"do_resize": True, "size": {"shortest_edge": 224}, "crop_pct": 1.0}]


@pytest.mark.parametrize(
    ("facts", "side"),
    [
        ({"image_size": 384}, 384),
        ({"image_size": [192, 192]}, 192),
        ({"image_size": None, "preprocessing": {"crop_size": {"height": 299, "width": 299}}}, 299),
        ({"image_size": "large", "preprocessing": {"size": {"shortest_edge": 160}}}, 160),
        ({}, 224),
    ],
)
def test_side_of_the_input(facts, side):
    assert input_side(facts) == side


# ── As transformers does it ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("published", [PUBLISHED, PUBLISHED | {"do_rescale": False}, PUBLISHED | IMAGENET])
def test_each_try_is_what_a_processor_with_these_settings_does(published):
    from transformers import MobileNetV2ImageProcessorPil

    model = images.Model(None, MobileNetV2ImageProcessorPil(**published))
    tries = other_preprocessing({"preprocessing": published, "image_size": 224})
    tries.pop("channel order")
    before = images.tensors(photo(), model, {})["pixel_values"].float()
    for values in tries.values():
        for changes in values:
            pixels = images.tensors(photo(), model, changes)["pixel_values"]
            plain = MobileNetV2ImageProcessorPil(**(published | changes))
            expected = plain(images=photo(), return_tensors="pt")["pixel_values"]
            assert pixels.shape == (1, 3, 224, 224)
            assert pixels.equal(expected) and not pixels.float().equal(before)


def test_reversed_channels_are_what_a_processor_that_flips_them_does():
    from transformers import MobileViTImageProcessorPil

    size = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    plain, flipping = (
        images.Model(None, MobileViTImageProcessorPil(**size, do_flip_channel_order=flip))
        for flip in (False, True)
    )
    (changes,) = other_preprocessing({"preprocessing": {}})["channel order"]
    pixels = images.tensors(photo(), plain, changes)["pixel_values"]
    assert pixels.equal(images.tensors(photo(), flipping, {})["pixel_values"])
    upright = images.tensors(photo(), flipping, changes)["pixel_values"]
    assert upright.equal(images.tensors(photo(), plain, {})["pixel_values"])
    assert not pixels.equal(upright)


@pytest.mark.parametrize("kind", ["ConvNext", "EfficientNet", "ViT", "Beit", "Levit", "PoolFormer", "CLIP"])
def test_each_try_suits_each_kind_of_processor(kind):
    import json

    import transformers

    processor = getattr(transformers, f"{kind}ImageProcessorPil")()
    published = json.loads(processor.to_json_string())
    model = images.Model(None, processor)
    side = input_side({"preprocessing": published})
    for values in other_preprocessing({"preprocessing": published, "image_size": side}).values():
        for changes in values:
            pixels = images.tensors(photo(), model, changes)["pixel_values"]
            assert pixels.shape[:2] == (1, 3) and min(pixels.shape[2:]) >= 64


def test_bytes_reach_the_network_as_its_own_type():
    """A processor that neither rescales nor normalizes gives pixels of 0 to 255 as bytes."""
    import torch

    class Net:
        device, dtype = torch.device("cpu"), torch.bfloat16

        def __call__(self, pixel_values):
            return {"pixel_values": pixel_values}

    outputs = images.run(
        Net(), [({"pixel_values": torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)}, (2, 2))]
    )
    assert outputs["pixel_values"].dtype == torch.bfloat16 and outputs["pixel_values"].max() == 200
