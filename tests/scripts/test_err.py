"""err.py end to end: the headline, computed from the files, exact to the digit."""

import itertools
import json
import subprocess
import sys
from decimal import Decimal

import pytest
from msgspec import UNSET

import err
from project import ROOT
from rows import EMOTION, known_claims, make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.comparisons import Series, read_comparisons
from scored.result_rows import PARTIAL

DATA = ROOT / "assets" / "data"
GOOD = {"schema": 2, "rows": [make_row("m", {"AP": 0.3})], "discrepancies": []}


def write(path, value) -> None:
    path.write_text(json.dumps(value))


def compare(rows, known, discrepancies=()) -> list[Series]:
    results = {"rows": list(rows), "discrepancies": list(discrepancies)}
    published = {"off_by_more_than_1_percent": {}}
    return err.compare(results, known, published, Decimal(1), all_benchmarks())


@pytest.fixture
def compare_files(run_script, tmp_path):
    """Return a function that runs err.py on these rows and records and reads what it wrote."""

    def call(rows, records) -> list[Series]:
        write(tmp_path / "results.json", {"schema": 2, "rows": rows, "discrepancies": []})
        write(tmp_path / "modelinfo.json", records)
        flags = ["--results", tmp_path / "results.json", "--modelinfo", tmp_path / "modelinfo.json"]
        done = run_script(err.main, *flags, "--output", tmp_path)
        assert done.code == 0, done.err
        return read_comparisons(tmp_path / "assets" / "data" / "err.json").series

    return call


