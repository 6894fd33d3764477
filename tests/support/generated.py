"""Generated measurements of 200 models of our own, beside those that are shipped."""

import functools
import json
import random
from decimal import Decimal

import err
from project import ROOT
from rows import make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.matching import KnownClaims
from scored.side_by_side import compare_laboratories
from scored.study_claims import as_claim, read_card_claims

ONE = Decimal(1)


def own_rows(count: int = 200) -> list[dict]:
    """Rows of `count` models on three data sets under both protocols; most near their claims."""
    rng, rows = random.Random(0), []
    for number in range(count):
        name = ("emotion", "imagenet-1k", "coco")[number % 3]
        benchmark = all_benchmarks()[name]
        n = benchmark.splits[benchmark.default]
        value = round(rng.uniform(0.3, 0.93), 4)
        claimed = round(value + rng.choice([0, 0, 0, 0.003, 0.02, -0.03]) + rng.gauss(0, 0.003), 4)
        fields = {"task": benchmark.task, "dataset": name, "split": benchmark.default, "source": "measured"}
        fields |= {"examples": {"expected": n, "evaluated": n}, "measured_at": "2026-11-25T00:00:00Z"}
        fields["claims"] = [make_claim(claimed, benchmark.headline, name)]
        model = f"owner-{number}/a-rather-long-name-of-a-model-{number}-finetuned"
        for protocol, loss in (("standard", 0), ("scored-2022", 0.02)):
            metrics = {benchmark.headline: round(value - loss, 4)}
            rows.append(make_row(model, metrics, protocol=protocol) | fields)
    return rows


@functools.cache
def many_models() -> tuple:
    """The shipped results and 200 models of our own: all series, and laboratories side by side."""
    results = json.loads((ROOT / "reproducibility" / "results.json").read_text())
    rows, cards = [*results["rows"], *own_rows()], read_card_claims()
    claims = {}
    for card in cards:
        claims.setdefault(card.model, []).append(as_claim(card))
    known = KnownClaims({}, claims, cards)
    published = json.loads(err.PUBLISHED.read_text())
    benchmarks = all_benchmarks()
    series = err.compare(results | {"rows": rows}, known, published, ONE, benchmarks)
    laboratories = []
    for benchmark in benchmarks.values():
        laboratories += compare_laboratories(rows, benchmark, known, ONE)
    return series, laboratories
