"""Figures of the audit: one per trend, with its counts as panels. Nothing is counted here.

`compose_figures` says what each figure shows, `draw_figure` draws it; the caller saves it.
"""

import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from scored.plots import (
    Count,
    abbreviate,
    draw_bars,
    draw_columns,
    draw_lines,
    draw_shares,
    format_percent,
    format_share,
    label,
)

ENOUGH = 10  # models, for a figure of families or of verdicts
ENOUGH_CARDS = 100  # of a month, for the share of models with a claim
WIDTH = 7  # inches


@dataclass(frozen=True)
class Panel:
    """One chart: its data, and the function of plots.py that draws them."""

    title: str
    data: dict
    draw: Callable = draw_bars
    series: tuple[str, ...] = ()  # names the bars of each row
    in_table: bool = False  # the table shows its rows, too

    def texts(self, name: str) -> list[str]:
        """Write the counts of a row, with the names of their series."""
        pairs = zip(self.data[name], self.series or ("",), strict=True)
        return [f"{format_share(*count)} {series}".strip() for count, series in pairs]

    @property
    def height(self) -> float:
        """Inches that the panel needs."""
        if self.draw is not draw_bars:
            return 2.8
        return 0.6 + len(self.data) * (0.48 if self.series else 0.27)


@dataclass(frozen=True)
class TrendFigure:
    """What one figure shows; `name` is the name of its file. Without panels it is not drawn."""

    name: str
    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()  # what needs no panel, for the table


# ── What each figure shows ────────────────────────────────────────────────────────────────────────────────


def find(k: int, what: str, n: int) -> str:
    """Write a finding: "3.8% of models claim a value (1,113 of 29,533)"; "No models known" for n = 0."""
    if not n:
        return f"No {what.split()[0]} known"
    return f"{format_percent(k, n)} of {what} ({abbreviate(k)} of {abbreviate(n)})"


def say_dates(dates: dict[str, str], *fields: str) -> str:
    """Say of when these fields are: "Cards of 2022-02-15; tasks, downloads of 2022-10-01."."""
    names = {}  # date -> fields
    for field in fields:
        names.setdefault(dates[field], []).append(field)
    parts = [f"{', '.join(group)} of {date}" for date, group in names.items()]
    return "; ".join(parts).capitalize() + "."


def share_bars(title: str, counts: dict[str, int], n: int, in_table: bool = False) -> Panel:
    """Make bars of the 12 largest counts out of n."""
    rows = {name: [Count(count, n)] for name, count in Counter(counts).most_common(12)}
    return Panel(title, rows, in_table=in_table)


def ordered_bars(title: str, counts: dict[str, int], n: int) -> Panel:
    """Make bars of all counts out of n that are not 0, in their order."""
    return Panel(title, {name: [Count(count, n)] for name, count in counts.items() if count})


def by_share(rows: dict[str, list[Count]]) -> dict[str, list[Count]]:
    """Sort rows by the share of their first bar, the largest first."""
    return dict(sorted(rows.items(), key=lambda item: (-item[1][0].length, item[0])))


def weighted_bars(title: str, rows: dict[str, dict]) -> Panel:
    """Make two bars of each row: its share of models and its share of downloads."""
    bars = {}
    for name, row in rows.items():
        downloads = Count(row["downloads"], row["known_downloads"])
        bars[name] = [Count(row["models"], row["known"]), downloads]
    return Panel(title, by_share(bars), series=("of models", "of their downloads"), in_table=True)


def compose_claims_by_task(trend: dict, dates: dict) -> TrendFigure:
    rows = {name: [Count(row["with_claims"], row["known"])] for name, row in trend["tasks"].items()}
    return TrendFigure(
        "claims_by_task",
        find(trend["with_claims"], "models claim a metric value", trend["known"]),
        f"Models whose card states a value, by task, of the {trend['known']:,} whose card is known (of "
        f"{trend['models']:,}). {say_dates(dates, 'cards', 'tasks')}",
        (Panel("Models with a claim", by_share(rows)),),
    )


