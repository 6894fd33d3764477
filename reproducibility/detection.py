"""Object detection on COCO 2017: the twelve COCO numbers of a model on val2017.

Reads the model, the images and their official annotations; writes results/COCO/ and predictions/.

    python reproducibility/detection.py facebook/detr-resnet-50 --data FOLDER
"""

import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import boxes, coco, evidence, images, reference
from harness.coco_labels import NAMED_ORDERS, fit_lost_label, lost_category, map_labels, outputs_of_objects
from harness.preprocessing import other_preprocessing
from harness.runner import main
from harness.task import Data, Outputs, Task
from scored.benchmarks import COCO_METRICS, benchmark_named
from scored.files import UserError

COCO = benchmark_named("coco")
MAX_DETECTIONS = 300  # per image, that are saved where the post-processing chooses the best
DATA_HELP = (
    "val2017/*.jpg and the official annotation file annotations/instances_val2017.json, unpacked from "
    "val2017.zip (0.8 GB) and annotations_trainval2017.zip of https://cocodataset.org/#download"
)
NEEDED = f"--data must hold {DATA_HELP}"


@dataclass(frozen=True)
class Protocol:
    """Every choice between the weights and the twelve numbers."""

    threshold: float  # keep detections that score more; 0 keeps all, also those that score 0
    boxes: str  # "float", or "int": corners cut to whole pixels, as the pipeline of transformers returns them
    exif: bool  # turn images by their EXIF tag, as pipelines do and the reference loaders do not
    labels: str | tuple = "name"  # match categories by the label's name, by a named order, or as given
    box_format: str = "cxcywh"  # what the four numbers per box mean, of boxes.FORMATS
    box_scale: str = "image"  # what boxes are shares of, of boxes.SCALES
    max_detections: int | None = None  # keep this many per image, the highest scores; None: as published
    preprocessing: dict = field(default_factory=dict)  # settings that replace the published ones
    split: str | None = None


PROTOCOLS = {
    "standard": Protocol(threshold=0.0, boxes="float", exif=False),
    "scored-2022": Protocol(threshold=0.5, boxes="int", exif=True),
}


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


def describe(model: images.Model) -> dict:
    """Return facts about the model, and how many detections its post-processing keeps (None: all)."""
    return {**images.describe(model), "max_detections": _published_limit(model.processor)}


def _published_limit(processor) -> int | None:
    parameters = inspect.signature(processor.post_process_object_detection).parameters
    return parameters["top_k"].default if "top_k" in parameters else None


def predict(model: images.Model, data: Data, protocol: Protocol, batch_size: int) -> Iterator:
    """Yield each image's detections: output (never "no object"), score and box (x0, y0, x1, y1 in pixels).

    They are those of the published post-processing, which gives a query its best class, or keeps the best of
    all queries and classes; of these, up to MAX_DETECTIONS, so that fewer can be kept later.
    """
    import torch

    settings = {"threshold": -1.0}
    if _published_limit(model.processor):
        settings["top_k"] = MAX_DETECTIONS

    def forward(batch: Sequence) -> list[dict]:
        outputs = images.run(model.net, batch)
        for name in ("logits", "pred_boxes"):
            outputs[name] = outputs[name].float().cpu()
        sizes = [size for _, size in batch]
        input_size = batch[0][0]["pixel_values"].shape[-2:]
        detected = model.processor.post_process_object_detection(
            outputs, target_sizes=torch.tensor(sizes), **settings
        )
        results = []
        for image, size in zip(detected, sizes, strict=True):
            arrays = {name: image[name].flatten().numpy() for name in ("labels", "scores", "boxes")}
            arrays["sizes"] = [*size, *input_size]
            results.append(arrays)
        return results

    yield from images.batches(
        lambda index: Path(data.examples[index][1]).read_bytes(),
        range(len(data.examples)),
        lambda image: images.tensors(image, model, protocol.preprocessing),
        forward,
        model.net.device,
        batch_size,
        {"labels": "int32", "scores": "float32", "boxes": "float32", "sizes": "int32"},
    )


