"""Compare two models' saved predictions of the same examples: a metric, and the answers that flipped.

Used by compare.py.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from harness.task import Data, Task
from scored.benchmarks import COCO_METRICS
from scored.files import UserError
from scored.paired import PairedDifference, compare_draws, compare_proportions

DRAWS = {"f1": 2000, "AP": 200}  # of the examples, for the intervals of F1 and of COCO's numbers
DETECTED = 0.5  # score from which a detection counts in the list of flips


@dataclass(frozen=True)
class Saved:
    """Saved predictions: their table, and the record of what produced them."""

    path: Path
    table: object  # pyarrow.Table
    record: dict

    @property
    def name(self) -> str:
        """The model and what tells it from others: its revision."""
        return f"{self.record['model']}@{self.record['revision'].removeprefix('sha256:')[:12]}"


@dataclass(frozen=True)
class Examples:
    """What A and all B are compared on: examples, a protocol and a metric."""

    task: Task
    data: Data
    protocol: object
    metric: str
    margin: float  # as a fraction


# ── Classifiers ─────────────────────────────────────────────────────────────────────────────────────────────


def classes_of(saved: Saved, examples: Examples):
    """Return the predicted and the true class of each example: two arrays (n)."""
    import numpy as np

    task, facts = examples.task, saved.record["about"]
    outputs, true, order = task.predicted_and_true(saved.table, examples.data, examples.protocol, facts)
    return np.array(order)[outputs], true


def compare_f1(first, second, true, examples: Examples) -> PairedDifference:
    """Compare F1s by draws of the texts: of the cells (true, first, second) of their joint confusions."""
    import numpy as np

    from sentiment_analysis import LABELS, metrics_of

    size = len(LABELS)
    joint = np.zeros((size, size, size), int)
    np.add.at(joint, (true, first, second), 1)
    n = len(true)
    draws = np.random.default_rng(0).multinomial(n, joint.ravel() / n, size=DRAWS["f1"])
    draws = draws.reshape(-1, size, size, size)
    values = []
    for axis in (-1, -2):  # summing over the second leaves the first, and the reverse
        values += [float(metrics_of(joint.sum(axis))[examples.metric])]
        values += [metrics_of(draws.sum(axis))[examples.metric]]
    return compare_draws(values[0], values[2], values[1], values[3], n, examples.margin)


def top5_hits(saved: Saved, true, examples: Examples):
    """Return for each image whether its class is among the five best: array (n)."""
    import numpy as np

    from image_classification import ranked_outputs

    task, facts = examples.task, saved.record["about"]
    _, _, order = task.predicted_and_true(saved.table, examples.data, examples.protocol, facts)
    ranked = np.array(order)[ranked_outputs(saved.table, examples.protocol)]
    return (ranked[:, :5] == np.asarray(true)[:, None]).any(1)


def compare_classes(first: Saved, second: Saved, examples: Examples) -> tuple[PairedDifference, list[str]]:
    """Compare classifiers; also list the examples with another class."""
    before, true = classes_of(first, examples)
    after, _ = classes_of(second, examples)
    if examples.metric == "accuracy":
        difference = compare_proportions(before == true, after == true, examples.margin)
    elif examples.metric == "accuracy-top5" and examples.task.dataset == "imagenet-1k":
        hits = [top5_hits(saved, true, examples) for saved in (first, second)]
        difference = compare_proportions(*hits, examples.margin)
    elif examples.metric.startswith("f1-") and examples.task.dataset == "emotion":
        difference = compare_f1(before, after, true, examples)
    else:
        raise UserError(f"--metric {examples.metric} cannot be compared on {examples.task.dataset}")
    names, flips = examples.task.class_names(examples.data), []
    for index in (before != after).nonzero()[0]:
        change = {(True, False): "lost", (False, True): "gained"}
        word = change.get((before[index] == true[index], after[index] == true[index]), "wrong in both")
        classes = [str(names.get(int(values[index]), "none")) for values in (true, before, after)]
        number = examples.data.indices[index]
        flips.append(f"example {number}, {classes[0]}: {classes[1]} → {classes[2]}  {word}")
    return difference, flips


# ── Detectors ────────────────────────────────────────────────────────────────────────────────────────────


def compare_boxes(first: Saved, second: Saved, examples: Examples) -> tuple[PairedDifference, list[str]]:
    """Compare detectors by draws of the images; also list the images with other objects detected."""
    from detection import scoring_inputs
    from harness import coco

    if examples.metric not in COCO_METRICS:
        raise UserError(f"--metric must be one of {', '.join(COCO_METRICS)}, not {examples.metric}")
    place, values, draws, detected = COCO_METRICS.index(examples.metric), [], [], []
    for saved in (first, second):
        inputs, _ = scoring_inputs(saved.table, examples.data, examples.protocol, saved.record["about"])
        values.append(float(coco.coco_stats(*inputs)[place]))
        draws.append(coco.resampled(*inputs, DRAWS["AP"])[:, place])
        detected.append(objects_detected(inputs[2], inputs[3]))
    difference = compare_draws(*values, *draws, len(inputs[0]), examples.margin)
    flips = []
    for image in inputs[0]:
        lost, gained = (len(detected[i][image] - detected[1 - i][image]) for i in (0, 1))
        if lost or gained:
            flips.append(f"image {image}: {lost} objects lost, {gained} gained")
    return difference, flips


def objects_detected(truth: dict, rows) -> dict[int, set[int]]:
    """Find each image's objects that a sure detection of their class overlaps by half (IoU)."""
    from harness.coco_labels import overlaps_by_half

    places = defaultdict(list)
    for place, row in enumerate(rows):
        if row[5] >= DETECTED:
            places[int(row[0]), int(row[6])].append(place)
    detected = defaultdict(set)
    for place, box in enumerate(truth["bbox"]):
        image, category = int(truth["image_id"][place]), int(truth["category_id"][place])
        if overlaps_by_half(rows[places[image, category]], box).any():
            detected[image].add(place)
    return detected
