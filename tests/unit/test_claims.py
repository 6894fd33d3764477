"""Claims: read as stated, decided per metric and value, never lost, never raised over."""

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptm
from profiles import draw
from ptm import PTM
from scored.claims import as_fraction, dataset_name, metric_name
from scored.records import read_records


def model_with(metrics, dataset=None, **result):
    """A PTM whose card has one result with these metrics."""
    result = {"task": {"type": "text-classification"}, "dataset": dataset or {"type": "emotion"}, **result}
    index = [{"name": "m", "results": [{**result, "metrics": metrics}]}]
    return PTM.from_record({"id": "a/m", "cardData": {"model-index": index}})


@pytest.mark.parametrize(
    ("metric", "value", "number", "error", "fraction", "unit"),
    [
        ("accuracy", 0.927, 0.927, None, 0.927, "fraction"),
        ("accuracy", 92.7, 92.7, None, 0.927, "percent"),
        ("accuracy", "92.7%", 92.7, None, 0.927, "percent"),
        ("accuracy", "92,7 %", 92.7, None, 0.927, "percent"),
        ("accuracy", "0,927", 0.927, None, 0.927, "fraction"),
        ("accuracy", "92,713", 92.713, None, 0.92713, "percent"),
        ("accuracy", "0.5%", 0.5, None, 0.005, "percent"),
        ("accuracy", "0.92 ± 0.01", 0.92, 0.01, 0.92, "fraction"),
        ("accuracy", "92.1 (+/- 0.3)", 92.1, 0.3, 0.921, "percent"),
        ("accuracy", 0, 0.0, None, 0.0, "fraction"),
        ("accuracy", 1, 1.0, None, 1.0, "fraction"),  # nobody states an accuracy of 1%
        ("accuracy", 1.5, 1.5, None, None, "ambiguous"),
        ("matthews_correlation", -0.12, -0.12, None, -0.12, "fraction"),
        ("wer", 15.3, 15.3, None, 0.153, "percent"),
        ("wer", 0.153, 0.153, None, 0.153, "fraction"),
        ("wer", 107.955, 107.955, None, 1.07955, "percent"),
        ("cer", 1.22, 1.22, None, None, "ambiguous"),
        ("eer", 0.8, 0.8, None, None, "ambiguous"),
        ("bleu", 0.31, 0.31, None, None, "ambiguous"),
        ("bleu", 31.0, 31.0, None, 0.31, "percent"),
        ("loss", 1.35, 1.35, None, None, "none"),
        ("mean_reward", "200.69 +/- 20.81", 200.69, 20.81, None, "none"),
        ("mean_reward", "1,234.5", 1234.5, None, None, "none"),
        ("mean_reward", "-1e-3", -0.001, None, None, "none"),
    ],
)
def test_values(metric, value, number, error, fraction, unit):
    (claim,) = model_with([{"type": metric, "value": value}]).claims
    assert (claim.value, claim.number, claim.error) == (value, number, error)
    assert (claim.fraction, claim.unit) == (fraction, unit)


NOT_CLAIMS = [
    ({"type": "accuracy"}, "no value"),
    ({"type": "accuracy", "value": None}, "no value"),
    ({"type": "accuracy", "value": "see table"}, 'not a number: "see table"'),
    ({"type": "accuracy", "value": {"a": 1}}, 'not a number: {"a": 1}'),
    ({"type": "accuracy", "value": True}, "not a number: true"),
    ({"type": "accuracy", "value": "1.2.3"}, 'not a number: "1.2.3"'),
    ({"type": "accuracy", "value": math.nan}, "NaN"),
    ({"type": "accuracy", "value": "NaN"}, "NaN"),
    ({"type": "accuracy", "value": math.inf}, "out of range"),
    ({"type": "accuracy", "value": 940}, "out of range"),
    ({"type": "accuracy", "value": -0.3}, "out of range"),
    ({"type": "accuracy", "value": 10**400}, "out of range"),
    ({"type": "loss", "value": "1,234"}, 'ambiguous number: "1,234"'),
    ({"value": 0.9}, "no metric"),
    ("accuracy", 'metric is not an object: "accuracy"'),
]


