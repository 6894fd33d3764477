"""The headline: computed from the files, exact to the digit, and nobody left out in silence."""

import csv
import itertools
import json
import subprocess
import sys
from decimal import Decimal
from functools import cache

import numpy
import pytest
from msgspec.structs import asdict

import err
import results
from project import ROOT
from ptm import PTM
from scored.intervals import newcombe_difference, wilson

N = {"examples": {"expected": 5000, "evaluated": 5000}}
TASK = {"task": "object-detection", "dataset": "coco", "split": "validation"}


def script(*words, cwd=None):
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=cwd)


def a_row(model, metrics, **more):
    return {**TASK, "model": model, "source": "new", "protocol": "standard", "metrics": metrics, **N, **more}


def a_claim(fraction, metric="AP", dataset="coco", split=None):
    return {
        "metric": metric,
        "dataset": dataset,
        "split": split,
        "config": None,
        "fraction": fraction,
        "value": fraction if fraction is not None else 1,
        "number": fraction if fraction is not None else 1,
        "unit": "fraction" if fraction is not None else "ambiguous",
    }


def summary(rows, claims, unnamed=None, threshold="1"):
    return err.summary("object-detection", rows, unnamed, claims, Decimal(threshold))


# ── The study ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_studys_headline_from_the_shipped_files(tmp_path):
    """Both scripts as the README runs them: 8/8, 3/4 and 17/139; the shipped files are what they write."""
    assert script(ROOT / "reproducibility" / "results.py", "--output", tmp_path, cwd=tmp_path).returncode == 0
    for name in ("results.json", "results.csv"):
        assert (tmp_path / name).read_bytes() == (ROOT / "reproducibility" / name).read_bytes()
    done = script(ROOT / "err.py", "--results", tmp_path / "results.json", "--output", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "assets" / "data" / "err.json").read_text())
    assert found == json.loads((ROOT / "assets" / "data" / "err.json").read_text())
    (study,) = (series for series in found["series"] if series["source"] == "study-2022")
    counts = {task: (one["k"], one["n"], one["published"]) for task, one in study["tasks"].items()}
    assert counts == {
        "object-detection": (8, 8, "8/8"),
        "image-classification": (3, 4, "3/4"),
        "sentiment-analysis": (17, 139, "18/136"),
    }
    detectors = study["tasks"]["object-detection"]["models"]
    unknown = {"not known: measured under scored-2022 only"}
    assert {one["verdict_under_standard"] for one in detectors} == unknown
    left_out = study["tasks"]["sentiment-analysis"]["left_out"]
    assert sum(left_out.values()) + 139 == 225  # the study's whole list of emotion models
    assert "floating-point" in found["published"]["note"]
    for picture in ("err.png", "assets/figures/err.png", "assets/figures/discrepancies.png"):
        assert (tmp_path / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.shared
def test_the_shipped_figures_are_those_that_were_published(shared):
    study = json.loads((shared / "study-2022.json").read_text())
    data, measured = ROOT / "assets" / "data", ROOT / "reproducibility" / "results"
    load = lambda path: json.loads(path.read_text())  # noqa: E731
    assert load(data / "model_hubs.json")["pretrained_models"] == study["model_hubs"]["pretrained_models"]
    for name, key in (("model", "huggingface"), ("npm", "npm"), ("pypi", "pypi")):
        shipped = load(data / f"top20{name}_downloads.json")
        assert {k: shipped[k] for k in ("period", "packages")} == study["downloads"][key]
    assert load(data / "claims_by_task.json")["tasks"] == study["claims_by_task_icse23"]
    assert load(data / "security.json").items() >= study["security_icse23"].items()
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
            words = {"top1": "accuracy", "top5": "accuracy-top5"}
            row = rows[model, "study-2022"]
            assert row["metrics"] == {words.get(k, k): v for k, v in numbers.items()}
            claimed = study[task][claim].get(model, {})
            claimed = claimed if isinstance(claimed, dict) else {"AP": claimed}
            assert {c["metric"]: c["fraction"] for c in row["claims"]} == {
                words.get(k, k): v for k, v in claimed.items()
            }


def test_a_file_of_twelve_lines_is_read_back():
    rows = results.from_text(ROOT / "reproducibility" / "results" / "COCO" / "hustvl--yolos-tiny.txt")
    assert rows[0]["model"] == "hustvl/yolos-tiny"
    assert list(rows[0]["metrics"].values())[:3] == [0.247, 0.427, 0.243]
    with pytest.raises(ValueError, match="1 lines"):
        results.twelve_numbers(" Average Precision = 0.3")


def test_a_text_that_a_runner_wrote_beside_its_rows_is_not_counted_twice(tmp_path):
    ours = (ROOT / "reproducibility" / "results" / "COCO" / "hustvl--yolos-tiny.txt").read_text()
    (tmp_path / "COCO").mkdir()
    (tmp_path / "COCO" / "m.standard.txt").write_text("# model: m\n# rows: object-detection.json\n" + ours)
    assert results.gather(tmp_path)["rows"] == []


def test_the_studys_list_stays_as_it_is_whatever_is_measured(tmp_path):
    (tmp_path / "EMOTION").mkdir()
    listed = {"source": "s", "candidates": ["a/b", "a/c"]}
    row = {"model": "a/b", "task": "sentiment-analysis", "source": "measured", "protocol": "standard"}
    for name, content in (("list", listed), ("rows", {"rows": [row | {"split": "test"}]})):
        (tmp_path / "EMOTION" / f"{name}.json").write_text(json.dumps(content))
    found = results.gather(tmp_path)["rows"]
    study = [one["model"] for one in found if one["source"] == "study-2022"]
    assert (study, len(found)) == (["a/b", "a/c"], 3)


def test_the_table_has_one_line_a_metric_and_one_a_failure():
    rows = [
        a_row("a", {"AP": 0.1, "AP50": 0.2}, intervals={"AP": [0.05, 0.15]}),
        a_row("b", {}, error='gone, "really"'),
    ]
    lines = list(csv.DictReader(results.table(rows).splitlines()))
    assert [(line["model"], line["metric"], line["low"], line["error"]) for line in lines] == [
        ("a", "AP", "0.05", ""),
        ("a", "AP50", "", ""),
        ("b", "", "", 'gone, "really"'),
    ]


# ── The comparison ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("claimed", "measured", "off"),
    [
        (0.931, 0.941, False),  # 0.010000000000000009 as doubles, exactly one point as decimals
        (0.941, 0.931, False),
        (0.29, 0.28, False),
        (0.5, 0.51, False),
        (0.5, 0.5100001, True),
        (0.42, 0.397, True),
        (0.9, 0.9, False),
    ],
)
def test_differences_are_exact(claimed, measured, off):
    found = summary([a_row("m", {"AP": measured})], {"m": [a_claim(claimed)]})
    assert (found["k"], found["n"]) == (int(off), 1)


