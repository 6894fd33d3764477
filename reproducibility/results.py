"""What has been measured so far? Gathers every result under `results/` into one table.

Reads the study's files as it laid them out (`COCO/<model>.txt`, the lists under EMOTION and IMAGENET) and the
rows that the three runners write; writes `reproducibility/results.json` and `results.csv`. The study's rows
and new ones stay apart by `source` and `protocol`. Running it twice changes nothing.

    python reproducibility/results.py
"""

import argparse
import csv
import io
from collections import Counter
from pathlib import Path
from typing import NotRequired, TypedDict

import msgspec
from msgspec.structs import asdict

from harness.rows import safe_name
from ptm import PTM
from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.verdicts import STUDY, latest_rows

RESULTS = ROOT / "reproducibility" / "results"
HUB_IDS = {
    "emotion": "dair-ai/emotion",
    "imagenet-1k": "ILSVRC/imagenet-1k",
    "coco": "detection-datasets/coco",
}
# What the study did for each data set; its files name neither split nor protocol.
TASKS = {
    "COCO": {"task": "object-detection", "dataset": "coco", "split": "validation", "expected": 5000},
    "EMOTION": {"task": "sentiment-analysis", "dataset": "emotion", "split": "test", "expected": 2000},
    "IMAGENET": {
        "task": "image-classification",
        "dataset": "imagenet-1k",
        "split": "validation",
        "expected": 50000,
    },
}
TWELVE = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
COLUMNS = (
    "task dataset split protocol source model revision metric value low high evaluated expected error".split()
)


class Row(TypedDict):
    """What is read of a row that a runner wrote; err.py looks closer."""

    model: str
    task: str
    source: str
    protocol: str | None
    metrics: NotRequired[dict[str, float] | None]
    intervals: NotRequired[dict[str, tuple[float, float] | None] | None]
    examples: NotRequired[dict | None]
    settings: NotRequired[dict | None]
    error: NotRequired[str | None]


def study_row(folder: str, model: str, metrics: dict, claimed: dict, citation: str, **more) -> dict:
    """One of the study's measurements in the form of a result row; what it did not publish is null."""
    task = TASKS[folder]
    stated = {"type": task["dataset"], "name": task["dataset"]}
    claims = [{"type": metric, "value": value} for metric, value in claimed.items()]
    index = [{"results": [{"dataset": stated, "metrics": claims}]}] if claims else []
    return {
        "model": model,
        "revision": None,
        "task": task["task"],
        "dataset": task["dataset"],
        "dataset_revision": None,
        "split": task["split"],
        "protocol": "scored-2022",
        "metrics": metrics,
        "intervals": {},
        "examples": {"expected": task["expected"], "evaluated": None},
        "claims": [asdict(claim) for claim in PTM.from_record({"id": model, "model-index": index}).claims],
        "measured_at": "2022",
        "source": STUDY,
        "citation": citation,
        **more,
    }


def twelve_numbers(text: str) -> list[float]:
    """The numbers of the twelve lines that pycocotools prints; ValueError if they are not twelve."""
    numbers = [float(line.rpartition("=")[2]) for line in text.splitlines() if line.startswith(" Average")]
    if len(numbers) != len(TWELVE) or not all(-1 <= number <= 1 for number in numbers):
        raise ValueError(
            f"{len(numbers)} lines of pycocotools, {numbers}, instead of {len(TWELVE)} from -1 to 1"
        )
    return numbers


def from_text(path: Path) -> list[dict]:
    """The study's row in one COCO text file; none for a file that a runner wrote beside its rows."""
    text = path.read_text(encoding="utf-8")
    about = dict(line[2:].split(": ", 1) for line in text.splitlines() if line[:2] == "# " and ": " in line)
    if "rows" in about:
        return []
    model = about.get("model") or path.stem.replace("--", "/")
    claimed = {"AP": float(about["claimed AP"])} if "claimed AP" in about else {}
    metrics = dict(zip(TWELVE, twelve_numbers(text), strict=True))
    return [study_row(path.parent.name, model, metrics, claimed, about.get("source", "unknown"))]


def from_json(path: Path, value: dict) -> tuple[list[dict], list[dict]]:
    """The rows in one JSON file, and the differences published without their models."""
    folder = path.parent.name
    if "rows" in value:
        msgspec.convert(value["rows"], list[Row])
        return value["rows"], []
    citation = value["source"]
    if "discrepancies" in value:
        about = {key: TASKS[folder][key] for key in ("task", "dataset", "split")}
        about |= {"metric": "accuracy", "protocol": "scored-2022", "source": STUDY, "citation": citation}
        values = msgspec.convert(value["discrepancies"], list[float])
        return [], [{**about, "values": values, "note": value["note"]}]
    rows = []
    for model, metrics in value.get("measured", {}).items():
        if folder == "EMOTION":  # one label a text: micro-averaged F1 is accuracy, which the study compared
            metrics = {"accuracy": metrics["f1-micro"], **metrics}
        rows.append(study_row(folder, model, metrics, value["claimed"].get(model, {}), citation))
    for model in value.get("failed", []):
        rows.append(
            study_row(
                folder,
                model,
                {},
                {},
                citation,
                error="failed in the study, which gives no reason",
                stage=None,
            )
        )
    return rows, []