@pytest.mark.tried(
    "metrics of a card that are not claims", len(NOT_CLAIMS), "rejected with the reason, its neighbours read"
)
@pytest.mark.parametrize(("metric", "reason"), NOT_CLAIMS)
def test_rejected_with_reason_and_costs_only_itself(metric, reason):
    model = model_with([{"type": "f1", "value": 0.8}, metric, {"type": "accuracy", "value": 0.9}])
    assert [r.reason for r in model.rejected] == [reason]
    assert [c.fraction for c in model.claims] == [0.8, 0.9]


@pytest.mark.parametrize("dataset", [None, {}, {"type": " "}, "emotion", ["emotion"]])
def test_claim_without_data_set_is_rejected(dataset):
    result = {"dataset": dataset, "metrics": [{"type": "accuracy", "value": 0.9}]}
    model = PTM.from_record({"id": "m", "model-index": [{"results": [result]}]})
    assert ([r.reason for r in model.rejected], model.claims) == (["no dataset"], ())


@pytest.mark.parametrize(
    ("stated", "name", "average", "expected"),
    [(stated, None, None, "accuracy") for stated in ("accuracy", "acc", "top1", "Top-1 Accuracy", "Acc@1")]
    + [
        ("accuracy", "Top-5 Accuracy", None, "accuracy-top5"),
        ("accuracy", "POS Accuracy", None, "accuracy"),
        ("f1", "F1 Macro", None, "f1-macro"),
        ("f1", None, "weighted", "f1-weighted"),
        ("macro-f1", "Macro F1", None, "f1-macro"),
        ("f_score", "NER F Score", None, "f1"),
        ("mAP@0.5", None, None, "AP50"),
        ("сer", None, None, "сer"),  # a Cyrillic с is another word
        ("top-3-accuracy", "Top-3", None, "accuracy-top3"),
        (None, None, None, None),
        ("mAP", "mAP@0.5", None, "AP50"),
        ("AP", "AP75", None, "AP75"),
        ("mAP", "mAP@0.5:0.95", None, "mAP"),
        ("accuracy", "Top-3 Accuracy", None, "accuracy-top3"),
        ("accuracy", "Accuracy@5", None, "accuracy-top5"),
        ("accuracy", "acc @ 1", None, "accuracy"),
        ("accuracy", "Accuracy@0.5", None, "accuracy"),
        ("accuracy", "accuracy_top_3", None, "accuracy-top3"),
        ("accuracy", "Top 5 test accuracy", None, "accuracy-top5"),
        ("accuracy", "Accuracy @224", None, "accuracy"),
        ("accuracy", "acc@384x384", None, "accuracy"),
        ("accuracy", "Accuracy @ 5 epochs", None, "accuracy"),
        ("accuracy", "Laptop14 Accuracy", None, "accuracy"),
        ("mAP", "mAP@0.50", None, "AP50"),
    ],
)
def test_metric_names(stated, name, average, expected):
    assert metric_name(stated, name, average) == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("Validation", "validation"),
        ("VAL", "validation"),
        ("val2017", "validation"),
        ("Test", "test"),
        ("Odd", "odd"),
    ],
)
def test_splits_are_the_same_in_any_case(stated, expected):
    model = model_with([{"type": "accuracy", "value": 0.9}], {"type": "emotion", "split": stated})
    assert model.claims[0].split == expected


@pytest.mark.parametrize(
    ("stated", "name", "expected"),
    [
        (stated, None, "imagenet-1k")
        for stated in ("imagenet-1k", "ILSVRC/imagenet-1k", "imagenet", "ImageNet 1K")
    ]
    + [(stated, None, "emotion") for stated in ("emotion", "dair-ai/emotion")]
    + [(stated, None, "coco") for stated in ("coco", "COCO 2017", "detection-datasets/coco")]
    + [
        ("tweet_eval", "emotion", "tweet_eval"),
        ("imagefolder", "ImageNet-1k", "imagenet-1k"),
        (None, "Common Voice fr", "Common Voice fr"),
        ("imagenet-v2", None, "imagenet-v2"),
        (None, None, None),
    ],
)
def test_dataset_names(stated, name, expected):
    assert dataset_name(stated, name) == expected


