"""Arguments of verify.py: models, `--data [DATASET=]DIR`, and claims, `--claim METRIC=VALUE[@SPLIT]`."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from msgspec import structs

from harness.checkpoint import parse_model_argument
from harness.task import Task
from scored.benchmarks import all_benchmarks
from scored.claims import Claim, read_model_index
from scored.files import UserError
from scored.hub import transient_reason
from scored.verdicts import AVERAGES

CLAIM_FLAG = "--claim"  # the source of such a claim


# ── Models and data ───────────────────────────────────────────────────────────────────────────────────────


def require_model_name(text: str) -> None:
    """Raise UserError for what is neither a folder nor the form of a Hub id."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if os.path.isdir(text):
        return
    try:
        validate_repo_id(parse_model_argument(text)[0])
    except HFValidationError as error:
        raise UserError(no_such_folder(text)) from error
    if os.path.exists(text):
        raise UserError(no_such_folder(text))


def no_such_folder(text: str) -> str:
    """Say that a model cannot be found by its name."""
    return f"{text}: there is no such folder, and it is not the id of a model on the Hub"


def is_misspelt_folder(text: str, error: Exception) -> bool:
    """Whether a name that the Hub does not know, or cannot be asked about, is in a folder of this machine."""
    is_unknown = type(error).__name__ == "RepositoryNotFoundError" or bool(transient_reason(error))
    parent = os.path.dirname(text)
    return is_unknown and bool(parent) and os.path.isdir(parent)


def read_folders(values: Iterable[str]) -> dict[str | None, Path]:
    """Read --data: data set -> folder; None stands for all that are not named. Raises UserError."""
    folders = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not separator or name not in all_benchmarks():
            name, path = None, value
        if name in folders:
            raise UserError(f"--data {value}: there are two folders; tell them apart with DATASET=DIR")
        if not os.path.isdir(path):
            raise UserError(f"--data {value}: there is no such folder")
        folders[name] = Path(path).resolve()
    return folders


# ── --claim ───────────────────────────────────────────────────────────────────────────────────────────────


def claim_argument(text: str) -> str:
    """Check the form of a claim; what its words mean depends on the model's task."""
    metric, _, rest = text.rpartition("=")
    value, at, split = rest.partition("@")
    is_complete = metric.strip() and value.strip() and (split.strip() or not at)
    if not is_complete or metric.rstrip().endswith((">", "<")):
        raise argparse.ArgumentTypeError(f"must be METRIC=VALUE or METRIC=VALUE@SPLIT, not {text!r}")
    return text


def known_metrics(task: Task) -> list[str]:
    """List the metrics that a claim on the task's data set may name: `f1` stands for one of its averages."""
    names = list(task.metrics or [task.benchmark.headline])
    for metric in task.metrics:
        base, _, average = metric.rpartition("-")
        if average in AVERAGES and base not in names:
            names.append(base)
    return names


def read_claim(text: str, task: Task) -> Claim:
    """Read a claim as if it stood in a card's metadata.

    Raises UserError for a metric, split or value that cannot be compared, with those that can.
    """
    stated, _, rest = text.rpartition("=")
    value, _, split = rest.partition("@")
    benchmark = task.benchmark
    dataset = {"type": benchmark.hub_id, "name": benchmark.name, "split": split.strip() or None}
    metric = {"type": stated.strip(), "value": value.strip()}
    kind = {"type": benchmark.hub_task or benchmark.task}
    (claim,) = read_model_index([{"results": [{"task": kind, "dataset": dataset, "metrics": [metric]}]}])
    if not isinstance(claim, Claim):
        raise UserError(f"--claim {text}: {claim.reason}")
    known = known_metrics(task)
    if claim.metric not in known:
        advice = f"known on {benchmark.name} are {', '.join(known)}"
        raise UserError(f"--claim {text}: unknown metric {stated.strip()!r}; {advice}")
    if claim.possible_splits:
        raise UserError(f"--claim {text}: it names the splits {' and '.join(claim.possible_splits)}")
    if claim.split is not None and claim.split not in benchmark.splits:
        advice = f"known in {benchmark.name} are {', '.join(benchmark.splits)}"
        raise UserError(f"--claim {text}: unknown split {claim.split!r}; {advice}")
    if claim.fraction is None and claim.bound:
        raise UserError(f"--claim {text}: a bound is not a value")
    if claim.fraction is None:
        raise UserError(f"--claim {text}: may be a fraction or a percentage; write {value.strip()}% or 0.…")
    return structs.replace(claim, source=CLAIM_FLAG)