# ── The study ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_studys_headline_from_the_shipped_files(tmp_path):
    """The script as the README runs it: 8/8, 3/4 and 17/139; the shipped files are what it writes."""
    done = subprocess.run(
        [sys.executable, ROOT / "err.py", "--output", tmp_path], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in ("err.json", "err.csv"):
        assert (tmp_path / "assets" / "data" / name).read_bytes() == (DATA / name).read_bytes()
    comparisons = json.loads((DATA / "err.json").read_text())
    (study,) = (series for series in comparisons["series"] if series["source"] == "study-2022")
    datasets = study["datasets"]
    counts = {name: (entry["k"], entry["n"], entry["published"]) for name, entry in datasets.items()}
    assert counts == {"coco": (8, 8, "8/8"), "imagenet-1k": (3, 4, "3/4"), "emotion": (17, 139, "18/136")}
    assert datasets["coco"]["verdicts"] == {"differs under scored-2022": 8}
    verdicts = {"agrees under scored-2022": 1, "differs under scored-2022": 3}
    assert datasets["imagenet-1k"]["verdicts"] == verdicts
    assert sum(datasets["emotion"]["verdicts"].values()) == 139
    assert datasets["emotion"]["verdicts"]["inconclusive"] == 126
    unknown = {"not known: measured under scored-2022 only"}
    assert {entry["verdict_under_standard"] for entry in datasets["coco"]["models"]} == unknown
    assert "    67 of 139 differences named by cards of 2022, 8 of the 17 off" in done.stdout
    assert "study-2022 80.12 → timm 81.98, claimed 81.8" in done.stdout
    left_out = datasets["emotion"]["left_out"]
    assert sum(left_out.values()) + 139 == 225  # the study's whole list of emotion models
    assert "floating-point" in comparisons["published"]["note"]
    figures = tmp_path / "assets" / "figures"
    for picture in (tmp_path / "err.png", figures / "discrepancies.png"):
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (figures / "err.png").read_bytes() == (tmp_path / "err.png").read_bytes()


@pytest.mark.shared
def test_the_shipped_figures_are_those_that_were_published(shared):
    study = json.loads((shared / "study-2022.json").read_text())
    measured = ROOT / "reproducibility" / "results"
    load = lambda path: json.loads(path.read_text())  # noqa: E731
    assert load(DATA / "model_hubs.json")["pretrained_models"] == study["model_hubs"]["pretrained_models"]
    for name, key in (("model", "huggingface"), ("npm", "npm"), ("pypi", "pypi")):
        shipped = load(DATA / f"top20{name}_downloads.json")
        assert {k: shipped[k] for k in ("period", "packages")} == study["downloads"][key]
    assert load(DATA / "claims_by_task.json")["tasks"] == study["claims_by_task_icse23"]
    assert load(DATA / "security.json").items() >= study["security_icse23"].items()
    emotion = study["sentiment_analysis"]
    assert load(measured / "EMOTION" / "emotion-models.json")["candidates"] == emotion["candidates"]
    assert load(measured / "EMOTION" / "sentiment_analysis.json")["measured"] == emotion["measured"]
    assert load(measured / "EMOTION" / "sentiment_analysis.json")["failed"] == emotion["failed"]
    assert load(measured / "EMOTION" / "sentiment_err.json")["discrepancies"] == emotion["discrepancies"]
    rows = {
        (row["model"], row["source"]): row for row in load(ROOT / "reproducibility" / "results.json")["rows"]
    }
    for task, claim in (("object_detection", "claimed_AP"), ("image_classification", "claimed")):
        for model, numbers in study[task]["measured"].items():
            numbers = numbers if isinstance(numbers, dict) else {"top1": numbers}
            names = {"top1": "accuracy", "top5": "accuracy-top5"}
            row = rows[model, "study-2022"]
            assert row["metrics"] == {names.get(k, k): v for k, v in numbers.items()}
            claimed = study[task][claim].get(model, {})
            claimed = claimed if isinstance(claimed, dict) else {"AP": claimed}
            assert {c["metric"]: c["fraction"] for c in row["claims"]} == {
                names.get(k, k): v for k, v in claimed.items()
            }


# ── Series ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("revision", [None, "newer"])
def test_a_failed_model_is_compared_whatever_its_revision(compare_files, revision):
    failed = make_row("m", {}, error="gated", stage="resolve", revision=revision) | {"protocol": None}
    wild = [{"type": kind, "value": value} for kind, value in (("wer", 1e30), ("wer", 5), ("AP", 0.3))]
    record = {
        "id": "m",
        "sha": "old",
        "model-index": [{"results": [{"dataset": {"type": "coco"}, "metrics": wild}]}],
    }
    rows = [failed, *(make_row("n", {"AP": 0.3}, protocol=name) for name in ("standard", "scored-2022"))]
    for series in compare_files(rows, [record]):
        summary = series.datasets["coco"]
        assert summary.verdicts == {"failed to run": 1}
        assert [comparison.verdict for comparison in summary.models] == ["failed to run"] * 3


def test_the_studys_claims_stand_where_neither_card_nor_record_has_any(compare_files):
    study = make_row("m", {"AP": 0.2}, source="study-2022", protocol="scored-2022")
    rows = [study | {"claims": [make_claim(0.3)]}, make_row("m", {"AP": 0.3}, claims=[], revision="new")]
    all_series = compare_files(rows, [{"id": "m", "sha": "old"}])
    models = {series.source: series.datasets["coco"].models[0] for series in all_series}
    assert {name: (model.claim_from, model.off) for name, model in models.items()} == {
        "new": ("study-2022", False),
        "study-2022": ("card", True),
    }
    assert models["study-2022"].verdict_under_standard == models["new"].verdict


def test_a_model_that_failed_before_any_protocol_failed_under_each():
    gone = {**make_row("gone", {}, error="no such model", stage="resolve"), "protocol": None, "split": None}
    both = [make_row("m", {"AP": 0.3}, protocol=name) for name in ("standard", "scored-2022")]
    for rows, protocols in ((both, ["scored-2022", "standard"]), ([], ["none reached"])):
        all_series = compare([gone, *rows], known_claims({}))
        assert [series.protocol for series in all_series] == protocols
        left_out = [series.datasets["coco"].left_out["failed (resolve)"] for series in all_series]
        assert left_out == [1] * len(protocols)


def test_the_verdict_under_standard_is_of_the_same_claim_on_its_own_split():
    claims = [make_claim(value, "accuracy", "emotion", split="test") for value in (0.9265, 0.5)]
    claims.append(make_claim(0.9, "accuracy", "emotion", split="validation"))

    def row_of(split: str, value: float, protocol="standard") -> dict:
        return {**make_row("m", {"accuracy": value}, protocol=protocol), **EMOTION, "split": split}

    rows = [row_of("test", 0.9265), row_of("validation", 0.938), row_of("test", 0.9, "scored-2022")]
    for ordered in itertools.permutations(rows):
        (other,) = (s for s in compare(ordered, known_claims({"m": claims})) if s.protocol == "scored-2022")
        models = other.datasets["emotion"].models
        verdicts = {comparison.claimed: comparison.verdict_under_standard for comparison in models}
        assert verdicts == {0.9265: "reproduced", 0.5: "understated", 0.9: "understated"}
    failed = {**row_of("test", 0.0), "metrics": {}, "error": "gone", "stage": "load"}
    known = err.KnownClaims({("m", None): claims[:1]}, {"m": claims[:1]})
    for series in compare([*rows, failed], known):
        for comparison in series.datasets["emotion"].models:
            assert comparison.verdict_under_standard in (UNSET, "reproduced")


def test_explanations_of_a_part_are_not_drawn(run_script, tmp_path):
    write(tmp_path / "results.json", GOOD)
    entry = {"dataset": "coco", "causes": [{"factor": "boxes", "points": -2.0}], "unexplained_points": 1.0}
    entries = [entry | {"seen": {"examples": {"expected": 5000, "evaluated": n}}} for n in (5000, 40)]
    path = tmp_path / "explanations.json"
    write(path, {"schema": 2, "explanations": [*entries, {"error": "gone"}]})
    flags = ["--results", tmp_path / "results.json", "--explanations", path]
    call = run_script(err.main, *flags, "--output", tmp_path)
    assert call.code == 0 and f"1 explanations left out: {PARTIAL}" in call.out
    whole = err.read_explanations(path, all_benchmarks())
    assert err.points_by_cause(whole) == {"coco\n1 explained": {"boxes": 2.0, "unexplained": 1.0}}


# ── Bad input ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flag", ["--results", "--modelinfo"])
@pytest.mark.parametrize("content", [None, "", '{"rows": [', "[\n", '"text"', "7", '{"rows": 5}', "\x00"])
def test_a_bad_file_gives_one_line_and_exit_code_2(run_script, tmp_path, flag, content):
    path = tmp_path / "input.json"
    if content is not None:
        path.write_text(content)
    call = run_script(err.main, flag, path, "--output", tmp_path)
    assert (call.code, "input.json" in call.err) == (2, True), call.err
    assert not (tmp_path / "err.png").exists()


def test_rows_are_a_list(run_script, tmp_path):
    write(tmp_path / "results.json", {"schema": 2, "rows": 5, "discrepancies": []})
    call = run_script(err.main, "--results", tmp_path / "results.json", "--output", tmp_path)
    assert (call.code, "results.json lacks a list 'rows'; regenerate it with" in call.err) == (2, True)


@pytest.mark.parametrize(
    "row",
    [
        5,
        {},
        {**GOOD["rows"][0], "metrics": {"AP": "0.3"}},
        {**GOOD["rows"][0], "metrics": {"AP": 1.5}},
        {**GOOD["rows"][0], "dataset": "sst2"},
        {**GOOD["rows"][0], "task": "sentiment-analysis"},
    ],
)
def test_a_bad_row_is_named(run_script, tmp_path, row):
    write(tmp_path / "results.json", {**GOOD, "rows": [GOOD["rows"][0], row]})
    call = run_script(err.main, "--results", tmp_path / "results.json", "--output", tmp_path)
    assert (call.code, "row 2" in call.err) == (2, True), call.err


def test_an_older_results_file_is_refused_with_the_command_that_rewrites_it(run_script, tmp_path):
    write(tmp_path / "results.json", {"rows": GOOD["rows"], "discrepancies": []})
    call = run_script(err.main, "--results", tmp_path / "results.json", "--output", tmp_path)
    assert call.code == 2
    assert "results.json has schema 1, not 2. Write it with: python reproducibility/results.py" in call.err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"explanations": []}, "has schema 1, not 2"),
        ({"schema": 2}, "Expected `array`"),
        ({"schema": 2, "explanations": [{"dataset": "coco"}]}, "missing required field"),
        (
            {"schema": 2, "explanations": [{"dataset": "odd", "causes": [], "unexplained_points": None}]},
            "unknown data set 'odd'",
        ),
    ],
)
def test_bad_explanations_are_named(run_script, tmp_path, content, reason):
    write(tmp_path / "explanations.json", content)
    flags = ["--explanations", tmp_path / "explanations.json", "--output", tmp_path]
    call = run_script(err.main, *flags)
    assert (call.code, "explanations.json" in call.err, reason in call.err) == (2, True, True), call.err


@pytest.mark.parametrize("flags", [["--threshold", "x"], ["--threshold", "-1"], ["--protocol", "none"]])
def test_a_bad_flag_is_refused(run_script, tmp_path, flags):
    assert run_script(err.main, *flags, "--output", tmp_path).code == 2