def test_a_claim_keeps_what_the_card_states():
    dataset = {
        "type": "dair-ai/emotion",
        "name": "Emotion",
        "config": "split",
        "split": "val",
        "revision": "abc",
    }
    (claim,) = model_with(
        [{"type": "acc", "name": "Accuracy", "value": 0.9, "verifyToken": "t"}], dataset
    ).claims
    assert (claim.dataset, claim.dataset_stated, claim.metric, claim.metric_stated) == (
        "emotion",
        "dair-ai/emotion",
        "accuracy",
        "acc",
    )
    assert (claim.config, claim.split, claim.revision, claim.verified) == ("split", "validation", "abc", True)


def test_eval_results_as_the_hub_library_writes_them():
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entry = EvalResultEntry(dataset_id="cais/hle", task_id="default", value=20.9, verify_token="t")
    model = PTM.from_record(
        {
            "id": "m",
            "evalResults": [*eval_result_entries_to_yaml([entry]), {"error": "bad", "filename": "x"}, 3],
        }
    )
    (claim,) = model.claims
    assert (claim.dataset, claim.config, claim.number, claim.unit) == ("cais/hle", "default", 20.9, "none")
    assert (claim.source, claim.verified, len(model.rejected)) == (".eval_results", True, 2)


@pytest.mark.parametrize(
    ("dataset", "value", "expected"),
    [
        ({"id": "dair-ai/emotion", "task_id": "default"}, 92.7, ("emotion", "accuracy", 0.927, "percent")),
        ({"id": "dair-ai/emotion", "task_id": "default"}, 0.927, ("emotion", "accuracy", 0.927, "fraction")),
        ({"id": "dair-ai/emotion", "task_id": "default"}, "> 0.9", ("emotion", "accuracy", None, "none")),
        ({"id": "dair-ai/emotion", "task_id": "ner"}, 0.927, ("emotion", None, None, "none")),
        ({"id": "cais/hle", "task_id": "default"}, 0.927, ("cais/hle", None, None, "none")),
        ({"id": "detection-datasets/coco", "task_id": "default"}, 42.0, ("coco", "AP", 0.42, "percent")),
    ],
)
def test_an_eval_result_of_a_known_benchmark_is_about_its_headline_metric(dataset, value, expected):
    (claim,) = PTM.from_record({"id": "m", "evalResults": [{"dataset": dataset, "value": value}]}).claims
    assert (claim.dataset, claim.metric, claim.fraction, claim.unit) == expected


def test_a_model_from_its_record():
    model = PTM.from_record(
        {
            "id": "org/m",
            "tags": ["license:mit", "dataset:emotion", 7],
            "pipeline_tag": "fill-mask",
            "downloads": 5,
            "gated": "auto",
            "createdAt": "2022-03-02T23:29:04.000Z",
        }
    )
    assert (model.author, model.license, model.task, model.downloads) == ("org", "mit", "fill-mask", 5)
    assert (model.gated, model.has_card, model.tags_after("dataset:")) == ("auto", None, ["emotion"])
    with pytest.raises(ValueError, match="without an id"):
        PTM.from_record({"tags": []})


def test_ambiguity_is_never_resolved_by_a_guess():
    assert as_fraction("accuracy", 1.5) == (None, "ambiguous")
    assert as_fraction("accuracy", 1.0, percent=True) == (0.01, "percent")
    with pytest.raises(ValueError, match="out of range"):
        as_fraction("accuracy", 101, percent=True)


# ── Nothing lost ──────────────────────────────────────────────────────────────────────────────────────────


def entries(index):
    """The metric entries of a model-index, counted without ptm.py; an object counts as a list of one."""
    lists = lambda value: value if isinstance(value, list) else [value] if isinstance(value, dict) else []  # noqa: E731
    return sum(
        len(lists(result.get("metrics")))
        for entry in lists(index)
        if isinstance(entry, dict)
        for result in lists(entry.get("results"))
        if isinstance(result, dict)
    )