def test_the_interval_is_wilsons():
    """Hand-computed for 3 of 4: centre 0.6225..., see Wilson 1927, equation for z = 1.959964."""
    z, n, p = 1.959963984540054, 4, 0.75
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert wilson(3, 4) == pytest.approx([centre - half, centre + half], abs=1e-12)
    assert wilson(0, 0) is None


def test_everyone_left_out_has_a_reason():
    rows = [
        a_row("none", {"AP": 0.3}),
        a_row("elsewhere", {"AP": 0.3}),
        a_row("otherwise", {"AP": 0.3}),
        a_row("unclear", {"AP": 0.3}),
        a_row("broken", {}, error="KeyError: 'weights'", stage="load"),
        a_row("part", {"AP": 0.3}, examples={"expected": 5000, "evaluated": 40}),
        a_row("fine", {"AP": 0.3}),
    ]
    claims = {
        "elsewhere": [a_claim(0.3, dataset="lvis")],
        "otherwise": [a_claim(0.3, metric="AR7")],
        "unclear": [a_claim(None)],
        "part": [a_claim(0.3)],
        "fine": [a_claim(0.3)],
    }
    found = summary(rows, claims)
    assert (found["k"], found["n"]) == (0, 1)
    assert found["left_out"] == {
        "no claim": 1,
        "no claim on this data set": 1,
        "claim on another metric": 1,
        "claim under-specified": 1,
        "failed (load)": 1,
        "measured on a part of the data set only": 1,
    }


