"""ImageNet-1k: labels mapped to classes, accuracy by hand, each layout of the validation set."""

import random

import pyarrow as pa
import pytest

import image_classification as ic
from harness.checkpoint import CannotMeasure
from harness.imagenet import ORDERS, map_labels, other_orders, synsets
from harness.task import Data, Outputs
from pictures import jpeg, write_parquet
from scored.files import UserError

NAMES = list(synsets().values())
FIRST = [names.split(", ")[0] for names in NAMES]


@pytest.mark.parametrize(
    "labels",
    [NAMES, FIRST, [n.replace(" ", "_") for n in FIRST], [n.upper() for n in FIRST], list(synsets())],
    ids=["full lists", "first names", "underscores", "capitals", "wnids"],
)
def test_labels_in_canonical_order_map_by_name(labels):
    assert map_labels(labels) == (list(range(1000)), "by name")
    assert map_labels(["background", *labels])[0] == [-1, *range(1000)]


def test_labels_in_any_order_map_by_name():
    order = random.Random(0).sample(range(1000), 1000)
    for names in (NAMES, FIRST):
        classes, _ = map_labels([names[i] for i in order])
        # what two synsets are both called goes to them in index order; every other label is exact
        doubtful = {134, 517} if names is NAMES else {134, 517, 264, 474, 638, 639}
        assert [f for f, i in zip(classes, order, strict=True) if i not in doubtful] == [
            i for i in order if i not in doubtful
        ]
        assert sorted(classes) == list(range(1000))
    assert classes.index(134) < classes.index(517)


def test_names_of_two_synsets_are_told_apart():
    assert [i for i, name in enumerate(FIRST) if name.casefold() in ("crane", "maillot", "cardigan")] == [
        134,
        264,
        474,
        517,
        638,
        639,
    ]
    assert NAMES[638:640] == ["maillot", "maillot, tank suit"]
    swapped = [*NAMES[:638], NAMES[639], NAMES[638], *NAMES[640:]]
    assert map_labels(swapped)[0][638:640] == [639, 638]  # the full lists tell them apart


def test_labels_without_names_go_by_index_and_say_so():
    classes, how = map_labels([f"LABEL_{i}" for i in range(1000)])
    assert classes == list(range(1000)) and "no names" in how
    classes, how = map_labels([f"LABEL_{i}" for i in range(1001)])
    assert classes == list(range(-1, 1000)) and "background" in how
    assert map_labels(NAMES[::-1], "index")[0] == list(range(1000))


def test_a_few_unknown_labels_are_placed_by_their_neighbors():
    labels = [*NAMES[:7], "a fowl of no name", *NAMES[8:]]
    assert map_labels(labels) == (list(range(1000)), "by name, 1 of them by position among the others")
    with pytest.raises(CannotMeasure, match="output 7, 'a fowl of no name'"):
        map_labels([*labels[500:], *labels[:500]][500:] + labels[501:] + labels[500:501])


@pytest.mark.parametrize(
    "labels",
    [
        NAMES[:999],
        [*NAMES[:500], *(f"thing {i}" for i in range(500))],
        [*NAMES[:999], NAMES[0]],
        ["cat", "dog"],
    ],
)
def test_labels_that_cannot_be_mapped_are_refused(labels):
    with pytest.raises(CannotMeasure, match="labels do not match"):
        map_labels(labels)


@pytest.mark.parametrize(
    ("labels", "first", "last"),
    [
        (["background", *NAMES[:999]], -1, 998),
        ([*NAMES[1:], "background"], 1, -1),
        ([*NAMES[1:], NAMES[999]], 1, -1),
        ([NAMES[0], *NAMES[:999]], -1, 998),
        (["background", *NAMES[1:], NAMES[999]], -1, -1),
        ([*NAMES[:500], *NAMES[501:], "LABEL_999"], 0, -1),
        ([*NAMES[:500], *NAMES[501:], NAMES[999]], 0, -1),
        ([*NAMES[:7], "a fowl of no name", *NAMES[8:], "background"], 0, -1),
    ],
    ids=[
        "background for one",
        "for the last",
        "last twice",
        "first twice",
        "of 1001",
        "without 500",
        "999 for 500",
        "misspelt",
    ],
)
def test_shifted_labels_of_which_one_is_lost_are_taken_as_they_stand(labels, first, last):
    classes, how = map_labels(labels)
    assert (classes[0], classes[-1]) == (first, last) and "by position among the others" in how
    assert len({index for index in classes if index >= 0}) == sum(index >= 0 for index in classes)


def test_other_orders_of_the_labels():
    numbers = sorted(str(i) for i in range(1000))
    assert map_labels(NAMES, "numbers sorted as text")[0] == [int(number) for number in numbers]
    names = [name.split(",")[0] for name in NAMES]
    classes, how = map_labels(NAMES, "alphabetical")
    assert [names[i] for i in classes] == sorted(names) and how == "alphabetical"
    folded = map_labels(NAMES, "alphabetical, ignoring case")[0]
    assert sorted(folded) == sorted(classes) == list(range(1000)) and folded != classes
    head = ["background", *NAMES]
    assert map_labels(head, "background last")[0] == [*range(1000), -1]
    assert map_labels(head, "alphabetical")[0] == [-1, *classes]
    assert map_labels(NAMES, "shifted by one, to the class before")[0] == [999, *range(999)]
    assert map_labels(head, "shifted by one, to the class after")[0] == [-1, *range(1, 1000), 0]
    assert map_labels([*NAMES, "background"], "background first")[0] == [-1, *range(1000)]