def compose_claim_contents(trend: dict, dates: dict) -> TrendFigure:
    claims, models = trend["claims"], trend["models"]
    metric, count = max(trend["metrics"].items(), key=lambda item: item[1], default=("", 0))
    per_model = {f"{name} claim{'s' * (name != '1')}": n for name, n in trend["claims_per_model"].items()}
    return TrendFigure(
        "claim_contents",
        find(count, f"claims name the metric {label(metric, 40)}", claims),
        f"{claims:,} claims of {models:,} models, of {trend['known']:,} whose card is known. "
        f"{say_dates(dates, 'cards')}",
        (
            share_bars("Claims by metric, the 12 most frequent", trend["metrics"], claims),
            share_bars("Claims by dataset, the 12 most frequent", trend["datasets"], claims),
            ordered_bars("Models by the number of their claims", per_model, models),
            share_bars("Claims by verification", trend["verification"], claims),
            share_bars("Claims by source", trend["sources"], claims),
        ),
    )


def compose_claim_quality(trend: dict, dates: dict) -> TrendFigure:
    claims, rejected, equal = trend["claims"], trend["rejected"], trend["equal"]
    shared = {
        "stated by 2 or more models": equal["shared_by_2_or_more"],
        "stated by 10 or more models": equal["shared_by_10_or_more"],
    }
    return TrendFigure(
        "claim_quality",
        find(trend["lacking"]["no split"], "claims name no split", claims),
        f"What keeps claims from being checked: {claims:,} claims and {rejected:,} rejected entries "
        f"of {trend['known']:,} known cards. {say_dates(dates, 'cards')}",
        (
            share_bars("Claims that lack something", trend["lacking"], claims, in_table=True),
            share_bars("Rejected entries, by reason", trend["rejected_because"], rejected),
            share_bars("Claims whose value (3 or more digits) others state", shared, equal["claims"]),
        ),
    )


def compose_downloads(trend: dict, dates: dict) -> TrendFigure:
    total, tops = trend["downloads"], {}
    for part, row in trend["share_of_top"].items():
        if not tops or row["downloads"] < 0.99 * total:  # the next ones would all look alike
            tops[f"top {part} of models"] = [Count(row["downloads"], total)]
    return TrendFigure(
        "downloads",
        find(trend["share_of_top"]["1%"]["downloads"], "downloads go to 1% of models", total),
        f"Downloads in 30 days of the {trend['known']:,} models of which they are known. "
        f"{say_dates(dates, 'downloads', 'cards')}",
        (
            Panel("Downloads of the most downloaded models", tops, in_table=True),
            ordered_bars("Models by their downloads", trend["models_by_downloads"], trend["known"]),
            weighted_bars("By claims, where the card is known", trend["by_claims"]),
        ),
    )


def compose_registries(trend: dict, dates: dict) -> TrendFigure:
    as_of, monthly = trend["as_of"], trend["monthly_downloads"]
    lines = {f"{name}, {as_of}": list(packages.values()) for name, packages in monthly.items()}
    text = (
        f"The 20 most downloaded packages of each, {as_of} (npm: per week × {trend['weeks_per_month']:.3f})"
    )
    if trend["known"]:
        lines["Hugging Face, these records"] = list(trend["hugging_face_in_these_records"].values())
        text += f", and of these {trend['known']:,} models. {say_dates(dates, 'downloads')}"
    model, package = (max(monthly[name], key=monthly[name].get) for name in ("Hugging Face", "npm"))
    times = monthly["npm"][package] / monthly["Hugging Face"][model]
    return TrendFigure(
        "registry_monthly_downloads",
        f"npm's {package} is downloaded {times:.0f} times as often as the Hub's {model}",
        text,
        (
            Panel("Downloads per month by rank, logarithmic scale", lines, draw_lines),
            share_bars(f"Pre-trained models on the hubs, {as_of}", trend["hubs"], trend["models_on_hubs"]),
        ),
    )


