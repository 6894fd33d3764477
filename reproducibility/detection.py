"""Object detection on COCO 2017: the twelve COCO numbers of a model on val2017.

Reads the model, the images and their official annotations; writes results/COCO/ and predictions/.

    python reproducibility/detection.py facebook/detr-resnet-50 --data FOLDER
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import coco, images, reference
from harness.checkpoint import CannotMeasure
from harness.runner import main
from harness.task import Data, Task
from scored.benchmarks import COCO_METRICS, benchmark_named
from scored.files import UserError

COCO = benchmark_named("coco")
RESAMPLES = 200  # draws of the images for the intervals
DATA_HELP = (
    "val2017/*.jpg and the official annotation file annotations/instances_val2017.json, unpacked from "
    "val2017.zip (0.8 GB) and annotations_trainval2017.zip of https://cocodataset.org/#download"
)
NEEDED = f"--data must hold {DATA_HELP}"
ALIASES = {  # Darknet's and Pascal VOC's names for categories of COCO
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}


@dataclass(frozen=True)
class Protocol:
    """Every choice between the weights and the twelve numbers."""

    threshold: float  # keep detections that score more
    boxes: str  # "float", or "int": corners cut to whole pixels, as the pipeline of transformers returns them
    exif: bool  # turn images by their EXIF tag, as pipelines do and the reference loaders do not
    labels: str | tuple = "name"  # match categories by the label's name or its index in the head, or as given
    preprocessing: dict = field(default_factory=dict)  # settings that replace the published ones
    split: str | None = None


PROTOCOLS = {
    "standard": Protocol(threshold=0.0, boxes="float", exif=False),
    "scored-2022": Protocol(threshold=0.5, boxes="int", exif=True),
}


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────────────


def map_labels(
    labels: Sequence[str], categories: dict[int, str], how: str | tuple = "name"
) -> tuple[list[int], str]:
    """Map each output of a head to its COCO category id (-1: none), and say how.

    `N/A` and names outside COCO stand for none. Labels without names (LABEL_0, 0) go by index. `how` is
    "name", "index", or a given order. Raises CannotMeasure if a category has no label.
    """
    if not isinstance(how, str):
        return list(how), "in a given order"
    is_numbered = all(re.fullmatch(r"(LABEL_)?\d+", label) for label in labels)
    if how == "index" or is_numbered:
        order, note = _map_by_index(len(labels), categories)
        return order, note + (", for the labels have no names" if is_numbered else "")
    category_of = {_key(name): category for category, name in categories.items()}
    for alias, name in ALIASES.items():
        if _key(name) in category_of:
            category_of[_key(alias)] = category_of[_key(name)]
    order = [category_of.get(_key(label), -1) for label in labels]
    lost = [name for category, name in categories.items() if category not in order]
    if lost:
        names = ", ".join(map(repr, lost[:3]))
        raise CannotMeasure(
            f"labels do not match: none of the {len(labels)} is called {names}"
            f" ({len(lost)} of {len(categories)} categories have no label)"
        )
    matches = zip(labels, order, strict=True)
    others = [label for label, category in matches if category < 0 and _key(label) != "na"]
    note = f"; not in COCO: {len(others)}, such as {others[0][:40]!r}" if others else ""
    return order, f"by name{note}"


def _map_by_index(outputs: int, categories: dict[int, str]) -> tuple[list[int], str]:
    """Map 91 outputs to category ids, as in DETR, and 80 to the categories in order."""
    ids = sorted(categories)
    if outputs == len(ids) == 80:
        return ids, "by index among the categories"
    if outputs <= ids[-1]:
        raise CannotMeasure(f"labels do not match: {outputs} without names are not COCO's 80 or 91")
    category_of = dict.fromkeys(range(outputs), -1) | {category: category for category in ids}
    return [category_of[output] for output in range(outputs)], "by index as category id"


def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def load_data(path: Path | None, split: str) -> Data:
    """Load val2017: examples are (id, path, height, width) in the file's order, targets annotations.

    Raises UserError without the official annotation file, which the Hub's copies of COCO do not replace.
    """
    if path is None:
        raise UserError(NEEDED)
    file, folder = path / "annotations" / "instances_val2017.json", path / "val2017"
    for needed in (file, folder):
        if not needed.exists():
            raise UserError(f"{needed} is missing. {NEEDED}")
    try:
        pictures, categories, targets = coco.read_annotations(file)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not a COCO annotation file: {error}. {NEEDED}") from None
    examples = []
    for picture in pictures:
        name = str(folder / Path(picture["file_name"]).name)
        examples.append((picture["id"], name, picture["height"], picture["width"]))
    files = [Path(name) for _, name, *_ in examples]
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise UserError(f"{len(missing)} of {len(files)} images are missing, such as {missing[0]}. {NEEDED}")
    ids = image_ids(examples)
    revision, hashes = images.content_revision(files, targets, ids, sorted(categories.items()))
    source = f"local folder, {len(files):,} images"
    facts = {"categories": categories}
    return Data(split, revision, source, examples, targets, COCO.splits[split], facts, hashes=hashes)


def image_ids(examples: Sequence[tuple]) -> list[int]:
    """Return the id of each image."""
    return [image for image, *_ in examples]


def order_by_shape(data: Data) -> list[int]:
    """Order the images so that those of like shape follow each other and fill batches."""
    shapes = [(width / max(height, 1), height) for _, _, height, width in data.examples]
    return sorted(range(len(shapes)), key=shapes.__getitem__)


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


def load_model(folder: Path, device, dtype) -> images.Model:
    """Load the detector with its own preprocessing, run by Pillow. Raises CannotMeasure."""
    from transformers import AutoModelForObjectDetection

    return images.load(AutoModelForObjectDetection, folder, device, dtype)


def predict(model: images.Model, data: Data, protocol: Protocol, batch_size: int) -> Iterator:
    """Yield each query's best class but "no object", its score and box (x0, y0, x1, y1 in pixels)."""
    import torch

    def forward(batch: Sequence) -> list[dict]:
        outputs = images.run(model.net, batch)
        for name in ("logits", "pred_boxes"):
            outputs[name] = outputs[name].float().cpu()
        sizes = torch.tensor([size for _, size in batch])
        detected = model.processor.post_process_object_detection(outputs, threshold=-1.0, target_sizes=sizes)
        names = ("labels", "scores", "boxes")
        return [{name: image[name].flatten().numpy() for name in names} for image in detected]

    yield from images.batches(
        lambda index: Path(data.examples[index][1]).read_bytes(),
        range(len(data.examples)),
        lambda image: images.tensors(image, model, protocol.preprocessing),
        forward,
        model.net.device,
        batch_size,
        {"labels": "int32", "scores": "float32", "boxes": "float32"},
    )


