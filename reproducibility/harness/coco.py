"""What are COCO's twelve numbers for these boxes, and how far would other images have moved them?

Functions of arrays; reads and writes nothing. Used by detection.py, and has no command of its own.
`hotcoco` gives the numbers of pycocotools to the last bit (see tests/test_detection.py), far faster, which is
what makes a bootstrap affordable: every draw of images is scored as a data set of its own.
"""

import contextlib
import io

STATS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def coco_stats(image_ids, categories: dict[int, str], truth: dict, rows):
    """The twelve COCO numbers, -1 where no object counts; `truth` has a column per field of an annotation."""
    matched = _matched(image_ids, categories, truth, rows)
    with contextlib.redirect_stdout(io.StringIO()):  # `summarize` prints
        matched.accumulate()
        matched.summarize()
    return matched.stats


def _matched(image_ids, categories: dict[int, str], truth: dict, rows):
    """Detections matched to annotations, image by image, not yet put together."""
    import hotcoco

    coco = hotcoco.COCO.from_arrays(
        [{"id": int(image)} for image in image_ids],
        [{"id": category, "name": name} for category, name in categories.items()],
        truth["image_id"],
        truth["category_id"],
        truth["bbox"],
        area=truth["area"],
        iscrowd=truth["iscrowd"],
    )
    matched = hotcoco.COCOeval(coco, coco.load_res(rows), "bbox")
    matched.evaluate()
    return matched


def resampled(image_ids, categories: dict[int, str], truth: dict, rows, times: int, seed: int = 0):
    """The twelve numbers of `times` draws of as many images with replacement: array (times, 12), -1 as NaN.

    A draw is a data set like any other, in which an image drawn twice stands twice, and is scored as such:
    its first copies in the images' order, then its second ones. As no image's matches depend on other images,
    every copy that some draw needs is matched once for all draws.
    """
    import numpy as np

    image_ids, rng = np.asarray(image_ids), np.random.default_rng(seed)
    n, draws = len(image_ids), []
    for _ in range(times):
        drawn = np.sort(rng.integers(n, size=n))
        copy = np.arange(n) - np.searchsorted(drawn, drawn)
        draws.append(copy * n + drawn + 1)
    copies = np.unique(draws)
    image = image_ids[(copies - 1) % n]

    def repeated(keys):  # -> copy, and row, of everything that belongs to the image of each copy
        order = np.argsort(keys, kind="stable")
        first, end = (np.searchsorted(keys, image, side, order) for side in ("left", "right"))
        counts = end - first
        start = np.repeat(first - (np.cumsum(counts) - counts), counts)
        return np.repeat(copies, counts), order[start + np.arange(counts.sum())]

    place, kept = repeated(truth["image_id"])
    marks = {name: values[kept] for name, values in truth.items()} | {"image_id": place}
    place, kept = repeated(rows[:, 0])
    boxes = rows[kept]
    boxes[:, 0] = place
    found = _matched(copies, categories, marks, boxes).slice_by(
        {str(t): d.tolist() for t, d in enumerate(draws)}
    )
    stats = np.array([[found[str(t)][name] for name in STATS] for t in range(times)])
    return np.where(stats < 0, np.nan, stats)


def interval(stat: float, draws) -> list[float]:
    """95 % interval of a statistic from its resamples: their percentiles, less the resamples' mean offset.

    What is found in an image that is drawn twice is found twice, which lifts AP. In a simulation (80
    categories, 60 sets of 2,500 images) bare percentiles held the true AP in 82 % of the sets and the true
    AP75 in 77 %, the corrected ones in 97 % and 90 %.
    """
    import numpy as np

    low, high = np.nanpercentile(draws, [2.5, 97.5]) - (np.nanmean(draws) - stat)
    return [float(max(low, 0)), float(min(high, 1))]


def twelve_lines(metrics: dict[str, float]) -> str:
    """The twelve numbers in the layout that pycocotools prints; -1 for one that no object defines."""
    lines = []
    for name in STATS:
        title = "Average Precision  (AP)" if name.startswith("AP") else "Average Recall     (AR)"
        iou = {"AP50": "0.50     ", "AP75": "0.75     "}.get(name, "0.50:0.95")
        area = {"s": "small", "m": "medium", "l": "large"}.get(name[-1], "all")
        most = {"AR1": 1, "AR10": 10}.get(name, 100)
        value = metrics.get(name, -1.0)
        lines.append(f" {title} @[ IoU={iou} | area={area:>6} | maxDets={most:>3} ] = {value:0.3f}")
    return "\n".join(lines) + "\n"
