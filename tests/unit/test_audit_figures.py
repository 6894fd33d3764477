"""Figures of the audit show what audit.json holds, say what they show, and leave out what says nothing."""

import json
import re

import pytest

from hub_records import claiming, count_trends, record
from scored.audit_figures import FIGURES, compose_figures, draw_figure, find
from scored.audit_pages import flatten_numbers, table
from scored.plots import draw_bars


@pytest.fixture(scope="module")
def counted():
    records = []
    for i in range(120):
        raw = claiming(f"m/{i % 4}-{i}", 0.5 + i / 999, base="m/0-0" if i % 3 else None)
        created = f"2024-{1 + i // 100:02}-01T1"
        task = "fill-mask" if i % 7 else None
        records.append({**raw, "downloads": 7 ** (i // 10), "createdAt": created, "pipeline_tag": task})
    return json.loads(json.dumps(count_trends(records)))


@pytest.fixture(scope="module")
def figures(counted):
    return {figure.name: figure for figure in compose_figures(counted)}


def numbers_of(panel):
    """Collect the numbers that a panel draws."""
    numbers = []
    for value in panel.data.values():
        if isinstance(value, int | float):
            numbers.append(value)
        else:
            for item in value or ():
                numbers += [item] if isinstance(item, int | float) else [k for k in item if k is not None]
    return numbers


def test_each_number_in_a_figure_is_in_the_json(counted, figures):
    known = set(flatten_numbers(counted).values())
    drawn = []
    for figure in figures.values():
        for panel in figure.panels:
            drawn += numbers_of(panel)
    assert set(drawn) <= known
    assert len(drawn) > 100
    names = ["registry_monthly_downloads" if name == "registries" else name for name in FIGURES]
    assert list(figures) == names


def test_titles_state_a_finding_with_its_number(figures):
    assert figures["claims_by_task"].title == "100.0% of models claim a metric value (120 of 120)"
    assert figures["growth"].title == "100.0% of models were created since 2024-01 (120 of 120)"
    assert figures["families"].title == "66.7% of models name a base model (80 of 120)"
    assert (
        figures["study_and_today"].title == "Models with a claim: 0.1% in the study, 100.0% in these records"
    )
    assert find(0, "claims name no split", 0) == "No claims known"
    for figure in figures.values():
        assert re.search(r"\d", figure.title) or not figure.panels, figure.name
        assert re.search(r"\b(2024-01-01|2026-05-01|2022)", figure.subtitle), figure.name


def test_bars_of_nothing_become_a_sentence(figures):
    for figure in figures.values():
        for panel in figure.panels:
            if panel.draw is draw_bars:
                assert len(panel.data) > 1, panel.title
                assert all(counts[0].k and counts[0].n != 0 for counts in panel.data.values()), panel.title
    contents = figures["claim_contents"]
    assert not {panel.title for panel in contents.panels} & {"Claims by verification", "Claims by source"}
    assert "Claims by verification: self-reported 100.0% (120 of 120); none: verified" in contents.notes
    risks = figures["artifacts_and_risks"]
    assert not risks.panels[0].data.keys() & {"GGUF", "gated"}
    assert "none: GGUF, ONNX, custom code, gated, license unknown or other" in risks.notes[0]


def test_what_is_not_known_is_not_drawn_and_has_no_row():
    records = [{"id": f"a/{i}", "taken": {"hub": "2022-10-01"}, "downloads": i + 1} for i in range(20)]
    counted = count_trends(records)
    figures = {figure.name: figure for figure in compose_figures(counted)}
    drawn = {name for name, figure in figures.items() if figure.panels}
    assert drawn == {"downloads", "registry_monthly_downloads"}
    text = "\n".join(table(counted["about"], list(figures.values())))
    assert "of 0" not in text and "/0" not in text and "No models known (claims_by_task is not drawn)" in text
    assert "not known: " in "\n".join(figures["downloads"].notes)


def axis_texts(figure):
    """Collect the labels of all axes of a drawn figure."""
    figure.draw_without_rendering()
    texts = []
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            texts += [label.get_text() for label in axis.get_ticklabels()]
    return texts


def test_no_axis_has_a_negative_zero(figures):
    for figure in figures.values():
        if figure.panels:
            assert not [text for text in axis_texts(draw_figure(figure)) if re.match(r"[-−]0?\.?0", text)]


def test_months_without_known_cards_are_gray(figures):
    counts, shares = figures["growth"].panels
    assert counts.data == {"2024-01": 100, "2024-02": 20}
    assert shares.data == {"2024-01": 1.0, "2024-02": None}


def test_months_before_the_hub_kept_dates_are_a_column():
    dates = ["2022-03-02T23:29:04.000Z"] * 3 + ["2022-04-01T1"]
    counted = count_trends([record(f"m/{i}", createdAt=date) for i, date in enumerate(dates)])
    (growth,) = [figure for figure in compose_figures(counted) if figure.name == "growth"]
    assert growth.panels[0].data == {"before": 3, "2022-04": 1}
