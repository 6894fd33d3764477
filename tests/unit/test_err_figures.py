"""The figures of err.py: what they say, and text that neither overlaps nor leaves the picture."""

from decimal import Decimal

import pytest

from generated import many_models
from project import ROOT
from scored.comparisons import read_comparisons
from scored.discrepancy_figure import draw_discrepancies
from scored.err_figures import draw_headline
from scored.err_sentences import tell, write_direction, write_title, write_verdicts

SHIPPED = read_comparisons(ROOT / "assets" / "data" / "err.json")
ONE = Decimal(1)
CAUSES = {"coco\n1 explained": {"boxes": 2.0, "unexplained": 0.0}}


def draw_shipped(causes=None):
    return draw_headline(SHIPPED.series, SHIPPED.laboratories, causes or {}, ONE)


FIGURES = {
    "err.png": draw_shipped,
    "err.png with causes": lambda: draw_shipped(CAUSES),
    "err.png of 200 models": lambda: draw_headline(*many_models(), {}, ONE),
    "discrepancies.png": lambda: draw_discrepancies(SHIPPED.series, ONE),
    "discrepancies.png of 200 models": lambda: draw_discrepancies(many_models()[0], ONE),
}


def texts_of(figure) -> list[tuple[str, object]]:
    """Draw a figure; return each text in it with its box in pixels, ticks outside of their axes left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        if axes.axison:
            texts += ticks_of(axes)
        if axes.get_legend():
            texts += axes.get_legend().get_texts()
    return [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]


def ticks_of(axes) -> list:
    ticks = []
    for labels, limits, place in (
        (axes.get_xticklabels(), axes.get_xlim(), 0),
        (axes.get_yticklabels(), axes.get_ylim(), 1),
    ):
        low, high = sorted(limits)
        ticks += [tick for tick in labels if low <= tick.get_position()[place] <= high]
    return ticks


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_and_all_is_inside(name):
    figure = FIGURES[name]()
    texts = texts_of(figure)
    for text, box in texts:
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, text
    for place, (text, box) in enumerate(texts):
        for other, another in texts[place + 1 :]:
            assert not box.overlaps(another), (text, other)


def test_the_headline_says_what_the_study_and_timm_measured():
    stories = {story.dataset: story for story in tell(SHIPPED.series, SHIPPED.laboratories, ONE)}
    assert list(stories) == ["coco", "imagenet-1k", "emotion"]
    assert write_title(list(stories.values()), ONE, "2022") == (
        "In 2022 8 of 8 detectors and 3 of 4 image classifiers missed their claim by over a point; "
        "by timm's measurements 0 of 4 classifiers do"
    )
    texts = [text for text, _ in texts_of(draw_shipped())]
    for text in ("8 of 8", "3 of 4", "17 of 139", "0 of 4, timm", "the study, 2022"):
        assert text in texts
    assert write_direction(stories["coco"].summary) == "all below the claim, by 2.1 to 5.4 points"
    assert write_direction(stories["imagenet-1k"].summary) == (
        "3 below the claim, 1 above: -5.7 to +1.6 points"
    )
    direction = write_direction(stories["emotion"].summary)
    assert direction.startswith("53 of 67 known claims above the test value, +0.43 points on average")
    assert write_verdicts(stories["coco"]) == (
        "verdicts under scored-2022: 8 differ; under standard not judged yet"
    )
    assert "(72 without a name, " in write_verdicts(stories["emotion"])


def test_another_threshold_is_in_the_title():
    stories = tell(SHIPPED.series, SHIPPED.laboratories, Decimal("0.50"))
    assert "missed their claim by over 0.5 points" in write_title(stories, Decimal("0.50"), "2022")


def test_our_own_measurements_are_the_second_dot():
    series, laboratories = many_models()
    stories = {story.dataset: story for story in tell(series, laboratories, ONE)}
    labels = [other.label for other in stories["imagenet-1k"].others]
    assert labels == ["ours, standard", "timm"]
    assert stories["emotion"].others[0].n == 67
    assert "; by our own measurements " in write_title(list(stories.values()), ONE, "2022")


def test_without_the_study_ours_is_the_first():
    series, laboratories = many_models()
    own = [entry for entry in series if entry.source == "measured"]
    stories = tell(own, laboratories, ONE)
    assert {story.first.label for story in stories} == {"measured, standard"}
    assert all(write_verdicts(story).startswith("verdicts: ") for story in stories)


def test_nothing_compared_draws_a_figure_that_says_so():
    texts = [text for text, _ in texts_of(draw_headline([], [], {}, ONE))]
    assert "No model was compared with its claim" in texts
    texts = [text for text, _ in texts_of(draw_discrepancies([], ONE))]
    assert "No named model was compared" in texts


def test_causes_are_drawn_only_if_there_are_any():
    assert not any(axes.get_legend() for axes in draw_shipped().axes)
    legends = [axes.get_legend() for axes in draw_shipped(CAUSES).axes if axes.get_legend()]
    assert [text.get_text() for text in legends[0].get_texts()] == ["boxes"]


def test_named_models_have_lines_and_unnamed_ones_no_sign():
    figure = draw_discrepancies(SHIPPED.series, ONE)
    named, curve = figure.axes
    texts = [text for text, _ in texts_of(figure)]
    for text in (
        "facebook/detr-resnet-50",
        "42.0 → 39.7",
        "-32.2",
        "63 of 72 within 1 point",
        "1 beyond: 20.8",
    ):
        assert text in texts
    assert named.get_xscale() == curve.get_xscale() == "linear"
    assert curve.get_xlim()[0] == 0
    outliers = next(text for text in texts if text.startswith("Hardeep/"))
    assert "-91.70" in outliers and "Emanuel/bertweet-emotion-base -1.65" in outliers
