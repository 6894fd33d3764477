"""Which category each output of a detector stands for: by name, by index, or by its boxes."""

import numpy as np
import pytest

from harness.checkpoint import CannotMeasure
from harness.coco_labels import (
    fit_lost_label,
    lost_category,
    map_labels,
    outputs_of_objects,
)

NAMES = {1: "person", 2: "bicycle", 3: "airplane", 5: "tv", 7: "sofa bed"}
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
EIGHTY = {i: f"thing {i}" for i in range(1, 91) if i not in GAPS}
HEAD = [EIGHTY.get(i, "N/A") for i in range(91)]  # as in DETR


def objects(seed: int = 0, per_category: int = 6, share_right: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a sound head of 91 for objects of each category, some of them wrong."""
    rng = np.random.default_rng(seed)
    true = np.repeat(list(EIGHTY), per_category)
    won = np.where(rng.random(len(true)) < share_right, true, rng.choice(list(EIGHTY), len(true)))
    return won, true


# ── By name and by index ──────────────────────────────────────────────────────────────────────────────────


def test_labels_map_by_name_alias_or_index():
    names = ["N/A", "Person", "bicycle", "aeroplane", "tvmonitor", "sofa_bed", "unicorn"]
    order, how = map_labels(names, NAMES)
    assert order == [-1, 1, 2, 3, 5, 7, -1] and how == "by name; not in COCO: 1, such as 'unicorn'"
    with pytest.raises(CannotMeasure, match=r"labels do not match.*'airplane' \(1 of 5"):
        map_labels(["person", "bicycle", "tv", "sofa bed"], NAMES)
    categories = {i: f"thing {i}" for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)}
    order, how = map_labels([f"LABEL_{i}" for i in range(91)], categories)
    assert order[1:13] == [*range(1, 12), -1] and "no names" in how
    assert map_labels([str(i) for i in range(80)], categories)[0] == list(categories)
    with pytest.raises(CannotMeasure, match="20 without names"):
        map_labels([f"LABEL_{i}" for i in range(20)], categories)


def test_named_orders():
    labels = ["N/A", "person", "bicycle", "airplane", "tv", "sofa bed"]
    assert map_labels(labels, NAMES, "shifted by one")[0] == [1, 2, 3, 5, 7, -1]
    assert map_labels([*labels[1:], "N/A"], NAMES, "shifted back by one")[0] == [-1, 1, 2, 3, 5, 7]
    assert map_labels(labels, NAMES, "alphabetical")[0] == [-1, 3, 2, 1, 7, 5]
    assert map_labels(labels[1:], NAMES, "shifted by one")[0] == [2, 3, 5, 7, 1]  # none is lost
    assert map_labels(HEAD, EIGHTY, "index")[0] == map_labels(HEAD, EIGHTY)[0]


# ── By the boxes ──────────────────────────────────────────────────────────────────────────────────────────


def test_boxes_are_asked_only_where_one_name_is_lost():
    assert lost_category(HEAD, EIGHTY, "name") is None
    misspelt = ["thong" if label == "thing 7" else label for label in HEAD]
    assert lost_category(misspelt, EIGHTY, "name") == 7
    assert lost_category(misspelt, EIGHTY, "index") is None
    assert lost_category(misspelt, EIGHTY, tuple(range(91))) is None
    assert (
        lost_category(["thong" if label == "thing 9" else label for label in misspelt], EIGHTY, "name")
        is None
    )
    assert lost_category([f"LABEL_{i}" for i in range(91)], EIGHTY, "name") is None


def test_best_overlapping_detection_wins_an_object():
    def row(image, x, score, output):
        return [image, x, 0, 10, 10, score, output]

    rows = np.array([row(1, 0, 0.5, 3), row(1, 2, 0.9, 4), row(1, 50, 0.99, 5), row(2, 0, 0.2, 6)], float)
    box = {"bbox": [0, 0, 10, 10], "iscrowd": 0}
    targets = {
        1: [
            box | {"category_id": 8},
            box | {"category_id": 9, "iscrowd": 1},
            box | {"category_id": 7, "bbox": [80, 0, 5, 5]},
        ],
        2: [box | {"category_id": 1}],
        3: [box | {"category_id": 2}],
    }
    won, true = outputs_of_objects(rows, targets)
    assert won.tolist() == [4, 6] and true.tolist() == [8, 1]
    assert [values.tolist() for values in outputs_of_objects(rows[:0], targets)] == [[], []]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["thong", "N/A", "thing 8"])
def test_misspelt_name_is_found_from_the_boxes(seed, name):
    """Misspelt, forgotten, or the same as another's."""
    won, true = objects(seed)
    labels = [name if label == "thing 7" else label for label in HEAD]
    order, how = fit_lost_label(labels, EIGHTY, won, true)
    assert order == map_labels(HEAD, EIGHTY)[0]
    assert how.startswith(f"by name; '{name}' stands for 'thing 7': ")


def test_name_of_another_head_is_found_though_no_name_is_in_its_place():
    order = np.random.default_rng(1).permutation(91)
    labels = [HEAD[i] for i in order]
    labels[labels.index("thing 7")] = "thong"
    won, true = objects()
    fitted, _ = fit_lost_label(labels, EIGHTY, np.argsort(order)[won], true)
    assert fitted == [category if category in EIGHTY else -1 for category in order.tolist()]


@pytest.mark.parametrize(
    ("labels", "lost", "how"),
    [
        (["N/A", *HEAD[:-1]], 90, "shifted by one"),
        ([HEAD[0], *HEAD[2:], "N/A"], 1, "index"),
        ([*HEAD[:40], *HEAD[41:], "N/A"], 40, "index"),
    ],
    ids=["shifted, the last is lost", "shifted back, the first is lost", "from one place on"],
)
@pytest.mark.parametrize("seed", range(3))
def test_shifted_names_are_found_from_the_boxes(labels, lost, how, seed):
    won, true = objects(seed)
    assert lost_category(labels, EIGHTY, "name") == lost
    order, note = fit_lost_label(labels, EIGHTY, won, true)
    assert [c if c in EIGHTY else -1 for c in order] == map_labels(HEAD, EIGHTY)[0]
    assert how in note and f"'thing {lost}' is lost" in note


@pytest.mark.parametrize(
    "fault",
    [
        "collapsed",
        "random",
        "random but for the lost",
        "leaning",
        "never said",
        "won by others",
        "one object of two",
        "wins more others",
        "of ten objects one",
    ],
)
@pytest.mark.parametrize("seed", range(10))
def test_no_order_is_guessed_where_the_boxes_are_in_doubt(fault, seed):
    rng = np.random.default_rng(seed)
    won, true = objects(seed)
    labels = ["thong" if label == "thing 7" else label for label in HEAD]
    if fault == "collapsed":
        won = np.full(len(true), rng.choice([7, 1]))
    elif fault == "random":
        won = rng.choice(list(EIGHTY), len(true))
    elif fault == "random but for the lost":
        won = np.where(true == 7, 7, rng.choice(list(EIGHTY), len(true)))
    elif fault == "wins more others":  # 6 of its category, more than chance, and 9 of others
        won = np.where(true == 7, 7, np.where(won == 7, 8, won))
        won[rng.choice(np.flatnonzero(true != 7), 9, replace=False)] = 7
    elif fault == "of ten objects one":
        won = true = np.array([7, *range(13, 22)])
    elif fault == "leaning":
        won = np.where(rng.random(len(true)) < 0.6, 7, won)
    elif fault == "never said":
        won = np.where(won == 7, 8, won)
    elif fault == "won by others":
        won = np.where(true == 7, rng.choice([8, 9], len(true)), won)
    else:  # 2 of 480 objects are of the lost category, and its output wins one of them, and two others
        is_there = (true != 7) | (np.cumsum(true == 7) <= 2)
        won, true = np.where(won == 7, 8, won)[is_there], true[is_there]
        won[np.flatnonzero(true == 7)[:1]] = 7
        won[np.flatnonzero(true == 9)[:2]] = 7
    with pytest.raises(CannotMeasure, match=r"labels do not match.*called 'thing 7'.*do not say plainly"):
        fit_lost_label(labels, EIGHTY, won, true)


def test_category_that_no_box_overlaps_needs_no_output():
    won, true = objects()
    is_other = true != 7
    labels = ["N/A" if label == "thing 7" else label for label in HEAD]
    order, how = fit_lost_label(labels, EIGHTY, won[is_other], true[is_other])
    assert 7 not in order and how == "by name; 'thing 7' has no label, and no box overlaps an object of it"
