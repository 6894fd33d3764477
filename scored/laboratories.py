"""Other laboratories' published measurements as result rows, each with its own `source`.

Three formats are read, as their documentation has them:

- timm's results-imagenet.csv (https://github.com/huggingface/pytorch-image-models, results/)
- lm-evaluation-harness's results_*.json (https://github.com/EleutherAI/lm-evaluation-harness)
- Every Eval Ever's JSON, schema 0.2 (https://github.com/evaleval/every_eval_ever)

What is about a data set, split or metric that the project does not know is skipped and counted.
"""

import csv
import datetime
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from scored.benchmarks import Benchmark, benchmark_named
from scored.claim_datasets import find_benchmark
from scored.claim_names import is_bounded, is_known, read_metric_name
from scored.claim_words import split_name
from scored.files import ROOT, UserError, display_path, read_json

SAME_WEIGHTS = ROOT / "scored" / "same_weights.toml"
TIMM_CITATION = "pytorch-image-models, results/results-imagenet.csv (Apache-2.0)"
LM_EVAL = "lm-evaluation-harness"
FORMATS = (
    "timm's results-imagenet.csv, lm-evaluation-harness's results_*.json, or JSON of Every Eval Ever "
    "(evaluation_results)"
)


@dataclass
class Imported:
    """What a file of another laboratory holds: rows, and why the rest was skipped."""

    rows: list[dict] = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)


class SameWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model on the Hub and timm's entry for its weights; without an entry, why none can be named."""

    why: str
    entry: str | None = None
    img_size: int | None = None