def test_a_model_counts_once_on_the_split_that_it_claims():
    rows = [a_row("m", {"AP": 0.3}, split="test"), a_row("m", {"AP": 0.4}, split="validation")]
    found = summary(rows, {"m": [a_claim(0.4, split="validation"), a_claim(0.1, split="train")]})
    assert (found["k"], found["n"]) == (0, 1)
    (counted,) = (one for one in found["models"] if one["headline"])
    assert (counted["measured_split"], counted["claimed_split"]) == ("validation", "validation")
    assert len(found["models"]) == 4


def test_of_several_rows_on_one_split_the_newest_whole_one_in_float32_counts():
    def at(day: int, value: float, dtype="float32", evaluated=5000) -> dict:
        examples = {"expected": 5000, "evaluated": evaluated}
        settings = {"dtype": dtype}
        return a_row("m", {"AP": value}, measured_at=f"2026-01-0{day}", settings=settings, examples=examples)

    rows = [at(1, 0.3), at(2, 0.4), at(3, 0.1, "float16"), at(4, 0.2, evaluated=40)]
    for ordered in itertools.permutations(rows):
        found = summary(list(ordered), {"m": [a_claim(0.4)]})
        assert (found["k"], found["n"], found["older"]) == (0, 1, 3)
    later = {**at(5, 0.0), "metrics": {}, "error": "gone", "stage": "score", "settings": None}
    found = summary([at(3, 0.4, "float16"), later], {"m": [a_claim(0.4)]})
    assert (found["k"], found["n"], found["older"]) == (0, 1, 0)  # an error is no newer measurement


def test_more_examples_than_the_split_has_are_not_the_split():
    row = a_row("m", {"AP": 0.3}, examples={"expected": 5000, "evaluated": 118287})
    assert summary([row], {"m": [a_claim(0.3)]})["left_out"] == {err.MORE: 1}


def test_without_claims_on_its_card_a_model_is_compared_with_those_that_are_known():
    row = a_row("m", {"AP": 0.3}, claims=[], revision="new")
    claim = [a_claim(0.3)]
    for known, n in (({"m": claim}, 1), ({("m", "new"): claim}, 1), ({("m", "old"): claim}, 0)):
        assert summary([row], known)["n"] == n
    assert summary([row | {"claims": [a_claim(0.1)]}], {"m": claim})["k"] == 1  # the card comes first
    assert summary([row | {"source": "study-2022"}], {"m": claim})["n"] == 0  # the study compared nothing


def written(folder) -> list[dict]:
    """The series that err.py writes of the two files in a folder."""
    words = ["--results", folder / "results.json", "--modelinfo", folder / "modelinfo.json"]
    done = script(ROOT / "err.py", *words, "--output", folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "assets" / "data" / "err.json").read_text())["series"]


@pytest.mark.parametrize("revision", [None, "newer"])
def test_a_model_that_failed_is_not_runnable_whatever_its_revision(tmp_path, revision):
    failed = a_row("m", {}, error="gated", stage="resolve", revision=revision) | {"protocol": None}
    wild = [{"type": kind, "value": value} for kind, value in (("wer", 1e30), ("wer", 5), ("AP", 0.3))]
    record = {
        "id": "m",
        "sha": "old",
        "model-index": [{"results": [{"dataset": {"type": "coco"}, "metrics": wild}]}],
    }
    rows = [failed, *(a_row("n", {"AP": 0.3}, protocol=name) for name in ("standard", "scored-2022"))]
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows, "discrepancies": []}))
    (tmp_path / "modelinfo.json").write_text(json.dumps([record]))
    for series in written(tmp_path):
        found = series["tasks"]["object-detection"]
        assert found["verdicts"] == {"not runnable": 1}
        assert [one["verdict"] for one in found["models"]] == ["not runnable"] * 3


