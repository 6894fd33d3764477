"""results.py: every file under results/ in one table, or an error that names the file."""

import csv
import json
import subprocess
import sys

import pandas
import pytest

import results
from project import ROOT
from ptm import PTM
from rows import make_row
from scored.benchmarks import all_benchmarks
from scored.files import UserError

SCRIPT = ROOT / "reproducibility" / "results.py"
RESULTS = ROOT / "reproducibility" / "results"
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


def publish(run_script, tmp_path, rows, *arguments):
    """Write rows and what the Hub takes of them; return the call and each file's content by its name."""
    import yaml

    write_rows(tmp_path, "COCO", rows)
    folders = ["--results", tmp_path, "--output", tmp_path / "out", "--eval-results", tmp_path / "yaml"]
    call = run_script(results.main, *folders, "--source-url", "https://x.test", *arguments)
    files = (tmp_path / "yaml").glob("*") if (tmp_path / "yaml").exists() else ()
    return call, {path.name: yaml.safe_load(path.read_text()) for path in files}


def test_a_benchmark_that_the_user_names_gets_the_headline_metric_once_per_task(run_script, tmp_path):
    part = {"examples": {"expected": 5000, "evaluated": 40}}
    full = PUBLISHABLE | {"metrics": {"AP": 0.3, "AP50": 0.5}}
    rows = [full, full | {"protocol": "scored-2022"}, full | {"model": "c"} | part]
    call, files = publish(run_script, tmp_path, rows, "--benchmark", "detection-datasets/coco:default")
    assert call.code == 0, call.err
    assert sorted(files) == ["a--b.model-index.yaml", "a--b.yaml"]
    (entry,) = files["a--b.yaml"]
    assert (entry["value"], entry["dataset"]["id"]) == (0.3, "detection-datasets/coco")
    assert (entry["dataset"]["task_id"], entry["dataset"]["revision"]) == ("default", "d" * 40)
    assert "95% interval 0.29 to 0.31" in entry["notes"]


def test_without_a_benchmark_all_metrics_stand_in_a_model_index_only(run_script, tmp_path):
    full = PUBLISHABLE | {"metrics": {"AP": 0.3, "AP50": 0.5}, "dataset_revision": "sha256:" + "0" * 64}
    call, files = publish(run_script, tmp_path, [full])
    assert call.code == 0 and list(files) == ["a--b.model-index.yaml"]
    model = PTM.from_record({"id": "a/b", **files["a--b.model-index.yaml"]})
    assert {claim.metric: (claim.fraction, claim.split) for claim in model.claims} == {
        "AP": (0.3, "validation"),
        "AP50": (0.5, "validation"),
    }
    assert {(claim.dataset, claim.revision) for claim in model.claims} == {("coco", None)}


def test_a_revision_that_is_not_a_commit_is_not_written(run_script, tmp_path):
    row = PUBLISHABLE | {"dataset_revision": "sha256:" + "0" * 64}
    _, files = publish(run_script, tmp_path, [row], "--benchmark", "coco:default")
    assert "revision" not in files["a--b.yaml"][0]["dataset"]


def test_of_several_splits_the_default_one_is_the_value(run_script, tmp_path):
    rows = []
    for split, value in (("train", 0.9), ("validation", 0.3)):
        size = all_benchmarks()["coco"].splits[split]
        metrics = {"metrics": {"AP": value}, "examples": {"expected": size, "evaluated": size}}
        rows.append(PUBLISHABLE | {"split": split} | metrics)
    _, files = publish(run_script, tmp_path, rows, "--benchmark", "coco:default")
    assert [entry["value"] for entry in files["a--b.yaml"]] == [0.3]


def test_what_is_published_is_read_back_as_a_claim_on_the_headline_metric(run_script, tmp_path):
    _, files = publish(run_script, tmp_path, [PUBLISHABLE], "--benchmark", "coco:default")
    (claim,) = PTM.from_record({"id": "a/b", "evalResults": files["a--b.yaml"]}).claims
    assert (claim.dataset, claim.metric, claim.fraction) == ("coco", "AP", 0.3)


@pytest.mark.parametrize("text", ["coco", "coco:", "mmlu:default", ":default"])
def test_a_benchmark_that_is_not_known_is_named(run_script, tmp_path, text):
    call, _ = publish(run_script, tmp_path, [PUBLISHABLE], "--benchmark", text)
    assert call.code == 2 and "--benchmark must be DATASET:TASK with one of detection-datasets/" in call.err


def test_a_benchmark_needs_a_folder_to_write_to(run_script):
    call = run_script(results.main, "--benchmark", "coco:default")
    assert call.code == 2 and "--benchmark needs --eval-results" in call.err


def test_a_row_that_cannot_be_published_is_named(run_script, tmp_path):
    call, _ = publish(run_script, tmp_path, [ROW])
    assert (call.code, "--eval-results: row of a/b: " in call.err) == (2, True), call.err


@pytest.mark.parametrize("url", [[], ["--source-url", "ftp://x.test"]])
def test_eval_results_need_an_address(run_script, tmp_path, url):
    call = run_script(results.main, "--eval-results", tmp_path, *url)
    assert (call.code, "needs --source-url" in call.err) == (2, True)


# ── Other laboratories ────────────────────────────────────────────────────────────────────────────────────


def test_the_shipped_rows_of_timm_are_what_an_import_writes(run_script, tmp_path):
    (tmp_path / "results").mkdir()
    folders = ["--results", tmp_path / "results", "--output", tmp_path]
    shipped = ROOT / "assets" / "data" / "timm-results-imagenet.csv"
    call = run_script(results.main, *folders, "--import", shipped)
    assert call.code == 0, call.err
    written = tmp_path / "results" / "IMAGENET" / "timm.json"
    assert f"14 rows of timm in {written}" in call.out
    assert written.read_bytes() == (RESULTS / "IMAGENET" / "timm.json").read_bytes()


def test_an_import_stays_apart_from_ours_and_a_second_one_replaces_its_rows(run_script, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    write_rows(folder, "COCO", [ROW])
    record = {
        "evaluation_id": "1",
        "source_metadata": {"source_organization_name": "measured"},
        "model_info": {"name": "b", "id": "a/b"},
        "eval_library": {"name": "lib", "version": "1"},
        "evaluation_results": [],
    }
    for score in (31, 32):
        data = {"hf_repo": "detection-datasets/coco", "hf_split": "val"}
        config = {"lower_is_better": False, "max_score": 100}
        result = {"evaluation_name": "AP", "source_data": data, "metric_config": config}
        result["score_details"] = {"score": score}
        other = result | {"source_data": {"dataset_name": "LVIS"}}
        path = tmp_path / "record.json"
        path.write_text(json.dumps(record | {"evaluation_results": [result, other]}))
        call = run_script(results.main, "--results", folder, "--output", tmp_path, "--import", path)
        assert call.code == 0, call.err
        assert "1 results skipped: unknown data set LVIS" in call.out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(row["source"], row["metrics"]["AP"], row["revision"]) for row in rows] == [
        ("Every Eval Ever, measured", 0.32, None),
        ("new", 0.3, None),
    ]


def test_an_import_of_another_file_is_refused(run_script, tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"rows": []}')
    call = run_script(results.main, "--results", RESULTS, "--output", tmp_path, "--import", path)
    assert (
        call.code == 2 and "--import" in call.err and "x.json is not timm's results-imagenet.csv" in call.err
    )
