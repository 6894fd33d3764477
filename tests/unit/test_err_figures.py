"""The figures: text that neither overlaps nor leaves the picture, and a bar per data set and series."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from project import ROOT
from scored import err_figures
from scored.comparisons import read_comparisons

STUDY = read_comparisons(ROOT / "assets" / "data" / "err.json").series[:1]
PLOTS = {"fractions": [Decimal(1)], "discrepancies": [Decimal(1)], "verdicts": []}


def draw(plot, *data):
    """Draw one panel and return its figure and axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (err_figures.WIDTH, err_figures.HEIGHT)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.add_subplot()
    getattr(err_figures, f"plot_{plot}")(axes, *data)
    FigureCanvasAgg(figure).draw()
    return figure, axes


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("count", [1, 3])
def test_no_text_overlaps_and_all_is_inside(plot, count):
    series = [replace(STUDY[0], protocol=f"protocol-{place}") for place in range(count)]
    figure, axes = draw(plot, series, *PLOTS[plot])
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts, *axes.get_legend().get_texts()]
    texts += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text() and t.get_visible()]
    low, high = axes.get_xlim()
    visible = [(text, box) for text, box in boxes if box.x1 <= figure.bbox.x1 + 1 and box.x0 >= -1]
    inside = {text for text, _ in visible}
    ticks = {t.get_text() for t in axes.get_xticklabels() if not low <= t.get_position()[0] <= high}
    assert {text for text, _ in boxes} - inside <= ticks
    visible = [(text, box) for text, box in visible if text not in ticks]
    for place, (text, box) in enumerate(visible):
        for other, another in visible[place + 1 :]:
            assert not box.overlaps(another), (text, other)


def test_each_series_has_its_bar_for_each_data_set():
    series = [replace(STUDY[0], protocol=f"protocol-{place}") for place in range(2)]
    _, axes = draw("fractions", series, Decimal(1))
    assert [text.get_text() for text in axes.texts] == ["8/8"] * 2 + ["17/139"] * 2 + ["3/4"] * 2
    assert len({round(text.xy[0], 3) for text in axes.texts}) == 6


def test_causes_are_drawn_only_if_there_are_any():
    assert len(err_figures.draw_headline(STUDY, {}, Decimal(1)).axes) == 2
    causes = {"coco\n1 explained": {"boxes": 2.0, "unexplained": 0.0}}
    axes = err_figures.draw_headline(STUDY, causes, Decimal(1)).axes[2]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["boxes"]
