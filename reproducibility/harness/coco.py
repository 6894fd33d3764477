"""COCO: the official annotation file, its twelve numbers for a set of boxes, and how sure they are.

Used by detection.py. `hotcoco` gives the numbers of pycocotools to the last bit (`results.py --check`
compares them), far faster, which makes a bootstrap affordable: each draw of images is scored as a data set.
"""

import contextlib
import io
from pathlib import Path
from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from scored.benchmarks import COCO_METRICS

HALVES = 200  # draws of half of the images for the intervals
METHOD = f"{HALVES} half-samples of the images, mirrored at the value"
MIN_IMAGES = {  # from which on 90% of the intervals held the true value: tests/benchmarks/coverage.py
    **dict.fromkeys(("AP", "AP50", "AP75", "APs"), 5_000),
    **dict.fromkeys(("APm", "APl")),  # None: on no number; chance decides which categories have such objects
    **dict.fromkeys(("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"), 5_000),
}

# ── Annotations ───────────────────────────────────────────────────────────────────────────────────────────
# Bounds, because the scorer would silently take NaN, a negative width or an id beyond the doubles, and give
# another number.

Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=10**6)]
Coordinate = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
Length = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Area = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Picture(TypedDict):
    """One image of an annotation file."""

    id: Id
    file_name: str
    height: Pixels
    width: Pixels


class Category(TypedDict):
    """One of the 80 categories, with ids from 1 to 90."""

    id: Id
    name: str


class Annotation(TypedDict):
    """One object: bbox is x, y, width, height in pixels."""

    image_id: Id
    category_id: Id
    bbox: tuple[Coordinate, Coordinate, Length, Length]
    area: Area
    iscrowd: NotRequired[Literal[0, 1]]


class AnnotationFile(TypedDict):
    """An official annotation file, as far as it is read."""

    images: list[Picture]
    categories: list[Category]
    annotations: list[Annotation]


def read_annotations(file: Path) -> tuple[list[Picture], dict[int, str], list[list[dict]]]:
    """Read an annotation file: its images, category id -> name, and the annotations of each image.

    Raises OSError if it cannot be read, ValueError or RecursionError if it is not an annotation file.
    """
    content = msgspec.json.decode(file.read_bytes())
    msgspec.convert(content, AnnotationFile)
    categories = {category["id"]: category["name"] for category in content["categories"]}
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    if len(by_image) < len(content["images"]):
        raise ValueError("duplicate id in images")
    if len(categories) < len(content["categories"]):
        raise ValueError("duplicate id in categories")
    for annotation in content["annotations"]:
        if annotation["category_id"] not in categories:
            raise ValueError(f"annotation with unknown category: {annotation['category_id']}")
        if annotation["image_id"] not in by_image:
            raise ValueError(f"annotation with unknown image: {annotation['image_id']}")
        fields = {name: annotation[name] for name in ("category_id", "bbox", "area")}
        fields["iscrowd"] = annotation.get("iscrowd", 0)
        by_image[annotation["image_id"]].append(fields)
    return content["images"], categories, list(by_image.values())


def annotation_columns(image_ids: list[int], by_image: list[list[dict]]) -> dict:
    """Return the annotations of all images as one NumPy array per field."""
    import numpy as np

    owners, annotations = [], []
    for image, objects in zip(image_ids, by_image, strict=True):
        owners += [image] * len(objects)
        annotations += objects
    return {
        "image_id": np.array(owners, int),
        "category_id": np.array([a["category_id"] for a in annotations], int),
        "bbox": np.array([a["bbox"] for a in annotations], float).reshape(-1, 4),
        "area": np.array([a["area"] for a in annotations], float),
        "iscrowd": np.array([a["iscrowd"] for a in annotations], int),
    }


# ── The twelve numbers ────────────────────────────────────────────────────────────────────────────────────
# `truth` has a NumPy array per field of an annotation; `rows` are detections (n, 7): image id, x, y, width,
# height in pixels, score, category id.


def coco_stats(image_ids, categories: dict[int, str], truth: dict, rows):
    """Compute the twelve COCO numbers: array (12), -1 where no object counts."""
    matched = _match(image_ids, categories, truth, rows)
    with contextlib.redirect_stdout(io.StringIO()):  # `summarize` prints
        matched.accumulate()
        matched.summarize()
    return matched.stats


def _match(image_ids, categories: dict[int, str], truth: dict, rows):
    """Match detections to annotations, image by image; the result is not yet accumulated."""
    import hotcoco

    annotations = hotcoco.COCO.from_arrays(
        [{"id": int(image)} for image in image_ids],
        [{"id": category, "name": name} for category, name in categories.items()],
        truth["image_id"],
        truth["category_id"],
        truth["bbox"],
        area=truth["area"],
        iscrowd=truth["iscrowd"],
    )
    matched = hotcoco.COCOeval(annotations, annotations.load_res(rows), "bbox")
    matched.evaluate()
    return matched


# ── Intervals ─────────────────────────────────────────────────────────────────────────────────────────────


