"""Explanations: choices, tasks of one architecture, which explanation stays, the waterfall."""

import json
from dataclasses import replace

import pytest

import detection
import explain
import sentiment_analysis
from harness import explanations
from harness.checkpoint import CannotMeasure
from harness.choices import as_choices, as_protocol, parse_choices
from harness.waterfall import make_bars
from scored.claims import read_model_index
from scored.files import UserError


@pytest.mark.parametrize("value", ["False", "no", "0", "null"])
def test_switch_is_true_or_false(value):
    with pytest.raises(UserError, match=r"exif must be true or false, not "):
        parse_choices(f"scored-2022,exif={value}", detection.TASK, "float32", "validation")
    choices = parse_choices("scored-2022,exif=false", detection.TASK, "float32", "validation")
    assert choices["exif"] is False


@pytest.mark.parametrize("change", ["labels=by_index", "labels=index", "dtype=half", "split=unsplit"])
def test_unknown_value_is_not_taken_for_another(change):
    name = change.partition("=")[0]
    with pytest.raises(UserError, match=f"{name} must be one of: .*; not "):
        parse_choices(f"standard,{change}", sentiment_analysis.TASK, "float32", "test")
    right = parse_choices("standard,labels=by index", sentiment_analysis.TASK, "float32", "test")
    assert right["labels"] == "by index"


def test_choices_and_protocols_convert_into_each_other():
    settings = {"size": {"height": 9, "width": 9}, "resample": 3, "do_normalize": False}
    protocol = replace(detection.PROTOCOLS["standard"], preprocessing=settings)
    choices = as_choices(protocol, "float16")
    assert choices["resize and crop"] == {"size": {"height": 9, "width": 9}} and choices["dtype"] == "float16"
    assert as_protocol(detection.TASK, choices) == protocol
    emotion = sentiment_analysis.PROTOCOLS["scored-2022"]
    assert as_protocol(sentiment_analysis.TASK, as_choices(emotion, "auto")) == emotion


# ── Tasks of one architecture ─────────────────────────────────────────────────────────────────────────────


def test_two_tasks_of_one_architecture_are_told_apart_by_data_set(monkeypatch):
    emotion = sentiment_analysis.TASK
    other = replace(emotion, dataset="coco")
    monkeypatch.setattr(explain, "all_tasks", lambda: [emotion, detection.TASK])
    text = ["BertForSequenceClassification"]
    assert explain.choose_task(text, set(), None) is emotion  # the only one
    monkeypatch.setattr(explain, "all_tasks", lambda: [emotion, other])
    assert explain.choose_task(text, {"coco", "imdb"}, None) is other  # the claim's
    assert explain.choose_task(text, {"coco"}, "emotion") is emotion  # --dataset
    for claimed in (set(), {"emotion", "coco"}):
        with pytest.raises(CannotMeasure, match="is measured on emotion, coco; choose with --dataset"):
            explain.choose_task(text, claimed, None)
    with pytest.raises(CannotMeasure, match="is not measured on imagenet-1k, but on emotion, coco"):
        explain.choose_task(text, set(), "imagenet-1k")
    with pytest.raises(CannotMeasure, match="no task script measures the architecture BertForMaskedLM"):
        explain.choose_task(["BertForMaskedLM"], set(), None)


def test_claims_to_explain_are_those_on_the_data_set_with_a_value():
    index = [
        {
            "dataset": {"type": dataset, "name": dataset},
            "metrics": [{"type": metric, "value": value} for metric, value in metrics],
        }
        for dataset, metrics in [
            ("emotion", [("accuracy", 0.9), ("loss", 0.3), ("f1", 0.8)]),
            ("imdb", [("accuracy", 0.7)]),
        ]
    ]
    claims = read_model_index([{"name": "m", "results": index}])
    values = [claim["fraction"] for claim in explain.claims_on(claims, "emotion")]
    assert values == [0.9, 0.8]  # a loss is not a fraction
    assert explain.claims_on(claims, "coco") == []


# ── The file ──────────────────────────────────────────────────────────────────────────────────────────────


def explanation(evaluated: int | None = None, **keys) -> dict:
    """An explanation of 9 examples of which so many were evaluated, or one that failed."""
    ends = {"seen": {"examples": {"expected": 9, "evaluated": evaluated}}} if evaluated else {"error": "x"}
    return {"model": "a/b", **ends, **keys}


def test_failed_or_limited_explanation_does_not_replace_a_whole_one():
    ordered = [{}, explanation(), explanation(5), explanation(9)]
    coverage = [0, 0, 1, 2]
    for old, i in zip(ordered, coverage, strict=True):
        assert [explanations.is_fuller(old, new) for new in ordered] == [i > j for j in coverage]