@pytest.mark.parametrize(
    ("labels", "canonical"),
    [
        (NAMES, None),
        (["background", *NAMES], None),
        ([f"LABEL_{i}" for i in range(1001)], None),
        ([*NAMES, "background"], "background first"),
        (["background", *NAMES[:999]], "no background"),
        (sorted(NAMES), "index"),
        ([*NAMES[1:], NAMES[0]], "index"),
    ],
    ids=["names", "background first", "numbers", "last", "none", "alphabetical", "shifted"],
)
def test_only_orders_that_differ_are_tried(labels, canonical):
    names = other_orders(labels)
    orders = [map_labels(labels)[0], *(map_labels(labels, name)[0] for name in names)]
    assert len(orders) == len({tuple(order) for order in orders})
    assert set(names) <= set(ORDERS) and "shifted by one, to the class after" in [*names, canonical]
    if canonical is None:
        assert not {"index", "background first", "no background"} & set(names)
    else:
        assert names[0] == canonical and orders[1] == map_labels(labels, "index")[0]


# ── Metric, by hand ───────────────────────────────────────────────────────────────────────────────────────


def test_accuracy_by_hand():
    head = ["background", *NAMES]
    rows = [[5, 1, 2, 3, 4, 9], [1, 5, 2, 3, 4, 9], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4]]
    kind = pa.list_(pa.int32())
    table = pa.table(
        {"classes": pa.array(rows, kind), "turned_classes": pa.array([None, rows[0], None, None], kind)}
    )
    data = Data("validation", "", "", range(4), [4, 4, 4, 4], 4)
    plain = ic.score(table, data, ic.PROTOCOLS["standard"], {"labels": head})
    assert plain["metrics"] == {"accuracy": 0.25, "accuracy-top5": 0.75} and plain["turned_by_exif"] == 1
    assert plain["intervals"]["accuracy"] == pytest.approx([0.0456, 0.6994], abs=1e-4)
    turned = ic.score(table, data, ic.PROTOCOLS["scored-2022"], {"labels": head})
    assert turned["metrics"] == {"accuracy": 0.5, "accuracy-top5": 0.75}


def test_p_value_is_of_the_images_on_which_two_orders_differ():
    """With the labels shifted by one, 8 images become right and 1 wrong: McNemar's p = 2 (1 + 9) / 2^9."""
    outputs = [5] * 8 + [6] + [7] * 11  # the labels say class 5, 6 and 7
    targets = [6] * 8 + [6] + [9] * 11
    rows = [[output, *range(100, 109)] for output in outputs]
    kind = pa.list_(pa.int32())
    nothing = pa.array([None] * len(rows), kind)
    table = pa.table({"classes": pa.array(rows, kind), "turned_classes": nothing})
    data, facts = Data("validation", "", "", range(20), targets, 20), {"labels": NAMES}
    shifted = ic.Protocol(exif=False, labels="shifted by one, to the class after")
    before = Outputs(table, data, ic.PROTOCOLS["standard"], facts)
    after = Outputs(table, data, shifted, facts)
    for metric in ("accuracy", "accuracy-top5"):
        assert ic.p_value(before, after, metric) == pytest.approx(2 * (1 + 9) / 2**9)
    assert ic.p_value(before, before, "accuracy") == 1


def test_each_layout_gives_the_same_examples(tmp_path):
    wnids = [list(synsets())[i] for i in (65, 970, 230)]
    flat, folders, hub = tmp_path / "a" / "flat", tmp_path / "b", tmp_path / "c" / "data"
    for place in (flat, hub, *(folders / wnid for wnid in wnids)):
        place.mkdir(parents=True)
    stems = [f"ILSVRC2012_val_{n:08}" for n in (1, 2, 3)]
    for n, (stem, wnid) in enumerate(zip(stems, wnids, strict=True)):
        for file in (flat / f"{stem}.JPEG", folders / wnid / f"{stem}.JPEG"):
            file.write_bytes(jpeg(seed=n))
    answers = {
        "val.txt": "".join(f"{s}.JPEG {i}\n" for s, i in zip(stems, (65, 970, 230), strict=True)),
        "LOC_val_solution.csv": "ImageId,PredictionString\n"
        + "".join(f"{s},{w} 1 2 3 4 {w} 5 6 7 8 \n" for s, w in zip(stems, wnids, strict=True)),
        "ILSVRC2012_validation_ground_truth.txt": "490\n361\n171\n",
    }
    with pytest.raises(UserError, match=r"neither <wnid>/ folders nor a file with answers.*val.txt"):
        ic.load_data(flat, "validation")
    for name, text in answers.items():
        (flat.parent / name).write_text(text)
        if name.startswith("ILSVRC"):
            with pytest.raises(UserError, match=r"map_clsloc.txt"):
                ic.load_data(flat, "validation")
            (flat.parent / "map_clsloc.txt").write_text(
                f"{wnids[0]} 490 sea_snake\n{wnids[1]} 361 alp\n{wnids[2]} 171 Shetland_sheepdog\n"
            )
        data = ic.load_data(flat, "validation")
        assert data.targets == [65, 970, 230]
        (flat.parent / name).unlink()
    nested = ic.load_data(folders, "validation")
    assert sorted(nested.targets) == [65, 230, 970] and nested.source == "local folder, 3 images"

    write_parquet(hub)
    parquet = ic.load_data(tmp_path / "c", "validation")
    assert parquet.targets == [65, 970, 230]
    assert [ic.read(e) for e in parquet.examples] == [ic.read(e) for e in data.examples]

    before = nested.revision
    (folders / wnids[0] / f"{stems[0]}.JPEG").write_bytes(jpeg(seed=9))
    assert ic.load_data(folders, "validation").revision != before
    (folders / "n99999999").mkdir()
    with pytest.raises(UserError, match="n99999999 is not one of the 1,000 synsets"):
        ic.load_data(folders, "validation")
