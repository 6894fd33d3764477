"""Text of the audit: the page about one model, the table of its first numbers, and what changed since."""

from msgspec import UNSET, UnsetType

from ptm import PTM
from scored.audit_figures import TrendFigure
from scored.claims import Claim
from scored.comparisons import Comparison, ComparisonFile
from scored.plots import printable
from scored.trends import SAFE_FORMATS, base_models

# ── One model ─────────────────────────────────────────────────────────────────────────────────────────────


def model_page(model: PTM, rank: int, n: int, comparisons: ComparisonFile | None) -> list[str]:
    """Say what the records and the measurements hold about one model, the `rank`-th of `n` by downloads."""
    lines = [printable(model.id, 120)]
    for name, (attribute, value) in model_facts(model, rank, n).items():
        missing = "not stated" if model.is_known(attribute) else "not known"
        date = f" ({model.date_taken(attribute)})" if model.date_taken(attribute) else ""
        lines.append(f"  {name:13} {printable(value or missing, 100)}{printable(date)}")
    lines += [claim_line(claim) for claim in model.claims]
    lines += [f"{claim_line(claim)}, proposed in a pull request" for claim in model.proposals]
    for rejected in model.rejected:
        lines.append(f"    rejected, {printable(rejected.reason, 60)}: {printable(rejected.text, 60)}")
    measured = measured_lines(model.id, comparisons)
    return [*lines, f"  {'measured':13} {len(measured) or 'not compared (assets/data/err.json)'}", *measured]


def model_facts(model: PTM, rank: int, n: int) -> dict[str, tuple[str, str | None]]:
    """List what the record states about a model, each with the attribute it is from; None for nothing."""
    formats = sorted(SAFE_FORMATS.intersection(model.tags))
    if "pytorch" in model.tags:
        formats.insert(0, "pickle")
    downloads = claims = None
    if model.downloads is not None:
        downloads = f"{model.downloads:,} in 30 days, rank {rank:,} of {n:,}"
    if model.is_known("claims"):
        claims = f"{len(model.claims)}; {len(model.rejected)} rejected"
    return {
        "task": ("task", model.task),
        "downloads": ("downloads", downloads),
        "license": ("license", model.license),
        "formats": ("tags", ", ".join(formats)),
        "custom code": ("tags", "yes" if "custom_code" in model.tags else None),
        "gated": ("gated", model.gated),
        "base models": ("tags", ", ".join(base_models(model))),
        "last change": ("modified", model.modified),
        "claims": ("claims", claims),
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
        date = f"measured {printable(series.measured)}, " if series.measured else ""
        series_name = f"{date}protocol {printable(series.protocol)}"
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


def table(about: dict, figures: list[TrendFigure]) -> list[str]:
    """Show what each figure says, the rows of some, and what needs no figure."""
    lines = [f"{about['models']:,} records, {about['without_metadata']:,} of them only a name"]
    for figure in figures:
        if not figure.panels and not figure.notes:
            lines += ["", f"{figure.title} ({figure.name} is not drawn)"]
            continue
        lines += ["", figure.title, f"  {figure.subtitle}"]
        for panel in figure.panels:
            for name in panel.data if panel.in_table else ():
                lines.append(f"    {printable(name, 36):36} {', '.join(panel.texts(name))}")
        lines += [f"  {printable(note, 300)}" for note in figure.notes]
    return lines


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
