"""Verify what a model claims: measure it as its authors and the field do, judge each claim, name the causes.

For whoever is about to depend on a model. Prints at most five lines per model: model and data, claims and
where they stand, measured values, verdicts, causes. What was measured once is not measured again.

    python reproducibility/verify.py MODEL[@REVISION] --data FOLDER
"""

import argparse
import copy
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from explain import choose_task, explain_claim, read_architectures
from harness.arguments import (
    claim_argument,
    is_misspelt_folder,
    no_such_folder,
    read_folders,
    require_model_name,
)
from harness.checkpoint import CannotMeasure, describe_error, parse_model_argument, read_card, resolve
from harness.explanations import format_causes, read_explanations, store
from harness.measurements import Measurements
from harness.nodes import connected
from harness.reports import write_junit, write_markdown
from harness.rows import code_state
from harness.runner import HERE, machine_flags, require_device, require_writable
from harness.targets import (
    Target,
    compare_claims,
    measure_target,
    plan_target,
    refuse_model,
    why_not_judged,
)
from harness.task import Run, task_for
from harness.verification import (
    Judgment,
    Verification,
    exit_code,
    format_lines,
    sort_judgments,
    worst_code,
)
from scored.benchmarks import all_benchmarks
from scored.cards import ModelCard
from scored.cli import HelpFormatter, require_packages, run
from scored.files import UserError, display_path, require_regular_file
from scored.verdicts import misses

PROTOCOL = "standard"  # the claim itself is judged under it
EXPLANATIONS = "explanations.json"  # in --results
EPILOG = (
    "Exit code: 0 reproduced, close or understated; 3 overstated; 4 inconclusive or nothing to judge; "
    "1 could not run; 2 usage, input or missing data. Of several claims or models the worst: 1, 3, 4, 0."
)


# ── Arguments ─────────────────────────────────────────────────────────────────────────────────────────────


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Verify what a model claims: measure it, judge each claim, name the causes.",
        epilog=EPILOG,
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="Hub id, id@revision or local folder")
    data = "the data set's folder, as for the task's script; DATASET=DIR for models of several tasks"
    add("--data", action="append", metavar="[DATASET=]DIR", help=data)
    add("--dataset", choices=all_benchmarks(), help="if the architecture and the card leave it open")
    claim = "judge this instead of the card's claims, such as accuracy=90.25%%@validation; may be repeated"
    add("--claim", action="append", type=claim_argument, metavar="METRIC=VALUE[@SPLIT]", help=claim)
    add("--junit", type=Path, metavar="FILE", help="JUnit XML: each claim is a test case")
    add("--markdown", type=Path, metavar="FILE", help="a table of the claims, and what is printed")
    add("--results", type=Path, default=HERE / "verified", metavar="DIR", help="rows and explanations")
    machine_flags(parser)
    parser.set_defaults(protocol=[PROTOCOL], split=None)
    return parser


def check_inputs(args: argparse.Namespace) -> None:
    """Raise UserError for a model's name, a device or a place that cannot be used."""
    require_packages("torch", "transformers")
    for text in args.models:
        require_model_name(text)
    if not args.cluster:
        require_device(args.device)
    require_writable("--results", args.results)
    read_explanations(args.results / EXPLANATIONS)  # before anything is measured: it may be of another kind
    require_writable("--predictions", args.predictions)
    for flag, path in (("--junit", args.junit), ("--markdown", args.markdown)):
        if path:
            require_writable(flag, path.parent)
            require_regular_file(path)


# ── What is measured ──────────────────────────────────────────────────────────────────────────────────────


def plan(text: str, args: argparse.Namespace, load: Callable) -> Target | Verification:
    """Plan what is measured of a model, or say why it cannot be. Raises UserError for wrong input."""
    name, revision = parse_model_argument(text)
    if os.path.isdir(text):
        name = text
    card = ModelCard()
    try:
        model = resolve(text)
        revision = model.revision
        card = read_card(model)
        task = choose_task(read_architectures(model), {claim.dataset for claim in card.claims}, args.dataset)
        run = Run(task, args, code_state(task), functools.partial(load, task.dataset))
        target = plan_target(name, run, model, card)
        target.passes()  # reads the data: what is missing is an error before anything is measured
        return target
    except UserError:
        raise
    except Exception as error:  # of many kinds, as strangers' repositories are
        if is_misspelt_folder(text, error):
            raise UserError(no_such_folder(text)) from error
        return refuse_model(name, revision, [] if args.claim else card.claims, describe_error(error))


# ── Judging and explaining ────────────────────────────────────────────────────────────────────────────────


def judge_claims(target: Target, rows: dict[str, dict]) -> list[Judgment]:
    """Say how each claim stands, and explain those that are over- or understated."""
    judgments = []
    for claim, comparison in zip(target.claims, compare_claims(target, rows), strict=True):
        if comparison is None:
            judgments.append(Judgment(claim, "inconclusive", why_not_judged(rows)))
            continue
        causes = explain_judged(target, structs.asdict(claim), comparison) if misses(comparison) else ""
        judgments.append(Judgment(claim, comparison.verdict, comparison.why, causes))
    return judgments


def explain_judged(target: Target, claim: dict, comparison) -> str:
    """Explain a claim that is missed, and store that; return the causes as one line."""
    args = copy.copy(target.run.args)
    args.force = False  # what was measured for the verdict need not be measured again
    measurements = Measurements(replace(target.run, args=args), target.model)
    try:
        explanation = explain_claim(measurements, claim, comparison)
    except (CannotMeasure, UserError) as error:  # the verdict stands
        return f"not sought: {describe_error(error)}"
    store(args.results / EXPLANATIONS, explanation)
    return format_causes(explanation)


def verify(target: Target) -> Verification:
    """Measure a model, judge its claims, and explain those that it misses."""
    model, task = target.model, target.run.task
    verification = Verification(
        target.name, model.revision, task.name, task.dataset, {}, tuple(target.unjudged), note=target.note
    )
    if not target.claims:
        return verification
    try:
        rows = measure_target(target)
        judgments = judge_claims(target, rows)
    except CannotMeasure as error:
        judgments = [Judgment(claim, "failed to run", str(error)) for claim in target.claims]
        return replace(verification, judgments=(*judgments, *target.unjudged), error=str(error))
    rows = {split: rows[split] for split in task.benchmark.splits if split in rows}
    return replace(verification, rows=rows, judgments=sort_judgments([*judgments, *target.unjudged]))


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def main() -> int:
    args = make_parser().parse_args()
    folders = read_folders(args.data or ())
    check_inputs(args)

    def load(dataset: str, split: str):
        return task_for(dataset).load_data(folders.get(dataset, folders.get(None)), split)

    load = functools.cache(load)
    targets = [plan(text, args, load) for text in dict.fromkeys(args.models)]
    verifications = []
    with connected(None, args):
        for target in targets:
            verification = verify(target) if isinstance(target, Target) else target
            print(*format_lines(verification), sep="\n", flush=True)
            verifications.append(verification)
    if args.junit:
        write_junit(args.junit, verifications)
    if args.markdown:
        write_markdown(args.markdown, verifications)
    print(f"rows and explanations are in {display_path(args.results)}", file=sys.stderr)
    return worst_code(map(exit_code, verifications))


if __name__ == "__main__":
    run(main)
