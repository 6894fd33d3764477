"""A population of images with objects and detections, of val2017's sizes, for the study of COCO intervals.

Nothing comes from a real model: scores, box errors, misses, duplicates and confusions are generated. Small
objects, some categories and some images are harder, so that AP has the values of published detectors.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scored.benchmarks import COCO_METRICS

VAL2017_IMAGES = 5_000
WIDTH, HEIGHT = 640, 480
MEDIAN_SIDE = 58.0  # pixels, of the root of an object's area; 41% of COCO's objects are below 32
CROWDS = 0.012  # of the objects


@dataclass(frozen=True)
class Detector:
    """How good the generated detections are."""

    name: str
    skill: float  # log-odds that a medium object of an average category in an average image is detected
    box_error: float  # standard deviation of a corner, as a share of the object's side
    clutter: float  # detections per image of objects that are not there


DETECTORS = (
    Detector("weak", skill=-0.6, box_error=0.11, clutter=12),
    Detector("middling", skill=0.4, box_error=0.08, clutter=12),
    Detector("strong", skill=1.2, box_error=0.06, clutter=12),
)


@dataclass(frozen=True)
class Population:
    """Image ids, annotations as arrays, and detections (m, 7), as `coco.coco_stats` takes them."""

    images: np.ndarray
    categories: dict[int, str]
    truth: dict[str, np.ndarray]
    detections: np.ndarray

    def take(self, images: np.ndarray) -> "Population":
        """Return the part with these images."""
        chosen = np.isin(self.truth["image_id"], images)
        truth = {name: values[chosen] for name, values in self.truth.items()}
        return Population(
            images, self.categories, truth, self.detections[np.isin(self.detections[:, 0], images)]
        )


def read_counts(file: Path) -> dict[str, dict]:
    """Read how many images and instances of each category val2017 has."""
    return json.loads(file.read_text())["categories"]


def generate(counts: dict[str, dict], times: int, detector: Detector, seed: int = 0) -> Population:
    """Generate a population `times` as large as val2017."""
    rng = np.random.default_rng(seed)
    n = times * VAL2017_IMAGES
    owners, classes = _place_objects(counts, times, n, rng)
    boxes = _draw_boxes(classes, len(counts), rng)
    truth = {
        "image_id": owners + 1,
        "category_id": classes + 1,
        "bbox": boxes,
        "area": boxes[:, 2] * boxes[:, 3] * rng.uniform(0.5, 0.9, len(boxes)),
        "iscrowd": (rng.random(len(boxes)) < CROWDS).astype(int),
    }
    categories = dict(enumerate(counts, 1))
    rows = _detect(truth, n, len(counts), detector, rng)
    return Population(np.arange(1, n + 1), categories, truth, rows)


def _place_objects(counts: dict[str, dict], times: int, n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return the image (from 0) and the category (from 0) of each object.

    Some images hold more categories than others, and some of a category's images more of its instances.
    """
    richness = rng.gamma(1.5, size=n)
    richness /= richness.sum()
    owners, classes = [], []
    for number, category in enumerate(counts.values()):
        images = rng.choice(n, times * category["images"], replace=False, p=richness)
        weights = rng.gamma(0.7, size=len(images)) + 1e-9
        further = times * (category["instances"] - category["images"])
        more = rng.choice(images, further, p=weights / weights.sum())
        owners += [images, more]
        classes.append(np.full(len(images) + further, number))
    return np.concatenate(owners), np.concatenate(classes)


def _draw_boxes(classes: np.ndarray, n_classes: int, rng) -> np.ndarray:
    """Draw a box (x, y, width, height) inside the image for each object; categories differ in size."""
    typical = np.log(MEDIAN_SIDE) + rng.normal(0, 0.5, n_classes)
    side = np.exp(typical[classes] + rng.normal(0, 0.9, len(classes)))
    stretch = np.exp(rng.normal(0, 0.3, len(classes)))
    width = (side * stretch).clip(5, 0.95 * WIDTH)
    height = (side / stretch).clip(5, 0.95 * HEIGHT)
    x = rng.uniform(0, WIDTH - width)
    y = rng.uniform(0, HEIGHT - height)
    return np.column_stack([x, y, width, height])


