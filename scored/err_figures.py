"""The figures of err.py: they take counts and draw; the caller saves."""

from decimal import Decimal

from scored.comparisons import Comparison, Series, Summary
from scored.plots import BLUE, GRAY, GREEN, ORANGE, PALETTE, PINK, RED, SKY, YELLOW
from scored.verdicts import AGREES, DIFFERS, VERDICTS

WIDTH, HEIGHT = 9, 4.8  # inches, of one panel
VERDICT_COLORS = dict(zip(VERDICTS, (GREEN, SKY, GRAY, YELLOW, BLUE, RED, "#000000"), strict=True))
OTHER_PROTOCOL_COLORS = {AGREES: "#44AA99", DIFFERS: ORANGE}  # under another protocol than standard
CAUSE_COLORS = (RED, BLUE, GREEN, ORANGE, PINK, SKY, "#882255", "#999999")
DARK = ("#000000", BLUE, RED, GREEN, "#882255")  # bars whose numbers are white
TICKS = (-100, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 100)


def draw_headline(series: list[Series], causes: dict[str, dict[str, float]], threshold: Decimal):
    """Draw err.png: models off, their verdicts, and, if any model was explained, points by cause."""
    from matplotlib.figure import Figure

    layout = [[0, 1], [2, 2]] if causes else [[0, 1]]
    size = (13, HEIGHT + 3.2 * (len(layout) - 1))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplot_mosaic(layout, height_ratios=[3, 2][: len(layout)])
    plot_fractions(axes[0], series, threshold)
    plot_verdicts(axes[1], series)
    if causes:
        plot_causes(axes[2], causes)
    return figure