def test_explanations_of_a_part_are_not_drawn(tmp_path):
    rows = [a_row("m", {"AP": 0.3})]
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows, "discrepancies": []}))
    one = {"task": "object-detection", "causes": [], "unexplained_points": 1.0}
    ones = [one | {"seen": {"examples": {"expected": 5000, "evaluated": n}}} for n in (5000, 40)]
    (tmp_path / "e.json").write_text(json.dumps({"explanations": ones}))
    words = ["--results", tmp_path / "results.json", "--explanations", tmp_path / "e.json"]
    done = script(ROOT / "err.py", *words, "--output", tmp_path)
    assert done.returncode == 0 and f"1 explanations left out: {err.PART}" in done.stdout


def test_the_studys_claims_stand_where_neither_card_nor_record_has_any(tmp_path):
    study = a_row("m", {"AP": 0.2}, source="study-2022", protocol="scored-2022")
    rows = [study | {"claims": [a_claim(0.3)]}, a_row("m", {"AP": 0.3}, claims=[], revision="new")]
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows, "discrepancies": []}))
    (tmp_path / "modelinfo.json").write_text(json.dumps([{"id": "m", "sha": "old"}]))
    found = written(tmp_path)
    ones = {one["source"]: one["tasks"]["object-detection"]["models"][0] for one in found}
    assert {name: (one["claim_from"], one["off"]) for name, one in ones.items()} == {
        "new": ("study-2022", False),
        "study-2022": ("card", True),
    }
    assert ones["study-2022"]["verdict_under_standard"] == ones["new"]["verdict"]


def test_differences_without_names_stand_for_measured_models_without_claims():
    rows = [a_row(name, {"AP": 0.3}) for name in "abc"]
    found = summary(rows, {}, {"metric": "AP", "values": [0.010000000000000009, 0.02], "note": "why"})
    assert (found["k"], found["n"], found["left_out"]) == (1, 2, {"no claim": 1})


def test_the_threshold_selects():
    rows, claims = [a_row("m", {"AP": 0.3})], {"m": [a_claim(0.33)]}
    assert [summary(rows, claims, threshold=t)["k"] for t in ("2.9", "3", "3.1")] == [1, 0, 0]


def test_a_model_that_failed_before_any_protocol_failed_under_each():
    gone = {**a_row("gone", {}, error="no such model", stage="resolve"), "protocol": None, "split": None}
    both = [a_row("m", {"AP": 0.3}, protocol=name) for name in ("standard", "scored-2022")]
    for rows, names in ((both, ["scored-2022", "standard"]), ([], ["none reached"])):
        found = err.compare({"rows": [gone, *rows], "discrepancies": []}, {}, {}, Decimal(1))
        assert [one["protocol"] for one in found] == names
        assert all(one["tasks"]["object-detection"]["left_out"]["failed (resolve)"] == 1 for one in found)


# ── Verdicts ──────────────────────────────────────────────────────────────────────────────────────────────

EMOTION = {
    "task": "sentiment-analysis",
    "dataset": "emotion",
    "examples": {"expected": 2000, "evaluated": 2000},
}


