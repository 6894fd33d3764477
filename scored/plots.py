"""Figures: the palette, text that a font can draw, and writing a PNG."""

import functools
import unicodedata
from pathlib import Path

from scored.files import atomic_write

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, RED, YELLOW, GREY = "#56B4E9", "#D55E00", "#F0E442", "#CCCCCC"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED)


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


def save_png(path: Path, figure) -> None:
    """Write a matplotlib figure as PNG, atomically and without the library's version in it."""
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
