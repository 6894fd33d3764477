"""The headline figure of err.py, err.png: it takes counts and sentences and draws; the caller saves."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from scored.comparisons import Series, SideBySide
from scored.err_sentences import Count, DatasetStory, tell, write_direction, write_title, write_verdicts
from scored.intervals import wilson
from scored.plots import BLUE, GREEN, ORANGE, PINK, RED, SKY

WIDTH = 9.0  # inches
AXIS, CAUSES = 0.62, 2.5  # inches of height: the shared axis, the panel of causes
TITLE_LINE, LINE, DOT = 0.27, 0.22, 0.4  # inches of a line of the title, of small text, of a dot
PLOT = (0.38, 0.96)  # left and right end of the percentages, as shares of the width
SMALL, LARGE = 11.5, 24  # points of text
INK, FAINT = "#222222", "#444444"
FIRST, OTHERS = BLUE, (GREEN, ORANGE, PINK)
CAUSE_COLORS = (RED, BLUE, GREEN, ORANGE, PINK, SKY, "#882255", "#999999")
DARK = ("#000000", BLUE, RED, GREEN, "#882255")  # bars whose numbers are white
ROOM = (29, 60)  # percent: left of and right of which a label has room
WRAP = 98  # characters of a line over the whole width


def draw_headline(
    series: Sequence[Series],
    laboratories: Sequence[SideBySide],
    causes: dict[str, dict[str, float]],
    threshold: Decimal,
):
    """Draw err.png: per data set how many models are off, by whom, in which direction, and the verdicts."""
    from matplotlib.figure import Figure

    stories = tell(series, laboratories, threshold)
    title = textwrap.wrap(write_title(stories, threshold, year_of(series)), 74)
    top = 0.28 + TITLE_LINE * len(title)
    blocks = [Block(story, block_lines(story)) for story in stories]
    height = top + sum(block.height for block in blocks) + AXIS + (CAUSES if causes else 0)
    figure = Figure(figsize=(WIDTH, height), dpi=110)
    bold = {"va": "top", "fontsize": 14.5, "fontweight": "bold", "color": INK}
    figure.text(0.02, 1 - 0.12 / height, "\n".join(title), **bold)
    first, y = height - top, height - top
    for block in blocks:
        if y < first:
            draw_rule(figure, y / height)
        draw_block(figure, block, y, height)
        y -= block.height
    draw_axis(figure, y, first, threshold)
    if causes:
        ax = figure.add_axes((0.2, 0.62 / height, 0.75, (CAUSES - 1.3) / height))
        plot_causes(ax, causes)
    return figure


@dataclass(frozen=True)
class Block:
    """One data set's part of the figure: its story, and the lines of text under its dots."""

    story: DatasetStory
    lines: list[str]

    @property
    def dots(self) -> float:
        """Inches of height of the dots."""
        return max(0.72, DOT * (1 + len(self.story.others)))

    @property
    def height(self) -> float:
        """Inches of height of all."""
        return self.dots + 0.3 + LINE * len(self.lines)


def year_of(series: Sequence[Series]) -> str:
    """Return the year of the first series that states one."""
    years = sorted(entry.measured[:4] for entry in series if entry.measured)
    return years[0] if years else "an undated measurement"


def block_lines(story: DatasetStory) -> list[str]:
    """Return the lines of text under a data set's dots: direction and verdicts."""
    lines = []
    for text in (write_direction(story.summary), write_verdicts(story)):
        lines += textwrap.wrap(text, WRAP)
    return lines


# ── One data set ──────────────────────────────────────────────────────────────────────────────────────────


def draw_rule(figure, y: float) -> None:
    """Draw a faint line over the whole width."""
    from matplotlib.lines import Line2D

    figure.add_artist(Line2D([0.02, 0.98], [y, y], color="#DDDDDD", lw=0.8, transform=figure.transFigure))


