"""ImageNet-1k: labels mapped to classes, accuracy by hand, each layout of the validation set."""

import random

import pyarrow as pa
import pytest

import image_classification as ic
from harness.checkpoint import CannotMeasure
from harness.imagenet import map_labels, synsets
from harness.task import Data
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
