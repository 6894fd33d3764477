"""Explain a discrepancy: split the gap between a claim and a measurement into points per cause.

Two protocols are two sets of choices. A model is measured under each combination of those in which they
differ, and each choice gets its Shapley value: the points add up exactly to the gap between the protocols.
If the faithful protocol does not meet the claim either, repairs are tried (the field's usual preprocessing,
longer texts, another order of the labels) and become causes; any remaining gap is left unexplained.

Reads models and data as the task scripts do; writes `reproducibility/results/explanations.json`.

    python reproducibility/explain.py MODEL --data FOLDER
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from harness import waterfall
from harness.attribution import best_label_order, shapley, subsets
from harness.checkpoint import CannotMeasure, describe_error, read_card, resolve
from harness.choices import as_protocol, parse_choices
from harness.cluster import run_on_cluster
from harness.nodes import connected
from harness.plan import plan_passes, subset
from harness.rows import code_state, safe_name
from harness.runner import HERE, machine_flags, measure, require_writable
from harness.shards import read_predictions
from harness.task import Job, Run, Task, all_tasks, task_for
from scored.benchmarks import all_benchmarks
from scored.cli import HelpFormatter, require_packages, run
from scored.files import ROOT, UserError, display_path, exclusive, write_json
from scored.schema import SCHEMA, read_versioned

MIN_GAIN = 0.5  # points: a repair must bring the value this much nearer to the claim; a smaller gap is no gap
MIN_POINTS = 0.01  # points: what a cause must cost to be named
MIN_PERMUTATION_GAIN = 5.0  # points: what another order of the labels must gain to be reported
UNEXPLAINED = "unexplained"
ADVICE = "Delete it and write it again with: python reproducibility/explain.py MODEL"


# ── Measuring ─────────────────────────────────────────────────────────────────────────────────────────────


class Measurements:
    """The rows of one model under any choices; each is measured only once."""

    def __init__(self, run: Run, model):
        self.run, self.model = run, model
        self.rows: dict[str, dict] = {}  # choices as JSON -> row
        self.passes: set[Path] = set()  # files of the forward passes

    def rows_for(self, *wanted: dict) -> list[dict]:
        """Return a row for each set of choices; those with equal inputs share a forward pass.

        Raises CannotMeasure if the model fails.
        """
        missing: dict[str, dict[str, object]] = {}  # dtype -> choices as JSON -> protocol
        keys = [json.dumps(choices, sort_keys=True) for choices in wanted]
        for key, choices in zip(keys, wanted, strict=True):
            if key not in self.rows:
                missing.setdefault(choices["dtype"], {})[key] = as_protocol(self.run.task, choices)
        for dtype, protocols in missing.items():
            self._measure(dtype, protocols)
        return [self.rows[key] for key in keys]

    def _measure(self, dtype: str, protocols: dict[str, object]) -> None:
        args = argparse.Namespace(**vars(self.run.args))
        args.dtype, args.protocol, args.split = dtype, None, None
        variant = replace(self.run, task=replace(self.run.task, protocols=protocols), args=args)
        passes = plan_passes(variant, self.model, [])
        self.passes |= {forward_pass.file for forward_pass in passes}
        jobs = [Job(self.model, passes)]
        (job,) = run_on_cluster(variant, jobs) if args.cluster else jobs
        for row in measure(variant, job):
            if "error" in row:
                raise CannotMeasure(f"failed at {row['stage']}: {row['error']}")
            self.rows[row["protocol"]] = row

    def value_of(self, choices: dict) -> float:
        """Return the headline metric under these choices, as a fraction."""
        (row,) = self.rows_for(choices)
        return row["metrics"][self.run.task.benchmark.headline]


# ── Explaining ────────────────────────────────────────────────────────────────────────────────────────────


def repair(measurements: Measurements, reference: dict, claim: float, tries: dict[str, list]) -> dict:
    """Change the reference choices, one at a time, as long as the value comes nearer to the claim."""
    gap = abs(measurements.value_of(reference) - claim)
    while 100 * gap > MIN_GAIN:
        variants = []
        for choice, values in tries.items():
            variants += [{**reference, choice: value} for value in values]
        measurements.rows_for(*variants)  # together: those with equal inputs share a forward pass
        gaps = [abs(measurements.value_of(variant) - claim) for variant in variants]
        if 100 * (gap - min(gaps, default=gap)) < MIN_GAIN:
            break
        gap = min(gaps)
        reference = variants[gaps.index(gap)]
    return reference


def best_labels(measurements: Measurements, choices: dict) -> dict:
    """Find what another order of the labels would gain, from the predictions saved for these choices."""
    task = measurements.run.task
    (row,) = measurements.rows_for(choices)
    table, record = read_predictions(ROOT / row["predictions"]["file"])
    data = subset(measurements.run.load(choices["split"]), record["limit"])
    facts = record["about"]
    predicted, true, declared = task.predicted_and_true(table, data, as_protocol(task, choices), facts)
    order, gain = best_label_order(predicted, true, declared)
    is_permuted = gain > MIN_PERMUTATION_GAIN
    names, moved = task.class_names(data), {}
    for output, (new, old) in enumerate(zip(order, declared, strict=True)):
        if is_permuted and new != old and new in names:
            moved[facts["labels"][output]] = names[new]
    return {
        "gain_points": gain,
        "permuted": is_permuted,
        "order": order if moved else None,
        "moved": moved,
    }


def explain(measurements: Measurements, observed: dict, reference: dict, claim: dict | None) -> dict:
    """Split the gap between the observed and the reference choices into points per choice."""
    task = measurements.run.task
    labels = best_labels(measurements, reference)
    unexplained = None
    if claim:
        tries = task.repairs(facts_of(measurements, reference))
        if labels["order"]:
            tries["labels"] = [*tries["labels"], tuple(labels["order"])]
        reference = repair(measurements, reference, claim["fraction"], tries)
        unexplained = 100 * (measurements.value_of(reference) - claim["fraction"])
    points = points_per_choice(measurements, observed, reference)
    causes = []
    for choice in sorted(points, key=lambda choice: -abs(points[choice])):
        factor = task.choice_names.get(choice, choice)
        ends = {"faithful": reference[choice], "seen": observed[choice]}
        causes.append({"factor": factor, "points": points[choice], **ends})
    gap = measurements.value_of(observed) - measurements.value_of(reference)
    return {
        "metric": task.benchmark.headline,
        "claim": claim,
        "seen": endpoint(measurements, observed),
        "faithful": endpoint(measurements, reference),
        "gap_points": 100 * gap,
        "causes": causes,
        "unexplained_points": unexplained,
        "named": name_causes(causes, unexplained),
        "labels": labels,
        "forward_passes": len(measurements.passes),
    }


def facts_of(measurements: Measurements, choices: dict) -> dict:
    """Return the facts about the model that are saved with its predictions."""
    (row,) = measurements.rows_for(choices)
    return read_predictions(ROOT / row["predictions"]["file"])[1]["about"]


def points_per_choice(measurements: Measurements, observed: dict, reference: dict) -> dict[str, float]:
    """Compute the Shapley value of each choice in which the two differ, in points."""
    factors = [choice for choice in reference if reference[choice] != observed[choice]]
    combinations = {}
    for switched in subsets(factors):
        combinations[switched] = {**reference, **{choice: observed[choice] for choice in switched}}
    measurements.rows_for(*combinations.values())
    return shapley(lambda switched: 100 * measurements.value_of(combinations[switched]), factors)


def name_causes(causes: list[dict], unexplained: float | None) -> list[str]:
    """Name the causes that cost more than MIN_POINTS, the largest first."""
    points = {cause["factor"]: cause["points"] for cause in causes}
    if unexplained is not None:
        points[UNEXPLAINED] = unexplained
    named = [factor for factor in points if abs(points[factor]) > MIN_POINTS]
    return sorted(named, key=lambda factor: -abs(points[factor]))


def endpoint(measurements: Measurements, choices: dict) -> dict:
    """Describe one end of the gap: its choices, value and interval, and what it was measured on."""
    (row,) = measurements.rows_for(choices)
    metric = measurements.run.task.benchmark.headline
    facts = {"choices": choices, "value": row["metrics"][metric], "interval": row["intervals"].get(metric)}
    for key in ("revision", "dataset_revision", "split", "examples", "measured_at", "code", "predictions"):
        facts[key] = row[key]
    for key in ("limit", "device"):
        facts[key] = row["settings"][key]
    return facts


# ── Models ────────────────────────────────────────────────────────────────────────────────────────────────


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


def find_claim(claims: Iterable, task: Task) -> dict | None:
    """Return the first claim of the headline metric on the task's data set that has a value."""
    for claim in claims:
        is_headline = claim.dataset == task.dataset and claim.metric == task.benchmark.headline
        if is_headline and claim.fraction is not None:
            return structs.asdict(claim)
    return None


