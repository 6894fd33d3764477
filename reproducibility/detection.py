"""How well does an object detector do on COCO 2017? The twelve COCO numbers on val2017.

Reads the model, the images and their official annotations; writes results/COCO/ and predictions/.

    python reproducibility/detection.py facebook/detr-resnet-50 --data FOLDER
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from harness import coco, images
from harness.checkpoint import CannotMeasure
from harness.coco import STATS
from harness.runner import main
from harness.task import Data, Task
from scored.files import UserError

SIZE = 5_000  # images of val2017; a smaller folder is measured, and its row says so
RESAMPLES = 200  # of the images, for the intervals
DATA_HELP = (
    "val2017/*.jpg and annotations/instances_val2017.json, unpacked from val2017.zip (0.8 GB) and "
    "annotations_trainval2017.zip of https://cocodataset.org/#download"
)
NEEDED = f"--data must hold {DATA_HELP}"
# Darknet's and Pascal VOC's words for categories of COCO
ALIASES = {
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

    threshold: float  # detections that score more are kept
    boxes: str  # "float", or "int": corners cut to whole pixels, as the pipeline of transformers gives them
    exif: bool  # turn images by their EXIF tag, as pipelines do and the reference loaders do not
    labels: str | tuple = "name"  # categories are found by the label's name, or by its index in the head
    preprocessing: dict = field(default_factory=dict)  # settings that replace the model's own
    split: str | None = None


PROTOCOLS = {
    "standard": Protocol(threshold=0.0, boxes="float", exif=False),
    "scored-2022": Protocol(threshold=0.5, boxes="int", exif=True),
}


# ── Labels and data ───────────────────────────────────────────────────────────────────────────────────────


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def map_labels(labels: Sequence[str], categories: dict[int, str], how: str = "name") -> tuple[list[int], str]:
    """The COCO category id that each output of a head stands for, -1 for none; and how it was found.

    `N/A` and names outside COCO stand for none. Labels without names (LABEL_0, 0) go by index: 91 of them are
    category ids as in DETR, 80 the categories in order. Raises CannotMeasure if a category has no label.
    """
    if not isinstance(how, str):
        return list(how), "in a given order"
    numbered = all(re.fullmatch(r"(LABEL_)?\d+", label) for label in labels)
    ids, note = sorted(categories), ", for the labels have no names" if numbered else ""
    if how == "index" or numbered:
        if len(labels) == len(ids) == 80:
            return ids, f"by index among the categories{note}"
        if len(labels) <= ids[-1]:
            raise CannotMeasure(f"labels do not match: {len(labels)} without names are not COCO's 80 or 91")
        return [i if i in categories else -1 for i in range(len(labels))], f"by index as category id{note}"
    named = {_key(name): category for category, name in categories.items()}
    named |= {_key(alias): named[_key(name)] for alias, name in ALIASES.items() if _key(name) in named}
    found = [named.get(_key(label), -1) for label in labels]
    if lost := [name for category, name in categories.items() if category not in found]:
        raise CannotMeasure(
            f"labels do not match: none of the {len(labels)} is called {', '.join(map(repr, lost[:3]))}"
            f" ({len(lost)} of {len(categories)} categories have no label)"
        )
    others = [
        label for label, category in zip(labels, found, strict=True) if category < 0 and _key(label) != "na"
    ]
    return found, f"by name{f'; not in COCO: {len(others)}, such as {others[0][:40]!r}' if others else ''}"


# What is read of an annotation file. The scorer would take NaN, a negative width or an id that no double
# holds without a word, and give another number.
Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Side = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
Where, Size = (Annotated[float, msgspec.Meta(ge=least, le=1e6)] for least in (-1e6, 0))
Area = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Picture(TypedDict):
    id: Id
    file_name: str
    height: Side
    width: Side


class Category(TypedDict):
    id: Id
    name: str


class Annotation(TypedDict):
    image_id: Id
    category_id: Id
    bbox: tuple[Where, Where, Size, Size]
    area: Area
    iscrowd: NotRequired[Literal[0, 1]]


class Annotations(TypedDict):
    images: list[Picture]
    categories: list[Category]
    annotations: list[Annotation]


def load_data(path: Path | None, split: str) -> Data:
    """Images (id, path, height, width) in the file's order; targets are each image's annotations."""
    if path is None:
        raise UserError(NEEDED)
    file, folder = path / "annotations" / "instances_val2017.json", path / "val2017"
    for needed in (file, folder):
        if not needed.exists():
            raise UserError(f"{needed} is missing. {NEEDED}")
    try:
        coco = msgspec.json.decode(file.read_bytes())
        msgspec.convert(coco, Annotations)
        categories = {c["id"]: c["name"] for c in coco["categories"]}
        found = [
            (i["id"], str(folder / Path(i["file_name"]).name), i["height"], i["width"])
            for i in coco["images"]
        ]
        marked = {image: [] for image, *_ in found}
        if len(marked) < len(found) or len(categories) < len(coco["categories"]):
            raise ValueError("an id stands twice among the images or the categories")
        for a in coco["annotations"]:
            if a["category_id"] not in categories:
                raise ValueError(f"an annotation of no category: {a['category_id']}")
            values = {"category_id": a["category_id"], "bbox": a["bbox"], "area": a["area"]}
            marked[a["image_id"]].append(values | {"iscrowd": a.get("iscrowd", 0)})
    except (OSError, ValueError, KeyError, RecursionError) as why:
        why = f"an annotation of no image: {why}" if isinstance(why, KeyError) else why
        raise UserError(f"{file} is not a COCO annotation file: {why}. {NEEDED}") from None
    files = [Path(name) for _, name, *_ in found]
    if missing := [f for f in files if not os.path.isfile(f)]:
        raise UserError(f"{len(missing)} of {len(files)} images are missing, such as {missing[0]}. {NEEDED}")
    targets, about = list(marked.values()), {"categories": categories}
    source = f"local folder, {len(files):,} images"
    revision, hashes = images.content_revision(
        files, targets, [image for image, *_ in found], sorted(categories.items())
    )
    return Data("validation", revision, source, found, targets, SIZE, about, hashes=hashes)


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


def load_model(folder: Path, device, dtype) -> images.Model:
    """The detector with its own preprocessing, run by Pillow."""
    from transformers import AutoModelForObjectDetection

    return images.load(AutoModelForObjectDetection, folder, device, dtype)


def by_shape(data: Data) -> list[int]:
    """The images with those alike in a row, which fill batches."""
    shapes = [(width / max(height, 1), height) for _, _, height, width in data.examples]
    return sorted(range(len(shapes)), key=shapes.__getitem__)


def predict(model: images.Model, data: Data, protocol: Protocol, batch_size: int) -> Iterator:
    """Every query's best class but "no object", its score and box (x0, y0, x1, y1 in the image's pixels)."""
    import torch

    def forward(batch: Sequence) -> list[dict]:
        outputs = images.run(model.net, batch)
        for name in ("logits", "pred_boxes"):
            outputs[name] = outputs[name].float().cpu()
        found = model.processor.post_process_object_detection(
            outputs, threshold=-1.0, target_sizes=torch.tensor([size for _, size in batch])
        )
        return [
            {k: v.flatten().numpy() for k, v in image.items() if k in ("labels", "scores", "boxes")}
            for image in found
        ]

    yield from images.batches(
        lambda place: Path(data.examples[place][1]).read_bytes(),
        range(len(data.examples)),
        lambda image: images.tensors(image, model, protocol.preprocessing),
        forward,
        model.net.device,
        batch_size,
        {"labels": "int32", "scores": "float32", "boxes": "float32"},
    )


# ── Metric ────────────────────────────────────────────────────────────────────────────────────────────────


def detections(table, data: Data, protocol: Protocol, category: Sequence[int]):
    """Saved predictions under a protocol's choices: rows (image id, x, y, width, height, score, category)."""
    import numpy as np

    labels, counts = images.chosen(table, "labels", protocol.exif)
    scores, _ = images.chosen(table, "scores", protocol.exif)
    boxes = images.chosen(table, "boxes", protocol.exif)[0].reshape(-1, 4)
    if protocol.boxes == "int":
        boxes = np.trunc(boxes)
    boxes = boxes.astype(float)
    ids = np.repeat([image for image, *_ in data.examples], counts)
    rows = np.column_stack(
        [ids, boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores.astype(float), np.array(category)[labels]]
    )
    return rows[(scores > np.float32(protocol.threshold)) & (rows[:, 6] >= 0)]