def compose_growth(trend: dict, dates: dict) -> TrendFigure:
    months, known = trend["months"], trend["known"]
    columns = {"before": trend["before"]} if trend["before"] else {}
    columns.update({month: row["models"] for month, row in months.items()})
    shares = {}
    for month, row in months.items():
        shares[month] = row["fraction"] if row["known"] >= ENOUGH_CARDS else None
    verb = "were created" if trend["by"] == "created" else "last changed"
    panels = [Panel(f"Models by the month in which they {verb}", columns, draw_columns)]
    if any(shares.values()):
        title = f"Share of them with a claim (gray: fewer than {ENOUGH_CARDS} cards known)"
        panels.append(Panel(title, shares, draw_shares))
    month, newer = find_newer_half(columns)
    return TrendFigure(
        "growth",
        find(newer, f"models {verb} since {month}", known),
        f"The {known:,} models whose date is known, of {trend['models']:,}. "
        f"{say_dates(dates, 'creation dates', 'cards')}",
        tuple(panels) if known else (),
    )


def find_newer_half(columns: dict[str, int]) -> tuple[str, int]:
    """Return the latest month since which at least half of the models came, and how many did."""
    newer, month = 0, ""
    for month in reversed(columns):
        newer += columns[month]
        if newer * 2 >= sum(columns.values()):
            break
    return month, newer


def compose_artifacts_and_risks(trend: dict, dates: dict) -> TrendFigure:
    row = trend["properties"]["no license stated"]
    return TrendFigure(
        "artifacts_and_risks",
        find(row["models"], "models state no license", row["known"]),
        f"Weights and risks, of the models of which they are known, {trend['models']:,} in all. "
        f"{say_dates(dates, 'cards', 'tasks', 'downloads')}",
        (weighted_bars("Weights and risks", trend["properties"]),),
    )


def compose_dependencies(trend: dict, dates: dict) -> TrendFigure:
    datasets, bases = trend["datasets"], trend["base_models"]
    return TrendFigure(
        "dependencies",
        find(datasets["models"], "models name a dataset", trend["known"]),
        f"The datasets named most, of {datasets['models']:,} models that name any; of the {trend['known']:,} "
        f"whose card is known, {bases['models']:,} name a base model. "
        f"{say_dates(dates, 'cards')}",
        (
            share_bars(f"Datasets of the {datasets['models']:,} models", datasets["top"], datasets["models"]),
            share_bars(f"Bases of {bases['models']:,} models", bases["top"], bases["models"]),
        ),
    )


def compose_families(trend: dict, dates: dict) -> TrendFigure:
    models, licenses, claims = trend["models"], trend["licenses"], trend["claims"]
    same = {"same as the base's": claims["same_as_base_model"]}
    panels = (
        share_bars("License of a model, beside its base", licenses["kinds"], licenses["known"]),
        share_bars("Licenses that change, the 12 most frequent", licenses["changes"], licenses["known"]),
        ordered_bars("Models by the steps to the first of their chain", trend["models_by_depth"], models),
        ordered_bars("Base models by how many models name them", trend["bases_by_models"], trend["bases"]),
        share_bars("Claims of models whose base is known", same, claims["known"]),
    )
    return TrendFigure(
        "families",
        find(models, "models name a base model", trend["known"]),
        f"{models:,} models with {trend['bases']:,} bases; {licenses['known']:,} pairs of model and base "
        f"whose cards are known. {say_dates(dates, 'cards')}",
        panels if models >= ENOUGH else (),
    )


def compose_study_and_today(trend: dict, dates: dict) -> TrendFigure:
    rows, totals = {}, [Counter(), Counter()]
    for task, sides in trend["tasks"].items():
        if sides["today"]["known"]:
            rows[task] = [Count(row["with_claims"], row["known"]) for row in sides.values()]
            for total, count in zip(totals, rows[task], strict=True):
                total.update(k=count.k, n=count.n)
    shares = [format_percent(total["k"], total["n"]) for total in totals]
    return TrendFigure(
        "study_and_today",
        f"Models with a claim: {shares[0]} in the study, {shares[1]} in these records",
        f"By task: {totals[0]['n']:,} of the study's {trend['models']['study']:,} models ({trend['as_of']}) "
        f"and the {totals[1]['n']:,} of these {trend['models']['today']:,} whose card is known. "
        f"{say_dates(dates, 'cards', 'tasks')}",
        (Panel("Models with a claim", by_share(rows), series=("in the study", "in these records")),),
        (f"Claims in the text of measured models' cards: {trend['claims_in_text_of_measured_models']:,}",),
    )


