"""The study of 2022 and its published data beside the records of today: what audit.py compares."""

from collections import Counter
from pathlib import Path

from scored.comparisons import ComparisonFile
from scored.files import ROOT, read_json
from scored.intervals import ratio
from scored.trends import weighted
from scored.verdicts import STANDARD

DATA = ROOT / "assets" / "data"
COUNTS = ("models", "known", "with_claims")
WEEKS_PER_MONTH = 365.25 / 12 / 7
FILES = {
    "Hugging Face": "top20model_downloads.json",
    "npm": "top20npm_downloads.json",
    "PyPI": "top20pypi_downloads.json",
    "hubs": "model_hubs.json",
    "tasks": "claims_by_task.json",
    "security": "security.json",
}


def read_study(folder: Path = DATA) -> dict[str, dict]:
    """Read the study's published numbers. Raises UserError."""
    return {name: read_json(folder / file, dict) for name, file in FILES.items()}


def compare_registries(study: dict, downloads: dict) -> dict:
    """Compare the monthly downloads of the 20 most downloaded packages of three registries, in one unit."""
    monthly = {}
    for name in ("Hugging Face", "npm", "PyPI"):
        factor = {"month": 1, "week": WEEKS_PER_MONTH}[study[name]["period"]]
        monthly[name] = {package: count * factor for package, count in study[name]["packages"].items()}
    return {
        "unit": f"downloads per month; npm's per week times {WEEKS_PER_MONTH:.6f} (365.25 / 12 / 7 weeks)",
        "weeks_per_month": WEEKS_PER_MONTH,
        "as_of": study["npm"]["as_of"],
        "source": study["npm"]["source"],
        "monthly_downloads": monthly,
        "hugging_face_in_these_records": downloads["top"],
        "known": downloads["known"],
        "hubs": study["hubs"]["pretrained_models"],
        "models_on_hubs": sum(study["hubs"]["pretrained_models"].values()),
    }


def compare_with_study(
    study: dict, trends: dict, downloads_of: dict, comparisons: ComparisonFile | None
) -> dict:
    """Compare the numbers of the study and its sequel with those of today's records, where both exist."""
    published, measured, in_text = {}, {}, 0
    if comparisons:
        published = comparisons.published.get("off_by_more_than_1_percent", {})
        measured = shares_off(comparisons)
        in_text = claims_in_text(comparisons)
    downloads = {}
    for name, count in study["Hugging Face"]["packages"].items():
        downloads[name] = {"study": count, "today": downloads_of.get(name)}
    by_task = trends["claims_by_task"]
    return {
        "as_of": study["tasks"]["as_of"],
        "source": study["tasks"]["source"],
        "models": {"study": study["security"]["models"], "today": by_task["models"]},
        "known": by_task["known"],
        "tasks": compare_tasks(study["tasks"]["tasks"], by_task["tasks"], by_task["folded"]),
        "downloads": downloads,
        "off_by_more_than_1_point": {
            "published": published,
            "err.json": measured,
        },
        "claims_in_text_of_measured_models": in_text,
        "rule": "A model that is not in the records is null. 'other': all other tasks, or none.",
    }


def compare_tasks(study: dict, tasks: dict, folded: dict) -> dict:
    """Compare models with claims by task; today's tasks that the study does not name are its 'other'."""
    other = {key: sum(row[key] for row in tasks.values()) for key in COUNTS}
    compared = {}
    for task, published in study.items():
        row = other
        if task != "other":
            row = tasks.get(task) or folded.get(task) or dict.fromkeys(COUNTS, 0)
            row = {key: row[key] for key in COUNTS}
            other = {key: other[key] - row[key] for key in COUNTS}
        compared[task] = {"study": {**published, "known": published["models"]}, "today": row}
    compared["other"]["today"] = other
    for sides in compared.values():
        for row in sides.values():
            row["fraction"] = ratio(row["with_claims"], row["known"])
    return compared


def measured_verdicts(comparisons: ComparisonFile | None) -> dict[str, str]:
    """Return the verdict on each model's headline claim: under `standard`, else the first in the file."""
    verdicts = {}
    all_series = comparisons.series if comparisons else []
    for series in sorted(all_series, key=lambda each: each.protocol != STANDARD):
        for summary in series.datasets.values():
            for row in summary.models:
                if row.headline and row.model:
                    verdicts.setdefault(row.model, row.verdict)
    return verdicts


def sum_by_verdict(verdicts: dict[str, str], downloads_of: dict[str, int]) -> dict:
    """Sum the downloads of models whose claim was measured, by the verdict on it."""
    models, downloads = Counter(), Counter()
    for name, verdict in verdicts.items():
        if name in downloads_of:
            models[verdict] += 1
            downloads[verdict] += downloads_of[name]
    totals = models.total(), downloads.total()
    return {
        "models": len(verdicts),
        "known": totals[0],
        "downloads": totals[1],
        "verdicts": {verdict: weighted(models[verdict], downloads[verdict], *totals) for verdict in models},
        "rule": "The verdict on the headline claim in err.json; the one under `standard`, else the first.",
    }


def claims_in_text(comparisons: ComparisonFile) -> int:
    """Count the claims that were read in the text of measured models' cards; Hub records do not hold it."""
    claims = set()
    for series in comparisons.series:
        for dataset, summary in series.datasets.items():
            for row in summary.models:
                if str(row.claim_from).startswith("card text"):
                    claims.add((row.model, dataset, row.metric, row.claim_from, str(row.claimed_as)))
    return len(claims)


def shares_off(comparisons: ComparisonFile) -> dict[str, str]:
    """List how many models are off by more than the threshold, `k/n`, by data set and series."""
    shares = {}
    for series in comparisons.series:
        for dataset, summary in series.datasets.items():
            name = f"{dataset} ({series.measured}, {series.protocol})"
            shares[name] = f"{summary.k}/{summary.n}"
    return shares