WITHOUT_METRIC = {"no results", "no metrics", "model-index is not a list"}


def nothing_lost(record):
    model = PTM.from_record(record)
    metrics = [r for r in model.rejected if r.kind not in WITHOUT_METRIC]
    index = (record.get("cardData") or {}).get("model-index") or record.get("model-index")
    assert len(model.claims) + len(metrics) == entries(index)
    assert all(r.reason for r in model.rejected)
    assert all(c.fraction is None or math.isfinite(c.fraction) for c in model.claims)
    return model


CARD = {
    "license": "mit",
    "model-index": [
        {
            "name": "m",
            "results": [
                {
                    "task": {"type": "t", "name": "T"},
                    "dataset": {"type": "emotion", "name": "emotion", "args": "split", "split": "test"},
                    "metrics": [
                        {"type": "accuracy", "name": "Accuracy", "value": 0.9},
                        {"type": "f1", "value": "92.7%", "args": {"average": "macro"}},
                    ],
                },
                {"dataset": {"name": "coco"}, "metrics": [{"type": "mAP", "value": "0,5 ± 0.1"}]},
            ],
        }
    ],
}
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["1e999", "٣", "1,1,1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


CARDS, RECORDS = 1000, 500  # drawn by hypothesis in CI


@pytest.mark.tried("cards with parts taken out or replaced by junk", CARDS, "no exception, no metric lost")
@draw(CARDS)
@given(st.data())
def test_mutated_cards_raise_nothing_and_lose_nothing(data):
    card = copy.deepcopy(CARD)
    for _ in range(data.draw(st.integers(1, 4))):
        node = card
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = data.draw(st.sampled_from(list(keys)))
            if not isinstance(node[key], (dict, list)) or not node[key] or data.draw(st.booleans()):
                break
            node = node[key]
        if isinstance(node, dict) and data.draw(st.booleans()):
            del node[key]
        else:
            node[key] = data.draw(JUNK)
        if not card:
            break
    nothing_lost({"id": "a/m", "cardData": card})


KEYS = (
    "author sha pipeline_tag library_name downloads likes tags createdAt lastModified gated disabled".split()
)
KEYS += "cardData model-index evalResults".split()


@pytest.mark.tried("junk in any field of a record", RECORDS, "counts as not stated, however it is read")
@draw(RECORDS)
@given(st.dictionaries(st.sampled_from(KEYS), JUNK))
def test_junk_in_any_field(fields):
    model = PTM.from_record({"id": "m", **fields})
    assert all(isinstance(tag, str) for tag in model.tags) and model.has_card in (None, True, False)
    assert {type(v) for v in (model.task, model.sha, model.gated, model.created)} <= {str, type(None)}
    assert {type(model.downloads), type(model.likes)} <= {int, type(None)}
    line = json.dumps({"id": "m", **fields}).encode()
    try:
        (fast,) = ptm._decode_records(b"[%b]" % line)
    except (ValueError, RecursionError):
        return
    assert repr(PTM.from_record(fast)) == repr(PTM.from_record(json.loads(line)))


@pytest.mark.shared
def test_real_records_of_2022(shared):
    """29,432 real records: no exception, nothing lost, and all that huggingface_hub's own reader finds."""
    from huggingface_hub.repocard_data import model_index_to_eval_results

    compared = claims = 0
    for record in read_records(shared / "hub" / "models-2022-02.jsonl.gz"):
        model = nothing_lost(record)
        claims += len(model.claims)
        index = (record.get("cardData") or {}).get("model-index")
        try:
            _, theirs = model_index_to_eval_results(copy.deepcopy(index))
        except Exception:  # it gives up a whole card for one fault
            continue
        numeric = [
            r for r in theirs if type(r.metric_value) in (int, float) and math.isfinite(r.metric_value)
        ]
        stated = [(c.metric_stated, c.value) for c in model.claims]
        for result in numeric:
            stated.remove((result.metric_type, result.metric_value))
            compared += 1
        assert len(theirs) <= len(model.claims) + len(model.rejected)
    assert compared > 1000
    assert claims > compared