def test_what_a_claim_is_worth_is_what_the_same_claim_is_on_its_own_split():
    claims = [a_claim(value, "accuracy", "emotion", split="test") for value in (0.9265, 0.5)]
    claims.append(a_claim(0.9, "accuracy", "emotion", split="validation"))

    def measured(split: str, value: float, protocol="standard") -> dict:
        return {**a_row("m", {"accuracy": value}, protocol=protocol), **EMOTION, "split": split}

    rows = [measured("test", 0.9265), measured("validation", 0.938), measured("test", 0.9, "scored-2022")]
    for ordered in itertools.permutations(rows):
        found = err.compare({"rows": list(ordered), "discrepancies": []}, {"m": claims}, {}, Decimal(1))
        under = {
            one["claimed"]: one["verdict_under_standard"]
            for series in found
            if series["protocol"] == "scored-2022"
            for one in series["tasks"]["sentiment-analysis"]["models"]
        }
        assert under == {0.9265: "reproduced", 0.5: "understated", 0.9: "understated"}
    failed = {**measured("test", 0.0), "metrics": {}, "error": "gone", "stage": "load"}
    results = {"rows": [*rows, failed], "discrepancies": []}
    for series in err.compare(results, {"m": claims[:1], ("m", None): claims[:1]}, {}, Decimal(1)):
        for one in series["tasks"]["sentiment-analysis"]["models"]:
            assert one.get("verdict_under_standard", "reproduced") == "reproduced"


def verdict(value, measured, claimed_split, metric="accuracy", interval=None, **more):
    """The verdict on a claim as a card states it, by a measurement on emotion's validation split."""
    data = {"type": "emotion", "split": claimed_split}
    index = [{"results": [{"dataset": data, "metrics": [{"type": metric, "value": value, **more}]}]}]
    claims = [asdict(claim) for claim in PTM.from_record({"id": "m", "model-index": index}).claims]
    intervals = {metric: interval} if interval else {}
    row = {**a_row("m", measured if isinstance(measured, dict) else {metric: measured}), **EMOTION}
    found, _ = err.comparisons({**row, "split": "validation", "intervals": intervals}, claims)
    return found[0]


@pytest.mark.parametrize(
    ("value", "measured", "expected"),
    [
        (0.9025, 0.9025, "reproduced"),
        (0.927, 0.9275, "reproduced"),  # stated to 0.1 point: agrees within 0.05
        (0.927, 0.9276, "close"),
        ("92.7%", 0.9265, "reproduced"),
        ("92.70", 0.9265, "close"),  # stated to 0.01 point
        (93, 0.9265, "reproduced"),  # stated to a point: within half a point
        (93, 0.9245, "overstated"),
        (0.9, 0.905, "reproduced"),
        (0.90, 0.9051, "understated"),  # half a point is the most that a coarse claim may be off
        (0.9025, 0.9075, "close"),  # half a point exactly
        (0.9025, 0.9076, "understated"),
        (0.9025, 0.8974, "overstated"),
        (0.9251012149383893, 0.9251012149383893, "reproduced"),
        (0.9251012149383893, 0.9251012149383904, "reproduced"),  # the noise of summing in another order
    ],
)
def test_on_the_claims_own_split_both_are_exact(value, measured, expected):
    found = verdict(value, measured, "val")
    assert (found["verdict"], found["rule"]) == (expected, "same examples")


@pytest.mark.parametrize("claimed_split", ["test", None])
@pytest.mark.parametrize(
    ("value", "measured", "expected"),
    [(0.9025, 0.8885, "undecidable at this n"), (0.95, 0.90, "overstated"), (0.90, 0.95, "understated")],
)
def test_on_another_split_an_interval_decides(value, measured, claimed_split, expected):
    found = verdict(value, measured, claimed_split)
    assert (found["verdict"], found["n_claimed"], found["n_measured"]) == (expected, 2000, 2000)
    assert found["interval_points"][0] < found["discrepancy"] < found["interval_points"][1]


def test_the_interval_is_newcombes():
    """Newcombe 1998, table II (a): 56/70 against 48/80 by method 10 gives 0.0524 to 0.3339."""
    ends = newcombe_difference(48 / 80, wilson(48, 80), 56 / 70, wilson(56, 70))
    assert [round(end, 2) for end in ends] == [5.24, 33.39]


@pytest.mark.parametrize(
    ("half", "expected"),
    [
        (0.0141 / 2, "reproduced"),  # 100 · 0.00705 · √2 = 0.997: inside ±1 point
        (0.0142 / 2, "undecidable at this n"),  # 1.004: reaches out of it
    ],
)
def test_the_band_of_one_point(half, expected):
    found = verdict(0.9, 0.9, "test", metric="f1-macro", interval=[0.9 - half, 0.9 + half])
    assert found["verdict"] == expected
    assert found["interval_points"] == pytest.approx([-100 * half * 2**0.5, 100 * half * 2**0.5])


