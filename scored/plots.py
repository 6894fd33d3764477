"""Figures: the palette, printable text, bars, columns and lines, and writing a PNG."""

import functools
import unicodedata
from pathlib import Path
from typing import NamedTuple

from scored.files import atomic_write
from scored.intervals import ratio

# The palette of Okabe and Ito, which color-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, RED, YELLOW, GRAY = "#56B4E9", "#D55E00", "#F0E442", "#CCCCCC"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
MARKERS = "osD^vP"


# ── Text ──────────────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def drawable_characters() -> frozenset[int]:
    """Return the code points for which matplotlib's own font has a glyph."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def printable(text: object, length: int = 64, drawable: frozenset[int] | None = None) -> str:
    """Make one short line of untrusted text.

    Control, combining, right-to-left and undrawable characters are written as their code points.
    """
    text, line = str(text), ""
    for character in text[:length]:
        plain = character.isprintable() and not unicodedata.combining(character)
        plain = plain and unicodedata.bidirectional(character) not in ("R", "AL", "AN")
        plain = plain and (drawable is None or ord(character) in drawable)
        line += character if plain else f"\\u{ord(character):04x}"
    return line if len(line) <= length and len(text) <= length else line[: length - 1] + "…"


def label(text: object, length: int = 48) -> str:
    """Make a figure's label of untrusted text; a blank one is named."""
    return printable(text, length, drawable_characters()).strip() or "(blank)"


def abbreviate(number: float) -> str:
    """Write 1,234 as it is, and from a hundred thousand on three digits: 123k, 1.23M, 12.3G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= max(size, 1e5):
            return f"{float(f'{number / size:.3g}'):g}{unit}"
    return f"{number:,.0f}"


class Count(NamedTuple):
    """A count `k` out of `n`, or a count by itself where `n` is None."""

    k: float
    n: float | None = None

    @property
    def length(self) -> float:
        """The length of its bar: the share of n, or the count."""
        return self.k if self.n is None else ratio(self.k, self.n) or 0


def format_share(k: float, n: float | None) -> str:
    """Write `k/n (share)`, or `k` where there is no `n`."""
    if n is None:
        return abbreviate(k)
    if n == 0:
        return f"{k}/0"
    share = f"{k / n:.1%}"
    if 0 < k / n < 0.0005:
        share = "<0.1%"
    elif 0.9995 <= k / n < 1:
        share = ">99.9%"
    return f"{abbreviate(k)}/{abbreviate(n)} ({share})"


# ── Drawing ───────────────────────────────────────────────────────────────────────────────────────────────


def draw_bars(ax, rows: dict[str, list[Count]], legend: tuple[str, ...] = ()) -> None:
    """Draw horizontal bars with their text, from the top down; `legend` names the series of each row."""
    series = list(zip(*rows.values(), strict=True))
    for number, (counts, color) in enumerate(zip(series, PALETTE, strict=False)):
        offset = 0.4 * (number - (len(series) - 1) / 2)
        places = [row + offset for row in range(len(rows))]
        lengths = [count.length for count in counts]
        name = legend[number] if legend else ""
        bars = ax.barh(places, lengths, 0.8 / len(series), color=color, label=name)
        ax.bar_label(bars, [format_share(*count) for count in counts], padding=3, fontsize=8)
    ax.set_yticks(range(len(rows)), [label(name) for name in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    are_counts = any(count.n is None for count in series[0])
    _set_bar_axis(ax, are_counts)
    if legend:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8.5)


def _set_bar_axis(ax, are_counts: bool) -> None:
    """Leave room for the text beside the longest bar, and label the axis with counts or percentages."""
    width = max(bar.get_width() for bar in ax.patches) * 1.3 or 1
    largest = width if are_counts else min(width, 1)
    ax.set_xlim(0, width)
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= largest])
    if are_counts:
        ax.xaxis.set_major_formatter(lambda value, _: abbreviate(value))
    else:
        ax.xaxis.set_major_formatter(lambda value, _: f"{value * 100:.3g}%")


def draw_columns(ax, columns: dict[str, float]) -> None:
    """Draw vertical columns, such as counts per month, and label at most 14 of them."""
    ax.bar(range(len(columns)), list(columns.values()), color=BLUE)
    step = -(-len(columns) // 14)
    ax.set_xticks(range(0, len(columns), step), list(columns)[::step], rotation=45, ha="right")
    ax.yaxis.set_major_formatter(lambda value, _: abbreviate(value))


def draw_lines(ax, lines: dict[str, list[float]]) -> None:
    """Draw values by rank, largest first, on a logarithmic scale; the legend names the lines."""
    for (name, values), color, marker in zip(lines.items(), PALETTE, MARKERS, strict=False):
        ordered = sorted(values, reverse=True)
        ranks = range(1, len(ordered) + 1)
        ax.plot(ranks, ordered, marker=marker, markersize=4, color=color, label=name)
    ax.set_yscale("log")
    ax.set_xticks([1, 5, 10, 15, 20])
    ax.yaxis.set_major_formatter(lambda value, _: abbreviate(value))
    ax.yaxis.set_minor_formatter("")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False, fontsize=8.5)


def save_png(path: Path, figure) -> None:
    """Write a matplotlib figure as PNG, atomically, without formulas and without the library's version."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a `$` in a name is no formula
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
