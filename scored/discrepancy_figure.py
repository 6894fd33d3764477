"""The figure discrepancies.png of err.py: each named model's distance from its claim, and unnamed ones."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import UNSET

from scored.comparisons import Comparison, Series
from scored.err_sentences import in_order
from scored.plots import BLUE, PALETTE, label
from scored.result_rows import STUDY

WIDTH = 9.0  # inches
ROW, STRIP, GROUP, CURVE = 0.27, 0.9, 0.42, 2.3  # inches of height
TITLE_LINE, FOOT = 0.27, 0.75  # inches of a line of the title, of the axis
MOST_ROWS = 14  # models of a group that get a line each; more become a strip
NAMED_OUTLIERS = 4  # models of a strip with their names
LIMITS = (-6.5, 3.5)  # points: the axis; what lies beyond is drawn at its edge with its number
CURVE_LIMIT = 2.0  # points: the curve's axis
LEFT, WIDE = 0.37, 0.46  # of the axes, as shares of the width
TITLE_AT = (0.02 - LEFT) / WIDE  # a group's title, in shares of the axes
SMALL = 10.5  # points of text
LEGEND = "named models; hollow: claims on cards that the study did not compare; right: claimed → measured"
INK, FAINT = "#222222", "#666666"


@dataclass(frozen=True)
class Group:
    """The named models of one data set in one series."""

    source: str
    name: str
    models: list[Comparison]
    color: str

    @property
    def has_lines(self) -> bool:
        """Whether each model gets a line."""
        return len(self.models) <= MOST_ROWS

    @property
    def height(self) -> float:
        """Inches of height."""
        return GROUP + (ROW * len(self.models) if self.has_lines else STRIP)


def draw_discrepancies(series: Sequence[Series], threshold: Decimal):
    """Draw discrepancies.png: named models on a signed axis, unnamed differences by size below."""
    from matplotlib.figure import Figure

    groups, unnamed = gather_groups(series), gather_unnamed(series)
    space = sum(group.height for group in groups) or ROW
    title = write_title(groups, threshold)
    head = 0.45 + TITLE_LINE * len(title)
    height = head + space + FOOT + (CURVE if unnamed else 0)
    figure = Figure(figsize=(WIDTH, height), dpi=110)
    bottom = (FOOT + (CURVE if unnamed else 0)) / height
    ax = figure.add_axes((LEFT, bottom, WIDE, space / height))
    draw_groups(ax, groups, space, threshold)
    bold = {"va": "top", "fontsize": 14, "fontweight": "bold", "color": INK}
    figure.text(0.02, 1 - 0.12 / height, "\n".join(title), **bold)
    figure.text(0.02, 1 - (head - 0.25) / height, LEGEND, va="top", fontsize=SMALL, color=INK)
    if unnamed:
        curve = figure.add_axes((LEFT, 0.65 / height, WIDE, (CURVE - 1.0) / height))
        draw_curve(figure, curve, unnamed, threshold, (0.65 + CURVE - 1.0) / height)
    return figure


def gather_groups(series: Sequence[Series]) -> list[Group]:
    """Gather the named comparisons of headline metrics, by series and data set; few models first."""
    groups = []
    for place, entry in enumerate(in_order(series)):
        for name, summary in entry.datasets.items():
            models = {}
            for comparison in summary.models:
                if comparison.model is not None and is_shown(comparison, summary.models):
                    models.setdefault(comparison.model, comparison)
            if models:
                ordered = sorted(models.values(), key=lambda model: model.discrepancy)
                source = describe_source(entry)
                title = f"{name}, {source}, {len(models)} model{'s' * (len(models) != 1)}"
                if summary.splits is not UNSET:
                    title = f"{title}: {summary.splits.named} of its {summary.n} differences"
                groups.append(Group(source, title, ordered, PALETTE[place % len(PALETTE)]))
    return sorted(groups, key=lambda group: len(group.models) > MOST_ROWS)


def describe_source(series: Series) -> str:
    """Name who measured and how."""
    if series.source == STUDY:
        return f"the study of {series.measured}"
    is_named = series.protocol.startswith(series.source)
    return series.protocol if is_named else f"{series.source}, {series.protocol}"


def is_shown(comparison: Comparison, models: Sequence[Comparison]) -> bool:
    """Tell whether a comparison is drawn: it counts, or is a value beside a claim on the same metric."""
    if not isinstance(comparison.discrepancy, float | int):
        return False
    headline = {model.metric for model in models if model.headline}
    return comparison.headline or comparison.metric in headline


def gather_unnamed(series: Sequence[Series]) -> list[float]:
    """Gather the absolute differences that were published without a model, in points, smallest first."""
    values = []
    for entry in series:
        for summary in entry.datasets.values():
            values += [model.discrepancy for model in summary.models if model.model is None]
    return sorted(values)


def write_title(groups: Sequence[Group], threshold: Decimal) -> list[str]:
    """Say for each source how many of its named models lie within the threshold."""
    points = f"{threshold.normalize():f} point{'s' * (threshold != 1)}"
    lines = []
    for source in dict.fromkeys(group.source for group in groups):
        values = []
        for group in groups:
            values += [model.discrepancy for model in group.models if group.source == source]
        within = sum(abs(value) <= float(threshold) for value in values)
        lines.append(f"{within} of {len(values)} models ({source})")
    text = f"Within {points} of the claim: {', '.join(lines)}" if lines else "No named model was compared"
    return textwrap.wrap(text, 76)


# ── Named models ──────────────────────────────────────────────────────────────────────────────────────────


def draw_groups(ax, groups: Sequence[Group], space: float, threshold: Decimal) -> None:
    """Draw each group under its title, from the top down; y is in inches."""
    ax.axvspan(-float(threshold), float(threshold), color="#E4E4E4", zorder=0)
    ax.axvline(0, color=INK, lw=0.9, zorder=1)
    y, ticks, names = space, [], []
    for group in groups:
        y -= GROUP
        ax.text(
            TITLE_AT,
            y + 0.1,
            group.name,
            transform=ax.get_yaxis_transform(),
            fontsize=SMALL + 0.5,
            fontweight="bold",
            color=group.color,
        )
        if group.has_lines:
            for model in group.models:
                y -= ROW
                draw_lollipop(ax, y + ROW / 2, model, group.color)
                ticks.append(y + ROW / 2)
                names.append(label(model.model, 43))
        else:
            y -= STRIP
            draw_strip(ax, y + STRIP / 2, group)
    ax.set_yticks(ticks, names, fontsize=SMALL - 1)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(0, space)
    ax.set_xlim(*LIMITS)
    ax.set_xticks(range(-6, 4))
    ax.xaxis.set_major_formatter(lambda tick, _: f"{tick:+.0f}" if tick else "0")
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.set_xlabel("measured minus claimed, points (0.01 of accuracy or AP)", fontsize=SMALL)
    ax.spines[["top", "right", "left"]].set_visible(False)


def clip(value: float) -> float:
    """Move a value beyond the axis to its edge."""
    return min(max(value, LIMITS[0] + 0.15), LIMITS[1] - 0.15)


def draw_lollipop(ax, y: float, model: Comparison, color: str) -> None:
    """Draw one model: a stem from the claim, a dot at the value, and both as numbers on the right."""
    x = clip(model.discrepancy)
    marker = "o" if x == model.discrepancy else "<" if x < 0 else ">"
    face = color if model.headline else "white"
    ax.plot([0, x], [y, y], color=color, lw=1.8, zorder=2)
    ax.plot([x], [y], marker, color=color, markerfacecolor=face, markersize=7, zorder=3)
    numbers = f"{100 * model.claimed:.1f} → {100 * model.measured:.1f}"
    ax.text(1.02, y, numbers, transform=ax.get_yaxis_transform(), va="center", fontsize=SMALL - 1, color=INK)
    if x != model.discrepancy:
        ax.text(x + 0.25, y + 0.02, f"{model.discrepancy:+.1f}", va="bottom", fontsize=SMALL - 2, color=FAINT)


def draw_strip(ax, y: float, group: Group) -> None:
    """Draw many models as dots, those of one value stacked, and name the outermost."""
    import numpy

    values = [clip(model.discrepancy) for model in group.models]
    offsets = numpy.random.default_rng(0).permutation(numpy.linspace(-0.26, 0.26, len(values)))
    for model, x, offset in zip(group.models, values, offsets, strict=True):
        marker = "o" if x == model.discrepancy else "<" if x < 0 else ">"
        face = group.color if model.headline else "white"
        ax.plot(
            [x],
            [y + offset],
            marker,
            color=group.color,
            markerfacecolor=face,
            markersize=4.5,
            alpha=0.75,
            zorder=3,
        )
    outliers = sorted(group.models, key=lambda model: -abs(model.discrepancy))[:NAMED_OUTLIERS]
    outliers = [model for model in outliers if model.off]
    lines = [f"{label(model.model, 38)} {model.discrepancy:+.2f}" for model in outliers]
    text = "\n".join(lines)
    ax.text(TITLE_AT, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=SMALL - 2, color=INK)


# ── Unnamed differences ───────────────────────────────────────────────────────────────────────────────────


def draw_curve(figure, ax, values: Sequence[float], threshold: Decimal, top: float) -> None:
    """Draw how many of the unnamed absolute differences lie within each size."""
    n = len(values)
    ax.axvspan(0, float(threshold), color="#E4E4E4", zorder=0)
    shown = [value for value in values if value <= CURVE_LIMIT]
    ax.step(
        [0, *shown, CURVE_LIMIT], [0, *range(1, len(shown) + 1), len(shown)], where="post", color=BLUE, lw=2
    )
    within = sum(value <= float(threshold) for value in values)
    ax.plot([float(threshold)], [within], "o", color=BLUE, markersize=7)
    points = f"{threshold.normalize():f} point{'s' * (threshold != 1)}"
    ax.annotate(
        f"{within} of {n} within {points}",
        (float(threshold), within),
        (10, -10),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=SMALL,
        color=BLUE,
    )
    beyond = [value for value in values if value > CURVE_LIMIT]
    if beyond:
        text = f"{len(beyond)} beyond: {', '.join(f'{value:.1f}' for value in beyond[:4])}"
        ax.text(1.02, 0.92, text, transform=ax.transAxes, fontsize=SMALL - 1, color=INK)
    ax.set_xlim(0, CURVE_LIMIT)
    ax.set_ylim(0, n * 1.08)
    ax.tick_params(labelsize=SMALL)
    ax.set_xlabel("absolute difference, points", fontsize=SMALL)
    ax.spines[["top", "right"]].set_visible(False)
    text = f"{n} differences that were\npublished without a model:\nhow many are this small"
    figure.text(0.02, top, text, va="top", fontsize=SMALL, color=INK)