# ── Metric ────────────────────────────────────────────────────────────────────────────────────────────────


def detections(table, data: Data, protocol: Protocol, order: Sequence[int]):
    """Apply a protocol to saved predictions: array (n, 7) of image id, x, y, width, height, score, category.

    `order` gives the category of each output; detections of none (-1) are left out.
    """
    import numpy as np

    labels, counts = images.column_for_view(table, "labels", protocol.exif)
    scores, _ = images.column_for_view(table, "scores", protocol.exif)
    boxes, _ = images.column_for_view(table, "boxes", protocol.exif)
    boxes = boxes.reshape(-1, 4)
    if protocol.boxes == "int":
        boxes = np.trunc(boxes)
    boxes = boxes.astype(float)
    ids = np.repeat(image_ids(data.examples), counts)
    sizes = boxes[:, 2:] - boxes[:, :2]
    rows = np.column_stack([ids, boxes[:, :2], sizes, scores.astype(float), np.array(order)[labels]])
    return rows[(scores > np.float32(protocol.threshold)) & (rows[:, 6] >= 0)]


def scoring_inputs(table, data: Data, protocol: Protocol, order: Sequence[int]) -> tuple:
    """Return what COCO's scorers need: image ids, category names, annotations, detections."""
    ids = image_ids(data.examples)
    truth = coco.annotation_columns(ids, data.targets)
    return ids, data.split_facts["categories"], truth, detections(table, data, protocol, order)


def score(table, data: Data, protocol: Protocol, model_facts: dict) -> dict:
    """Compute the twelve numbers with intervals; a number that no object defines is left out."""
    import numpy as np

    order, how = map_labels(model_facts["labels"], data.split_facts["categories"], protocol.labels)
    inputs = scoring_inputs(table, data, protocol, order)
    draws = coco.resampled(*inputs, RESAMPLES)
    metrics, intervals = {}, {}
    for number, (name, stat) in enumerate(zip(COCO_METRICS, coco.coco_stats(*inputs), strict=True)):
        if stat < 0:
            continue
        metrics[name] = float(stat)
        if np.isfinite(draws[:, number]).any():
            intervals[name] = coco.interval(float(stat), draws[:, number])
    method = f"image bootstrap, {RESAMPLES} resamples, bias-corrected percentiles"
    return {
        "metrics": metrics,
        "intervals": intervals,
        "interval_method": dict.fromkeys(metrics, method),
        "labels": how,
        "detections": len(inputs[-1]),
        "turned_by_exif": images.count_rotated(table, "labels"),
    }