def columns(data: Data) -> dict:
    """The annotations of all images as one NumPy array per field."""
    import numpy as np

    ids = [image for image, *_ in data.examples]
    flat = [(image, a) for image, marked in zip(ids, data.targets, strict=True) for a in marked]
    return {
        "image_id": np.array([image for image, _ in flat], int),
        "category_id": np.array([a["category_id"] for _, a in flat], int),
        "bbox": np.array([a["bbox"] for _, a in flat], float).reshape(-1, 4),
        "area": np.array([a["area"] for _, a in flat], float),
        "iscrowd": np.array([a["iscrowd"] for _, a in flat], int),
    }


def score(table, data: Data, protocol: Protocol, about: dict) -> dict:
    """The twelve numbers of saved predictions with intervals; one that no object defines is left out."""
    import numpy as np

    category, words = map_labels(about["labels"], data.split_facts["categories"], protocol.labels)
    rows = detections(table, data, protocol, category)
    given = ([image for image, *_ in data.examples], data.split_facts["categories"], columns(data), rows)
    stats = dict(zip(STATS, map(float, coco.coco_stats(*given)), strict=True))
    draws = dict(zip(STATS, coco.resampled(*given, RESAMPLES).T, strict=True))
    known = [name for name in STATS if stats[name] >= 0]
    return {
        "metrics": {name: stats[name] for name in known},
        "intervals": {n: coco.interval(stats[n], draws[n]) for n in known if np.isfinite(draws[n]).any()},
        "interval_method": dict.fromkeys(
            known, f"image bootstrap, {RESAMPLES} resamples, bias-corrected percentiles"
        ),
        "labels": words,
        "detections": len(rows),
        "turned_by_exif": images.turned(table, "labels"),
    }


