"""How faults of model-index are read: splits, units, names, bounds, who vouches for a value."""

import gzip
import importlib.util
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm import PTM
from scored.claim_names import metric_name
from scored.claim_values import read_bound


def read(metrics, dataset=None, tags=(), task="text-classification"):
    """Read a card that has one result."""
    result = {"task": {"type": task}, "dataset": dataset or {"type": "emotion", "name": "emotion"}}
    index = [{"name": "m", "results": [{**result, "metrics": metrics}]}]
    return PTM.from_record({"id": "a/m", "tags": list(tags), "model-index": index})


def read_claim(metric, dataset=None, **kwargs):
    (claim,) = read([metric], dataset, **kwargs).claims
    return claim


# ── Splits ────────────────────────────────────────────────────────────────────────────────────────────────

TRAINED = ("generated_from_trainer",)


def test_a_train_split_by_the_trainer_is_unknown():
    dataset = {"type": "emotion", "name": "emotion", "split": "train"}
    claim = read_claim({"type": "accuracy", "value": 0.9025}, dataset, tags=TRAINED)
    assert claim.split is None and "4.21" in claim.split_note
    assert set(claim.possible_splits) == {"train", "validation", "test"}


def test_a_train_split_by_hand_is_the_training_split():
    dataset = {"type": "emotion", "name": "emotion", "split": "train"}
    assert read_claim({"type": "accuracy", "value": 0.9025}, dataset).split == "train"


def test_k_of_n_examples_excludes_splits():
    dataset = {"type": "emotion", "name": "emotion", "split": "train"}
    claim = read_claim({"type": "accuracy", "value": 0.9454375}, dataset, tags=TRAINED)  # 15127 / 16000
    assert claim.possible_splits == ("train",)
    assert "validation" in claim.split_note and "test" in claim.split_note


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Test Accuracy", "test"),
        ("Val Accuracy", "validation"),
        ("Validation Accuracy", "validation"),
        ("eval_accuracy", None),
        ("Accuracy on the evaluation set", None),
    ],
)
def test_a_split_in_the_name_is_the_split(name, split):
    assert read_claim({"type": "accuracy", "name": name, "value": 0.9}).split == split


def test_a_name_that_contradicts_the_field_leaves_the_split_unknown():
    dataset = {"type": "emotion", "name": "emotion", "split": "validation"}
    claim = read_claim({"type": "accuracy", "name": "Test Accuracy", "value": 0.9}, dataset)
    assert claim.split is None and claim.possible_splits == ("test", "validation")


@pytest.mark.parametrize("nothing", ["None", "none", "NULL", "unknown", "N/A"])
def test_words_for_nothing_state_nothing(nothing):
    dataset = {"type": "emotion", "name": "emotion", "split": nothing, "config": nothing, "revision": nothing}
    claim = read_claim({"type": "accuracy", "value": 0.9}, dataset)
    assert (claim.split, claim.config, claim.revision) == (None, None, None)


def test_arguments_hold_configuration_and_split():
    dataset = {"type": "common_voice", "name": "Common Voice", "args": "config: ur, split: test"}
    claim = read_claim({"type": "wer", "value": 39.9}, dataset)
    assert (claim.config, claim.split) == ("ur", "test")


# ── Names ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stated", "name", "expected"),
    [
        ("precision", "mAP@0.5", "AP50"),
        ("precision", "mAP50 (val)", "AP50"),
        ("map", "mAP (IoU=0.75)", "AP75"),
        ("map", "metrics/mAP50-95(B)", "mAP"),
        ("map", "AP@[.5:.95]", "AP"),
        ("map", "segm mAP", "mask-mAP"),
        ("rouge", "ROUGE-2", "rouge2"),
        ("rouge", "Rouge-L", "rougeL"),
        ("accuracy", "Accuracy (macro F1 0.88)", "accuracy"),
        ("accuracy", "Top-1 Accuracy", "accuracy"),
        ("f1", "F1 (macro)", "f1-macro"),
    ],
)
def test_a_name_that_is_more_exact_than_its_type(stated, name, expected):
    assert metric_name(stated, name) == expected


def test_slot_error_rate_is_not_the_sentence_error_rate():
    assert metric_name("Slot Error Rate") != "ser"


def test_two_metrics_of_one_type_stay_two_claims():
    metrics = [
        {"type": "accuracy", "name": "POS Accuracy", "value": 0.91},
        {"type": "accuracy", "name": "Morph Accuracy", "value": 0.92},
    ]
    claims = read(metrics, {"type": "universal_dependencies", "name": "UD"}).claims
    assert {claim.name for claim in claims} == {"POS Accuracy", "Morph Accuracy"}


# ── Data sets ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({"type": "timm/imagenet-1k-wds", "name": "ImageNet"}, "imagenet-1k"),
        ({"type": "imagenet-1k", "name": "ImageNet-1k (val)"}, "imagenet-1k"),
        ({"type": "coco", "name": "COCO 2017 validation"}, "coco"),
        ({"type": "SetFit/emotion", "name": "Emotion"}, "emotion"),
    ],
)
def test_names_of_our_data_sets(dataset, expected):
    assert read_claim({"type": "accuracy", "value": 0.8}, dataset).dataset == expected


@pytest.mark.parametrize(
    ("name", "split"),
    [("COCO test-dev", "test-dev"), ("COCO 2017 validation", "validation"), ("coco val2017", "validation")],
)
def test_the_name_of_a_data_set_may_hold_the_split(name, split):
    assert read_claim({"type": "map", "value": 0.4}, {"type": "coco", "name": name}).split == split