def draw_discrepancies(series: list[Series], threshold: Decimal):
    """Draw discrepancies.png: each model's distance from its claim."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=110, layout="constrained")
    plot_discrepancies(figure.add_subplot(), series, threshold)
    return figure


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────────────


def series_label(series: Series) -> str:
    """Name a series in legends and on stdout."""
    return f"{series.source}, protocol {series.protocol}, measured {series.measured}"


def dataset_labels(series: list[Series]) -> dict[str, str]:
    """Label each data set of these series, by name: the name over the task."""
    labels = {}
    for entry in series:
        for name, summary in entry.datasets.items():
            labels[name] = f"{name}\n{summary.task.replace('-', ' ')}"
    return labels


def rows_of(series: list[Series]) -> list[tuple[int, Series, str, Summary]]:
    """List (place of the series, series, data set, summary), data set by data set."""
    rows = []
    for name in dataset_labels(series):
        for place, entry in enumerate(series):
            if name in entry.datasets:
                rows.append((place, entry, name, entry.datasets[name]))
    return rows


# ── Panels ────────────────────────────────────────────────────────────────────────────────────────────────


def plot_fractions(ax, series: list[Series], threshold: Decimal) -> None:
    """Draw a bar per data set and series: the share of models off, with k/n and the Wilson interval."""
    labels = dataset_labels(series)
    width = 0.8 / max(len(series), 1)
    for place, _, name, summary in rows_of(series):
        if summary.n:
            x = list(labels).index(name) + (place - (len(series) - 1) / 2) * width
            _plot_fraction(ax, x, 0.7 * width, summary, PALETTE[place % len(PALETTE)])
    for place, entry in enumerate(series):
        ax.bar(0, 0, color=PALETTE[place % len(PALETTE)], label=series_label(entry))
    ax.set_xticks(range(len(labels)), labels.values(), fontsize=11)
    ax.set_ylim(0, 112)
    ax.set_yticks(range(0, 101, 20))
    ax.set_ylabel(f"models off by more than {threshold.normalize():f} point{'s' * (threshold != 1)} (%)")
    ax.set_title("Models that miss their card's claim (95% Wilson intervals)", loc="left", fontsize=13)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=10, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)


def _plot_fraction(ax, x: float, width: float, summary: Summary, color: str) -> None:
    """Draw one bar with its whiskers and its k/n."""
    height = 100 * summary.fraction
    low, high = (100 * end for end in summary.interval)
    whiskers = [[max(0, height - low)], [max(0, high - height)]]
    ax.bar(x, height, width, color=color)
    ax.errorbar(x, height, whiskers, color="black", capsize=4, lw=1.2)
    ax.annotate(
        f"{summary.k}/{summary.n}",
        (x, max(height, high)),
        (0, 4),
        textcoords="offset points",
        ha="center",
        fontsize=12,
        fontweight="bold",
    )


def plot_verdicts(ax, series: list[Series]) -> None:
    """Draw a bar per data set and series: the models by the verdict on their claim."""
    rows = {}
    for _, entry, name, summary in rows_of(series):
        if summary.verdicts:
            rows[f"{name}\n{entry.source}, {entry.protocol}"] = summary.verdicts
    plot_stacked(ax, rows, verdict_colors(rows))
    ax.set_xlabel("models by the verdict on their claim (%)")
    ax.set_title("Verdicts", loc="left", fontsize=13)


def verdict_colors(rows: dict[str, dict[str, int]]) -> dict[str, str]:
    """Return the color of each verdict in these rows, those under other protocols last."""
    colors = dict(VERDICT_COLORS)
    names = sorted({name for verdicts in rows.values() for name in verdicts})
    for prefix, color in OTHER_PROTOCOL_COLORS.items():
        colors |= {name: color for name in names if name.startswith(prefix)}
    return colors


def plot_causes(ax, causes: dict[str, dict[str, float]]) -> None:
    """Draw a bar per label: its absolute points by cause."""
    names = sorted({name for points in causes.values() for name in points if points[name]})
    colors = {name: CAUSE_COLORS[place % len(CAUSE_COLORS)] for place, name in enumerate(names)}
    plot_stacked(ax, causes, colors, below=0.24)
    ax.set_xlabel("absolute points by cause (%), from explain.py")
    ax.set_title("Causes of the discrepancies", loc="left", fontsize=13)


def plot_stacked(ax, rows: dict[str, dict], colors: dict[str, str], below: float = 0.14) -> None:
    """Draw horizontal bars of 100%, one per row, divided by the names in `colors`, with their numbers."""
    for y, parts in enumerate(reversed(rows.values())):
        _plot_parts(ax, y, parts, colors)
    for name, color in colors.items():
        if any(parts.get(name) for parts in rows.values()):
            ax.barh(0, 0, color=color, label=name)
    ax.set_yticks(range(len(rows)), list(reversed(rows)), fontsize=9)
    ax.set_xlim(0, 100)
    if rows:
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.legend(loc="upper center", bbox_to_anchor=(0.4, -below), fontsize=9, frameon=False, ncols=2)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _plot_parts(ax, y: int, parts: dict[str, float], colors: dict[str, str]) -> None:
    """Draw one stacked bar; a part wide enough for it shows its number."""
    total, left = sum(parts.values()) or 1, 0.0
    for name, color in colors.items():
        width = 100 * parts.get(name, 0) / total
        ax.barh(y, width, left=left, color=color, height=0.6, edgecolor="white", linewidth=0.5)
        if width > 6:
            ink = "white" if color in DARK else "black"
            middle = (left + width / 2, y)
            ax.annotate(f"{parts[name]:.3g}", middle, ha="center", va="center", color=ink)
        left += width


def plot_discrepancies(ax, series: list[Series], threshold: Decimal) -> None:
    """Draw a dot per model: measured minus claimed, in points; one line per data set and series."""
    rows = [row for row in rows_of(series) if row[3].n]
    band = f"within {threshold.normalize():f} point"
    ax.axvspan(-threshold, threshold, color="#DDDDDD", zorder=0, label=band)
    ax.axvline(0, color="black", lw=0.8, zorder=1)
    labels, limits = [], [-5.0, 5.0]
    for y, (place, entry, name, summary) in enumerate(reversed(rows)):
        counted = [comparison for comparison in summary.models if comparison.headline]
        _plot_dots(ax, y, counted, PALETTE[place % len(PALETTE)])
        labels.append(f"{name}, {summary.n} models\n{entry.source}, {entry.protocol}")
        limits += [comparison.discrepancy for comparison in counted]
    ax.set_yticks(range(len(rows)), labels)
    ax.set_ylim(-0.6, max(len(rows), 1) - 0.4)
    ax.set_xscale("symlog", linthresh=2, linscale=1.5)
    ax.set_xticks(TICKS, [f"{tick:+d}" if tick else "0" for tick in TICKS])
    ax.set_xlim(1.3 * min(limits), 1.3 * max(limits))
    ax.set_xlabel("measured minus claimed, points (0.01 of accuracy or mAP; logarithmic beyond ±2)")
    when = ", ".join(sorted({entry.measured for entry in series}))
    ax.set_title(f"How far each model is from its claim (measured {when})", loc="left", fontsize=13)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize=10, frameon=False, ncols=2)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _plot_dots(ax, y: int, comparisons: list[Comparison], color: str) -> None:
    """Draw the dots of one line, spread if there are many; hollow where the model has no name."""
    import numpy

    for is_unnamed in (False, True):
        values = sorted(c.discrepancy for c in comparisons if (c.model is None) == is_unnamed)
        spread = numpy.random.default_rng(0).permutation(numpy.linspace(-0.25, 0.25, len(values)))
        ax.scatter(
            values,
            y + (spread if len(values) > 8 else 0 * spread),
            s=26,
            zorder=2,
            linewidths=1.0,
            edgecolors=color,
            facecolors="none" if is_unnamed else color,
            label="absolute difference, sign not published" if is_unnamed and values else None,
        )
