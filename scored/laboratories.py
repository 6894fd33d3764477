"""Other laboratories' published results beside ours: a large difference may be a fault of a measurement."""

import csv
import re
from collections import defaultdict
from pathlib import Path

from scored.files import UserError, display_path
from scored.result_rows import is_whole

DATASET = "imagenet-1k"  # of the CSV that timm publishes
TOLERANCE = 1  # points


def read_reference(path: Path) -> list[dict]:
    """Read a CSV with the columns model, img_size and top1. Raises UserError."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            entries = list(csv.DictReader(file))
        for entry in entries:
            float(entry["top1"]), entry["model"].strip(), entry["img_size"].strip()
        if not entries:
            raise ValueError("it has no rows")
    except OSError as error:
        raise UserError(f"cannot read --reference {display_path(path)}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise UserError(
            f"--reference {display_path(path)} needs the columns model, img_size and top1: {error}"
        ) from error
    return entries


def cross_check(rows: list[dict], entries: list[dict]) -> list[dict]:
    """Compare our top-1 accuracies with another laboratory's (timm's `model, img_size, top1` in percent).

    `timm/NAME` is looked up by its name, other ids by their last part against the architecture before the
    dot. One architecture may have several entries (weights, sizes): agreeing is to lie within a point of
    their range.
    """
    by_name = defaultdict(list)
    for entry in entries:
        for name in {entry["model"], entry["model"].partition(".")[0]}:
            by_name[_key(name)].append(entry)
    checks = []
    for row in rows:
        measured = (row.get("metrics") or {}).get("accuracy")
        matches = by_name.get(_key(row["model"].rpartition("/")[2]))
        if row["dataset"] == DATASET and measured is not None and matches and is_whole(row):
            checks.append(_check(row, 100 * measured, matches))
    return checks


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.casefold())


def _check(row: dict, measured: float, matches: list[dict]) -> dict:
    """Compare one row with the entries of its name."""
    values = [float(entry["top1"]) for entry in matches]
    low, high = min(values), max(values)
    return {
        "model": row["model"],
        "source": row["source"],
        "protocol": row["protocol"],
        "split": row["split"],
        "measured_percent": measured,
        "theirs_percent": [low, high],
        "entries": sorted(f"{entry['model']} at {entry['img_size']}" for entry in matches),
        "agrees": low - TOLERANCE <= measured <= high + TOLERANCE,
    }
