"""Figures: the palette, printable text, bars, columns and lines, and writing a PNG."""

import functools
import unicodedata
from collections.abc import Callable
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


def format_percent(k: float, n: float | None) -> str:
    """Write the share of k in n, which is rounded neither to nothing nor to all; – for n = 0."""
    if not n:
        return "–"
    if 0 < k / n < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= k / n < 1 else f"{k / n:.1%}"


def format_share(k: float, n: float | None) -> str:
    """Write `share (k of n)`, or `k` where there is no `n`."""
    if n is None:
        return abbreviate(k)
    return f"{format_percent(k, n)} ({abbreviate(k)} of {abbreviate(n)})"


# ── Drawing ───────────────────────────────────────────────────────────────────────────────────────────────


def draw_bars(ax, rows: dict[str, list[Count]], series: tuple[str, ...] = ()) -> None:
    """Draw horizontal bars with their text, from the top down; the first of each series has its name."""
    bars_per_row = max(1, len(series))
    for number in range(bars_per_row):
        counts = [row[number] for row in rows.values()]
        texts = [format_share(*count) for count in counts]
        if series:
            texts[0] += f" {series[number]}"
        offset = 0.4 * (number - (bars_per_row - 1) / 2)
        places = [row + offset for row in range(len(rows))]
        bars = ax.barh(places, [count.length for count in counts], 0.8 / bars_per_row, color=PALETTE[number])
        ax.bar_label(bars, texts, padding=3, fontsize=9.5)
    ax.set_yticks(range(len(rows)), [label(name, 40) for name in rows])
    ax.tick_params(left=False, bottom=False, labelbottom=False)
    ax.spines["bottom"].set_visible(False)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, max(bar.get_width() for bar in ax.patches) or 1)


def draw_columns(ax, columns: dict[str, float | None], form: Callable[[float], str] = abbreviate) -> None:
    """Draw vertical columns, such as counts per month, the highest with its value; unknown ones are gray."""
    names, values = list(columns), [value or 0 for value in columns.values()]
    top = max(values) * 1.12 or 1
    unknown = [place for place, value in enumerate(columns.values()) if value is None]
    ax.bar(unknown, top, width=1, color="0.92")
    ax.bar(range(len(names)), values, color=BLUE)
    highest = values.index(max(values))
    ax.annotate(form(values[highest]), (highest, values[highest]), ha="center", va="bottom", fontsize=9.5)
    step = -(-len(names) // 14)
    ax.set_xticks(range(0, len(names), step), names[::step], rotation=45, ha="right")
    ax.set_ylim(0, top)
    ax.yaxis.set_major_formatter(lambda value, _: form(value))


def draw_shares(ax, columns: dict[str, float | None]) -> None:
    """Draw vertical columns of shares, such as one per month."""
    draw_columns(ax, columns, lambda share: f"{share:.1%}")


def draw_lines(ax, lines: dict[str, list[float]]) -> None:
    """Draw values by rank, largest first, on a logarithmic scale, each line with its name at its end."""
    ax.set_yscale("log")
    for (name, values), color, marker in zip(lines.items(), PALETTE, MARKERS, strict=False):
        ordered = sorted(values, reverse=True)
        ranks = range(1, len(ordered) + 1)
        ax.plot(ranks, ordered, marker=marker, markersize=4, color=color, label=name)
    low, high = ax.get_ylim()
    place = low
    for line in sorted(ax.lines, key=lambda line: line.get_ydata()[-1]):
        place = max(line.get_ydata()[-1], place * (high / low) ** 0.08)  # above the name before it
        ax.text(len(line.get_ydata()) + 0.4, place, line.get_label(), color=line.get_color(), va="center")
    ax.set_xticks([1, 5, 10, 15, 20])
    ax.yaxis.set_major_formatter(lambda value, _: abbreviate(value))
    ax.yaxis.set_minor_formatter("")


def save_png(path: Path, figure) -> None:
    """Write a matplotlib figure as PNG, atomically, without formulas and without the library's version."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a `$` in a name is no formula
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
