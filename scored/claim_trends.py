"""Trends of claims: who claims what, what keeps claims from being checked, and which claims are shared.

Each is given all models in batches (`add`) and then returns its counts (`result`), as those of trends.py.
"""

from collections import Counter
from heapq import nsmallest

from ptm import PTM
from scored.claims import Claim, is_bounded
from scored.intervals import ratio
from scored.trends import Batch, count_ranges, top, truncate

IMPOSSIBLE = "between 1 and 2, impossible unless percent"
NO_TASK, UNKNOWN_TASK = "no task stated", "task unknown"


class ClaimsByTask:
    """Count the models with at least one claim, of those whose card is known, by the task on the Hub."""

    RULE = (
        "A task has its own bar if it is among the 25 with the most known cards and at least 30 of them "
        "(1% of them where there are fewer than 3,000) state it; the others are folded into 'other'."
    )

    def __init__(self):
        self.n = 0
        self.models, self.without_card, self.with_claims = Counter(), Counter(), Counter()

    def add(self, batch: Batch) -> None:
        self.n += len(batch.models)
        self.models.update([model.task or NO_TASK for model in batch.hub])
        self.models.update([UNKNOWN_TASK] * len(batch.without_hub))
        self.without_card.update([stated_task(model) for model in batch.without_card])
        self.with_claims.update([stated_task(model) for model in batch.claiming])

    def result(self) -> dict:
        known = self.models - self.without_card
        n, k = known.total(), self.with_claims.total()
        tasks, folded = {}, {}
        other = {"models": self.n, "known": n, "with_claims": k}
        for task in nsmallest(1000, self.models, key=lambda name: (-known[name], name)):
            row = {"models": self.models[task], "known": known[task], "with_claims": self.with_claims[task]}
            if len(tasks) < 25 and row["known"] >= max(1, min(30, n / 100)):
                tasks[truncate(task)] = row
                other = {key: other[key] - row[key] for key in other}
            else:
                folded[truncate(task)] = row
        if folded:
            tasks["other"] = other
        for row in (*tasks.values(), *folded.values()):
            row["fraction"] = ratio(row["with_claims"], row["known"])
        return {
            "models": self.n,
            "known": n,
            "with_claims": k,
            "fraction": ratio(k, n),
            "tasks": tasks,
            "folded": folded,
            "rule": self.RULE,
        }


def stated_task(model: PTM) -> str:
    """Return the task that the Hub states, or why there is none."""
    if model.taken is not None and not model.taken.hub:
        return UNKNOWN_TASK
    return model.task or NO_TASK


class ClaimContents:
    """Count what claims are about: datasets, metrics, claims per model, verification and source."""

    def __init__(self):
        self.known = 0
        self.datasets, self.metrics, self.verification, self.sources = (Counter() for _ in range(4))
        self.claims_per_model = Counter()  # number of claims -> models

    def add(self, batch: Batch) -> None:
        self.known += len(batch.card)
        for model in batch.claiming:
            self.claims_per_model[len(model.claims)] += 1
            for claim in model.claims:
                self.datasets[claim.dataset] += 1
                self.metrics[claim.metric or "none stated (.eval_results)"] += 1
                self.verification["verified" if claim.verified else "self-reported"] += 1
                self.sources[claim.source] += 1

    def result(self) -> dict:
        return {
            "claims": self.verification.total(),
            "models": self.claims_per_model.total(),
            "known": self.known,
            "datasets": top(self.datasets),
            "distinct_datasets": len(self.datasets),
            "metrics": top(self.metrics),
            "distinct_metrics": len(self.metrics),
            "claims_per_model": count_ranges(self.claims_per_model),
            "verification": {name: self.verification[name] for name in ("verified", "self-reported")},
            "sources": {name: self.sources[name] for name in ("model-index", ".eval_results")},
        }


class ClaimQuality:
    """Count why entries of cards were rejected, and what the claims lack."""

    def __init__(self):
        self.known = self.claims = 0
        self.rejected, self.shared = Counter(), SharedClaims()
        self.no_split = self.no_revision = self.ambiguous_unit = self.impossible = 0

    def add(self, batch: Batch) -> None:
        self.known += len(batch.card)
        for model in batch.card:
            if model.rejected:
                self.rejected.update([rejected.kind for rejected in model.rejected])
        for model in batch.claiming:
            self.shared.add(model)
            self.claims += len(model.claims)
            for claim in model.claims:
                self.add_claim(claim)

    def add_claim(self, claim: Claim) -> None:
        self.no_split += claim.split is None
        self.no_revision += claim.revision is None
        if claim.unit == "ambiguous":
            self.ambiguous_unit += 1
            self.impossible += claim.number > 1 and is_bounded(claim.metric)

    def result(self) -> dict:
        return {
            "claims": self.claims,
            "known": self.known,
            "rejected": self.rejected.total(),
            "rejected_because": top(self.rejected),
            "impossible_values": {
                "rejected, out of range": self.rejected["out of range"],
                IMPOSSIBLE: self.impossible,
            },
            "lacking": {
                "no split": self.no_split,
                "no dataset revision": self.no_revision,
                "ambiguous unit": self.ambiguous_unit,
                IMPOSSIBLE: self.impossible,
            },
            "equal": {**self.shared.result(), "known": self.known},
        }


class SharedClaims:
    """Count the claims that several models state with the same value."""

    RULE = (
        "Claims are equal if dataset, config, split, metric and value are, the value with 3 or more digits. "
        "Equal values need not be copies: accuracy on n examples takes n + 1 values. Counted are the claims "
        "that 2 (10) or more models state."
    )

    def __init__(self):
        self.models = Counter()  # identity of a claim -> models that state it
        self.claims_of = {}  # hash of a model's id -> its claims

    def add(self, model: PTM) -> None:
        claims = frozenset([identity(claim) for claim in model.claims if has_three_digits(claim.number)])
        if claims:
            self.models.update(claims)
            self.claims_of[hash(model.id)] = claims

    def result(self) -> dict:
        counts = self.models.values()
        shared = {}
        for claim, count in self.models.items():
            if count > 1:
                shared[" · ".join([str(part or "–") for part in claim])] = count
        return {
            "rule": self.RULE,
            "claims": sum(counts),
            "shared_by_2_or_more": sum(count for count in counts if count >= 2),
            "shared_by_10_or_more": sum(count for count in counts if count >= 10),
            "most_shared": top(shared, 10),
        }


def has_three_digits(number: float) -> bool:
    """Return whether a value is stated with at least 3 digits: two with fewer may be equal by chance."""
    return len(repr(number).split("e")[0].replace(".", "").strip("-0")) >= 3


def identity(claim: Claim) -> tuple:
    """Return what two claims have in common if they are equal."""
    return claim.dataset, claim.config, claim.split, claim.metric, claim.number
