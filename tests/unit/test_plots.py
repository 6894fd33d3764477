"""Text in figures and tables: short, printable, and numbers in a single form."""

import unicodedata

import pytest

from hub_records import HOSTILE
from scored import plots


@pytest.mark.tried("the same texts in a line of a table", len(HOSTILE), "short, printable, left to right")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_one_printable_line(text):
    for drawable in (None, plots.drawable_characters()):
        line = plots.printable(text, 60, drawable)
        assert len(line) <= 60 and all(character.isprintable() for character in line)
        directions = {unicodedata.bidirectional(character) for character in line}
        assert not directions & {"R", "AL", "AN", "RLO", "RLE"}
    assert plots.printable("zero-shot-image-classification") == "zero-shot-image-classification"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1234, "1,234"),
        (99_999, "99,999"),
        (100_000, "100k"),
        (123_456, "123k"),
        (1_234_567, "1.23M"),
        (12_345_678_901, "12.3G"),
    ],
)
def test_numbers_are_abbreviated_from_a_hundred_thousand_on(number, text):
    assert plots.abbreviate(number) == text


@pytest.mark.parametrize(
    ("k", "n", "text"),
    [
        (12, 259, "4.6% (12 of 259)"),
        (0, 10, "0.0% (0 of 10)"),
        (10, 10, "100.0% (10 of 10)"),
        (1, 10_000, "<0.1% (1 of 10,000)"),
        (9_999, 10_000, ">99.9% (9,999 of 10,000)"),
        (3, 0, "– (3 of 0)"),
        (1_273, None, "1,273"),
    ],
)
def test_shares_never_round_to_none_or_all(k, n, text):
    assert plots.format_share(k, n) == text


def test_length_of_a_bar():
    assert plots.Count(1, 4).length == 0.25
    assert plots.Count(7).length == 7
    assert plots.Count(0, 0).length == 0


def test_png_is_the_same_each_time_and_draws_dollars_as_they_are(tmp_path):
    from matplotlib.figure import Figure

    files = []
    for name in ("first.png", "second.png"):
        figure = Figure()
        figure.suptitle("$\\frac{1}{")
        plots.save_png(tmp_path / name, figure)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] and files[0][:4] == b"\x89PNG" and b"matplotlib" not in files[0].lower()