def gather(folder: Path) -> dict:
    """Every row under `folder`, sorted; a Problem names the first file that cannot be read."""
    rows, discrepancies, candidates = [], [], {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix not in (".txt", ".json") or path.parent.name not in TASKS:
            continue
        try:
            if path.suffix == ".txt":
                rows += from_text(path)
                continue
            value = read_json(path, dict, "Take the file from the repository again, or remove it.")
            if "candidates" in value:
                candidates |= {model: (path.parent.name, value["source"]) for model in value["candidates"]}
                continue
            more_rows, more_discrepancies = from_json(path, value)
            rows, discrepancies = rows + more_rows, discrepancies + more_discrepancies
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as why:
            reason = f"no {why}" if isinstance(why, KeyError) else why
            raise UserError(
                f"{display_path(path)} does not hold results: {reason}; mend or remove it"
            ) from why
    seen = {row["model"] for row in rows if row["source"] == STUDY}
    for model, (name, citation) in candidates.items():
        if model not in seen:
            rows.append(
                study_row(
                    name,
                    model,
                    {},
                    {},
                    citation,
                    error="listed by the study, no result published",
                    stage=None,
                )
            )
    order = ("task", "source", "protocol", "split", "model", "measured_at")
    rows.sort(key=lambda row: [str(row.get(key)) for key in order])
    return {"rows": rows, "discrepancies": discrepancies}


def table(rows: list[dict]) -> str:
    """The rows as CSV, one line a metric; a failed model has one line with its error."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        flat = {**row, **(row.get("examples") or {})}
        for metric, value in sorted((row.get("metrics") or {}).items()) or [(None, None)]:
            low, high = (row.get("intervals") or {}).get(metric) or (None, None)
            writer.writerow({**flat, "metric": metric, "value": value, "low": low, "high": high})
    return text.getvalue()


def eval_results(rows: list[dict], source_url: str) -> dict[str, list[dict]]:
    """Model -> entries of the Hub's `.eval_results`: what was measured under `standard` on a whole split.

    https://huggingface.co/docs/hub/eval-results. Nothing is uploaded.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    found = {}
    for row in latest_rows([row for row in rows if row["protocol"] == "standard" and "error" not in row]):
        examples = row["examples"]
        if not examples["evaluated"] or examples["evaluated"] != examples["expected"]:
            continue
        for metric, value in row["metrics"].items():
            low, high = row["intervals"].get(metric) or (None, None)
            entry = EvalResultEntry(
                dataset_id=HUB_IDS[row["dataset"]],
                task_id="default",
                value=value,
                dataset_revision=row["dataset_revision"],
                date=row["measured_at"],
                source_url=source_url,
                source_name="SCORED",
                notes=f"{metric}, split {row['split']} ({examples['evaluated']} examples), protocol "
                f"standard; 95 % interval {low} to {high}; model revision {row['revision']}; "
                f"code {row['code']['hash'][:12]}",
            )
            found.setdefault(row["model"], []).extend(eval_result_entries_to_yaml([entry]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Gathers every result into results.json and results.csv.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results")
    parser.add_argument("--output", type=Path, default=RESULTS.parent, help="folder for the two tables")
    parser.add_argument(
        "--eval-results", type=Path, metavar="DIR", help="folder for the Hub's .eval_results YAML"
    )
    parser.add_argument(
        "--source-url", metavar="URL", help="where these results are published, for --eval-results"
    )
    args = parser.parse_args()
    if args.eval_results and not (args.source_url or "").startswith(("https://", "http://")):
        raise UserError("--eval-results needs --source-url, the address where these results are published")
    if not args.results.is_dir():
        raise UserError(f"--results {display_path(args.results)} is not a folder; run from a whole checkout")
    gathered = gather(args.results)
    write_json(args.output / "results.json", gathered)
    with atomic_write(args.output / "results.csv") as file:
        file.write(table(gathered["rows"]))
    if args.eval_results:
        import yaml

        try:
            found = eval_results(gathered["rows"], args.source_url)
        except (KeyError, TypeError, ValueError, AttributeError) as why:
            raise UserError(
                f"--eval-results: a row under {display_path(args.results)} lacks what it needs: {why!r}"
            ) from why
        for model, entries in found.items():
            with atomic_write(args.eval_results / f"{safe_name(model)}.yaml") as file:
                yaml.safe_dump(entries, file, sort_keys=False)
    counts = Counter(
        (row["task"], row["source"], str(row["protocol"]), "failed" if row.get("error") else "measured")
        for row in gathered["rows"]
    )
    for (task, source, protocol, state), count in sorted(counts.items()):
        print(f"{task:<22}{source:<12}{protocol:<13}{state:<11}{count:>5}")
    for found in gathered["discrepancies"]:
        print(
            f"{found['task']:<22}{found['source']:<12}{found['protocol']:<13}differences{len(found['values']):>5}"
        )
    return 0


if __name__ == "__main__":
    run(main)