@pytest.mark.parametrize(("shift", "expected"), [(0.0130, "overstated"), (0.0128, "undecidable at this n")])
def test_wholly_outside_the_band(shift, expected):
    """A half-width of 0.2 points each gives 0.283: the interval ends at -1.017 or -0.997."""
    found = verdict(0.9, 0.9 - shift, "test", metric="f1-macro", interval=[0.898 - shift, 0.902 - shift])
    assert found["verdict"] == expected


@pytest.mark.parametrize(
    ("value", "metric", "measured", "why"),
    [
        (1, "accuracy", 0.9, "fraction or a percentage"),
        (0.9, "f1", {"f1-macro": 0.9, "f1-micro": 0.9}, "averaged"),
    ],
)
def test_an_under_specified_claim_says_why(value, metric, measured, why):
    found = verdict(value, measured, "val", metric=metric)
    assert (found["verdict"], why in found["why"]) == ("claim under-specified", True)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"config": "my-own"}, "configuration 'my-own'"), ({"dataset": "imagefolder"}, "no data set")],
)
def test_a_configuration_or_data_set_that_nobody_knows_is_under_specified(change, why):
    row = {**a_row("m", {"accuracy": 0.9}), **EMOTION}
    (one,), reason = err.comparisons(row, [{**a_claim(0.9, "accuracy", "emotion"), **change}])
    assert (one["verdict"], why in one["why"], reason) == (
        "claim under-specified",
        True,
        "claim under-specified",
    )
    (known,), _ = err.comparisons(row, [{**a_claim(0.9, "accuracy", "emotion"), "config": "default"}])
    assert known["verdict"] != "claim under-specified"


def test_a_model_that_failed_is_not_runnable():
    row = {**a_row("m", {}, error="no weights", stage="load"), **EMOTION}
    found, reason = err.comparisons(row, [a_claim(0.9, "accuracy", "emotion")])
    assert (found[0]["verdict"], found[0]["why"], reason) == ("not runnable", "no weights", "failed (load)")


@pytest.mark.parametrize("truth", [0.6, 0.92])
def test_the_interval_covers_as_often_as_it_says(truth):
    """20,000 pairs of samples of 2,000 texts from one accuracy: 95 ± 1 % of the intervals hold the true 0."""
    cached_wilson = cache(wilson)
    k = numpy.random.default_rng(0).binomial(2000, truth, size=(20_000, 2)).tolist()
    ends = (
        newcombe_difference(a / 2000, cached_wilson(a, 2000), b / 2000, cached_wilson(b, 2000)) for a, b in k
    )
    assert 0.94 < sum(low <= 0 <= high for low, high in ends) / 20_000 < 0.96


@pytest.mark.shared
def test_another_laboratorys_values_show_a_fault_of_the_measurement(shared, tmp_path):
    """The study's DeiT-base lies 1.9 points under timm's value: its harness, not the model."""
    timm = shared / "reference" / "timm-results-imagenet.csv"
    done = script(ROOT / "err.py", "--reference", timm, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "assets" / "data" / "err.json").read_text())["reference"]
    agrees = {one["model"]: one["agrees"] for one in found}
    assert agrees["facebook/deit-base-patch16-224"] is False
    assert agrees["facebook/deit-small-distilled-patch16-224"] is True
    (deit,) = (one for one in found if one["model"] == "facebook/deit-base-patch16-224")
    assert (deit["theirs_percent"], deit["entries"]) == (
        [81.98, 81.98],
        ["deit_base_patch16_224.fb_in1k at 224"],
    )