def text(row: dict) -> str:
    return coco.twelve_lines(row["metrics"])


def answers(table, data: Data, protocol: Protocol, about: dict) -> tuple:
    """For every object that some detection overlaps by half (IoU): the output of the surest such detection,
    the object's category, and the category that each output declares.
    """
    import numpy as np

    order, _ = map_labels(about["labels"], data.split_facts["categories"], protocol.labels)
    found = detections(table, data, protocol, range(len(order)))
    places = {image: place for place, (image, *_) in enumerate(data.examples)}
    groups = np.split(found, np.flatnonzero(np.diff(found[:, 0])) + 1) if len(found) else []
    said, true = [], []
    for rows in groups:
        objects = [a for a in data.targets[places[int(rows[0, 0])]] if not a["iscrowd"]]
        for target in objects:
            x, y, width, height = target["bbox"]
            wide = np.minimum(rows[:, 1] + rows[:, 3], x + width) - np.maximum(rows[:, 1], x)
            high = np.minimum(rows[:, 2] + rows[:, 4], y + height) - np.maximum(rows[:, 2], y)
            both = np.maximum(wide, 0) * np.maximum(high, 0)
            overlaps = both >= 0.5 * (rows[:, 3] * rows[:, 4] + width * height - both)
            if overlaps.any():
                said.append(int(rows[np.argmax(np.where(overlaps, rows[:, 5], -1)), 6]))
                true.append(target["category_id"])
    return np.array(said, int), np.array(true, int), order


def class_names(data: Data) -> dict[int, str]:
    return data.split_facts["categories"]


BY_NAME, BY_INDEX = "name", "index"
FACTORS = {  # what explain.py calls the choices
    "labels": "label mapping",
    "exif": "EXIF orientation",
    "threshold": "score threshold",
    "boxes": "box rounding",
    "resize and crop": "image size",
}

TASK = Task(
    name="object-detection",
    dataset="coco",
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
    shard_order=by_shape,
    format_text=text,
)
if __name__ == "__main__":
    main(TASK)
