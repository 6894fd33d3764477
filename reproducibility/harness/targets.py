"""Targets of verify.py: which claims can be judged, what is measured for them, and how they stand."""

import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from msgspec import structs

from harness.arguments import known_metrics, read_claim
from harness.checkpoint import CannotMeasure, Model
from harness.cluster import run_on_cluster
from harness.plan import passes_to_do, plan_passes
from harness.rows import add_row, read_rows, row_key
from harness.runner import measure
from harness.task import ForwardPass, Job, Run, Task
from harness.verification import (
    ELSEWHERE,
    FAILED,
    UNDERSPECIFIED,
    Judgment,
    Verification,
    sort_judgments,
)
from scored.benchmarks import all_benchmarks
from scored.cards import ModelCard
from scored.claim_values import show_value
from scored.claims import VOCABULARY, Claim
from scored.cli import to_line
from scored.comparisons import Comparison
from scored.files import UserError
from scored.matching import claims_of_result
from scored.result_rows import is_whole
from scored.verdicts import judge_claim, splits_left_open


@dataclass(frozen=True)
class Target:
    """A model, what it claims on its task's data set, and what is measured for that."""

    name: str  # the Hub id, or the folder as it was named
    run: Run
    model: Model
    claims: list[Claim]
    unjudged: list[Judgment]  # on the other claims
    recorded: list[dict]  # what the card claims on the data set, for the rows
    note: str  # why there is nothing to judge, if there is not

    def passes(self, split: str | None = None) -> list[ForwardPass]:
        """Plan the forward passes for the claims, or for a split. Raises UserError for missing data."""
        if not self.claims:
            return []
        args = copy.copy(self.run.args)
        args.split = split
        passes = plan_passes(replace(self.run, args=args), self.model, self.claims)
        return [
            replace(forward_pass, record={**forward_pass.record, "claims": self.recorded})
            for forward_pass in passes
        ]


def plan_target(name: str, run: Run, model: Model, card: ModelCard) -> Target:
    """Plan the measurements that the claims on the task's data set need."""
    dataset, claims = run.task.dataset, card.claims
    if run.args.claim:
        claims = [read_claim(text, run.task) for text in run.args.claim]
    here, unjudged = [], []
    for claim in claims:
        judgment = refuse_claim(claim, run.task)
        if judgment:
            unjudged.append(judgment)
        else:
            here.append(claim)
    recorded = [structs.asdict(claim) for claim in card.claims if claim.dataset == dataset]
    note = f"the card states no value on {dataset}; state it with --claim"
    if card.rejected:
        note = f"the card states no value on {dataset} that can be read ({card.rejected[0].reason})"
    return Target(name, run, model, here, unjudged, recorded, note)


def refuse_claim(claim: Claim, task: Task) -> Judgment | None:
    """Return why a claim cannot be judged, whatever is measured; None if it can be."""
    value, metrics = show_value(claim.value, 40), known_metrics(task)
    if claim.dataset not in (task.dataset, *VOCABULARY["loaders"]):
        return Judgment(
            claim, ELSEWHERE, f"it is about {claim.dataset}, the model is measured on {task.dataset}"
        )
    if claim.metric is not None and claim.metric not in metrics:
        why = f"{claim.metric} is not measured on {task.dataset}, only {', '.join(metrics)}"
        return Judgment(claim, ELSEWHERE, why)
    if claim.bound:
        return Judgment(claim, UNDERSPECIFIED, f"{value} is a bound, not a value")
    if claim.fraction is None and claim.metric:
        return Judgment(claim, UNDERSPECIFIED, f"{value} may be a fraction or a percentage")
    return None


def refuse_model(name: str, revision: str | None, claims: Iterable[Claim], reason: str) -> Verification:
    """Say why nothing is measured of a model: it could not run, or all claims are on other data sets."""
    judgments = []
    for claim in claims:
        verdict = FAILED if claim.dataset in all_benchmarks() else ELSEWHERE
        judgments.append(Judgment(claim, verdict, reason))
    has_failed = not judgments or any(judgment.verdict == FAILED for judgment in judgments)
    error = reason if has_failed else None
    return Verification(name, revision, judgments=sort_judgments(judgments), error=error)


# ── Measuring ─────────────────────────────────────────────────────────────────────────────────────────────


def measure_passes(target: Target, passes: list[ForwardPass]) -> dict[str, dict]:
    """Measure what is not yet among the rows of --results: split -> row. Raises CannotMeasure."""
    run, task = target.run, target.run.task
    path = run.args.results / task.folder / f"{task.name}.json"
    known = {}
    for row in read_rows(path, task):
        if "error" not in row and not run.args.force:
            known[row["key"]] = row
    rows = {}
    for forward_pass in passes:
        for name, protocol in forward_pass.protocols.items():
            key = row_key(forward_pass.record, name, protocol)
            if key in known:
                rows[forward_pass.data.split] = known[key]
    jobs = [Job(target.model, passes_to_do(passes, known))]
    if run.args.cluster and jobs[0].passes:
        jobs = run_on_cluster(run, jobs)
    (job,) = jobs
    for row in measure(run, job):
        add_row(path, task, row)
        if "error" in row:
            raise CannotMeasure(f"at {row['stage']}: {row['error']}")
        rows[row["split"]] = row
    return rows


def measure_open_split(target: Target, split: str) -> dict[str, dict]:
    """Measure a split that no claim names, but that a verdict may depend on; {} if the data lack it."""
    try:
        passes = target.passes(split)
    except UserError as error:
        print(f"{to_line(target.name, 100)}: {split} is not measured: {error}", file=sys.stderr)
        return {}
    return measure_passes(target, passes)


def measure_target(target: Target) -> dict[str, dict]:
    """Measure what the claims need, then the splits by which a verdict is left open: split -> row."""
    rows = measure_passes(target, target.passes())
    for split in splits_left_open(compare_claims(target, rows), target.run.task.splits):
        rows |= measure_open_split(target, split)
    return rows


# ── Judging ───────────────────────────────────────────────────────────────────────────────────────────────


def compare_claims(target: Target, rows: dict[str, dict]) -> list[Comparison | None]:
    """Judge each claim by the splits that were measured whole; None where they say nothing about it."""
    claims = [structs.asdict(claim) for claim in target.claims]
    whole = {split: row for split, row in rows.items() if is_whole(row)}
    benchmark = target.run.task.benchmark
    return [judge_claim(claim, whole, benchmark, claims_of_result(claim, claims)) for claim in claims]


def why_not_judged(rows: dict[str, dict]) -> str:
    """Return why measurements say nothing about a claim."""
    for row in rows.values():
        examples = row["examples"]
        if not is_whole(row):
            evaluated, expected = examples["evaluated"], examples["expected"]
            return f"only {evaluated:,} of {expected:,} examples were measured, and a verdict needs all"
    return "its metric is not defined on these examples"
