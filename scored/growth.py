"""Trend of growth: models and their claims by month."""

from collections import Counter

from ptm import PTM
from scored.intervals import ratio
from scored.trends import MONTH, Batch

BEFORE = "before"
# The Hub began to keep dates of creation here, and gives this one to everything older.
HUB_FLOOR = ("2022-03-02T23:29:04", "2022-03-02T23:29:05")


class Growth:
    """Count models, and claims where cards are known, by the month in which the repository was created."""

    RULE = (
        "By createdAt; models with the second at which the Hub's dates of creation begin (2022-03-02T23:29) "
        "are counted as 'before'. If no record has createdAt, by lastModified: no growth, but the age of the "
        "last change. A claim counts in the month of its model; known: models whose card is known."
    )

    def __init__(self):
        self.n = 0
        self.created, self.changed = Months(), Months()

    def add(self, batch: Batch) -> None:
        self.n += len(batch.models)
        self.created.models.update([month_created(model) for model in batch.hub if model.created])
        without_card = [model for model in batch.without_card if model.taken.hub]
        self.created.without_card.update([month_created(model) for model in without_card])
        for model in batch.claiming:
            if model.taken is None or model.taken.hub:
                self.created.add_claims(month_created(model), model)
        if not self.created.models:
            self.changed.models.update([month_changed(model) for model in batch.card])
            for model in batch.claiming:
                self.changed.add_claims(month_changed(model), model)

    def result(self) -> dict:
        counts = self.created if self.created.models else self.changed
        months = counts.result()
        known = sum(row["models"] for row in months.values()) + counts.models[BEFORE]
        return {
            "by": "last changed" if counts is self.changed else "created",
            "models": self.n,
            "known": known,
            "undated": self.n - known,
            "before": counts.models[BEFORE],
            "claims": sum(row["claims"] for row in months.values()),
            "months": months,
            "rule": self.RULE,
        }


class Months:
    """Counts by month: models, those whose card is not known, those with a claim, and their claims."""

    def __init__(self):
        self.models, self.without_card, self.with_claims, self.claims = (Counter() for _ in range(4))

    def add_claims(self, month: str, model: PTM) -> None:
        self.with_claims[month] += 1
        self.claims[month] += len(model.claims)

    def result(self) -> dict[str, dict]:
        """Return the counts from the first month to the last, also of months in which nothing happened."""
        dated = [month for month in self.models if MONTH.fullmatch(month)]
        rows = {}
        for month in months_between(min(dated), max(dated)) if dated else ():
            known = self.models[month] - self.without_card[month]
            rows[month] = {
                "models": self.models[month],
                "known": known,
                "with_claims": self.with_claims[month],
                "fraction": ratio(self.with_claims[month], known),
                "claims": self.claims[month],
            }
        return rows


def month_created(model: PTM) -> str:
    """Return the month in which a model was created, BEFORE if it was before the Hub kept dates."""
    created = model.created or ""
    return BEFORE if created.startswith(HUB_FLOOR) else created[:7]


def month_changed(model: PTM) -> str:
    """Return the month in which a model was last changed."""
    return (model.modified or "")[:7]


def months_between(first: str, last: str) -> list[str]:
    """List the months from `first` to `last`."""
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{month // 12}-{month % 12 + 1:02}" for month in range(start, end + 1)]
