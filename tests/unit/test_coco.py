"""COCO: the twelve numbers are those of pycocotools; protocols, labels and missing data."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import detection
from harness import coco, reference
from harness.task import Data
from scored.benchmarks import COCO_METRICS
from scored.files import UserError

NAMES = {1: "person", 2: "bicycle", 3: "airplane", 5: "tv", 7: "sofa bed"}


def generated(n_images=60, seed=0) -> tuple[dict, np.ndarray]:
    """Annotations with crowds, small and large objects, and detections near them, some with equal scores."""
    rng = np.random.default_rng(seed)
    ids, n = rng.permutation(10_000)[:n_images], 8 * n_images
    size = np.exp(rng.normal(4, 1, (n, 2))).clip(3, 300)
    boxes = np.round(np.c_[rng.uniform(0, 300, (n, 2)), size], 2)
    truth = {
        "image_id": rng.choice(ids, n),
        "category_id": rng.choice(list(NAMES), n),
        "bbox": boxes,
        "area": size.prod(1) * 0.7,
        "iscrowd": (rng.random(n) < 0.05).astype(int),
    }
    near = rng.integers(n, size=3 * n)
    rows = np.c_[
        truth["image_id"][near],
        boxes[near] + rng.normal(0, 0.08, (3 * n, 4)) * np.tile(size[near], 2),
        np.round(rng.random(3 * n), 2),
        np.where(rng.random(3 * n) < 0.8, truth["category_id"][near], 1),
    ]
    rows[:, 3:5] = rows[:, 3:5].clip(1)
    return {"ids": ids, "truth": truth}, rows


# ── Scoring against pycocotools ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_generated_sets_score_as_pycocotools_to_the_last_bit(seed):
    made, rows = generated(seed=seed)
    ours = coco.coco_stats(made["ids"], NAMES, made["truth"], rows)
    assert ours.tolist() == reference.coco_stats(made["ids"], NAMES, made["truth"], rows).tolist()
    assert 0.1 < ours[0] < 0.9


@pytest.mark.shared
def test_golden_set_scores_and_prints_as_pycocotools(shared):
    golden = shared / "coco" / "golden"
    content, detected = (
        json.loads((golden / f"{n}.json").read_text()) for n in ("annotations", "detections")
    )
    fields = ("image_id", "category_id", "bbox", "area", "iscrowd")
    truth = {name: np.array([a[name] for a in content["annotations"]]) for name in fields}
    rows = np.array([[d["image_id"], *d["bbox"], d["score"], d["category_id"]] for d in detected])
    given = (
        [i["id"] for i in content["images"]],
        {c["id"]: c["name"] for c in content["categories"]},
        truth,
        rows,
    )
    stats = dict(zip(COCO_METRICS, coco.coco_stats(*given).tolist(), strict=True))
    assert stats == json.loads((golden / "expected.json").read_text())["stats"]
    printed = io.StringIO()
    reference.coco_stats(*given, printed)
    assert coco.twelve_lines(stats) == printed.getvalue()


def test_undefined_number_is_left_out_and_printed_as_minus_one():
    made, rows = generated()
    truth = made["truth"] | {"area": np.full(len(made["truth"]["area"]), 1e5)}
    stats = coco.coco_stats(made["ids"], NAMES, truth, rows)
    assert stats[3] == stats[4] == -1 and stats[5] > 0
    lines = coco.twelve_lines({n: s for n, s in zip(COCO_METRICS, stats, strict=True) if s >= 0})
    assert "area= small | maxDets=100 ] = -1.000" in lines and lines.count("\n") == 12


def test_no_detections_score_zero():
    made, rows = generated()
    assert coco.coco_stats(made["ids"], NAMES, made["truth"], rows[:0]).max() == 0


def test_image_drawn_twice_occurs_twice_in_a_resample():
    made, rows = generated(n_images=25)
    ids, truth = made["ids"], made["truth"]
    stats = coco.resampled(ids, NAMES, truth, rows, 3, seed=7)
    rng = np.random.default_rng(7)
    for got in stats:
        copies, parts = {name: [] for name in truth}, []
        drawn = np.sort(rng.integers(len(ids), size=len(ids))).tolist()
        order = sorted(range(len(ids)), key=lambda i: (drawn[:i].count(drawn[i]), i))
        for new, image in enumerate(ids[[drawn[i] for i in order]], 1):
            mine = truth["image_id"] == image
            for name, values in truth.items():
                copies[name].extend([new] * mine.sum() if name == "image_id" else values[mine])
            part = rows[rows[:, 0] == image].copy()
            part[:, 0] = new
            parts.append(part)
        again = {name: np.array(values) for name, values in copies.items()}
        wanted = reference.coco_stats(range(1, len(ids) + 1), NAMES, again, np.concatenate(parts))
        assert got.tolist() == wanted.tolist()
    assert (coco.resampled(ids, NAMES, truth, rows, 3, seed=7) == stats).all()
    assert (coco.resampled(ids, NAMES, truth, rows, 3, seed=8) != stats).any()


def test_half_sample_scores_as_by_pycocotools():
    made, rows = generated(n_images=25)
    ids, truth = made["ids"], made["truth"]
    stats = coco.half_samples(ids, NAMES, truth, rows, 3, seed=7)
    rng = np.random.default_rng(7)
    for got in stats:
        half = np.sort(rng.choice(ids, 12, replace=False))
        part = {name: values[np.isin(truth["image_id"], half)] for name, values in truth.items()}
        wanted = reference.coco_stats(half, NAMES, part, rows[np.isin(rows[:, 0], half)])
        assert got.tolist() == wanted.tolist()
    assert (coco.half_samples(ids, NAMES, truth, rows, 3, seed=8) != stats).any()


def test_interval_by_hand():
    draws = np.r_[np.linspace(0.4, 0.6, 41), np.nan]  # percentiles 0.405 and 0.595, mirrored at the number
    assert coco.interval(0.48, draws) == pytest.approx([0.365, 0.555])
    assert coco.interval(0.25, draws) == pytest.approx([0.0, 0.095])
    assert coco.interval(0.75, draws) == pytest.approx([0.905, 1.0])


def test_interval_is_given_only_where_its_coverage_was_shown(monkeypatch):
    made, rows = generated()
    monkeypatch.setattr(coco, "MIN_IMAGES", coco.MIN_IMAGES | {"AR1": 60, "APs": None})
    metrics = {"AP": 0.5, "AR1": 0.4, "APs": 0.3}
    intervals, methods = coco.intervals(metrics, made["ids"], NAMES, made["truth"], rows)
    assert list(intervals) == ["AR1"] and intervals["AR1"][0] < intervals["AR1"][1]
    assert methods["AR1"] == "200 half-samples of the images, mirrored at the value"
    assert methods["AP"] == "none: on fewer than 5,000 images they are not shown to hold the true value"
    assert methods["APs"] == "none: in simulations too few of them held the true value"


# ── Protocols ─────────────────────────────────────────────────────────────────────────────────────────────


def predictions(boxes: list, labels: list, scores: list) -> pa.Table:
    """Saved predictions, one list per image; boxes as flat x0, y0, x1, y1."""
    whole = {
        "labels": pa.array(labels, pa.list_(pa.int32())),
        "scores": pa.array(scores, pa.list_(pa.float32())),
        "boxes": pa.array(boxes, pa.list_(pa.float32())),
    }
    return pa.table(
        whole | {f"turned_{name}": pa.nulls(len(boxes), values.type) for name, values in whole.items()}
    )


def from_truth(data: Data) -> tuple[pa.Table, dict]:
    """A model whose outputs are the ground truth, crowds too."""
    categories = data.split_facts["categories"]
    place = {category: i for i, category in enumerate(categories)}
    corners = [[[x, y, x + w, y + h] for a in m for x, y, w, h in [a["bbox"]]] for m in data.targets]
    table = predictions(
        [[v for box in image for v in box] for image in corners],
        [[place[a["category_id"]] for a in m] for m in data.targets],
        [[0.9] * len(m) for m in data.targets],
    )
    return table, {"labels": list(categories.values())}


@pytest.mark.shared
def test_ground_truth_scores_one_and_rounded_boxes_less(shared):
    data = detection.load_data(shared / "coco", "validation")
    assert any(a["iscrowd"] for m in data.targets for a in m) and len(data.examples) == 40
    table, facts = from_truth(data)
    exact = detection.score(table, data, detection.PROTOCOLS["standard"], facts)
    rounded = detection.score(table, data, detection.PROTOCOLS["scored-2022"], facts)
    assert exact["metrics"]["AP"] == 1 and "AP" not in exact["intervals"]  # 40 images are too few
    assert 0.8 < rounded["metrics"]["AP"] < 0.999 and rounded["metrics"]["AP50"] > rounded["metrics"]["AP"]


def test_threshold_rounding_and_turned_views_by_hand():
    table = predictions([[1.6, 2.4, 9.9, -0.5, 0, 0, 5, 5]], [[0, 1]], [[0.5, 0.625]])
    kinds = {n: table[n].type for n in ("labels", "scores", "boxes")}
    turned = {"labels": [[1]], "scores": [[0.75]], "boxes": [[0, 0, 2.5, 3.5]]}
    both = table
    for name, kind in kinds.items():
        both = both.set_column(
            both.column_names.index(f"turned_{name}"), f"turned_{name}", pa.array(turned[name], kind)
        )
    data = Data("validation", "", "", [(42, "", 1, 1)], [[]], 1)

    def rows(table, protocol, category=(3, 5)):
        return detection.detections(table, data, protocol, category).round(3).tolist()

    standard, study = detection.PROTOCOLS["standard"], detection.PROTOCOLS["scored-2022"]
    assert rows(table, standard) == [[42, 1.6, 2.4, 8.3, -2.9, 0.5, 3], [42, 0, 0, 5, 5, 0.625, 5]]
    assert rows(table, study) == [[42, 0, 0, 5, 5, 0.625, 5]]  # a score of 0.5 is not above 0.5
    assert rows(table, detection.Protocol(0.0, "int", exif=True))[0] == [42, 1, 2, 8, -2, 0.5, 3]
    assert rows(table, standard, (-1, 5)) == [[42, 0, 0, 5, 5, 0.625, 5]]
    assert rows(both, standard) == rows(table, standard)
    assert rows(both, study) == [[42, 0, 0, 2, 3, 0.75, 5]]


def test_standard_keeps_a_score_of_exactly_0_as_pycocotools_does():
    table = predictions([[0, 0, 10, 10, 20, 20, 40, 40]], [[0, 1]], [[0.0, 0.5]])
    box = {"bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0, "category_id": 1}
    facts = {"labels": ["person", "bicycle"]}
    two = {1: "person", 2: "bicycle"}
    data = Data("validation", "", "", [(42, "", 50, 50)], [[box]], 1, {"categories": two})
    standard = detection.PROTOCOLS["standard"]
    scored = detection.score(table, data, standard, facts)
    assert scored["metrics"]["AP"] == pytest.approx(1) and scored["detections"] == 2
    assert detection.reference_scores(table, data, standard, facts)["AP"] == scored["metrics"]["AP"]
    just_above = replace(standard, threshold=1e-9)
    assert detection.score(table, data, just_above, facts)["metrics"]["AP"] == 0


def test_only_the_best_detections_of_each_image_are_kept():
    table = predictions(
        [[0, 0, 1, 1] * 3, [], [5, 5, 6, 6] * 2], [[0, 1, 0], [], [1, 1]], [[0.3, 0.9, 0.5], [], [0.1, 0.2]]
    )
    data = Data("validation", "", "", [(1, "", 9, 9), (2, "", 9, 9), (3, "", 9, 9)], [[], [], []], 3)
    protocol = replace(detection.PROTOCOLS["standard"], max_detections=1)
    assert detection.detections(table, data, protocol, (3, 5))[:, [0, 5]].round(3).tolist() == [
        [1, 0.9],
        [3, 0.2],
    ]
    best_of_one_class = detection.detections(table, data, protocol, (3, -1))
    assert best_of_one_class.tolist() == []  # the best is counted before those of no category are left out
    two = replace(protocol, max_detections=2)
    assert detection.detections(table, data, two, (3, 5))[:, 5].round(3).tolist() == [0.9, 0.5, 0.1, 0.2]


def test_missing_data_is_reported_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"instances_val2017.json is missing.*val2017.zip"):
        detection.load_data(tmp_path, "validation")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    content = {"images": [{"id": 1, "file_name": "a.jpg", "height": 1, "width": 1}], "annotations": []}
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not a COCO annotation file"):
        detection.load_data(tmp_path, "validation")
    file.write_text(json.dumps(content | {"categories": []}))
    with pytest.raises(UserError, match="1 of 1 images are missing"):
        detection.load_data(tmp_path, "validation")