@pytest.mark.parametrize(
    "dataset",
    [
        {"type": "imagenet-1k", "name": "ImageNet-V2"},
        {"type": "emotion", "name": "GoEmotions"},
        {"type": "coco", "name": "COCO Captions"},
    ],
)
def test_a_name_of_another_data_set_is_not_ours(dataset):
    assert read_claim({"type": "accuracy", "value": 0.8}, dataset).dataset not in (
        "imagenet-1k",
        "emotion",
        "coco",
    )


def test_a_zero_shot_value_is_not_a_classifiers_claim():
    dataset = {"type": "imagenet-1k", "name": "ImageNet-1k"}
    claim = read_claim({"type": "accuracy", "value": 0.8}, dataset, task="zero-shot-image-classification")
    assert claim.dataset != "imagenet-1k"


# ── Values and units ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metric", "fraction", "unit"),
    [
        ({"type": "accuracy", "value": 1}, 1.0, "fraction"),
        ({"type": "f1", "value": 1.0}, 1.0, "fraction"),
        ({"type": "f1", "value": {"f1": 0.83}}, 0.83, "fraction"),
        ({"type": "accuracy", "value": [0.9]}, 0.9, "fraction"),
        ({"type": "wer", "value": ["18.55%"]}, 0.1855, "percent"),
        ({"type": "accuracy", "value": "0.9 (0.1)"}, 0.9, "fraction"),
        ({"type": "wer", "name": "WER (%)", "value": 1.5}, 0.015, "percent"),
        ({"type": "pass@1", "value": 0.3}, 0.3, "fraction"),
    ],
)
def test_values_that_any_reader_knows(metric, fraction, unit):
    claim = read_claim(metric)
    assert (claim.fraction, claim.unit) == (pytest.approx(fraction), unit)


def test_a_bound_is_kept_and_compared_with_nothing():
    claim = read_claim({"type": "accuracy", "value": ">90%"})
    assert (claim.bound, claim.fraction, claim.value) == (">", None, ">90%")
    assert read_bound("at most 3") == ("3", "<") and read_bound("0.9") == ("0.9", None)


def test_siblings_decide_a_unit_and_the_claim_says_so():
    dataset = {"type": "common_voice", "name": "Common Voice"}
    values = [{"type": "wer", "value": value} for value in (1.8, 22.5, 31.0)]
    first, *_ = read(values, dataset).claims
    assert (first.fraction, first.unit, first.unit_from) == (pytest.approx(0.018), "percent", "siblings")


# ── Who vouches ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_card_cannot_verify_itself():
    assert not read_claim({"type": "accuracy", "value": 0.9, "verified": True}).verified
    assert read_claim({"type": "accuracy", "value": 0.9, "verified": True, "verifyToken": "t"}).verified


def test_a_pull_requests_value_is_not_the_models_claim():
    data = {"dataset": {"id": "dair-ai/emotion", "task_id": "default"}, "value": 0.9}
    model = PTM.from_record({"id": "a/m", "evalResults": [{"data": data, "pullRequest": 3}, {"data": data}]})
    (own,), (proposal,) = model.claims, model.proposals
    assert (proposal.proposal, own.proposal, proposal.fraction) == (True, False, None)


@pytest.mark.parametrize("beside", [float("nan"), float("inf"), "x" * 300, [[0] * 200]])
def test_an_object_that_no_row_could_hold_is_rejected(beside):
    (rejected,) = read([{"type": "f1", "value": {"f1": 0.9, "x": beside}}]).rejected
    assert rejected.kind == "not a number"


# ── Real records ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.shared
def test_each_metadata_case_is_read_as_expected(shared):
    """The right readings of 73 records, compared by the corpus's own rules."""
    spec = importlib.util.spec_from_file_location("score", shared / "cards" / "score.py")
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    cases = [
        json.loads(line) for line in (shared / "cards" / "metadata-cases.jsonl").read_text().splitlines()
    ]
    differ = []
    for case in cases:
        model = PTM.from_record(case["record"])
        readings = [msgspec.to_builtins(claim) for claim in model.claims]
        for rejected in model.rejected:
            stated = rejected.stated if isinstance(rejected.stated, dict) else {}
            readings.append({"rejected": rejected.kind, "value": stated.get("value")})
        is_read = len(readings) == len(case["expect"]) and score.pair(case["expect"], readings) is not None
        if not is_read:
            differ.append((case["kind"], case["record"]["id"]))
    assert len(cases) == 73 and differ == []


@pytest.mark.shared
def test_the_studys_emotion_models_are_read_as_their_cards_state(shared):
    reference = json.loads((shared / "reference" / "claims-2022.json").read_text())["claims"]
    expected = {}
    for claim in reference:
        if claim["dataset"] == "emotion" and "2022-02" in claim["taken"] and "model-index" in claim["where"]:
            expected[claim["model"]] = claim
    readings = {}
    with gzip.open(shared / "hub" / "models-2022-02.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["id"] in expected:
                readings[record["id"]] = PTM.from_record(record)
    assert len(expected) == len(readings) == 26
    for name, claim in expected.items():
        values = set()
        for reading in readings[name].claims:
            if (reading.dataset, reading.metric) == ("emotion", claim["metric"]):
                values.add(reading.fraction)
        assert claim["fraction"] in values, name


# ── Nothing is made up ────────────────────────────────────────────────────────────────────────────────────


@given(st.text(st.characters(categories=("Nd", "P", "Z")), max_size=30), st.floats(0, 1))
def test_a_number_without_a_metrics_word_is_compared_with_nothing(name, value):
    for claim in read([{"type": name, "name": name, "value": value}]).claims:
        assert claim.fraction is None