# ── Metric ────────────────────────────────────────────────────────────────────────────────────────────────


def detections(table, data: Data, protocol: Protocol, order: Sequence[int]):
    """Apply a protocol to saved predictions: array (n, 7) of image id, x, y, width, height, score, category.

    `order` gives the category of each output; detections of none (-1) are left out.
    """
    import numpy as np

    outputs, counts = images.column_for_view(table, "labels", protocol.exif)
    scores, _ = images.column_for_view(table, "scores", protocol.exif)
    corners = _corners(table, protocol, counts).astype(float)
    categories = np.array(order)[outputs]
    is_kept = categories >= 0
    if protocol.threshold:
        is_kept &= scores > np.float32(protocol.threshold)
    if protocol.max_detections is not None:
        is_kept &= _ranks(scores, counts) < protocol.max_detections
    ids = np.repeat(image_ids(data.examples), counts)
    sizes = corners[:, 2:] - corners[:, :2]
    rows = np.column_stack([ids, corners[:, :2], sizes, scores.astype(float), categories])
    return rows[is_kept]


def _corners(table, protocol: Protocol, counts):
    """Return the boxes (n, 4; corners in pixels) as a protocol reads them."""
    import numpy as np

    corners, _ = images.column_for_view(table, "boxes", protocol.exif)
    corners = corners.reshape(-1, 4)
    if (protocol.box_format, protocol.box_scale) != ("cxcywh", "image"):
        sizes, _ = images.column_for_view(table, "sizes", protocol.exif)
        sizes = np.repeat(sizes.reshape(-1, 4), counts, axis=0)
        corners = boxes.read_boxes(corners, sizes, protocol.box_format, protocol.box_scale)
    return np.trunc(corners) if protocol.boxes == "int" else corners