def read_same_weights(path: Path = SAME_WEIGHTS) -> dict[str, SameWeights]:
    """Read the table of models whose weights timm publishes, too: Hub id -> SameWeights. Raises UserError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return {model: msgspec.convert(entry, SameWeights) for model, entry in table.items()}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {display_path(path)}: {error}") from error


def import_results(path: Path) -> Imported:
    """Read another laboratory's file. Raises UserError for an unknown format or a value out of range."""
    try:
        if path.suffix.casefold() == ".csv":
            return read_timm(path)
        value = read_json(path, dict, f"--import takes {FORMATS}.")
        if "evaluation_results" in value:
            return read_every_eval(value)
        if "results" in value and ("configs" in value or "versions" in value):
            return read_lm_eval(value)
    except OSError as error:
        raise UserError(f"cannot read --import {display_path(path)}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation, csv.Error) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"--import {display_path(path)} is not {FORMATS}: {reason}") from error
    raise UserError(f"--import {display_path(path)} is not {FORMATS}")


# ── One row ───────────────────────────────────────────────────────────────────────────────────────────────


def make_row(
    benchmark: Benchmark, model: str, split: str, source: str, protocol: str, citation: str, **fields
) -> dict:
    """Make a result row; what the laboratory does not state is null."""
    row = {
        "model": model,
        "revision": None,
        "task": benchmark.task,
        "dataset": benchmark.name,
        "dataset_revision": None,
        "split": split,
        "protocol": label(protocol),
        "metrics": {},
        "intervals": {},
        "examples": {"expected": benchmark.splits[split], "evaluated": None},
        "measured_at": None,
        "source": label(source),
        "citation": citation,
    }
    return row | fields


def label(text: str) -> str:
    """Make a label of a laboratory's text: the characters that figures can hold, at most 80."""
    return re.sub(r"[^A-Za-z0-9,.:'/_+-]+", " ", text).strip()[:80] or "unnamed"


def exact_fraction(value: object, largest: float) -> float:
    """Divide a score by its largest value as decimals. Raises ValueError outside of 0 to 1."""
    fraction = Decimal(str(value)) / Decimal(str(largest))
    if not 0 <= fraction <= 1:
        raise ValueError(f"score {value} is not between 0 and {largest:g}")
    return float(fraction)


def commit(text: object) -> str | None:
    """Return a stated revision if it is a commit; a branch's name says nothing."""
    return text if isinstance(text, str) and re.fullmatch(r"[0-9a-f]{40}", text) else None


# ── timm ──────────────────────────────────────────────────────────────────────────────────────────────────


def read_timm(path: Path) -> Imported:
    """Read timm's ImageNet results: one row per entry and input size.

    A row is about the Hub's model that same_weights.toml names, else about timm's own copy on the Hub.
    """
    hub_ids = {}
    for model, same in read_same_weights().items():
        hub_ids[same.entry, same.img_size] = (model, same.why)
    if not path.stem.endswith("results-imagenet"):  # timm's others look alike: results-imagenet-a-clean.csv
        raise ValueError("of timm's files, only results-imagenet.csv is about ImageNet-1k's validation set")
    benchmark, imported = benchmark_named("imagenet-1k"), Imported()
    with open(path, encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    if not entries:
        raise ValueError("it has no rows")
    for entry in entries:
        name, size = entry["model"].strip(), int(entry["img_size"])
        metrics = {"accuracy": exact_fraction(entry["top1"], 100)}
        metrics["accuracy-top5"] = exact_fraction(entry["top5"], 100)
        settings = {"img_size": size, "crop_pct": entry["crop_pct"], "interpolation": entry["interpolation"]}
        model, why = hub_ids.get((name, size), (f"timm/{name}", "timm's own copy"))
        row = make_row(benchmark, model, "validation", "timm", f"timm at {size} px", TIMM_CITATION)
        imported.rows.append(
            row | {"metrics": metrics, "settings": settings, "entry": name, "same_weights": why}
        )
    return imported


# ── lm-evaluation-harness ─────────────────────────────────────────────────────────────────────────────────


def read_lm_eval(value: dict) -> Imported:
    """Read a run of lm-evaluation-harness: one row per task and filter."""
    imported, (model, revision) = Imported(), lm_eval_model(value)
    for task, scores in value["results"].items():
        config = (value.get("configs") or {}).get(task) or {}  # until 0.3 there were none
        benchmark = find_benchmark(str(config.get("dataset_path") or ""))
        if benchmark is None:
            imported.skipped[f"unknown data set {config.get('dataset_path') or task}"] += 1
            continue
        split = split_name(config.get("test_split") or config.get("validation_split"))
        if split not in benchmark.splits:
            imported.skipped[f"unknown split {split} of {benchmark.name}"] += 1
            continue
        samples = (value.get("n-samples") or {}).get(task) or {}
        expected = benchmark.splits[split]
        shots = (value.get("n-shot") or {}).get(task, config.get("num_fewshot"))
        date = datetime.datetime.fromtimestamp(value["date"], datetime.UTC) if "date" in value else None
        for name, metrics in by_filter(scores, benchmark, imported.skipped).items():
            parts = [f"lm-eval {task}"]
            if shots is not None:
                parts.append(f"{shots}-shot")
            if name != "none":
                parts.append(name)
            protocol = ", ".join(parts)
            row = make_row(
                benchmark, model, split, "lm-evaluation-harness", protocol, "lm-evaluation-harness"
            )
            row |= {"revision": revision, "metrics": metrics}
            row["examples"] = {"expected": expected, "evaluated": samples.get("effective")}
            row["measured_at"] = date.strftime("%Y-%m-%dT%H:%M:%SZ") if date else None
            row["versions"] = {"lm_eval": value.get("lm_eval_version"), "git": value.get("git_hash")}
            imported.rows.append(row)
    return imported


def lm_eval_model(value: dict) -> tuple[str, str | None]:
    """Return the Hub id and the commit that a run states. Raises ValueError if it names no model."""
    config = value.get("config") or {}
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        pairs = [part.partition("=") for part in arguments.split(",")]
        arguments = {key.strip(): text for key, _, text in pairs}
    model = arguments.get("pretrained") or value.get("model_name")
    if not model:
        raise ValueError("it names no model")
    return model, commit(config.get("model_sha")) or commit(arguments.get("revision"))


def by_filter(scores: dict, benchmark: Benchmark, skipped: Counter) -> dict[str, dict[str, float]]:
    """Sort a task's scores, keyed `metric,filter`, by filter; unknown metrics are counted in `skipped`."""
    filters: dict[str, dict[str, float]] = {}
    for key, score in scores.items():
        name, _, used = key.partition(",")  # until 0.3 there were no filters
        if name.endswith("_stderr") or not isinstance(score, int | float):
            continue
        metric = read_metric_name(name, None, None, benchmark.name, benchmark.task).metric
        if is_known(metric) and is_bounded(metric):
            filters.setdefault(used or "none", {})[metric] = exact_fraction(score, 1)
        else:
            skipped[f"unknown metric {name}"] += 1
    return filters


# ── Every Eval Ever ───────────────────────────────────────────────────────────────────────────────────────


def read_every_eval(value: dict) -> Imported:
    """Read a record of Every Eval Ever: one row per result on a known data set and split."""
    imported = Imported()
    organization = value["source_metadata"]["source_organization_name"]
    details = value["model_info"].get("additional_details") or {}
    library = value.get("eval_library") or {}
    protocol = f"{library.get('name', 'unknown library')} {library.get('version', '')}"
    for result in value["evaluation_results"]:
        data, scale = result["source_data"], result["metric_config"]
        stated = str(data.get("hf_repo") or data["dataset_name"])
        benchmark = find_benchmark(stated)
        if benchmark is None:
            imported.skipped[f"unknown data set {stated}"] += 1
            continue
        split, metric = every_eval_split(data, benchmark), every_eval_metric(result, benchmark)
        if split not in benchmark.splits:
            imported.skipped[f"unknown split {split} of {benchmark.name}"] += 1
        elif metric is None or scale.get("max_score") not in (1, 100):
            imported.skipped[f"unknown metric or scale of {result['evaluation_name']}"] += 1
        else:
            source = f"Every Eval Ever, {organization}"
            row = make_row(benchmark, value["model_info"]["id"], split, source, protocol, "Every Eval Ever")
            row |= {"revision": commit(details.get("revision")), "evaluation_id": value["evaluation_id"]}
            row["metrics"] = {metric: exact_fraction(result["score_details"]["score"], scale["max_score"])}
            samples = data.get("samples_number")
            row["examples"] = {"expected": benchmark.splits[split], "evaluated": samples}
            row["measured_at"] = result.get("evaluation_timestamp") or value.get("evaluation_timestamp")
            imported.rows.append(row)
    return imported


def every_eval_split(data: dict, benchmark: Benchmark) -> str | None:
    """Return the split that is stated, or else the only one whose labels are public."""
    if data.get("hf_split"):
        return split_name(data["hf_split"])
    return benchmark.public[0] if len(benchmark.public) == 1 else None


def every_eval_metric(result: dict, benchmark: Benchmark) -> str | None:
    """Return the metric of a result; None if unknown, or if it is about a part of the data set.

    The evaluation's name is a metric's or the data set's; with the latter the metric stands in a field of its
    own (schema 0.2.2) or in the description, as "Accuracy on IFEval".
    """
    name, config = str(result["evaluation_name"]), result["metric_config"]
    described = str(config.get("evaluation_description") or "").partition(" on ")
    candidates = [name]
    if find_benchmark(name) == benchmark:
        candidates += [config.get("metric_kind"), config.get("metric_name")]
        if find_benchmark(described[2].rstrip(".")) == benchmark:
            candidates.append(described[0])
    for text in candidates:
        metric = read_metric_name(text, None, None, benchmark.name, benchmark.task).metric if text else None
        if is_known(metric) and is_bounded(metric):
            return metric
    return None
