"""Faults of image classifiers end to end, and orders of labels that are fitted to many answers."""

import numpy as np
import pytest

import image_faults
from faults import claiming, faulty
from image_faults import head_permuted, preprocessing, relabeled, reweighted
from simulated_images import TWENTY_OF_EACH_CLASS, Network, explained, leaning, names_and_values, untrained

MANY = TWENTY_OF_EACH_CLASS
FEW = ("--seen", "standard", "--limit", "100")  # images
SOUND = 0.88  # accuracy of the model on these images, without a fault


@pytest.mark.parametrize("head", [leaning, untrained])
def test_broken_head_is_not_explained_by_an_order_fitted_to_its_answers(head):
    explanation = explained(Network(0, MANY), head=head)
    assert (explanation["causes"], explanation["named"]) == ([], ["unexplained"])


def test_shuffled_labels_are_found_from_the_answers():
    truth = np.random.default_rng(0).permutation(1001) - 1
    explanation = explained(Network(0, MANY, truth=truth.tolist()))
    assert explanation["named"][0] == "label mapping"
    (order,) = names_and_values(explanation).values()
    assert np.mean(np.array(order) == truth) > 0.95


# ── End to end ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def explain_copy(shared, explain_here, tmp_path):
    """Return a function (claimed accuracy, *faults) -> the explanation of a copy of the model with faults."""

    def call(claimed: float, *faults) -> dict:
        claim = claiming("accuracy", claimed, "imagenet-1k")
        model = faulty(shared / "models" / "mobilenet-v2", tmp_path / "copy", claim, *faults)
        return explain_here(model, shared / "imagenet", *FEW)

    return call


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "causes"),
    [
        ([preprocessing(do_rescale=False, do_normalize=False)], {"pixel scaling"}),
        ([reweighted(image_faults.swapped_channels)], {"channel order"}),
        ([relabeled(image_faults.background_last)], {"label mapping"}),
        ([head_permuted(image_faults.shifted)], {"label mapping"}),
        ([preprocessing(**image_faults.IMAGENET)], {"mean/std"}),
        ([preprocessing(**image_faults.HALF_SIZE)], {"resize and crop"}),
        (
            [preprocessing(**image_faults.IMAGENET), relabeled(image_faults.shifted)],
            {"mean/std", "label mapping"},
        ),
        (
            [preprocessing(do_rescale=False), relabeled(image_faults.shifted)],
            {"pixel scaling", "label mapping"},
        ),
    ],
    ids=[
        "bytes",
        "channels",
        "background last",
        "shifted head",
        "mean and std",
        "size",
        "mean, labels",
        "scale, labels",
    ],
)
def test_fault_of_an_image_classifier_is_named_and_nothing_else(explain_copy, faults, causes):
    explanation = explain_copy(SOUND, *faults)
    assert set(explanation["named"]) == causes
    assert abs(explanation["unexplained_points"]) < 1e-9


@pytest.mark.shared
@pytest.mark.parametrize(
    "weights",
    [image_faults.noise(0.05), image_faults.untrained, image_faults.leaning, image_faults.lost_statistics],
    ids=["noise", "untrained", "leaning", "statistics"],
)
def test_weights_are_not_explained_by_preprocessing_or_labels(explain_copy, weights):
    explanation = explain_copy(SOUND, reweighted(weights))
    assert explanation["verdict"] == "overstated"
    assert (explanation["causes"], explanation["named"]) == ([], ["unexplained"])


@pytest.mark.shared
def test_claim_below_the_truth_has_no_cause(explain_copy):
    explanation = explain_copy(SOUND - 0.12)
    assert explanation["verdict"] == "understated"
    assert explanation["causes"] == [] and explanation["forward_passes"] == 1