def draw_block(figure, block: Block, top: float, height: float) -> None:
    """Draw one data set: its count in large type, its dots, and its lines; `top` and `height` in inches."""
    story = block.story
    bold = {"va": "top", "fontsize": LARGE, "fontweight": "bold", "color": INK}
    figure.text(0.02, (top - 0.08) / height, story.first.text, **bold)
    name = f"{story.models} on {story.dataset}"
    figure.text(0.02, (top - 0.52) / height, name, va="top", fontsize=SMALL, color=INK)
    text = {"va": "bottom", "fontsize": SMALL, "color": FAINT, "linespacing": 1.3}
    figure.text(0.02, (top - block.height + 0.1) / height, "\n".join(block.lines), **text)
    place = (PLOT[0], (top - block.dots - 0.1) / height, PLOT[1] - PLOT[0], block.dots / height)
    ax = figure.add_axes(place)
    ax.set_xlim(0, 100)
    ax.set_ylim(0, block.dots)
    ax.axis("off")
    draw_dots(ax, story, block.dots)


def draw_dots(ax, story: DatasetStory, space: float) -> None:
    """Draw the first count with its interval, and an arrow from it to each other one; y is in inches."""
    counts = (story.first, *story.others)
    step = space / len(counts)
    start = (100 * story.first.k / story.first.n, space - step / 2)
    for row, count in enumerate(counts):
        y = space - step * (row + 0.5)
        color = OTHERS[(row - 1) % len(OTHERS)] if row else FIRST
        draw_count(ax, count, y, color, f"{count.text}, {count.label}" if row else count.label)
        if row:
            style = {"arrowstyle": "-|>", "color": color, "lw": 1.6, "shrinkA": 9, "shrinkB": 9}
            end = (100 * count.k / count.n, y)
            ax.annotate("", end, start, arrowprops=style, zorder=1, annotation_clip=False)


def draw_count(ax, count: Count, y: float, color: str, text: str) -> None:
    """Draw a dot at the share of models off, its 95% interval, and who counted, where there is room."""
    share = 100 * count.k / count.n
    low, high = (100 * end for end in wilson(count.k, count.n))
    ax.plot([low, high], [y, y], color=color, lw=5, alpha=0.35, solid_capstyle="round", clip_on=False)
    ax.plot([share], [y], "o", color=color, markersize=11, clip_on=False, zorder=4)
    x, side = high + 2, "left"
    if high > ROOM[1]:
        x, side = (low - 2, "right") if low > ROOM[0] else (100, "right")
    is_above = high > ROOM[1] and low <= ROOM[0]
    style = {"fontsize": SMALL, "color": color, "fontweight": "bold", "zorder": 3}
    style["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5}
    ax.text(x, y + (0.1 if is_above else 0), text, ha=side, va="bottom" if is_above else "center", **style)


def draw_axis(figure, y: float, first: float, threshold: Decimal) -> None:
    """Draw the axis that all data sets share, `y` inches from the bottom of the figure."""
    height = figure.get_figheight()
    place = (PLOT[0], (y - 0.05) / height, PLOT[1] - PLOT[0], (first - y + 0.05) / height)
    ax = figure.add_axes(place, zorder=-1)
    ax.set_xlim(0, 100)
    ax.set_yticks([])
    ax.set_xticks(range(0, 101, 25), [f"{tick}%" for tick in range(0, 101, 25)], fontsize=SMALL)
    ax.spines[["top", "right", "left"]].set_visible(False)
    points = f"{threshold.normalize():f} point{'s' * (threshold != 1)}"
    ax.set_xlabel(f"models off by more than {points} (dot), with its 95% interval", fontsize=SMALL)


# ── Causes ────────────────────────────────────────────────────────────────────────────────────────────────


def plot_causes(ax, causes: dict[str, dict[str, float]]) -> None:
    """Draw a bar per label: its absolute points by cause."""
    names = set()
    for points in causes.values():
        names.update(name for name in points if points[name])
    names = sorted(names)
    colors = {name: CAUSE_COLORS[place % len(CAUSE_COLORS)] for place, name in enumerate(names)}
    for y, parts in enumerate(reversed(causes.values())):
        _plot_parts(ax, y, parts, colors)
    for name, color in colors.items():
        ax.barh(0, 0, color=color, label=name)
    ax.set_yticks(range(len(causes)), list(reversed(causes)), fontsize=SMALL)
    ax.set_xlim(0, 100)
    ax.set_ylim(-0.6, len(causes) - 0.4)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16), fontsize=SMALL, frameon=False, ncols=4)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks(range(0, 101, 25), [f"{tick}%" for tick in range(0, 101, 25)], fontsize=SMALL)
    ax.set_title("absolute points by cause, from explain.py", fontsize=SMALL, loc="left", color=INK)


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
