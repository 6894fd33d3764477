"""Text of the audit: the page about one model, the table of its first numbers, and what changed since."""

from msgspec import UNSET, UnsetType

from ptm import PTM
from scored.claim_trends import IMPOSSIBLE
from scored.claims import Claim
from scored.comparisons import Comparison, ComparisonFile
from scored.plots import format_share, printable
from scored.trends import SAFE_FORMATS, base_models

# ── One model ─────────────────────────────────────────────────────────────────────────────────────────────


def model_page(model: PTM, rank: int, n: int, comparisons: ComparisonFile | None) -> list[str]:
    """Say what the records and the measurements hold about one model, the `rank`-th of `n` by downloads."""
    lines = [printable(model.id, 120)]
    for name, value in model_facts(model, rank, n).items():
        lines.append(f"  {name:13} {printable(value, 100) if value else 'not stated'}")
    lines += [claim_line(claim) for claim in model.claims]
    lines += [f"{claim_line(claim)}, proposed in a pull request" for claim in model.proposals]
    for rejected in model.rejected:
        lines.append(f"    rejected, {printable(rejected.reason, 60)}: {printable(rejected.text, 60)}")
    measured = measured_lines(model.id, comparisons)
    return [*lines, f"  {'measured':13} {len(measured) or 'not compared (assets/data/err.json)'}", *measured]


def model_facts(model: PTM, rank: int, n: int) -> dict[str, str | None]:
    """List what the record states about a model; None for what it does not."""
    formats = sorted(SAFE_FORMATS.intersection(model.tags))
    if "pytorch" in model.tags:
        formats.insert(0, "pickle")
    downloads = None
    if model.downloads is not None:
        downloads = f"{model.downloads:,} in 30 days, rank {rank:,} of {n:,}"
    return {
        "task": model.task,
        "downloads": downloads,
        "license": model.license,
        "formats": ", ".join(formats),
        "custom code": "yes" if "custom_code" in model.tags else None,
        "gated": model.gated,
        "base models": ", ".join(base_models(model)),
        "last change": model.modified,
        "claims": f"{len(model.claims)}; {len(model.rejected)} rejected",
    }


def claim_line(claim: Claim) -> str:
    """Describe a claim and what it lacks."""
    stated = [part for part in (claim.dataset, claim.config, claim.split) if part]
    where = ", ".join(printable(part, 40) for part in stated)
    metric = printable(claim.metric or "no metric")
    verification = "verified" if claim.verified else "self-reported"
    line = f"    {metric} {printable(claim.value, 24)} on {where}: {verification}, {claim.source}"
    line += f", unit {claim.unit}"
    lacking = []
    if claim.split is None:
        lacking.append("no split")
    if claim.revision is None:
        lacking.append("no dataset revision")
    return f"{line}, {' and '.join(lacking)}" if lacking else line


def measured_lines(name: str, comparisons: ComparisonFile | None) -> list[str]:
    """Describe each comparison of a model in err.json."""
    lines = []
    for series in comparisons.series if comparisons else ():
        series_name = f"measured {printable(series.measured)}, protocol {printable(series.protocol)}"
        for dataset, summary in series.datasets.items():
            for row in summary.models:
                if row.model == name:
                    lines.append(f"    {comparison_text(row)} ({printable(dataset)}, {series_name})")
    return lines


def comparison_text(row: Comparison) -> str:
    """Describe a claim beside its measurement; – for a missing number."""
    numbers = (row.claimed, row.measured, row.discrepancy)
    claimed, measured, discrepancy = [format_number(number, "") for number in numbers]
    metric, verdict = printable(row.metric or "no metric"), printable(row.verdict)
    return f"{metric}: claimed {claimed}, measured {measured}, discrepancy {discrepancy} points, {verdict}"


# ── All models ────────────────────────────────────────────────────────────────────────────────────────────


def table(result: dict) -> list[str]:
    """Show the few numbers that a reader wants first."""
    about, trends = result["about"], result["trends"]
    in_text = f"{trends['study_and_today']['claims_in_text_of_measured_models']:,}"
    rows = {
        "models": f"{about['models']:,}, newest change {about['as_of'] or 'unknown'}",
        "models without metadata": f"{about['without_metadata']:,}",
        "models with a claim": format_share(trends["claims_by_task"]["with_claims"], about["models"]),
        **claim_rows(trends["claim_quality"], trends["claim_contents"]["verification"]),
        "claims in the text of measured models' cards": in_text,
        **download_rows(trends["downloads"]),
    }
    risks = trends["artifacts_and_risks"]
    for name, row in risks["properties"].items():
        rows[f"models, {name}"] = format_share(row["models"], risks["models"])
    return [f"{name:52} {value}" for name, value in rows.items()]


def claim_rows(quality: dict, verification: dict) -> dict[str, str]:
    """Make the table's rows about claims."""
    claims, equal = quality["claims"], quality["equal"]
    rows = {"claims": f"{claims:,}; {quality['rejected']:,} entries rejected"}
    for name, count in quality["impossible_values"].items():
        rows[f"impossible values, {name}"] = f"{count:,}"
    rows["claims, verified"] = format_share(verification["verified"], claims)
    for name, count in quality["lacking"].items():
        if name != IMPOSSIBLE:
            rows[f"claims, {name}"] = format_share(count, claims)
    rows["claims, same value as another model"] = format_share(equal["shared_by_2_or_more"], equal["claims"])
    return rows


def download_rows(downloads: dict) -> dict[str, str]:
    """Make the table's rows about downloads."""
    total = downloads["downloads"]
    rows = {"downloads in 30 days": f"{total:,}"}
    for part, row in downloads["share_of_top"].items():
        rows[f"downloads, top {part}"] = format_share(row["downloads"], total)
    for kind, row in downloads["by_claims"].items():
        rows[f"downloads, {kind}"] = format_share(row["downloads"], total)
    return rows


# ── Two audits ────────────────────────────────────────────────────────────────────────────────────────────


def flatten_numbers(value: object, path: tuple = ()) -> dict[tuple, float]:
    """List the numbers of nested objects by their path."""
    if type(value) in (int, float):
        return {path: value}
    numbers = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            numbers.update(flatten_numbers(inner, (*path, key)))
    return numbers


def compare(old: dict, new: dict, limit: int = 12) -> list[str]:
    """Show what changed per trend, totals first, then by size; – is a number that one side lacks."""
    lines = [f"{printable(old['about'].get('as_of'))} → {printable(new['about'].get('as_of'))}"]
    for trend in new["trends"]:
        before = flatten_numbers(old["trends"].get(trend))
        after = flatten_numbers(new["trends"].get(trend))
        paths = {*before, *after}
        changed = [path for path in paths if before.get(path) != after.get(path)]
        changed.sort(key=lambda path: (len(path), -abs(after.get(path, 0) - before.get(path, 0)), path))
        lines.append(f"{trend}: {len(changed)} of {len(paths)} numbers changed")
        for path in changed[:limit]:
            values = f"{format_number(before.get(path)):>14} → {format_number(after.get(path))}"
            lines.append(f"  {printable(' / '.join(path), 76):76} {values}")
    return lines


def format_number(number: float | UnsetType | None, digits: str = ".4g") -> str:
    """Write a number, a float with these digits; – for none."""
    if number is None or number is UNSET:
        return "–"
    return f"{number:{digits}}" if type(number) is float else f"{number:,}"
