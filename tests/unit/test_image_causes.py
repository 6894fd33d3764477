"""Causes of missed claims on ImageNet, from simulated answers: the fault is named, and nothing beside it."""

import pytest

import image_faults
from harness.explanations import describe_causes
from harness.imagenet import map_labels
from harness.preprocessing import IMAGENET
from harness.preprocessing import INCEPTION as PUBLISHED_NORMALIZATION
from simulated_images import (
    HEAD,
    PUBLISHED,
    Network,
    collapsed,
    dead_outputs,
    explained,
    leaning,
    leaning_to_a_few,
    names_and_values,
    sound_accuracy,
    untrained,
)

SEEDS = pytest.mark.parametrize("seed", range(6))


# ── Faults that no choice undoes ──────────────────────────────────────────────────────────────────────────


@SEEDS
@pytest.mark.parametrize("head", [collapsed, leaning, leaning_to_a_few, untrained, dead_outputs])
def test_broken_head_is_not_explained_by_labels(head, seed):
    explanation = explained(Network(seed), head=head)
    assert explanation["verdict"] == "overstated"
    assert (explanation["causes"], explanation["named"]) == ([], ["unexplained"])
    assert explanation["moved"] == {}


@SEEDS
def test_noise_on_the_weights_is_not_explained(seed):
    explanation = explained(Network(seed, quality=0.7), claim=0.9)
    assert explanation["verdict"] == "overstated"
    assert (explanation["causes"], explanation["named"]) == ([], ["unexplained"])
    assert {"pixel scaling", "channel order", "label mapping", "mean/std"} <= set(explanation["tried"])


@SEEDS
def test_damaged_weights_that_do_better_with_other_pixels_are_not_explained_by_them(seed):
    """A first layer that was scaled does better, not well, with the range of ImageNet's mean and std."""

    class Damaged(Network):
        def share_right(self, settings):
            return 0.6 if settings["image_mean"] == IMAGENET["image_mean"] else 0.3

    explanation = explained(Damaged(seed), claim=0.9)
    assert (explanation["causes"], explanation["named"]) == ([], ["unexplained"])
    assert "mean/std" in explanation["possible"] and "mean/std" in explanation["tried"]


@SEEDS
def test_mean_and_std_are_found_in_a_model_that_is_a_little_noisy_too(seed):
    explanation = explained(Network(seed, quality=0.875), claim=0.9, published=PUBLISHED | IMAGENET)
    assert explanation["named"][0] == "mean/std" and len(explanation["causes"]) == 1


@SEEDS
def test_claim_below_the_truth_is_not_explained_by_making_the_model_worse(seed):
    network = Network(seed)
    for claim in (sound_accuracy(network) - 0.12, sound_accuracy(network) * 0.85):
        explanation = explained(network, claim=claim)
        assert explanation["verdict"] == "understated"
        assert explanation["causes"] == [] and explanation["possible"] == []


# ── Faults that one choice undoes ─────────────────────────────────────────────────────────────────────────


@SEEDS
@pytest.mark.parametrize(
    ("published", "factor", "repair"),
    [
        ({"do_rescale": False}, "pixel scaling", {"do_rescale": True, "rescale_factor": 1 / 255}),
        (
            {"do_rescale": False, "do_normalize": False},
            "pixel scaling",
            {"do_rescale": True, "rescale_factor": 1 / 255, **PUBLISHED_NORMALIZATION},
        ),
        (
            {"do_normalize": False},
            "pixel scaling",
            {"do_rescale": True, "rescale_factor": 1 / 255, **PUBLISHED_NORMALIZATION},
        ),
        ({"rescale_factor": 1 / 127.5}, "pixel scaling", {"do_rescale": True, "rescale_factor": 1 / 255}),
        (IMAGENET, "mean/std", PUBLISHED_NORMALIZATION),
        ({"image_mean": [0.75] * 3, "image_std": [0.25] * 3}, "mean/std", PUBLISHED_NORMALIZATION),
        ({"image_mean": [127.5] * 3, "image_std": [127.5] * 3}, "mean/std", PUBLISHED_NORMALIZATION),
    ],
    ids=["0 to 255", "raw", "0 to 1", "0 to 2", "of ImageNet", "twice", "of 255"],
)
def test_scale_of_the_pixels_is_found(published, factor, repair, seed):
    explanation = explained(Network(seed), published=PUBLISHED | published)
    assert names_and_values(explanation) == {factor: repair}
    assert explanation["named"] == [factor]


@SEEDS
def test_channel_order_is_found(seed):
    explanation = explained(Network(seed, expects_bgr=True))
    assert names_and_values(explanation) == {"channel order": {"reverse_channels": True}}
    assert explanation["named"] == ["channel order"]


@SEEDS
@pytest.mark.parametrize(
    ("order", "repair"),
    [
        (image_faults.background_last, "background first"),
        (image_faults.shifted, "index"),
        (image_faults.alphabetical, "index"),
        (image_faults.numbers_as_text, "index"),
        (image_faults.shuffled, "background first"),
    ],
)
def test_labels_published_in_another_order_are_found(order, repair, seed):
    explanation = explained(Network(seed), labels=order(list(HEAD)))
    assert names_and_values(explanation) == {"label mapping": repair}
    assert explanation["named"] == ["label mapping"]


@SEEDS
@pytest.mark.parametrize(
    "order",
    [
        "background last",
        "shifted by one, to the class before",
        "shifted by one, to the class after",
        "alphabetical",
        "alphabetical, ignoring case",
        "numbers sorted as text",
    ],
)
def test_head_in_another_order_than_its_labels_is_found(order, seed):
    network = Network(seed, truth=map_labels(HEAD, order)[0])
    explanation = explained(network)
    assert explanation["named"] == ["label mapping"]
    (repair,) = names_and_values(explanation).values()
    if order.endswith("after"):  # differs from the other by the images of one class
        assert repair in (order, "background last")
    else:
        assert repair == order


@SEEDS
def test_two_faults_are_both_found(seed):
    labels = image_faults.background_last(list(HEAD))
    explanation = explained(Network(seed), labels=labels, published=PUBLISHED | {"do_rescale": False})
    assert set(names_and_values(explanation)) == {"label mapping", "pixel scaling"}


def test_lines_name_the_settings_and_a_few_of_the_labels():
    labels = image_faults.background_last(list(HEAD))
    explanation = explained(Network(0), labels=labels, published=PUBLISHED | {"do_rescale": False})
    text = "\n".join(describe_causes(explanation))
    assert "label mapping -44.00 (background first → name)" in text
    assert "pixel scaling -41.50 (do_rescale=True, rescale_factor=0.003922 → as published)" in text
    assert "labels are permuted: 'goldfish, Carassius auratus' is 'tench, Tinca tinca', " in text
    assert text.endswith(", … 993 more") and len(explanation["moved"]) == 999