def resampled(image_ids, categories: dict[int, str], truth: dict, rows, times: int, seed: int = 0):
    """Compute the twelve numbers of `times` draws of images with replacement: array (times, 12), -1 as NaN.

    A draw is scored as a data set in which an image drawn twice occurs twice: the first copies in the
    images' order, then the second ones. As no image's matches depend on other images, each copy that some
    draw needs is matched only once.
    """
    import numpy as np

    image_ids = np.asarray(image_ids)
    draws = _draw_copies(len(image_ids), times, seed)
    copies = np.unique(draws)
    images = image_ids[(copies - 1) % len(image_ids)]
    owners, indices = _repeat(copies, images, truth["image_id"])
    copied_truth = {name: values[indices] for name, values in truth.items()}
    copied_truth["image_id"] = owners
    owners, indices = _repeat(copies, images, rows[:, 0])
    copied_rows = rows[indices]
    copied_rows[:, 0] = owners
    matched = _match(copies, categories, copied_truth, copied_rows)
    slices = matched.slice_by({str(number): draw.tolist() for number, draw in enumerate(draws)})
    stats = [[slices[str(number)][name] for name in COCO_METRICS] for number in range(times)]
    return np.where(np.array(stats) < 0, np.nan, stats)


def _draw_copies(n: int, times: int, seed: int) -> list:
    """Draw n images `times` times: arrays (n) of numbers; copy c of image i (from 0) is c * n + i + 1."""
    import numpy as np

    rng, draws = np.random.default_rng(seed), []
    for _ in range(times):
        drawn = np.sort(rng.integers(n, size=n))
        copy = np.arange(n) - np.searchsorted(drawn, drawn)
        draws.append(copy * n + drawn + 1)
    return draws


def _repeat(copies, images, owners) -> tuple:
    """Repeat what belongs to each copy's image: (copy, index in `owners`) of each repeated item."""
    import numpy as np

    order = np.argsort(owners, kind="stable")
    first = np.searchsorted(owners, images, "left", order)
    counts = np.searchsorted(owners, images, "right", order) - first
    start = np.repeat(first - (np.cumsum(counts) - counts), counts)
    return np.repeat(copies, counts), order[start + np.arange(counts.sum())]


def half_samples(image_ids, categories: dict[int, str], truth: dict, rows, times: int, seed: int = 0):
    """Compute the twelve numbers of `times` draws of half of the images: array (times, 12), -1 as NaN."""
    import numpy as np

    image_ids, rng = np.asarray(image_ids), np.random.default_rng(seed)
    matched = _match(image_ids, categories, truth, rows)
    halves = {}
    for number in range(times):
        half = rng.choice(image_ids, len(image_ids) // 2, replace=False)
        halves[str(number)] = np.sort(half).tolist()
    slices = matched.slice_by(halves)
    stats = [[slices[number][name] for name in COCO_METRICS] for number in halves]
    return np.where(np.array(stats) < 0, np.nan, stats)


def interval(stat: float, halves) -> list[float]:
    """Compute the 95% interval of a number from its half-samples (Politis, Romano and Wolf, 1999).

    Halves scatter around all images as those do around many more. AP is higher on fewer images, as rare
    categories drop out and precision is taken as the best at any higher recall; so the halves' percentiles
    are mirrored at the number, which takes from it about what they have more. A bootstrap would find an
    object in each copy of its image.
    """
    import numpy as np

    low, high = np.nanpercentile(halves, [2.5, 97.5])
    return [float(max(2 * stat - high, 0)), float(min(2 * stat - low, 1))]


def intervals(metrics: dict[str, float], image_ids, categories: dict[int, str], truth: dict, rows) -> tuple:
    """Compute the 95% interval of each number that has one; and the method, or why there is none."""
    import numpy as np

    computed, methods = {}, {}
    for name in metrics:
        methods[name] = METHOD
        if MIN_IMAGES[name] is None:
            methods[name] = "none: in simulations too few of them held the true value"
        elif len(image_ids) < MIN_IMAGES[name]:
            shown_from = f"{MIN_IMAGES[name]:,} images"
            methods[name] = f"none: on fewer than {shown_from} they are not shown to hold the true value"
    if METHOD not in methods.values():
        return computed, methods
    halves = half_samples(image_ids, categories, truth, rows, HALVES)
    for number, name in enumerate(COCO_METRICS):
        if methods.get(name) == METHOD and np.isfinite(halves[:, number]).any():
            computed[name] = interval(metrics[name], halves[:, number])
    return computed, methods


# ── Text ──────────────────────────────────────────────────────────────────────────────────────────────────


def twelve_lines(metrics: dict[str, float]) -> str:
    """Format the twelve numbers as pycocotools prints them; -1 for one that no object defines."""
    lines = []
    for name in COCO_METRICS:
        title = "Average Precision  (AP)" if name.startswith("AP") else "Average Recall     (AR)"
        iou = {"AP50": "0.50     ", "AP75": "0.75     "}.get(name, "0.50:0.95")
        area = {"s": "small", "m": "medium", "l": "large"}.get(name[-1], "all")
        most = {"AR1": 1, "AR10": 10}.get(name, 100)
        value = metrics.get(name, -1.0)
        lines.append(f" {title} @[ IoU={iou} | area={area:>6} | maxDets={most:>3} ] = {value:0.3f}")
    return "\n".join(lines) + "\n"