def _ranks(scores, counts):
    """Rank the detections of each image by score, from 0."""
    import numpy as np

    images_of = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-scores, images_of))
    ranks = np.empty(len(scores), int)
    ranks[order] = np.arange(len(scores)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks


def map_outputs(table, data: Data, protocol: Protocol, model_facts: dict) -> tuple[list[int], str]:
    """Map each output to its category, and say how: where a name is lost, by the boxes.

    Raises CannotMeasure for labels that cannot be mapped.
    """
    labels, categories = model_facts["labels"], data.split_facts["categories"]
    if lost_category(labels, categories, protocol.labels) is None:
        return map_labels(labels, categories, protocol.labels)
    evidence_protocol = replace(protocol, threshold=0.0, boxes="float")
    rows = detections(table, data, evidence_protocol, range(len(labels)))
    return fit_lost_label(labels, categories, *outputs_of_objects(rows, targets_by_image(data)))


def targets_by_image(data: Data) -> dict[int, list[dict]]:
    """Return the annotations of each image by its id."""
    return dict(zip(image_ids(data.examples), data.targets, strict=True))


def scoring_inputs(table, data: Data, protocol: Protocol, model_facts: dict) -> tuple[tuple, str]:
    """Return what COCO's scorers need (image ids, category names, annotations, detections); how labels map.

    Raises CannotMeasure for labels that cannot be mapped.
    """
    if protocol.max_detections is None:
        protocol = replace(protocol, max_detections=model_facts.get("max_detections"))
    order, how = map_outputs(table, data, protocol, model_facts)
    ids = image_ids(data.examples)
    truth = coco.annotation_columns(ids, data.targets)
    rows = detections(table, data, protocol, order)
    return (ids, data.split_facts["categories"], truth, rows), how


def score(table, data: Data, protocol: Protocol, model_facts: dict) -> dict:
    """Compute the twelve numbers with intervals; a number that no object defines is left out."""
    inputs, how = scoring_inputs(table, data, protocol, model_facts)
    stats = zip(COCO_METRICS, coco.coco_stats(*inputs), strict=True)
    metrics = {name: float(stat) for name, stat in stats if stat >= 0}
    intervals, methods = coco.intervals(metrics, *inputs)
    return {
        "metrics": metrics,
        "intervals": intervals,
        "interval_method": methods,
        "labels": how,
        "detections": len(inputs[-1]),
        "turned_by_exif": images.count_rotated(table, "labels"),
    }


def reference_scores(table, data: Data, protocol: Protocol, model_facts: dict) -> dict[str, float]:
    """Compute the same metrics with pycocotools."""
    inputs, _ = scoring_inputs(table, data, protocol, model_facts)
    stats = reference.coco_stats(*inputs)
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
    order, _ = map_outputs(table, data, protocol, model_facts)
    rows = detections(table, data, protocol, range(len(order)))
    return *outputs_of_objects(rows, targets_by_image(data)), order


def p_value(before: Outputs, after: Outputs, metric: str) -> float:
    """Compute the p-value of "a metric is the same under both protocols", from paired draws of the images."""
    values, draws = [], []
    for outputs in (before, after):
        inputs, _ = scoring_inputs(outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
        number = COCO_METRICS.index(metric)
        values.append(coco.coco_stats(*inputs)[number])
        draws.append(coco.resampled(*inputs, evidence.RESAMPLES)[:, number])  # the same images for both
    return evidence.p_value_of_draws(values[1] - values[0], draws[1] - draws[0])


def class_names(data: Data) -> dict[int, str]:
    """Return the name of each category."""
    return data.split_facts["categories"]


def repairs(model_facts: dict) -> dict[str, list]:
    """Return what to try, choice by choice, if the reference protocol does not meet the claim.

    Usual orders of the labels, readings of the boxes, pixel settings; the input's size by the configuration,
    and DETR's 800 x 1333 pixels. What equals the published settings is left out.
    """
    published = model_facts["preprocessing"]
    pixels = other_preprocessing(model_facts)
    sizes = [{"shortest_edge": 800, "longest_edge": 1333}]
    configured = model_facts.get("image_size")
    if isinstance(configured, list) and len(configured) == 2:
        sizes.append({"height": configured[0], "width": configured[1]})
    is_limited = model_facts.get("max_detections") is not None
    return {
        "labels": list(NAMED_ORDERS),
        "box_format": list(boxes.FORMATS[1:]),
        "box_scale": list(boxes.SCALES[1:]),
        "max_detections": [MAX_DETECTIONS] if is_limited else [],
        "resize and crop": [
            {"do_resize": True, "size": size} for size in sizes if size != published.get("size")
        ],
        "mean/std": pixels["mean/std"],
        "pixel scaling": pixels["pixel scaling"],
        "channel order": pixels["channel order"],
    }


TASK = Task(
    name=COCO.task,
    dataset=COCO.name,
    protocols=PROTOCOLS,
    forward_fields=("preprocessing",),
    batch_size={"cpu": 4, "cuda": 32},
    load_data=load_data,
    load_model=load_model,
    describe=describe,
    predict=predict,
    score=score,
    data_help=DATA_HELP,
    code_files=("harness/images.py", "harness/coco.py", "harness/coco_labels.py", "harness/boxes.py"),
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
        "box_format": "box format",
        "box_scale": "box scaling",
        "max_detections": "detections per image",
        "resize and crop": "image size",
    },
    choice_values={
        "labels": ("name", *NAMED_ORDERS),
        "boxes": ("float", "int"),
        "box_format": boxes.FORMATS,
        "box_scale": boxes.SCALES,
    },
    predicted_and_true=predicted_and_true,
    class_names=class_names,
    p_value=p_value,
    repairs=repairs,
)

if __name__ == "__main__":
    main(TASK)