def _detect(truth: dict, n: int, n_classes: int, detector: Detector, rng) -> np.ndarray:
    """Generate detections: of the objects, duplicates, confusions with other categories, and clutter."""
    boxes, classes, owners = truth["bbox"], truth["category_id"] - 1, truth["image_id"] - 1
    side = np.sqrt(boxes[:, 2] * boxes[:, 3])
    of_class = rng.normal(0, 0.9, n_classes)
    of_image = rng.normal(0, 0.8, n)
    clarity = detector.skill + np.log2(side / 64) * 0.8 + of_class[classes] + of_image[owners]
    clarity = clarity + rng.normal(0, 0.8, len(side))
    is_detected = rng.random(len(side)) < _sigmoid(clarity + 1.5)
    right = _rows_near(truth, is_detected, clarity, detector.box_error, rng)
    is_twice = is_detected & (rng.random(len(side)) < 0.35)
    twice = _rows_near(truth, is_twice, clarity - 2.2, 2.5 * detector.box_error, rng)
    is_confused = rng.random(len(side)) < 0.45
    confused = _rows_near(truth, is_confused, -1.2 - 0.4 * clarity, 1.5 * detector.box_error, rng)
    confused[:, 6] = rng.integers(1, n_classes + 1, len(confused))
    clutter = _clutter(n, classes, detector, rng)
    rows = np.concatenate([right, twice, confused, clutter])
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _rows_near(truth: dict, chosen: np.ndarray, clarity: np.ndarray, error: float, rng) -> np.ndarray:
    """Return detections near the chosen objects: clearer ones score more and sit better."""
    boxes, clarity = truth["bbox"][chosen], clarity[chosen]
    spread = error * np.exp(-0.35 * clarity.clip(-3, 4) + rng.normal(0, 0.4, len(boxes)))
    corners = np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    sides = np.column_stack([boxes[:, 2:], boxes[:, 2:]])
    corners = corners + rng.normal(0, 1, corners.shape) * sides * spread.clip(0.005, 0.6)[:, None]
    sizes = (corners[:, 2:] - corners[:, :2]).clip(1)
    scores = _sigmoid(1.1 * clarity + rng.normal(0, 0.9, len(boxes)) - 0.3)
    return np.column_stack(
        [truth["image_id"][chosen], corners[:, :2], sizes, scores, truth["category_id"][chosen]]
    )


def _clutter(n: int, classes: np.ndarray, detector: Detector, rng) -> np.ndarray:
    """Return detections of nothing, mostly with low scores; frequent categories have more."""
    total = rng.poisson(detector.clutter, n)
    images = np.repeat(np.arange(1, n + 1), total)
    side = np.exp(rng.normal(np.log(MEDIAN_SIDE), 0.9, (len(images), 2))).clip(5, 450)
    position = rng.uniform(0, 1, (len(images), 2)) * (np.array([WIDTH, HEIGHT]) - side).clip(0)
    scores = _sigmoid(rng.normal(-2.8, 1.3, len(images)))
    names = np.where(rng.random(len(images)) < 0.5, rng.choice(classes, len(images)), 0) + 1
    uniform = rng.integers(1, classes.max() + 2, len(images))
    names = np.where(rng.random(len(images)) < 0.5, names, uniform)
    return np.column_stack([images, position, side, scores, names])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# ── The study ─────────────────────────────────────────────────────────────────────────────────────────────


def interval_coverage(
    counts: dict[str, dict], detector: Detector, n: int, sets: int, halves: int, seed: int, times: int = 10
) -> dict:
    """Return a population's numbers, and for each the share of sets of n images whose interval covers it."""
    from harness import coco

    population = generate(counts, times, detector, seed)
    true = coco.coco_stats(population.images, population.categories, population.truth, population.detections)
    rng = np.random.default_rng(seed)
    covered, values = np.zeros(len(true)), []
    for _ in range(sets):
        drawn = population.take(np.sort(rng.choice(population.images, n, replace=False)))
        inputs = (drawn.images, drawn.categories, drawn.truth, drawn.detections)
        values.append(coco.coco_stats(*inputs))
        draws = coco.half_samples(*inputs, halves)
        for number, value in enumerate(values[-1]):
            low, high = coco.interval(value, draws[:, number])
            covered[number] += low <= true[number] <= high
    return {
        "detector": detector.name,
        "images": n,
        "sets": sets,
        "halves": halves,
        "population": len(population.images),
        "true": dict(zip(COCO_METRICS, true.tolist(), strict=True)),
        "bias": dict(zip(COCO_METRICS, (np.mean(values, 0) - true).tolist(), strict=True)),
        "covered": dict(zip(COCO_METRICS, (covered / sets).tolist(), strict=True)),
    }
