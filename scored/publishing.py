"""What was measured under `standard`, as YAML for the Hub. Nothing is uploaded.

The Hub's `.eval_results` take one value per benchmark and task (https://huggingface.co/docs/hub/eval-results),
so they hold the headline metric of the benchmarks that the user names. All metrics stand in a `model-index`
block, for a card's metadata.
"""

import re
from pathlib import Path

from scored.benchmarks import Benchmark
from scored.files import UserError, atomic_write
from scored.result_rows import is_whole, latest_rows
from scored.schema import PublishableRow, check


def parse_benchmark(text: str, benchmarks: dict[str, Benchmark]) -> tuple[str, str]:
    """Parse DATASET:TASK into our name of the data set and the task's id on the Hub. Raises UserError."""
    dataset, _, task = text.rpartition(":")
    for benchmark in benchmarks.values():
        if task and dataset in (benchmark.name, benchmark.hub_id):
            return benchmark.name, task
    known = ", ".join(benchmark.hub_id for benchmark in benchmarks.values())
    raise UserError(f"--benchmark must be DATASET:TASK with one of {known}; not {text!r}")


def publishable_rows(rows: list[dict]) -> dict[str, list[dict]]:
    """Select what can be published, by model: whole splits under `standard`. Raises UserError."""
    by_model = {}
    for row in latest_rows([row for row in rows if row["protocol"] == "standard" and "error" not in row]):
        if row["examples"]["evaluated"] and is_whole(row):
            check(row, PublishableRow, f"--eval-results: row of {row['model']}", "measure it again")
            by_model.setdefault(row["model"], []).append(row)
    return by_model


def commit_or_none(revision: str | None) -> str | None:
    """Return a revision that is a commit; the hash of a local folder means nothing to the Hub."""
    return revision if revision and re.fullmatch(r"[0-9a-f]{40}", revision) else None


def notes_of(row: dict, metric: str) -> str:
    """Say in one line what a value is: metric, split, protocol, interval, revision and code."""
    low, high = row["intervals"].get(metric) or (None, None)
    return (
        f"{metric}, split {row['split']} ({row['examples']['evaluated']} examples), protocol standard; "
        f"95% interval {low} to {high}; model revision {row['revision']}; code {row['code']['hash'][:12]}"
    )


def eval_results(
    rows: list[dict], benchmark: Benchmark, tasks: list[str], source_url: str
) -> list[dict[str, object]]:
    """Make a model's entries of `.eval_results` on one data set: the headline metric, once per task.

    Of several splits the default one counts.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    rows = [row for row in rows if row["dataset"] == benchmark.name and benchmark.headline in row["metrics"]]
    if not rows:
        return []
    row = min(rows, key=lambda row: (row["split"] != benchmark.default, row["split"]))
    entries = []
    for task in tasks:
        entry = EvalResultEntry(
            dataset_id=benchmark.hub_id,
            task_id=task,
            value=row["metrics"][benchmark.headline],
            dataset_revision=commit_or_none(row["dataset_revision"]),
            date=row["measured_at"],
            source_url=source_url,
            source_name="SCORED",
            notes=notes_of(row, benchmark.headline),
        )
        entries.append(entry)
    return eval_result_entries_to_yaml(entries)


def model_index(model: str, rows: list[dict], benchmarks: dict[str, Benchmark], source_url: str) -> dict:
    """Make the `model-index` block of a model: all metrics of each split."""
    results = []
    for row in rows:
        benchmark = benchmarks[row["dataset"]]
        dataset = {"type": benchmark.hub_id, "name": benchmark.name, "split": row["split"]}
        if benchmark.config:
            dataset["config"] = benchmark.config
        if commit_or_none(row["dataset_revision"]):
            dataset["revision"] = row["dataset_revision"]
        metrics = []
        for metric, value in sorted(row["metrics"].items()):
            metrics.append({"type": metric, "value": value, "args": {"notes": notes_of(row, metric)}})
        results.append(
            {
                "task": {"type": benchmark.hub_task or benchmark.task},
                "dataset": dataset,
                "metrics": metrics,
                "source": {"name": "SCORED", "url": source_url},
            }
        )
    return {"model-index": [{"name": model.rpartition("/")[2], "results": results}]}


def write_yaml(path: Path, value: object) -> None:
    """Write one YAML file."""
    import yaml

    with atomic_write(path) as file:
        yaml.safe_dump(value, file, sort_keys=False)