def compose_downloads_by_verdict(trend: dict, dates: dict) -> TrendFigure:
    rows, known = trend["verdicts"], trend["known"]
    verdict = max(rows, key=lambda name: rows[name]["downloads"], default="")
    downloads = rows[verdict]["downloads"] if rows else 0
    return TrendFigure(
        "downloads_by_verdict",
        find(
            downloads, f"downloads of measured models rest on claims judged '{verdict}'", trend["downloads"]
        ),
        f"Downloads in 30 days of the {known:,} models whose claim was measured, if they are known. "
        f"{say_dates(dates, 'downloads')}",
        (weighted_bars("Verdicts", rows),) if known >= ENOUGH else (),
    )


FIGURES = {
    "claims_by_task": compose_claims_by_task,
    "claim_contents": compose_claim_contents,
    "claim_quality": compose_claim_quality,
    "downloads": compose_downloads,
    "downloads_by_verdict": compose_downloads_by_verdict,
    "registries": compose_registries,
    "growth": compose_growth,
    "artifacts_and_risks": compose_artifacts_and_risks,
    "dependencies": compose_dependencies,
    "families": compose_families,
    "study_and_today": compose_study_and_today,
}


def compose_figures(audit: dict) -> list[TrendFigure]:
    """Say what the figure of each trend in audit.json shows, without panels that say too little."""
    figures = []
    for name, compose in FIGURES.items():
        trend = audit["trends"][name]
        figure = simplify(compose(trend, audit["about"]["dates"]))
        has_data = trend["known"] or name == "registries"  # which shows the study's numbers, too
        figures.append(figure if has_data else replace(figure, panels=(), notes=()))
    return figures


def simplify(figure: TrendFigure) -> TrendFigure:
    """Turn bars of nothing, and panels with fewer than two other bars, into sentences."""
    panels, notes = [], list(figure.notes)
    for panel in figure.panels:
        if panel.draw is not draw_bars:
            panels.append(panel)
            continue
        rows = {name: counts for name, counts in panel.data.items() if counts[0].k}
        absent = [name for name, counts in panel.data.items() if not counts[0].k and counts[0].n]
        unknown = [name for name, counts in panel.data.items() if not counts[0].n]
        parts = []
        if len(rows) > 1:
            panels.append(replace(panel, data=rows))
        else:
            parts += [f"{name} {', '.join(panel.texts(name))}" for name in rows]
        parts += [f"none: {', '.join(absent)}"] if absent else []
        parts += [f"not known: {', '.join(unknown)}"] if unknown else []
        notes += [f"{panel.title}: {'; '.join(parts)}"] if parts else []
    return replace(figure, panels=tuple(panels), notes=tuple(notes))


# ── Drawing ───────────────────────────────────────────────────────────────────────────────────────────────


def draw_figure(content: TrendFigure):
    """Draw title, subtitle and the panels below each other; return a matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    title = label(content.title, 200)
    title = textwrap.fill(title, 60 if len(title) < 60 else max(40, len(title) // 2 + 8))
    subtitle = textwrap.fill(label(content.subtitle, 600), 92)
    head = 0.25 + 0.24 * (title.count("\n") + 1) + 0.17 * (subtitle.count("\n") + 1)
    heights = [panel.height for panel in content.panels]
    height = head + sum(heights)
    figure = Figure(figsize=(WIDTH, height), dpi=180)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - head / height)))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, content.panels, strict=True):
        if len(heights) > 1:
            draw_panel_title(ax, panel.title)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=10)
        panel.draw(ax, panel.data, *([panel.series] if panel.series else []))
    figure.text(0.012, 1 - 0.1 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.012, 1 - (head - 0.1) / height, subtitle, fontsize=9.5, color="0.25", va="bottom")
    return figure


def draw_panel_title(ax, title: str) -> None:
    """Write a panel's title above it, from the left of the figure."""
    ax.set_title(" ", fontsize=11)  # makes room
    place = ("figure fraction", "axes fraction")
    text = ax.annotate(
        title, (0.012, 1), xycoords=place, xytext=(0, 6), textcoords="offset points", fontsize=11
    )
    text.set_in_layout(False)
