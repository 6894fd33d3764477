"""Explain why a claim is missed: split the gap between a claim and a measurement into points per cause.

Each claim that the observed value misses is explained by itself. Causes are what the faithful protocol does
otherwise, another split, and repairs (the field's usual preprocessing, longer texts, another order of the
labels), but only those that make the model better on the same examples, which a paired test must show. Each
gets its Shapley value, so that the points add up; what remains is unexplained.

Reads models and data as the task scripts do; writes `reproducibility/results/explanations.json`.

    python reproducibility/explain.py MODEL --data FOLDER
"""

import argparse
import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import UNSET, structs

from harness import waterfall
from harness.checkpoint import CannotMeasure, describe_error, read_card, resolve
from harness.choices import as_choices, parse_choices
from harness.explanations import (
    describe_ends,
    describe_search,
    format_causes,
    read_explanations,
    show,
    store,
)
from harness.measurements import Measurements
from harness.nodes import connected
from harness.plan import splits_to_measure
from harness.rows import code_state, safe_name
from harness.runner import HERE, machine_flags, require_writable
from harness.search import SPLIT, find_causes
from harness.task import Run, Task, all_tasks, task_for
from scored.benchmarks import all_benchmarks
from scored.cli import HelpFormatter, require_packages, run
from scored.comparisons import Comparison
from scored.files import UserError
from scored.matching import claims_of_result
from scored.verdict_rules import named_split
from scored.verdicts import AVERAGES, STANDARD, judge_claim, misses, splits_left_open

__all__ = ["Measurements", "choose_task", "explain_claim", "format_causes", "read_architectures", "store"]


# ── One claim ─────────────────────────────────────────────────────────────────────────────────────────────


def explain_claim(
    measurements: Measurements,
    claim: dict,
    comparison: Comparison,
    observed: dict | None = None,
    reference: dict | None = None,
) -> dict:
    """Explain why a measured value misses a claim; return an entry of explanations.json.

    `comparison` judges the claim by the value under the `observed` choices; what the `reference` choices do
    otherwise is tried first. Both are `standard`, unless given, on the split that was compared. Nothing is
    explained where the claim is not missed. Raises CannotMeasure if the model fails under `observed`.
    """
    task = measurements.run.task
    standard = as_choices(task.protocols[STANDARD], measurements.run.args.dtype)
    observed = {**(observed or standard), SPLIT: comparison.measured_split}
    reference = {**(reference or observed), SPLIT: comparison.measured_split}
    (row,) = measurements.rows_for(observed)
    metric = measured_metric(claim, row)
    if not misses(comparison):
        explanation = describe_ends(measurements, metric, claim, observed, reference)
        return explanation | {"verdict": comparison.verdict, "why": comparison.why}
    search, repaired = find_causes(measurements, metric, claim, observed, reference)
    if named_split(claim, task.benchmark) is None:  # it may be about any: the repaired value says which
        observed = {**observed, SPLIT: repaired[SPLIT]}
    explanation = describe_ends(measurements, metric, claim, observed, repaired)
    return explanation | {"verdict": comparison.verdict} | describe_search(search, observed, repaired)


def measured_metric(claim: dict, row: dict) -> str:
    """Return the metric that a claim is about; of the averages of a plain F1, the nearest one."""
    values = row["metrics"]
    averages = [f"{claim['metric']}-{average}" for average in AVERAGES]
    names = [name for name in (claim["metric"], *averages) if name in values]
    return min(names, key=lambda name: abs(values[name] - claim["fraction"]))


# ── All claims of a model ─────────────────────────────────────────────────────────────────────────────────


def choose_task(architectures: list[str], claimed: set[str], dataset: str | None) -> Task:
    """Choose the task of a model by its architectures; of several, that of `dataset` or of the card's claims.

    Raises CannotMeasure that says what to choose from.
    """
    names = ", ".join(architectures)
    fitting = {}
    for task in all_tasks():
        if any(name.endswith(task.architecture) for name in architectures):
            fitting[task.dataset] = task
    if not fitting:
        raise CannotMeasure(f"no task script measures the architecture {names}")
    if dataset is not None:
        if dataset not in fitting:
            raise CannotMeasure(f"{names} is not measured on {dataset}, but on {', '.join(fitting)}")
        return fitting[dataset]
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    candidates = [task for task in fitting.values() if task.dataset in claimed]
    if len(candidates) != 1:
        raise CannotMeasure(f"{names} is measured on {', '.join(fitting)}; choose with --dataset")
    return candidates[0]


def read_architectures(model) -> list[str]:
    """Read the names of a model's architectures from its configuration."""
    folder = model.path
    if folder is None:
        from huggingface_hub import hf_hub_download

        folder = Path(hf_hub_download(model.name, "config.json", revision=model.revision)).parent
    config = json.loads(Path(folder, "config.json").read_bytes())
    return [str(name) for name in config.get("architectures") or []]