def explain_model(text: str, args, load: Callable) -> dict:
    """Explain one model: return its explanation, or its error. Raises UserError for wrong input."""
    facts = {"model": text}
    try:
        model = resolve(text)
        facts = {"model": model.name, "revision": model.revision}
        claims = read_card(model).claims
        task = choose_task(read_architectures(model), {claim.dataset for claim in claims}, args.dataset)
        facts |= {"task": task.name, "dataset": task.dataset}
        claim = find_claim(claims, task)
        claimed = claim["split"] if claim else None
        split = claimed if claimed in task.splits else task.default_split
        observed = parse_choices(args.seen, task, args.dtype, split)
        reference = parse_choices(args.faithful, task, args.dtype, split)
        run = Run(task, args, code_state(task), functools.partial(load, task.dataset))
        return facts | explain(Measurements(run, model), observed, reference, claim)
    except UserError:
        raise
    except Exception as error:
        return facts | {"error": describe_error(error)}


# ── The file ──────────────────────────────────────────────────────────────────────────────────────────────


def read_explanations(path: Path) -> list[dict]:
    """Read the explanations of earlier runs; none if there is no file yet. Raises UserError."""
    explanations = read_versioned(path, ADVICE).get("explanations") if path.exists() else []
    is_list = isinstance(explanations, list)
    if not is_list or not all(isinstance(entry, dict) and "model" in entry for entry in explanations):
        raise UserError(f"{display_path(path)} does not hold explanations. {ADVICE}")
    return explanations


