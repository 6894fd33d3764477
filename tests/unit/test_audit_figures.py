"""Figures of the audit show only what audit.json holds."""

import json

from hub_records import claiming, count_trends
from scored.audit_figures import FIGURES, compose_figures
from scored.audit_pages import flatten_numbers


def numbers_of(panel):
    """Collect the numbers that a panel draws."""
    numbers = []
    for value in panel.data.values():
        if isinstance(value, int | float):
            numbers.append(value)
        else:
            for item in value:
                numbers += [item] if isinstance(item, int | float) else [k for k in item if k is not None]
    return numbers


def test_each_number_in_a_figure_is_in_the_json():
    records = []
    for i in range(20):
        raw = claiming(f"m/{i % 4}-{i}", 0.5 + i / 999, base="m/0-0" if i % 3 else None)
        records.append({**raw, "downloads": 7**i})
    result = json.loads(json.dumps(count_trends(records)))
    known = set(flatten_numbers(result).values())
    drawn = []
    for figure in compose_figures(result["trends"]):
        for panel in figure.panels:
            drawn += numbers_of(panel)
    assert set(drawn) <= known
    assert len(drawn) > 50
    assert [figure.name for figure in compose_figures(result["trends"])] == [
        "registry_monthly_downloads" if name == "registries" else name for name in FIGURES
    ]
