"""A data set that is added as the README says: its rows, bar and verdicts, apart from those of its task."""

import json

import pandas
import pytest

import err
import results
from rows import FOURTH, make_claim, make_row
from scored.benchmarks import TABLE
from scored.comparisons import read_comparisons
from scored.err_figures import draw_headline


def accuracy_row(dataset: str, n: int, measured: float, claimed: float) -> dict:
    claims = [make_claim(claimed, "accuracy", dataset, split="validation")]
    examples = {"expected": n, "evaluated": n}
    fields = {"task": "sentiment-analysis", "dataset": dataset, "examples": examples, "claims": claims}
    return make_row("both/of-them", {"accuracy": measured}, **fields)


@pytest.fixture
def outputs(run_script, tmp_path):
    """Write the tables and comparisons of a model that was measured on two data sets of one task."""
    table = tmp_path / "datasets.toml"
    table.write_text(TABLE.read_text(encoding="utf-8") + FOURTH)
    rows = {
        "EMOTION": accuracy_row("emotion", 2000, measured=0.9, claimed=0.9),
        "SST2": accuracy_row("sst2", 872, measured=0.91, claimed=0.95),
    }
    for folder, row in rows.items():
        (tmp_path / "results" / folder).mkdir(parents=True)
        (tmp_path / "results" / folder / "rows.json").write_text(json.dumps({"rows": [row]}))
    (tmp_path / "modelinfo.json").write_text("[]")
    shared_flags = ["--datasets", table, "--output", tmp_path]
    call = run_script(results.main, "--results", tmp_path / "results", *shared_flags)
    assert call.code == 0, call.err
    inputs = ["--results", tmp_path / "results.json", "--modelinfo", tmp_path / "modelinfo.json"]
    call = run_script(err.main, *inputs, *shared_flags)
    assert call.code == 0, call.err
    return tmp_path


def test_its_rows_verdicts_and_bar_stand_beside_those_of_its_task(outputs):
    rows = json.loads((outputs / "results.json").read_text())["rows"]
    assert [(row["model"], row["dataset"]) for row in rows] == [
        ("both/of-them", "emotion"),
        ("both/of-them", "sst2"),
    ]
    assert list(pandas.read_csv(outputs / "results.csv")["dataset"]) == ["emotion", "sst2"]
    (series,) = read_comparisons(outputs / "assets" / "data" / "err.json").series
    counts = {name: (summary.k, summary.n) for name, summary in series.datasets.items()}
    assert counts == {"emotion": (0, 1), "sst2": (1, 1)}
    verdicts = {name: summary.verdicts for name, summary in series.datasets.items()}
    assert verdicts == {"emotion": {"reproduced": 1}, "sst2": {"overstated": 1}}
    assert {summary.task for summary in series.datasets.values()} == {"sentiment-analysis"}
    assert [summary.superseded for summary in series.datasets.values()] == [0, 0]
    comparisons = pandas.read_csv(outputs / "assets" / "data" / "err.csv")
    assert list(comparisons["dataset"]) == ["emotion", "sst2"]
    assert list(comparisons["verdict"]) == ["reproduced", "overstated"]
    assert (outputs / "err.png").exists()


def test_each_data_set_has_its_own_row(outputs):
    all_series = read_comparisons(outputs / "assets" / "data" / "err.json").series
    figure = draw_headline(all_series, [], {}, err.threshold_type("1"))
    texts = [text.get_text() for text in figure.texts]
    assert {"sentiment classifiers on emotion", "sentiment classifiers on sst2"} <= set(texts)
    assert {"0 of 1", "1 of 1"} <= set(texts)
    assert texts.index("1 of 1") + 1 == texts.index("sentiment classifiers on sst2")


def test_without_its_entry_it_is_an_error_that_names_it(run_script, outputs):
    call = run_script(results.main, "--results", outputs / "results", "--output", outputs / "again")
    assert (call.code, "unknown results folder 'SST2'" in call.err) == (2, True), call.err
    inputs = ["--results", outputs / "results.json", "--output", outputs / "again"]
    call = run_script(err.main, *inputs)
    assert (call.code, "results.json, row 2: unknown data set 'sst2'" in call.err) == (2, True), call.err