def test_an_explanation_replaces_that_of_the_same_model_and_data_set_only(tmp_path):
    path = tmp_path / "explanations.json"
    steps = [
        (explanation(), True, [None]),  # failed before the data set was known
        (explanation(5, dataset="emotion"), True, ["emotion"]),
        (explanation(9, dataset="coco"), True, ["coco", "emotion"]),
        (explanation(9, dataset="emotion"), True, ["coco", "emotion"]),
        (explanation(5, dataset="emotion"), False, ["coco", "emotion"]),
        (explanation(), False, ["coco", "emotion"]),
        (explanation(model="x"), True, ["coco", "emotion", None]),
    ]
    for new, is_stored, datasets in steps:
        assert explanations.store(path, new) == is_stored
        content = json.loads(path.read_text())
        assert content["schema"] == 2
        assert [entry.get("dataset") for entry in content["explanations"]] == datasets


def test_each_claim_of_a_card_keeps_its_own_explanation(tmp_path):
    path = tmp_path / "explanations.json"

    def of(split, fraction, revision="r1"):
        claim = {"metric": "accuracy", "split": split, "fraction": fraction}
        return explanation(9, dataset="emotion", revision=revision, claim=claim)

    def stored():
        entries = json.loads(path.read_text())["explanations"]
        return [entry["claim"] and entry["claim"]["fraction"] for entry in entries]

    for new in (of("validation", 0.9), of("test", 0.8), of("validation", 0.9)):
        assert explanations.store(path, new)
    assert stored() == [0.8, 0.9]
    assert explanations.store(path, of("test", 0.7, revision="r2"))  # the card is another one now
    assert stored() == [0.7]
    assert explanations.store(path, explanation(9, dataset="emotion", revision="r2", claim=None))
    assert stored() == [None]


@pytest.mark.parametrize(
    "content", ['{"explanations": []}', '{"schema": 2}', '{"schema": 2, "explanations": [5]}', "{"]
)
def test_older_or_other_file_is_refused_with_the_command_that_writes_it(tmp_path, content):
    path = tmp_path / "explanations.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"explanations.json .*python reproducibility/explain.py MODEL"):
        explanations.read_explanations(path)


# ── The waterfall ─────────────────────────────────────────────────────────────────────────────────────────


def test_bars_lead_from_the_claim_to_the_measured_value():
    causes = [
        {"factor": "split", "points": -1.5, "faithful": "validation", "seen": "test"},
        {"factor": "labels", "points": 0.25, "faithful": "by name", "seen": [1, 0, 2, 3]},
    ]
    shown = {"claim": {"fraction": 0.5}, "unexplained_points": -2.0, "causes": causes}
    shown["faithful"] = {"value": 0.48}
    bars = make_bars(shown)
    assert [(bar.bottom, bar.height, bar.text) for bar in bars] == [
        (0, 50, "50.00"),
        (50, -2, "-2.00"),
        (48, -1.5, "-1.50"),
        (46.5, 0.25, "+0.25"),
        (0, 46.75, "46.75"),
    ]
    assert [bar.label for bar in bars] == [
        "claimed",
        "unexplained",
        "split\nvalidation → test",
        "labels\nby name → another order",
        "measured",
    ]
    bars = make_bars(shown | {"claim": None})
    assert [bar.label.split("\n")[0] for bar in bars] == ["faithful", "split", "labels", "measured"]
    assert bars[0].height == 48 and bars[-1].height == 46.75


def test_a_part_of_a_split_is_printed_as_a_part(capsys):
    """The word is about these examples; a part judges no claim."""
    explanation = {
        "model": "a/b",
        "metric": "accuracy",
        "claim": {"fraction": 0.9, "split": "test"},
        "seen": {"value": 0.8, "split": "test", "examples": {"expected": 2000, "evaluated": 100}},
        "verdict": "overstated",
        "causes": [],
        "tried": [],
        "unexplained_points": -10.0,
        "possible": [],
        "finding": None,
        "moved": {},
    }
    explanations.show(explanation)
    whole = {**explanation["seen"], "examples": {"expected": 2000, "evaluated": 2000}}
    explanations.show(explanation | {"seen": whole})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("a/b")]
    assert lines == [
        "a/b  accuracy: claimed 90.00 on test, measured 80.00 on test: "
        "overstated on these 100 of 2,000 examples; a part judges no claim",
        "a/b  accuracy: claimed 90.00 on test, measured 80.00 on test: overstated",
    ]
