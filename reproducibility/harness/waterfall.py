"""The waterfall of one explanation: from the claim over each cause to the measured value.

Used by explain.py --figures.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from scored.plots import GREEN, RED, save_png

LABEL_WIDTH = 24  # characters of a bar's label
CLAIM_COLOR, MEASURED_COLOR = "#999999", "#555555"


@dataclass(frozen=True)
class Bar:
    """One bar, in points."""

    label: str
    bottom: float
    height: float  # of a step: negative for a loss
    text: str
    color: str
    is_total: bool = False

    @property
    def top(self) -> float:
        """The level at which the next bar begins."""
        return self.bottom + self.height


def format_choice(value: object) -> str:
    """Format a choice for a line of text or the label of a bar."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={format_choice(setting)}" for key, setting in value.items())
    if isinstance(value, (list, tuple)) and len(value) > 3:
        return "another order"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "as published" if value is None else str(value)


def format_change(cause: dict) -> str:
    """Format how a choice differs: "float → int"."""
    return f"{format_choice(cause['faithful'])} → {format_choice(cause['seen'])}"


def make_bars(explanation: dict) -> list[Bar]:
    """Turn an explanation into bars: the claim (or faithful value), a step per cause, the measured value."""
    claim = explanation["claim"]
    start = 100 * (claim["fraction"] if claim else explanation["faithful"]["value"])
    label = "claimed" if claim else "faithful"
    bars = [Bar(label, 0, start, f"{start:.2f}", CLAIM_COLOR, is_total=True)]
    steps = []
    if claim:
        steps.append(("unexplained", explanation["unexplained_points"]))
    for cause in explanation["causes"]:
        change = textwrap.fill(format_change(cause), LABEL_WIDTH)
        steps.append((f"{cause['factor']}\n{change}", cause["points"]))
    for label, points in steps:
        color = RED if points < 0 else GREEN
        bars.append(Bar(label, bars[-1].top, points, f"{points:+.2f}", color))
    end = bars[-1].top
    return [*bars, Bar("measured", 0, end, f"{end:.2f}", MEASURED_COLOR, is_total=True)]


def plot(ax, explanation: dict) -> None:
    """Draw the bars, each with its points, on a matplotlib Axes."""
    bars = make_bars(explanation)
    for x, bar in enumerate(bars):
        ax.bar(x, bar.height, bottom=bar.bottom, color=bar.color)
        if not bar.is_total:
            ax.plot([x - 1.4, x + 0.4], [bar.bottom, bar.bottom], color="black", lw=0.8)
        weight = "bold" if bar.is_total else "normal"
        place = (x, max(bar.bottom, bar.top))
        ax.annotate(bar.text, place, (0, 3), textcoords="offset points", ha="center", weight=weight)
    ax.set_xticks(range(len(bars)), [bar.label.replace("_", " ") for bar in bars], fontsize=9)
    levels = [bar.top for bar in bars]
    margin = max(max(levels) - min(levels), 1)
    ax.set_ylim(max(0, min(levels) - margin), max(levels) + 0.4 * margin)
    ax.set_ylabel(f"{explanation['metric']} (points; the axis does not start at 0)")
    ax.set_title(_title(explanation), loc="left", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)


def _title(explanation: dict) -> str:
    seen = explanation["seen"]
    name = Path(explanation["model"]).name[:60].replace("$", r"\$")
    part = " (a part of the data set)" if seen["limit"] else ""
    examples = f"{seen['examples']['evaluated']:,} examples"
    return f"{name}: {examples}{part}, measured {seen['measured_at'][:10]}"


def draw(path: Path, explanation: dict) -> None:
    """Write the waterfall as PNG."""
    from matplotlib.figure import Figure

    width = max(6.5, 1.9 * (len(explanation["causes"]) + 3))  # inches
    figure = Figure(figsize=(width, 4.5), dpi=110, layout="constrained")
    plot(figure.add_subplot(), explanation)
    save_png(path, figure)