def test_a_part_of_the_data_is_not_compared_with_another_laboratory():
    row = {"model": "x/deit", "source": "new", "protocol": "standard", "split": "validation"}
    row |= {"dataset": "imagenet-1k", "metrics": {"accuracy": 0.8}}
    timm = [{"model": "deit", "img_size": "224", "top1": "80"}]
    examples = [{"expected": 50000, "evaluated": n} for n in (50000, 200, None)]
    assert [len(err.cross_check([row | {"examples": one}], timm)) for one in examples] == [1, 0, 1]


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n", "model,img_size,top1\nx,224,high\n", "\x00"])
def test_a_bad_reference_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "r.csv").write_text(content)
    done = script(ROOT / "err.py", "--reference", tmp_path / "r.csv", "--output", tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "r.csv" in done.stderr) == (2, 1, True), done.stderr


# ── Bad input ─────────────────────────────────────────────────────────────────────────────────────────────

GOOD = {"rows": [a_row("m", {"AP": 0.3})], "discrepancies": []}


@pytest.mark.parametrize("which", ["--results", "--modelinfo"])
@pytest.mark.parametrize("content", [None, "", '{"rows": [', "[\n", '"text"', "7", '{"rows": 5}', "\x00"])
def test_a_bad_file_gives_one_line_and_exit_code_2(tmp_path, which, content):
    path = tmp_path / "input.json"
    if content is not None:
        path.write_text(content)
    done = script(ROOT / "err.py", which, path, "--output", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "input.json" in done.stderr
    assert not (tmp_path / "err.png").exists()


@pytest.mark.parametrize(
    "row",
    [
        5,
        {},
        {**GOOD["rows"][0], "metrics": {"AP": "0.3"}},
        {**GOOD["rows"][0], "metrics": {"AP": 1.5}},
    ],
)
def test_a_bad_row_is_named(tmp_path, row):
    (tmp_path / "results.json").write_text(json.dumps({**GOOD, "rows": [GOOD["rows"][0], row]}))
    done = script(ROOT / "err.py", "--results", tmp_path / "results.json", "--output", tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "row 2" in done.stderr) == (2, 1, True), done.stderr


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"measured": {"m": 5}}', '{"source": "x", "discrepancies": 1}']
)
def test_a_bad_result_file_is_named(tmp_path, content):
    (tmp_path / "EMOTION").mkdir()
    (tmp_path / "EMOTION" / "x.json").write_text(content)
    done = script(ROOT / "reproducibility" / "results.py", "--results", tmp_path, "--output", tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "x.json" in done.stderr) == (2, 1, True), done.stderr


@pytest.mark.parametrize("words", [["--threshold", "x"], ["--threshold", "-1"], ["--protocol", "none"]])
def test_a_bad_flag_is_refused(tmp_path, words):
    done = script(ROOT / "err.py", *words, "--output", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


# ── Figures ───────────────────────────────────────────────────────────────────────────────────────────────


PLOTS = {"fractions": 1, "discrepancies": 1, "verdicts": 0}


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("how_many", [1, 3])
def test_no_text_overlaps_and_all_is_inside(plot, how_many):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = json.loads((ROOT / "assets" / "data" / "err.json").read_text())["series"][:1]
    found = [{**found[0], "protocol": f"protocol-{i}"} for i in range(how_many)]
    figure = Figure(figsize=err.SIZE, dpi=110, layout="constrained")
    ax = figure.add_subplot()
    getattr(err, f"plot_{plot}")(ax, found, *[Decimal(1)] * PLOTS[plot])
    FigureCanvasAgg(figure).draw()
    texts = [*ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts, *ax.get_legend().get_texts()]
    texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text() and t.get_visible()]
    low, high = ax.get_xlim()
    visible = [(text, box) for text, box in boxes if box.x1 <= figure.bbox.x1 + 1 and box.x0 >= -1]
    inside = {text for text, _ in visible}
    ticks = {t.get_text() for t in ax.get_xticklabels() if not low <= t.get_position()[0] <= high}
    assert {text for text, _ in boxes} - inside <= ticks
    visible = [(text, box) for text, box in visible if text not in ticks]
    for i, (one, box) in enumerate(visible):
        for other, another in visible[i + 1 :]:
            assert not box.overlaps(another), (one, other)