def reference_scores(table, data: Data, protocol: Protocol, model_facts: dict) -> dict[str, float]:
    """Compute the same metrics with pycocotools."""
    order, _ = map_labels(model_facts["labels"], data.split_facts["categories"], protocol.labels)
    stats = reference.coco_stats(*scoring_inputs(table, data, protocol, order))
    return {name: float(stat) for name, stat in zip(COCO_METRICS, stats, strict=True) if stat >= 0}


def format_text(row: dict) -> str:
    """Format a row's twelve numbers as pycocotools prints them."""
    return coco.twelve_lines(row["metrics"])


# ── Explanation ───────────────────────────────────────────────────────────────────────────────────────────


def predicted_and_true(table, data: Data, protocol: Protocol, model_facts: dict) -> tuple:
    """Return the output and the category of each object that some detection overlaps by half (IoU).

    The output is that of the highest-scoring such detection (m), the category the object's (m); third, the
    category that each output declares.
    """
    import numpy as np

    order, _ = map_labels(model_facts["labels"], data.split_facts["categories"], protocol.labels)
    rows = detections(table, data, protocol, range(len(order)))
    starts = np.flatnonzero(np.diff(rows[:, 0])) + 1
    targets = dict(zip(image_ids(data.examples), data.targets, strict=True))
    predicted, true = [], []
    for of_image in np.split(rows, starts) if len(rows) else []:
        for annotation in targets[int(of_image[0, 0])]:
            overlaps = overlaps_by_half(of_image, annotation["bbox"])
            if overlaps.any() and not annotation["iscrowd"]:
                best = np.argmax(np.where(overlaps, of_image[:, 5], -1))
                predicted.append(int(of_image[best, 6]))
                true.append(annotation["category_id"])
    return np.array(predicted, int), np.array(true, int), order


def overlaps_by_half(rows, box: Sequence[float]):
    """Return which detections (n) have an IoU of 0.5 or more with a box (x, y, width, height)."""
    import numpy as np

    x, y, width, height = box
    shared_width = np.minimum(rows[:, 1] + rows[:, 3], x + width) - np.maximum(rows[:, 1], x)
    shared_height = np.minimum(rows[:, 2] + rows[:, 4], y + height) - np.maximum(rows[:, 2], y)
    intersection = np.maximum(shared_width, 0) * np.maximum(shared_height, 0)
    return intersection >= 0.5 * (rows[:, 3] * rows[:, 4] + width * height - intersection)


def class_names(data: Data) -> dict[int, str]:
    """Return the name of each category."""
    return data.split_facts["categories"]


def repairs(model_facts: dict) -> dict[str, list]:
    """Return what to try, choice by choice, if the reference protocol does not meet the claim.

    The mean and std of ImageNet and of Inception (0.5), and DETR's 800 x 1333 pixels.
    """
    return {
        "labels": ["name", "index"],
        "mean/std": images.USUAL_NORMALIZATION,
        "resize and crop": [{"do_resize": True, "size": {"shortest_edge": 800, "longest_edge": 1333}}],
    }


TASK = Task(
    name=COCO.task,
    dataset=COCO.name,
    protocols=PROTOCOLS,
    forward_fields=("preprocessing",),
    batch_size={"cpu": 4, "cuda": 32},
    load_data=load_data,
    load_model=load_model,
    describe=images.describe,
    predict=predict,
    score=score,
    data_help=DATA_HELP,
    code_files=("harness/images.py", "harness/coco.py"),
    shard_size=500,
    shard_order=order_by_shape,
    format_text=format_text,
    metrics=COCO_METRICS,
    reference_scores=reference_scores,
    architecture="ForObjectDetection",
    choice_names={
        "labels": "label mapping",
        "exif": "EXIF orientation",
        "threshold": "score threshold",
        "boxes": "box rounding",
        "resize and crop": "image size",
    },
    choice_values={"labels": ("name", "index"), "boxes": ("float", "int")},
    predicted_and_true=predicted_and_true,
    class_names=class_names,
    repairs=repairs,
)

if __name__ == "__main__":
    main(TASK)
