"""Claims on emotion that name a split or none, beside values measured on its splits."""

from rows import EMOTION, make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.claims import TRAINER_NOTE
from scored.comparisons import Comparison
from scored.verdicts import judge_claim

BENCHMARK = all_benchmarks()["emotion"]


def rows_on(protocol: str = "standard", **values: float | dict) -> dict[str, dict]:
    """Make a whole row per split, from an accuracy or from several metrics; half a F1's interval is 0.013."""
    rows = {}
    for split, value in values.items():
        metrics = value if isinstance(value, dict) else {"accuracy": value}
        intervals = {}
        for name in ("f1-macro", "f1-weighted"):
            if name in metrics:
                intervals[name] = [metrics[name] - 0.013, metrics[name] + 0.013]
        n = BENCHMARK.splits[split]
        examples = {"expected": n, "evaluated": n}
        facts = {**EMOTION, "split": split, "intervals": intervals, "examples": examples}
        rows[split] = {**make_row("m", metrics, protocol=protocol), **facts}
    return rows


def claim_of(value: float, metric: str = "accuracy", split: str | None = None, trainer: bool = False) -> dict:
    """Make a claim that names a split, none, or the training split as transformers' Trainer did."""
    claim = make_claim(value, metric, "emotion", split)
    if trainer:
        claim |= {"possible_splits": ("train", "validation", "test"), "split_note": TRAINER_NOTE}
    return claim


def judge(claim: dict, rows: dict[str, dict], others=()) -> Comparison:
    """Judge a claim on emotion."""
    return judge_claim(claim, rows, BENCHMARK, others)
