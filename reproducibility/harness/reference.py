"""Saved predictions scored once more, with the field's reference implementations.

scikit-learn gives accuracy and F1, pycocotools the twelve COCO numbers. Used by results.py --check.
"""

import contextlib
import io
import math
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from harness.checkpoint import CannotMeasure, describe_error
from harness.plan import subset
from harness.shards import read_predictions
from harness.task import Data, Task, task_for
from scored.files import ROOT, UserError, display_path, sha256

TOLERANCE = 1e-12  # of a fraction: what summing in another order may change
CHUNK = 5_000  # images whose scores for all classes are in memory at once


# ── Reference implementations ─────────────────────────────────────────────────────────────────────────────


def accuracy_and_f1(true, predicted) -> dict[str, float]:
    """Compute accuracy and the averages of F1 of classes (n) with scikit-learn."""
    from sklearn.metrics import accuracy_score, f1_score

    metrics = {"accuracy": float(accuracy_score(true, predicted))}
    for average in ("macro", "micro", "weighted"):
        metrics[f"f1-{average}"] = float(f1_score(true, predicted, average=average))
    return metrics


def top_k_accuracies(true, ranked, classes: int = 1000) -> dict[str, float]:
    """Compute top-1 and top-5 accuracy with scikit-learn.

    `true` (n) are classes, `ranked` (n, 5 or more) each image's classes from the best on, -1 for none.
    """
    import numpy as np
    from sklearn.metrics import accuracy_score, top_k_accuracy_score

    ranked, true, hits = np.asarray(ranked), np.asarray(true), 0
    for start in range(0, len(true), CHUNK):
        part = ranked[start : start + CHUNK]
        scores = np.zeros((len(part), classes + 1), np.float32)  # the last column is "none"
        for rank in reversed(range(part.shape[1])):
            scores[np.arange(len(part)), part[:, rank]] = part.shape[1] - rank
        labels = true[start : start + CHUNK]
        hits += top_k_accuracy_score(labels, scores, k=5, normalize=False, labels=range(classes + 1))
    top1 = accuracy_score(true, ranked[:, 0])
    return {"accuracy": float(top1), "accuracy-top5": float(hits / len(true))}


def coco_stats(image_ids, categories: dict[int, str], truth: dict, rows, printed: io.StringIO | None = None):
    """Compute the twelve COCO numbers with pycocotools: array (12), -1 where no object counts.

    The arguments are those of `coco.coco_stats`; `printed` receives the lines that pycocotools prints.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    fields = zip(*(values.tolist() for values in truth.values()), strict=True)
    annotations = []
    for number, values in enumerate(fields, 1):
        annotations.append({"id": number, **dict(zip(truth, values, strict=True))})
    with contextlib.redirect_stdout(printed or io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": int(image)} for image in image_ids],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in categories.items()],
            "info": {},
        }
        coco.createIndex()
        scored = COCOeval(coco, coco.loadRes(rows), "bbox")
        scored.evaluate()
        scored.accumulate()
        if printed:
            printed.seek(0)
            printed.truncate()
        scored.summarize()
    return scored.stats


# ── Checking rows ─────────────────────────────────────────────────────────────────────────────────────────


def report(rows: Iterable[dict], predictions: Path | None, folders: dict[str, Path]) -> int:
    """Score the saved predictions of each row again and print a line per row; return 1 if a metric differs.

    `predictions` is the folder to look in (None: where the row says), `folders` the data by data set. Raises
    UserError if no row can be checked.
    """
    faults, skipped = [], Counter()
    for row in rows:
        if "predictions" not in row:  # a failure, or a row of another source
            continue
        file = find_predictions(row, predictions)
        reason = skip_reason(row, file, folders)
        if reason:
            skipped[reason] += 1
            continue
        faults.append(check_row(row, file, folders))
        names = f"{row['dataset']}  {row['model']}  {row['split']}  {row['protocol']}"
        print(f"{names}  {faults[-1] or 'all metrics agree'}")
    notes = [f"{count} rows not checked: {reason}" for reason, count in skipped.items()]
    if not faults:
        raise UserError(f"--check: {'; '.join(notes) or 'no rows of the task scripts'}")
    for note in notes:
        print(note, file=sys.stderr)
    return 1 if any(faults) else 0


def skip_reason(row: dict, file: Path | None, folders: dict[str, Path]) -> str:
    """Say why a row cannot be checked, "" if it can."""
    import pyarrow.parquet

    if file is None:
        return "their predictions are not here; use --predictions, or measure again"
    has_labels = "label" in pyarrow.parquet.read_schema(file).names
    if not has_labels and row["dataset"] not in folders:
        return f"their predictions hold no labels; give --data {row['dataset']}=DIR"
    return ""


def find_predictions(row: dict, folder: Path | None) -> Path | None:
    """Return the file of a row's predictions, or None if it is not here."""
    file = ROOT / row["predictions"]["file"]
    if folder is not None:
        file = folder / task_for(row["dataset"]).folder / file.name
    return file if file.exists() else None


def check_row(row: dict, file: Path, folders: dict[str, Path]) -> str:
    """Say how a row's metrics differ from those of its predictions by the reference, "" if they agree."""
    if sha256(file) != row["predictions"]["sha256"]:
        return f"{display_path(file)} is not the file that was scored: its SHA-256 differs"
    task = task_for(row["dataset"])
    table, record = read_predictions(file)
    data = load_targets(task, table, record, folders.get(task.dataset))
    try:
        protocol = task.protocol_type(**row["settings"]["choices"])
        return compare(row["metrics"], task.reference_scores(table, data, protocol, record["about"]))
    except (CannotMeasure, KeyError, TypeError) as error:
        return f"cannot be scored under its choices: {describe_error(error)}"


def load_targets(task: Task, table, record: dict, folder: Path | None) -> Data:
    """Load the data that predictions were made on; without a folder, the labels that they hold."""
    if folder is None:
        labels = table["label"].to_pylist()
        revision = record["dataset_revision"]
        return Data(record["split"], revision, "saved predictions", labels, labels, len(labels))
    data = subset(task.load_data(folder, record["split"]), record["limit"])
    if data.revision != record["dataset_revision"]:
        raise UserError(f"--data {task.dataset}={folder} is not the data that was measured")
    return data


def compare(metrics: dict[str, float], reference: dict[str, float]) -> str:
    """Say which metrics differ from the reference's by more than TOLERANCE, "" for none."""
    faults = []
    for name in sorted({*metrics, *reference}):
        ours, theirs = metrics.get(name, math.nan), reference.get(name, math.nan)
        if not abs(ours - theirs) <= TOLERANCE:
            faults.append(f"{name} {ours!r}, reference {theirs!r}")
    return f"DIFFERS: {'; '.join(faults)}" if faults else ""