def is_fuller(old: dict, new: dict) -> bool:
    """Whether an explanation covers more than a newer one, which failed or is of a part of the data."""
    return _coverage(old) > _coverage(new)


def _coverage(explanation: dict) -> int:
    try:
        examples = explanation["seen"]["examples"]
        return 2 if examples["evaluated"] == examples["expected"] else 1
    except (KeyError, TypeError):  # it failed, or another program wrote it
        return 0


def store(path: Path, explanation: dict) -> bool:
    """Write an explanation in place of the model's earlier one on the data set; False if that is fuller."""
    dataset = explanation.get("dataset")  # None if it failed before the data set was known
    with exclusive(path):
        others = []
        for old in read_explanations(path):
            is_same_data = old.get("dataset") == dataset or None in (old.get("dataset"), dataset)
            if old["model"] != explanation["model"] or not is_same_data:
                others.append(old)
            elif is_fuller(old, explanation):
                return False
        explanations = [*others, explanation]
        explanations.sort(key=lambda entry: (str(entry["model"]), str(entry.get("dataset"))))
        write_json(path, {"schema": SCHEMA, "explanations": explanations})
    return True


def show(explanation: dict) -> None:
    """Print an explanation to stdout, a failure to stderr."""
    if "error" in explanation:
        print(f"{explanation['model']}  failed: {explanation['error']}", file=sys.stderr)
        return
    claim, value = explanation["claim"], 100 * explanation["seen"]["value"]
    claimed = f"claimed {100 * claim['fraction']:.2f}" if claim else "no claim"
    print(f"{explanation['model']}  {explanation['metric']}: {claimed}, measured {value:.2f}")
    for cause in explanation["causes"]:
        print(f"  {cause['points']:+8.3f}  {cause['factor']}: {waterfall.format_change(cause)}")
    if explanation["unexplained_points"] is not None:
        print(f"  {explanation['unexplained_points']:+8.3f}  {UNEXPLAINED}")
    if explanation["labels"]["permuted"]:
        print(f"  labels are permuted: {explanation['labels']['moved']}")


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Split the gap between claim and measurement into points per cause.",
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
            explanation = explain_model(text, args, load)
            is_stored = store(args.output, explanation)
            if not is_stored:
                reason = "kept the earlier explanation, which covers more examples"
                print(f"{explanation['model']}: {reason}", file=sys.stderr)
            show(explanation)
            failed += "error" in explanation
            if args.figures and is_stored and "error" not in explanation:
                waterfall.draw(args.figures / f"{safe_name(explanation['model'])}.png", explanation)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
