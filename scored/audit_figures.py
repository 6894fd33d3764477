"""Figures of the audit: one per trend, with its counts as panels. Nothing is counted here.

`compose_figures` says what each figure shows, `draw_figure` draws it; the caller saves it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from scored.plots import Count, abbreviate, draw_bars, draw_columns, draw_lines, format_share, label

NO_DATA = "no data in these records; run modelinfo.py"


@dataclass(frozen=True)
class Panel:
    """One chart: its data, and the function of plots.py that draws them."""

    title: str
    data: dict
    draw: Callable = draw_bars
    legend: tuple[str, ...] = ()  # names the series of bars

    @property
    def height(self) -> float:
        """Inches that the panel needs."""
        if not self.data:
            return 0.7
        if self.draw is not draw_bars:
            return 3
        return 0.65 + len(self.data) * (0.36 if self.legend else 0.23)


@dataclass(frozen=True)
class TrendFigure:
    """What one figure shows; `name` is the name of its file."""

    name: str
    title: str
    panels: tuple[Panel, ...]


# ── What each figure shows ────────────────────────────────────────────────────────────────────────────────


def share_bars(title: str, counts: dict[str, int], n: int, limit: int = 15) -> Panel:
    """Make bars of the largest counts out of n; none where n is 0."""
    rows = {}
    if n:
        for name, count in Counter(counts).most_common(limit):
            rows[name] = [Count(count, n)]
    return Panel(title, rows)


def by_share(rows: dict[str, list[Count]]) -> dict[str, list[Count]]:
    """Sort rows by the share of their first bar, the largest first."""
    return dict(sorted(rows.items(), key=lambda item: (-item[1][0].length, item[0])))


def compose_claims_by_task(trend: dict) -> TrendFigure:
    rows = {name: [Count(row["with_claims"], row["models"])] for name, row in trend["tasks"].items()}
    share = format_share(trend["with_claims"], trend["models"])
    panel = Panel("Models with a claim / models, by task; small tasks are in 'other'", by_share(rows))
    return TrendFigure("claims_by_task", f"Models that claim at least one metric value: {share}", (panel,))


def compose_claim_contents(trend: dict) -> TrendFigure:
    claims, models = trend["claims"], trend["models"]
    ranges = {}
    for name, count in trend["claims_per_model"].items():
        ranges["1 claim" if name == "1" else f"{name} claims"] = [Count(count, models)]
    panels = (
        share_bars("Claims by dataset (the 15 most frequent)", trend["datasets"], claims),
        share_bars("Claims by metric (the 15 most frequent)", trend["metrics"], claims),
        Panel("Models by the number of their claims", ranges if models else {}),
        share_bars("Claims by verification", trend["verification"], claims),
        share_bars("Claims by source", trend["sources"], claims),
    )
    title = f"Datasets, metrics and sources of {claims:,} claims of {models:,} models"
    return TrendFigure("claim_contents", title, panels)


def compose_claim_quality(trend: dict) -> TrendFigure:
    claims, rejected, equal = trend["claims"], trend["rejected"], trend["equal"]
    shared = {
        "stated by 2 or more models": equal["shared_by_2_or_more"],
        "stated by 10 or more models": equal["shared_by_10_or_more"],
    }
    same = {"same as the base model's": equal["same_as_base_model"]}
    panels = (
        share_bars("Rejected entries, by reason", trend["rejected_because"], rejected),
        share_bars("Claims lacking information", trend["lacking"], claims),
        share_bars("Claims whose value (3 or more digits) other models also state", shared, equal["claims"]),
        share_bars("Claims identical to the base model's", same, equal["claims_of_derived_models"]),
    )
    title = f"Obstacles to checking claims: {claims:,} claims, {rejected:,} rejected entries"
    return TrendFigure("claim_quality", title, panels)


def compose_downloads(trend: dict) -> TrendFigure:
    downloads, models = trend["downloads"], trend["models"]
    tops, kinds, ranges = {}, {}, {}
    for part, row in trend["share_of_top"].items():
        tops[f"top {part} of models"] = [Count(row["downloads"], downloads)]
    for kind, row in trend["by_claims"].items():
        kinds[kind] = [Count(row["downloads"], downloads), Count(row["models"], models)]
    for name, count in trend["models_by_downloads"].items():
        ranges[f"{name} downloads"] = [Count(count, models)]
    legend = ("share of downloads", "share of models")
    panels = (
        Panel("Share of downloads held by the most downloaded models", tops if downloads else {}),
        Panel("By the claims of the model", kinds if downloads else {}, legend=legend),
        Panel("Models by their downloads", ranges if models else {}),
    )
    title = f"{abbreviate(downloads)} downloads in 30 days of {models:,} models"
    if downloads:
        title += f"; Gini {trend['gini']:.3f}"
    return TrendFigure("downloads", title, panels)


def compose_registries(trend: dict) -> TrendFigure:
    as_of = trend["as_of"]
    registries = {f"{name}, {as_of}": packages for name, packages in trend["monthly_downloads"].items()}
    if trend["hugging_face_in_these_records"]:
        registries["Hugging Face, these records"] = trend["hugging_face_in_these_records"]
    lines = {}
    for name, packages in registries.items():
        first = max(packages, key=packages.get)
        lines[f"{name} (first: {label(first, 30)})"] = list(packages.values())
    hubs = {name: [Count(count)] for name, count in Counter(trend["hubs"]).most_common()}
    weeks = trend["weeks_per_month"]
    panels = (
        Panel(f"Monthly downloads by rank (npm: weekly × {weeks:.3f}), logarithmic scale", lines, draw_lines),
        Panel(f"Pre-trained models on the hubs, {as_of}", hubs),
    )
    title = f"The 20 most downloaded packages of three registries, {as_of}"
    return TrendFigure("registry_monthly_downloads", title, panels)


def compose_growth(trend: dict) -> TrendFigure:
    months = trend["months"]
    panels = (
        Panel("Models per month", {month: row["models"] for month, row in months.items()}, draw_columns),
        Panel("Their claims", {month: row["claims"] for month, row in months.items()}, draw_columns),
    )
    dated = trend["models"] - trend["undated"]
    title = f"{dated:,} of {trend['models']:,} models by the month in which they were {trend['by']}"
    return TrendFigure("growth", title, panels)


def compose_artifacts_and_risks(trend: dict) -> TrendFigure:
    models, downloads = trend["models"], trend["downloads"]
    rows = {}
    for name, row in trend["properties"].items():
        rows[name] = [Count(row["models"], models), Count(row["downloads"], downloads)]
    legend = ("share of models", "share of downloads")
    panel = Panel("", by_share(rows) if models else {}, legend=legend)
    title = f"Weights and risks of {models:,} models, {abbreviate(downloads)} downloads in 30 days"
    return TrendFigure("artifacts_and_risks", title, (panel,))


def compose_dependencies(trend: dict) -> TrendFigure:
    panels = []
    for key, kind in (("base_models", "base models"), ("datasets", "datasets")):
        n = trend[key]["models"]
        title = f"The 15 most frequent {kind} of the {n:,} models that name any"
        panels.append(share_bars(title, trend[key]["top"], n))
    title = f"Base models and datasets of {trend['models']:,} models, by their tags"
    return TrendFigure("dependencies", title, tuple(panels))


def compose_study_and_today(trend: dict) -> TrendFigure:
    rows = {}
    for task, row in trend["tasks"].items():
        rows[task] = [Count(row[side]["with_claims"], row[side]["models"]) for side in ("study", "today")]
    legend = (f"the study, {trend['as_of']}", "these records")
    n = trend["models"]["today"]
    title = f"Models with a claim, by task: the study of {trend['as_of']} and these {n:,} models"
    return TrendFigure("study_and_today", title, (Panel("", by_share(rows), legend=legend),))


FIGURES = {
    "claims_by_task": compose_claims_by_task,
    "claim_contents": compose_claim_contents,
    "claim_quality": compose_claim_quality,
    "downloads": compose_downloads,
    "registries": compose_registries,
    "growth": compose_growth,
    "artifacts_and_risks": compose_artifacts_and_risks,
    "dependencies": compose_dependencies,
    "study_and_today": compose_study_and_today,
}


def compose_figures(trends: dict) -> list[TrendFigure]:
    """Say what the figure of each trend shows."""
    return [compose(trends[name]) for name, compose in FIGURES.items()]


# ── Drawing ───────────────────────────────────────────────────────────────────────────────────────────────


def draw_figure(content: TrendFigure, footer: str):
    """Draw the panels below each other; return a matplotlib figure."""
    from matplotlib.figure import Figure

    heights = [panel.height for panel in content.panels]
    figure = Figure(figsize=(8.5, sum(heights) + 0.7), dpi=150, layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, content.panels, strict=True):
        draw_panel(ax, panel)
    figure.suptitle(content.title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(footer, fontsize=8, x=0.01, ha="left", color="0.35")
    return figure


def draw_panel(ax, panel: Panel) -> None:
    """Draw one panel, or one line of text where it has no data."""
    ax.set_title(panel.title, loc="left", fontsize=9.5, wrap=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8.5)
    if panel.legend and panel.data:
        panel.draw(ax, panel.data, panel.legend)
    elif panel.data:
        panel.draw(ax, panel.data)
    else:
        ax.text(0, 0.5, NO_DATA, va="center", fontsize=9, transform=ax.transAxes)
        ax.set_axis_off()
