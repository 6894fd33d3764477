"""Verdicts: what a claim on a model card is worth by measurements. Rows and claims are dicts, as in JSON."""

from collections.abc import Container, Iterable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from scored.benchmarks import Benchmark
from scored.claims import VOCABULARY
from scored.comparisons import Comparison
from scored.open_claims import judge_plain_average, judge_unnamed
from scored.split_identification import Case
from scored.verdict_rules import (
    beside,
    judge_same_examples,
    judge_two_samples,
    named_split,
    only_public_split,
)
from scored.verdict_sentences import write_sentence

STANDARD = "standard"  # the protocol under which a claim is judged
VERDICTS = (
    "reproduced",
    "close",
    "inconclusive",
    "claim underspecified",
    "understated",
    "overstated",
    "failed to run",
)
AGREES, DIFFERS = "agrees under", "differs under"  # and the name of another protocol
AVERAGES = ("macro", "micro", "weighted")


def judge_claim(
    claim: dict, rows: dict[str, dict], benchmark: Benchmark, others: Sequence[dict] = ()
) -> Comparison | None:
    """Judge one claim by a model's measurements; None where they say nothing about it.

    `rows`: split -> the whole, successful row of the model under one source and protocol. `others`: the other
    claims of the same result, whose split is identified together.
    """
    if not rows or claim.get("bound"):  # "over 90%" is compared with nothing
        return None
    row = next(iter(rows.values()))
    comparison = start_comparison(claim, row["model"], row.get("revision"))
    case = Case(claim, rows, benchmark, others)
    averages = averages_of(claim["metric"], rows)
    why = why_underspecified(claim, rows, benchmark)
    if why:
        comparison = replace(comparison, verdict="claim underspecified", why=why)
    elif averages:
        comparison = judge_plain_average(comparison, case, averages)
    elif any(claim["metric"] in row["metrics"] for row in rows.values()):
        comparison = judge_metric(comparison, case)
    else:
        return None
    comparison = replace(comparison, verdict=verdict_under(comparison.verdict, row["protocol"]))
    return replace(comparison, sentence=write_sentence(comparison))


def start_comparison(claim: dict, model: str, revision: str | None) -> Comparison:
    """Make a comparison that says what is claimed, with the verdict of a model that failed."""
    return Comparison(
        model=model,
        revision=revision,
        metric=claim["metric"],
        claimed=claim["fraction"],
        claimed_as=claim["value"],
        claimed_split=claim["split"],
        claim_from=claim.get("from") or place_in_card(claim),
        contradicts=UNSET if claim.get("contradicts") is None else claim["contradicts"],
        verdict="failed to run",
    )


def place_in_card(claim: dict) -> str:
    """Return where a claim stands on the measured card: its metadata, or a line of its text."""
    if claim.get("source") == "card text":
        return f"card text, line {claim['line']}"
    return "card"


def why_underspecified(claim: dict, rows: dict[str, dict], benchmark: Benchmark) -> str | None:
    """Return why a claim cannot be compared although it is a number; None if it can."""
    metric = claim["metric"]
    if claim["dataset"] in VOCABULARY["loaders"]:
        return f"it names a way to load data, {claim['dataset']!r}, not a data set"
    if claim["config"] and claim["config"] not in benchmark.configs:
        return f"unknown configuration {claim['config']!r} for {benchmark.name}"
    if metric is None:
        return "it names no metric"
    is_measured = any(metric in row["metrics"] for row in rows.values())
    if claim["fraction"] is None and (is_measured or averages_of(metric, rows)):
        return f"{claim['value']!r} may be a fraction or a percentage"
    return None


def averages_of(metric: str | None, rows: dict[str, dict]) -> list[str]:
    """List the measured averages of a metric that a claim names without its average."""
    measured = set()
    for row in rows.values():
        measured.update(row["metrics"])
    if metric in measured:
        return []
    return [f"{metric}-{average}" for average in AVERAGES if f"{metric}-{average}" in measured]


def judge_metric(comparison: Comparison, case: Case) -> Comparison:
    """Judge a claim on a measured metric by the rule for what the card says of its split."""
    claim, benchmark, metric = case.claim, case.benchmark, comparison.metric
    rows = {split: row for split, row in case.rows.items() if metric in row["metrics"]}
    named = named_split(claim, benchmark)
    if named in rows:
        return judge_same_examples(beside(comparison, rows[named]), claim, "same examples")
    if named is not None:
        return judge_two_samples(comparison, claim, rows, benchmark, named)
    only = only_public_split(claim, benchmark)
    if only in rows:
        return judge_same_examples(beside(comparison, rows[only]), claim, "only public split")
    return judge_unnamed(comparison, case, rows)


# ── What a verdict says ───────────────────────────────────────────────────────────────────────────────────


def misses(comparison: Comparison) -> bool:
    """Return whether a measured value misses the claim: over- or understated, or `differs under …`."""
    return comparison.verdict in ("overstated", "understated") or comparison.verdict.startswith(DIFFERS)


def agrees(comparison: Comparison) -> bool:
    """Return whether a measured value agrees with the claim: reproduced, close, or `agrees under …`."""
    return comparison.verdict in ("reproduced", "close") or comparison.verdict.startswith(AGREES)


def splits_left_open(comparisons: Iterable[Comparison | None], measurable: Container[str]) -> list[str]:
    """List the splits that an inconclusive claim may be about and that were not measured but could be."""
    left_open = {}
    for comparison in comparisons:
        if comparison is None or comparison.verdict != "inconclusive" or comparison.possible is UNSET:
            continue
        for entry in comparison.possible:
            if entry.value is UNSET and entry.excluded is UNSET and entry.split in measurable:
                left_open[entry.split] = None
    return list(left_open)


def verdict_under(verdict: str, protocol: str) -> str:
    """Return the word for a verdict under a protocol: only one under `standard` judges the claim."""
    if protocol == STANDARD:
        return verdict
    if verdict in ("reproduced", "close"):
        return f"{AGREES} {protocol}"
    return f"{DIFFERS} {protocol}" if verdict in ("overstated", "understated") else verdict
