"""The files of the 2022 study as it laid them out, as result rows. They name neither split nor protocol."""

from pathlib import Path

import msgspec
from msgspec.structs import asdict

from ptm import PTM
from scored.benchmarks import COCO_METRICS, Benchmark
from scored.result_rows import STUDY

PROTOCOL = "scored-2022"


def study_row(
    benchmark: Benchmark, model: str, metrics: dict, claimed: dict, citation: str, error: str | None = None
) -> dict:
    """Make a result row of one of the study's measurements; what it did not publish is null."""
    if benchmark.study is None:
        raise ValueError(f"the study measured nothing on {benchmark.name}")
    stated = {"type": benchmark.name, "name": benchmark.name}
    claims = [{"type": metric, "value": value} for metric, value in claimed.items()]
    index = [{"results": [{"dataset": stated, "metrics": claims}]}] if claims else []
    row = {
        "model": model,
        "revision": None,
        "task": benchmark.task,
        "dataset": benchmark.name,
        "dataset_revision": None,
        "split": benchmark.study,
        "protocol": PROTOCOL,
        "metrics": metrics,
        "intervals": {},
        "examples": {"expected": benchmark.splits[benchmark.study], "evaluated": None},
        "claims": [asdict(claim) for claim in PTM.from_record({"id": model, "model-index": index}).claims],
        "measured_at": "2022",
        "source": STUDY,
        "citation": citation,
    }
    if error is not None:
        row |= {"error": error, "stage": None}
    return row


def twelve_numbers(text: str) -> list[float]:
    """Parse the twelve lines that pycocotools prints. Raises ValueError if there are not twelve numbers."""
    numbers = [float(line.rpartition("=")[2]) for line in text.splitlines() if line.startswith(" Average")]
    if len(numbers) != len(COCO_METRICS) or not all(-1 <= number <= 1 for number in numbers):
        raise ValueError(
            f"{len(numbers)} lines of pycocotools, {numbers}, instead of {len(COCO_METRICS)} from -1 to 1"
        )
    return numbers


def read_study_text(path: Path, benchmark: Benchmark) -> list[dict]:
    """Read the study's row in a COCO text file; none if a task script wrote the file beside its rows."""
    text = path.read_text(encoding="utf-8")
    header = dict(line[2:].split(": ", 1) for line in text.splitlines() if line[:2] == "# " and ": " in line)
    if "rows" in header:
        return []
    model = header.get("model") or path.stem.replace("--", "/")
    claimed = {"AP": float(header["claimed AP"])} if "claimed AP" in header else {}
    metrics = dict(zip(COCO_METRICS, twelve_numbers(text), strict=True))
    return [study_row(benchmark, model, metrics, claimed, header.get("source", "unknown"))]


def study_rows(value: dict, benchmark: Benchmark) -> list[dict]:
    """Make rows of the models that one of the study's JSON files lists as measured or failed."""
    rows, citation = [], value["source"]
    for model, metrics in value.get("measured", {}).items():
        if benchmark.headline == "accuracy" and "accuracy" not in metrics:
            metrics = {"accuracy": metrics["f1-micro"], **metrics}  # equal where a text has one label
        rows.append(study_row(benchmark, model, metrics, value["claimed"].get(model, {}), citation))
    for model in value.get("failed", []):
        error = "failed in the study, which gives no reason"
        rows.append(study_row(benchmark, model, {}, {}, citation, error))
    return rows


def study_differences(value: dict, benchmark: Benchmark) -> dict:
    """Make an entry of the absolute differences that the study published without model names."""
    return {
        "task": benchmark.task,
        "dataset": benchmark.name,
        "split": benchmark.study,
        "metric": benchmark.headline,
        "protocol": PROTOCOL,
        "source": STUDY,
        "citation": value["source"],
        "values": msgspec.convert(value["discrepancies"], list[float]),
        "note": value["note"],
    }
