"""What a row must hold, and files of an older schema."""

import json

import pytest

from project import ROOT
from rows import make_claim, make_row
from scored.comparisons import read_comparisons
from scored.files import UserError
from scored.schema import SCHEMA, check_row, read_versioned

GOOD = make_row("m", {"AP": 0.3})


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        GOOD | {"claims": [make_claim(0.5)], "intervals": {"AP": (0.2, 0.4), "AP50": None}},
        GOOD | {"error": "gone", "protocol": None, "split": None, "examples": None},
    ],
)
def test_a_measurement_and_a_failure_are_rows(row):
    check_row(row, "here", "do this")


@pytest.mark.parametrize("key", ["model", "revision", "task", "dataset", "split", "source", "protocol"])
@pytest.mark.parametrize("error", [{}, {"error": "gone"}])
def test_a_row_without_its_keys_is_refused(key, error):
    row = {name: value for name, value in (GOOD | error).items() if name != key}
    with pytest.raises(UserError, match=f"^here: .*`{key}`.*; do this$"):
        check_row(row, "here", "do this")


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"AP": "0.3"}},
        {"metrics": {"AP": 1.5}},
        {"metrics": None},
        {"protocol": None},
        {"examples": {"expected": -1, "evaluated": 1}},
        {"claims": [make_claim(1.5)]},
        {"source": "x" * 81},
        {"dataset": 5},
    ],
)
def test_an_impossible_row_is_refused(change):
    with pytest.raises(UserError, match=r"^here: "):
        check_row(GOOD | change, "here", "do this")


def test_an_older_schema_is_refused_with_the_command_that_rewrites_it(tmp_path):
    path = tmp_path / "err.json"
    for value, schema in (({}, 1), ({"schema": SCHEMA + 1}, SCHEMA + 1)):
        path.write_text(json.dumps(value))
        with pytest.raises(UserError, match=rf"err\.json has schema {schema}, not 2\. Write it with: x"):
            read_versioned(path, "Write it with: x")
        with pytest.raises(UserError, match=r"python err\.py"):
            read_comparisons(path)


def test_the_shipped_comparisons_are_read():
    comparisons = read_comparisons(ROOT / "assets" / "data" / "err.json")
    assert list(comparisons.series[0].datasets) == ["coco", "emotion", "imagenet-1k"]