def explain_claims(measurements: Measurements, claims: list[dict]) -> list[dict]:
    """Judge each claim by the observed value, and explain those that it misses."""
    task, args = measurements.run.task, measurements.run.args
    observed, reference = (parse_choices(text, task, args.dtype, None) for text in (args.seen, args.faithful))
    explanations = []
    for claim in claims:
        comparison = judge(measurements, observed, claim, claims)
        if comparison is not None and comparison.measured_split is not UNSET:
            explanations.append(explain_claim(measurements, claim, comparison, observed, reference))
    if not explanations:
        choices = [{**ends, SPLIT: ends[SPLIT] or task.default_split} for ends in (observed, reference)]
        explanation = describe_ends(measurements, task.benchmark.headline, None, *choices)
        reason = "no claim that can be judged" if claims else "no claim"
        explanations.append(explanation | {"verdict": reason, "why": reason})
    return explanations


def judge(measurements: Measurements, observed: dict, claim: dict, claims: list[dict]) -> Comparison | None:
    """Judge a claim by the observed values on the splits that it may be about; None if they say nothing."""
    task, others = measurements.run.task, claims_of_result(claim, claims)
    if observed[SPLIT]:
        rows = measure_splits(measurements, observed, [observed[SPLIT]])
        return judge_claim(claim, rows, task.benchmark, others)
    protocol = task.protocols[measurements.run.args.seen.partition(",")[0]]
    rows = measure_splits(measurements, observed, splits_to_measure(task, protocol, None, [claim]))
    comparison = judge_claim(claim, rows, task.benchmark, others)
    left_open = splits_left_open([comparison], task.splits)
    with contextlib.suppress(UserError):  # the data lack the split
        rows |= measure_splits(measurements, observed, left_open)
    return judge_claim(claim, rows, task.benchmark, others)


def measure_splits(measurements: Measurements, observed: dict, splits: Iterable[str]) -> dict[str, dict]:
    """Measure splits under the observed choices: split -> row."""
    rows = measurements.rows_for(*({**observed, SPLIT: split} for split in splits))
    return {row["split"]: row | {"protocol": measurements.run.args.seen} for row in rows}


def explain_model(text: str, args, load: Callable) -> list[dict]:
    """Explain a model: return an explanation per claim, or its error. Raises UserError for wrong input."""
    facts = {"model": text}
    try:
        model = resolve(text)
        facts = {"model": model.name, "revision": model.revision}
        claims = read_card(model).claims
        task = choose_task(read_architectures(model), {claim.dataset for claim in claims}, args.dataset)
        facts |= {"task": task.name, "dataset": task.dataset}
        run = Run(task, args, code_state(task), functools.partial(load, task.dataset))
        return explain_claims(Measurements(run, model), claims_on(claims, task.dataset))
    except UserError:
        raise
    except Exception as error:
        return [facts | {"error": describe_error(error)}]


def claims_on(claims: Iterable, dataset: str) -> list[dict]:
    """Return the claims on a data set that have a value."""
    facts = [structs.asdict(claim) for claim in claims if claim.dataset == dataset]
    return [claim for claim in facts if claim["fraction"] is not None]


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Explain why claims are missed: points per cause.",
        formatter_class=HelpFormatter,
    )
    add, output = parser.add_argument, HERE / "results" / "explanations.json"
    choices = "PROTOCOL[,CHOICE=VALUE…]"
    add("models", nargs="+", metavar="MODEL", help="Hub id, id@revision or local folder")
    add("--data", type=Path, metavar="DIR", help="the data set's folder, as for the task's script")
    add("--dataset", choices=all_benchmarks(), help="if the architecture and the card leave it open")
    add("--seen", default="scored-2022", metavar=choices, help="how it was measured")
    add("--faithful", default="standard", metavar=choices, help="how it should be measured")
    machine_flags(parser)
    add("--output", type=Path, default=output, help="explanations")
    add("--figures", type=Path, metavar="DIR", help="folder for a waterfall PNG of each model")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    require_packages("torch", "transformers")
    read_explanations(args.output)  # before anything is measured: it may be of another kind
    require_writable("--output", args.output.parent)
    require_writable("--predictions", args.predictions)
    if args.cluster and args.data:
        args.data = args.data.resolve()
    load = functools.cache(lambda dataset, split: task_for(dataset).load_data(args.data, split))
    failed = 0
    with connected(None, args):
        for text in args.models:
            explanations = explain_model(text, args, load)
            for explanation in explanations:
                write(explanation, args)
            failed += any("error" in explanation for explanation in explanations)
    return 1 if failed else 0


def write(explanation: dict, args: argparse.Namespace) -> None:
    """Store and print an explanation, and draw it if it names causes."""
    is_stored = store(args.output, explanation)
    if not is_stored:
        reason = "kept the earlier explanation, which covers more examples"
        print(f"{explanation['model']}: {reason}", file=sys.stderr)
    show(explanation)
    if args.figures and is_stored and explanation.get("unexplained_points") is not None:
        waterfall.draw(args.figures / f"{figure_name(explanation)}.png", explanation)


def figure_name(explanation: dict) -> str:
    """Name a figure by the model, and the claim."""
    claim = explanation["claim"]
    parts = [safe_name(explanation["model"]), explanation["metric"], claim["split"], str(claim["fraction"])]
    return ".".join(part for part in parts if part)


if __name__ == "__main__":
    run(main)
