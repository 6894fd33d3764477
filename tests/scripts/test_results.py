"""results.py: every file under results/ in one table, or an error that names the file."""

import csv
import json
import subprocess
import sys

import pandas
import pytest

import results
from project import ROOT
from rows import make_row
from scored.benchmarks import all_benchmarks
from scored.files import UserError

SCRIPT = ROOT / "reproducibility" / "results.py"
ROW = make_row("a/b", {"AP": 0.3})


def gather(folder):
    return results.gather(folder, all_benchmarks())


def write_rows(folder, name: str, rows: list[dict]):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "rows.json").write_text(json.dumps({"rows": rows}))


def test_shipped_tables_are_what_the_script_writes_from_any_folder(tmp_path):
    command = [sys.executable, SCRIPT, "--output", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("results.json", "results.csv"):
        assert (tmp_path / name).read_bytes() == (ROOT / "reproducibility" / name).read_bytes()
    assert json.loads((tmp_path / "results.json").read_text())["schema"] == 2
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["coco", "study-2022", "scored-2022", "measured", "8"]
    assert lines[-1] == ["emotion", "study-2022", "scored-2022", "differences", "139"]


def test_a_text_that_a_runner_wrote_beside_its_rows_is_not_counted_twice(tmp_path):
    numbers = (ROOT / "reproducibility" / "results" / "COCO" / "hustvl--yolos-tiny.txt").read_text()
    (tmp_path / "COCO").mkdir()
    (tmp_path / "COCO" / "m.standard.txt").write_text("# model: m\n# rows: object-detection.json\n" + numbers)
    assert gather(tmp_path)["rows"] == []


def test_the_studys_list_stays_as_it_is_whatever_is_measured(tmp_path):
    emotion = {"task": "sentiment-analysis", "dataset": "emotion", "source": "measured", "split": "test"}
    write_rows(tmp_path, "EMOTION", [make_row("a/b", {"accuracy": 0.9}) | emotion])
    listed = {"source": "s", "candidates": ["a/b", "a/c"]}
    (tmp_path / "EMOTION" / "list.json").write_text(json.dumps(listed))
    rows = gather(tmp_path)["rows"]
    study = [row["model"] for row in rows if row["source"] == "study-2022"]
    assert (study, len(rows)) == (["a/b", "a/c"], 3)


def test_rows_are_sorted_by_protocol(tmp_path):
    rows = [make_row("m", {"AP": 0.3}, protocol=name) for name in ("standard", "scored-2022")]
    write_rows(tmp_path, "COCO", rows)
    assert [row["protocol"] for row in gather(tmp_path)["rows"]] == ["scored-2022", "standard"]


@pytest.mark.parametrize("content", [True, False])
def test_an_unknown_folder_is_named(tmp_path, content):
    (tmp_path / "SST2").mkdir()
    if content:
        write_rows(tmp_path, "SST2", [ROW])
    with pytest.raises(UserError, match="unknown results folder 'SST2'; known are COCO, IMAGENET, EMOTION"):
        gather(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dataset": "sst2"}, "unknown data set 'sst2'"),
        ({"task": "image-classification"}, "unknown task 'im"),
    ],
)
def test_an_unknown_data_set_or_task_of_a_row_is_named(tmp_path, change, reason):
    write_rows(tmp_path, "COCO", [ROW, ROW | change])
    with pytest.raises(UserError, match=rf"COCO/rows\.json, row 2: {reason}"):
        gather(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"measured": {"m": 5}}',
        '{"source": "x", "discrepancies": 1}',
        '{"rows": 5}',
        '{"rows": [5]}',
        '{"rows": [{"model": "m"}]}',
    ],
)
def test_a_bad_result_file_is_named(run_script, tmp_path, content):
    (tmp_path / "EMOTION").mkdir()
    (tmp_path / "EMOTION" / "x.json").write_text(content)
    call = run_script(results.main, "--results", tmp_path, "--output", tmp_path)
    assert (call.code, "x.json" in call.err) == (2, True), call.err
    assert not (tmp_path / "results.json").exists()


def test_a_missing_folder_is_named(run_script, tmp_path):
    call = run_script(results.main, "--results", tmp_path / "gone", "--output", tmp_path)
    assert (call.code, "gone is not a folder" in call.err) == (2, True)


def test_the_table_has_one_line_per_metric_and_one_per_failure():
    rows = [
        make_row("a", {"AP": 0.1, "AP50": 0.2}, intervals={"AP": [0.05, 0.15]}),
        make_row("b", {}, error='gone, "really"'),
    ]
    lines = list(csv.DictReader(results.results_table(rows).splitlines()))
    assert [(line["model"], line["metric"], line["low"], line["error"]) for line in lines] == [
        ("a", "AP", "0.05", ""),
        ("a", "AP50", "", ""),
        ("b", "", "", 'gone, "really"'),
    ]
    assert [line["evaluated"] for line in lines] == ["5000"] * 3  # not 5000.0
    assert results.results_table([]) == ",".join(results.COLUMNS) + "\n"


def test_the_table_is_read_back_to_the_digit(tmp_path):
    values = [0.1 + 0.2, 1 / 3, 5e-324, 0.9251012149383893, 1.0, 0.0, -0.0]
    rows = [make_row(f"m{place}", {"AP": value}) for place, value in enumerate(values)]
    path = tmp_path / "results.csv"
    path.write_text(results.results_table(rows))
    assert [repr(float(value)) for value in pandas.read_csv(path, dtype=str)["value"]] == list(
        map(repr, values)
    )


# ── The Hub's .eval_results ───────────────────────────────────────────────────────────────────────────────

PUBLISHABLE = {
    **ROW,
    "dataset_revision": "d" * 40,
    "revision": "r" * 40,
    "measured_at": "2026-01-01T00:00:00Z",
    "intervals": {"AP": [0.29, 0.31]},
    "code": {"hash": "c" * 64},
}


def test_whole_measurements_under_standard_are_published(run_script, tmp_path):
    import yaml

    part = {"examples": {"expected": 5000, "evaluated": 40}}
    rows = [PUBLISHABLE, PUBLISHABLE | {"protocol": "scored-2022"}, PUBLISHABLE | {"model": "c"} | part]
    write_rows(tmp_path, "COCO", rows)
    folders = ["--results", tmp_path, "--output", tmp_path / "out", "--eval-results", tmp_path / "yaml"]
    call = run_script(results.main, *folders, "--source-url", "https://x.test")
    assert call.code == 0, call.err
    (path,) = (tmp_path / "yaml").iterdir()
    (entry,) = yaml.safe_load(path.read_text())
    assert (path.name, entry["value"]) == ("a--b.yaml", 0.3)
    assert entry["dataset"]["id"] == "detection-datasets/coco"
    assert "95% interval 0.29 to 0.31" in entry["notes"]


def test_a_row_that_cannot_be_published_is_named(run_script, tmp_path):
    write_rows(tmp_path, "COCO", [ROW])
    folders = ["--results", tmp_path, "--output", tmp_path / "out", "--eval-results", tmp_path / "yaml"]
    call = run_script(results.main, *folders, "--source-url", "https://x.test")
    assert (call.code, "--eval-results: row of a/b: " in call.err) == (2, True), call.err


@pytest.mark.parametrize("url", [[], ["--source-url", "ftp://x.test"]])
def test_eval_results_need_an_address(run_script, tmp_path, url):
    call = run_script(results.main, "--eval-results", tmp_path, *url)
    assert (call.code, "needs --source-url" in call.err) == (2, True)
