"""The rules for a claim that leaves its split or average open: by its digits, else by all possible splits."""

from msgspec import UNSET
from msgspec.structs import replace

from scored.claim_numbers import CLOSE, is_equal, stated_precision
from scored.comparisons import OTHER_SAMPLE, Comparison, PossibleSplit
from scored.split_identification import (
    MAX_CHANCE,
    MIN_SAMPLE,
    Case,
    chance_of_claim,
    identify,
    possible_splits,
)
from scored.verdict_rules import (
    beside,
    difference_interval,
    direction,
    evaluation_rows,
    named_split,
    only_public_split,
    verdict_by_interval,
)
from scored.verdict_sentences import explain_close, explain_misses


def judge_unnamed(comparison: Comparison, case: Case, rows: dict[str, dict]) -> Comparison:
    """Judge a claim that may be about several splits: by the one that its digits identify, else by all."""
    possible = possible_splits(case, comparison.metric)
    measured = [entry for entry in possible if entry.value is not UNSET and entry.excluded is UNSET]
    comparison = replace(comparison, possible=possible, precision_points=stated_precision(case.claim))
    identification = identify(case, [entry.split for entry in measured])
    equal, near = [], []
    for entry in measured:
        if entry.split in identification.splits:
            (equal if is_equal(case.claim, entry.value) else near).append(entry.split)
    is_certain = identification.chance is not None and identification.chance <= MAX_CHANCE
    if equal:
        comparison = replace(beside(comparison, rows[equal[0]]), rule="split identified")
        return judge_identified(comparison, equal, identification.chance)
    if near and is_certain:
        comparison = replace(beside(comparison, rows[near[0]]), rule="split identified")
        why = f"split not stated, identified as {near[0]} by another metric of the result"
        return replace(
            comparison,
            verdict="close",
            identified_split=near[0],
            chance=identification.chance,
            why=f"{why}; {abs(comparison.discrepancy):.2f} points apart",
        )
    return judge_all_possible(replace(comparison, rule="possible splits"), case, rows, measured)


def judge_identified(comparison: Comparison, splits: list[str], chance: float | None) -> Comparison:
    """Judge a claim that equals the value on these splits: reproduced unless that may be a coincidence."""
    name = " or ".join(splits)
    comparison = replace(comparison, chance=UNSET if chance is None else chance)
    if chance is None or chance > MAX_CHANCE:
        return replace(comparison, verdict="close", why=explain_close(comparison, name, chance))
    why = f"split not stated, identified as {name}"
    return replace(comparison, verdict="reproduced", identified_split=name, why=why)


def judge_all_possible(
    comparison: Comparison, case: Case, rows: dict[str, dict], measured: list[PossibleSplit]
) -> Comparison:
    """Judge a claim that equals no measured value: it is missed only if it is wherever it may be about."""
    nearest = min(measured, key=lambda entry: abs(entry.misses_points), default=None)
    row = rows[nearest.split] if nearest else next(iter(rows.values()))
    comparison = beside(comparison, row)
    intervals = []
    for split, other in evaluation_rows(rows).items():
        if split in case.benchmark.splits:
            interval = difference_interval(case.claim, comparison.metric, MIN_SAMPLE, other)
            intervals.append(interval)
    if None in intervals or not intervals:
        interval = None
    else:
        interval = [min(low for low, _ in intervals), max(high for _, high in intervals)]
        comparison = replace(comparison, interval_points=interval, n_claimed=MIN_SAMPLE)
    verdict = verdict_on_all(comparison.possible, interval)
    comparison = replace(comparison, verdict=verdict)
    return replace(comparison, why=explain_misses(comparison, interval))


def verdict_on_all(possible: list[PossibleSplit], interval: list[float] | None) -> str:
    """Return the verdict that holds on every possible split and on a sample that nobody named."""
    if interval is None:
        return "inconclusive"
    verdicts = {verdict_by_interval(*interval)}
    for entry in possible:
        if entry.split == OTHER_SAMPLE or entry.excluded is not UNSET:
            continue
        if entry.value is UNSET or abs(entry.misses_points) <= CLOSE:
            return "inconclusive"
        verdicts.add(direction(entry.misses_points))
    return verdicts.pop() if len(verdicts) == 1 else "inconclusive"


# ── A claim that leaves its average open ──────────────────────────────────────────────────────────────────


def judge_plain_average(comparison: Comparison, case: Case, averages: list[str]) -> Comparison:
    """Judge a plain f1: by the one average that equals it to its digits, if it is the only one."""
    underspecified = f"it does not say how {comparison.metric} is averaged"
    unclear = replace(comparison, verdict="claim underspecified", why=underspecified)
    splits, rule = splits_of_average(case)
    hits = {}
    for split in splits:
        values = case.rows[split]["metrics"]
        hits[split] = [name for name in averages if name in values and is_equal(case.claim, values[name])]
    names = sorted({name for split in splits for name in hits[split]})
    if len(names) != 1:
        if any(len(hits[split]) == 1 for split in splits):
            why = f"{underspecified}, and {' and '.join(names)} equal it on different splits"
            return replace(unclear, verdict="inconclusive", why=why)
        return unclear
    equal = [split for split in splits if hits[split]]
    chance = chance_of_claim(case.claim, case.rows, splits, averages)
    comparison = replace(
        beside(replace(comparison, metric=names[0]), case.rows[equal[0]]),
        metric=comparison.metric,
        identified_metric=names[0],
        precision_points=stated_precision(case.claim),
        rule=rule,
        possible=UNSET if rule == "average identified" else possible_splits(case, names[0]),
        chance=UNSET if chance is None else chance,
    )
    name = f"{names[0]} on {' or '.join(equal)}"
    if chance is None or chance > MAX_CHANCE:
        return replace(comparison, verdict="close", why=explain_close(comparison, name, chance))
    if rule != "average identified":
        comparison = replace(comparison, identified_split=" or ".join(equal))
    return replace(comparison, verdict="reproduced", why=f"average not stated, identified as {name}")


def splits_of_average(case: Case) -> tuple[list[str], str]:
    """Return the measured splits that a plain f1 may be about, and the rule's name."""
    named = named_split(case.claim, case.benchmark) or only_public_split(case.claim, case.benchmark)
    if named is not None:
        return [named] if named in case.rows else [], "average identified"
    possible = []
    for entry in possible_splits(case, ""):
        if entry.split in case.rows and entry.excluded is UNSET:
            possible.append(entry.split)
    together = identify(case, possible).splits if case.others else ()
    return list(together) or possible, "split and average identified"
