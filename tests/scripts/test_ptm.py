"""Claims: read as stated, decided per metric and value, never lost, never raised over."""

import copy
import gzip
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ptm
from project import ROOT
from ptm import PTM
from scored.claims import as_fraction, dataset_name, metric_name
from scored.files import UserError, read_json
from scored.records import read_records, write_records


def model(metrics, dataset=None, **result):
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
        ("accuracy", 1, 1.0, None, None, "ambiguous"),
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
    (claim,) = model([{"type": metric, "value": value}]).claims
    assert (claim.value, claim.number, claim.error) == (value, number, error)
    assert (claim.fraction, claim.unit) == (fraction, unit)


NO_CLAIMS = [
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
    "metrics of a card that are no claim", len(NO_CLAIMS), "rejected with the reason, its neighbours read"
)
@pytest.mark.parametrize(("metric", "reason"), NO_CLAIMS)
def test_rejected_with_reason_and_costs_only_itself(metric, reason):
    found = model([{"type": "f1", "value": 0.8}, metric, {"type": "accuracy", "value": 0.9}])
    assert [r.reason for r in found.rejected] == [reason]
    assert [c.fraction for c in found.claims] == [0.8, 0.9]


@pytest.mark.parametrize("dataset", [None, {}, {"type": " "}, "emotion", ["emotion"]])
def test_a_claim_about_no_data_set_is_rejected(dataset):
    result = {"dataset": dataset, "metrics": [{"type": "accuracy", "value": 0.9}]}
    found = PTM.from_record({"id": "m", "model-index": [{"results": [result]}]})
    assert ([r.reason for r in found.rejected], found.claims) == (["no dataset"], ())


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
        ("top-3-accuracy", "Top-3", None, "top-3-accuracy"),
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
    found = model([{"type": "accuracy", "value": 0.9}], {"type": "emotion", "split": stated})
    assert found.claims[0].split == expected


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
    (claim,) = model([{"type": "acc", "name": "Accuracy", "value": 0.9, "verified": True}], dataset).claims
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
    found = PTM.from_record(
        {
            "id": "m",
            "evalResults": [*eval_result_entries_to_yaml([entry]), {"error": "bad", "filename": "x"}, 3],
        }
    )
    (claim,) = found.claims
    assert (claim.dataset, claim.config, claim.number, claim.unit) == ("cais/hle", "default", 20.9, "none")
    assert (claim.source, claim.verified, len(found.rejected)) == (".eval_results", True, 2)


def test_a_model_from_its_record():
    found = PTM.from_record(
        {
            "id": "org/m",
            "tags": ["license:mit", "dataset:emotion", 7],
            "pipeline_tag": "fill-mask",
            "downloads": 5,
            "gated": "auto",
            "createdAt": "2022-03-02T23:29:04.000Z",
        }
    )
    assert (found.author, found.licence, found.task, found.downloads) == ("org", "mit", "fill-mask", 5)
    assert (found.gated, found.has_card, found.tags_after("dataset:")) == ("auto", None, ["emotion"])
    with pytest.raises(ValueError, match="without an id"):
        PTM.from_record({"tags": []})


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


OF_NO_METRIC = {"no results", "no metrics", "model-index is not a list"}


def nothing_lost(record):
    found = PTM.from_record(record)
    metrics = [r for r in found.rejected if r.kind not in OF_NO_METRIC]
    index = (record.get("cardData") or {}).get("model-index") or record.get("model-index")
    assert len(found.claims) + len(metrics) == entries(index)
    assert all(r.reason for r in found.rejected)
    assert all(c.fraction is None or math.isfinite(c.fraction) for c in found.claims)
    return found


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


CARDS, RECORDS = 1000, 500  # drawn by hypothesis


@pytest.mark.tried("cards with parts taken out or replaced by junk", CARDS, "no exception, no metric lost")
@settings(max_examples=CARDS, deadline=None)
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
@settings(max_examples=RECORDS, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JUNK))
def test_junk_in_any_field(fields):
    found = PTM.from_record({"id": "m", **fields})
    assert all(isinstance(tag, str) for tag in found.tags) and found.has_card in (None, True, False)
    assert {type(v) for v in (found.task, found.sha, found.gated, found.created)} <= {str, type(None)}
    assert {type(found.downloads), type(found.likes)} <= {int, type(None)}
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
        found = nothing_lost(record)
        claims += len(found.claims)
        index = (record.get("cardData") or {}).get("model-index")
        try:
            _, theirs = model_index_to_eval_results(copy.deepcopy(index))
        except Exception:  # it gives up a whole card for one fault
            continue
        numeric = [
            r for r in theirs if type(r.metric_value) in (int, float) and math.isfinite(r.metric_value)
        ]
        stated = [(c.metric_stated, c.value) for c in found.claims]
        for result in numeric:
            stated.remove((result.metric_type, result.metric_value))
            compared += 1
        assert len(theirs) <= len(found.claims) + len(found.rejected)
    assert compared > 1000
    assert claims > compared


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────

THREE = [{"id": "a"}, {"id": "b", "tags": ["x"]}, {"id": "c"}]


def test_the_same_records_from_every_form(tmp_path):
    lines = [json.dumps(record) for record in THREE]
    forms = {
        "lines.json": ("[\n" + ",\n".join(lines) + "\n]\n").encode(),
        "array.json": json.dumps(THREE).encode(),
        "indented.json": json.dumps(THREE, indent=1).encode(),
        "indented4.json": json.dumps(THREE, indent=4).encode(),
        "records.jsonl": "\n".join(lines).encode(),
        "records.jsonl.gz": gzip.compress("\n".join(lines).encode()),
    }
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        assert list(read_records(tmp_path / name)) == THREE, name
    (tmp_path / "empty.json").write_text("[]")
    assert list(read_records(tmp_path / "empty.json")) == []
    write_records(tmp_path / "none.json", [])
    assert (
        list(read_records(tmp_path / "none.json")) == json.loads((tmp_path / "none.json").read_text()) == []
    )


def test_a_broken_line_is_reported_with_its_number_and_the_rest_is_read(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[\n{"id": "a"},\n{"id": "b", ,\n{"noid": 1},\n{"id": "c", "x": NaN}\n]\n')
    reports = []
    assert [record["id"] for record in read_records(path, reports.append)] == ["a", "c"]
    assert ["line 3" in reports[0], "line 4" in reports[1], len(reports)] == [True, True, 2]


@pytest.mark.tried("a broken line deep in a large file", 1, "reported with its number, the rest is read")
def test_line_numbers_hold_far_into_a_file(tmp_path):
    """Lines are decoded many at once; the broken one keeps its own number."""
    lines = [json.dumps({"id": f"m{i}", "tags": ["x" * 100]}) for i in range(5000)]
    lines[4000] = '{"id": "m4000", ,'
    (tmp_path / "m.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    for decode in (None, ptm._decode_records):
        reports = []
        assert sum(1 for _ in read_records(tmp_path / "m.json", reports.append, decode)) == 4999
        assert len(reports) == 1 and "line 4002:" in reports[0]  # the bracket is line 1


BAD_FILES = [
    (None, "No such file"),
    (b"", "is empty"),
    (b'{"id": "a"', "cut off"),
    (b'{"rows": []}\n', "holds no record"),
    (b'{"id": "a"}\n{"id": "b', "cut off"),
    (b"hello", "must hold a JSON array"),
    (b'[\n{"id": "a"},\n{"id"', "cut off"),
    (b'[{"id": "a"}, {"id"', "not whole JSON"),
    (gzip.compress(b'{"id": "a"}\n' * 999)[:-20], "cannot read"),
    (b"\x00\xff\xfe", "must hold a JSON array"),
]


@pytest.mark.tried(
    "missing, empty, cut off, wrong or binary files of records", len(BAD_FILES), "one line, exit code 2"
)
@pytest.mark.parametrize(("content", "says"), BAD_FILES)
def test_bad_files_give_one_line_and_exit_code_2(tmp_path, content, says):
    path = tmp_path / "m.json"
    if content is not None:
        path.write_bytes(content)
    script = subprocess.run(
        [sys.executable, ROOT / "ptm.py", path], capture_output=True, text=True, cwd=tmp_path
    )
    assert (script.returncode, says in script.stderr, script.stderr.count("\n")) == (2, True, 1), (
        script.stderr
    )


def test_read_json_names_the_wrong_type(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(UserError, match="must hold an object, not list"):
        read_json(tmp_path / "x.json", dict)


def test_a_file_streams(tmp_path):
    """Reading a file of 30 MB takes no more memory than a few of its lines."""
    import tracemalloc

    line = json.dumps({"id": "m", "tags": ["x" * 300]}).encode()
    write_records(tmp_path / "m.json", (line for _ in range(90_000)))
    tracemalloc.start()
    assert sum(1 for _ in read_records(tmp_path / "m.json")) == 90_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


def test_ambiguity_is_never_resolved_by_a_guess():
    assert as_fraction("accuracy", 1.0) == (None, "ambiguous")
    assert as_fraction("accuracy", 1.0, percent=True) == (0.01, "percent")
    with pytest.raises(ValueError, match="out of range"):
        as_fraction("accuracy", 101, percent=True)


TAILS = r"""
    "cardData": {"language": "en"}
    "cardData": {}
    "cardData": 5
    "cardData": null, "likes": true
    "tags": ["license:mit", 3], "siblings": [{"rfilename": "a"}]
    "tags": "x", "downloads": 1.0
    "downloads": 1000000000000000000000000000000
    "x": NaN
    "author": "\ud800"
    "gated": "auto", "model-index": [{"results": 1}]
    "gated": true, "likes": "many"
    "evalResults": [{"error": "no"}], "disabled": true
    "pipeline_tag": "", "sha": "", "lastModified": "", "author": "", "gated": ""
    "pipeline_tag": 7, "downloads": 3
    "id": "", "modelId": "a/old"
""".strip().splitlines()
NO_RECORDS = ('"x": tru', '"id": ""', '"id": "", "modelId": ""', '"id": 5')


SPLIT = [
    '{"id": "a/b",\n"sha": "x"},',
    '{"id": "a/b"},\n{"id": "a/c",\n"sha": "x"},',
    '{"id": "a/b", "tags": [\n]},',
]


@pytest.mark.tried(
    "a record that goes over two lines", len(SPLIT), "left out, with each line's number, however it is read"
)
@pytest.mark.parametrize("lines", SPLIT, ids=range(len(SPLIT)))
def test_a_record_over_two_lines_is_none(tmp_path, capsys, lines):
    (path := tmp_path / "records.json").write_text(f'[\n{lines}\n{{"id": "a/last"}}\n]\n')
    found = [*PTM.load(path)]
    assert found == [PTM.from_record(r) for r in read_records(path)]
    assert found[-1].id == "a/last" and len(found) == lines.count("},")
    assert capsys.readouterr().err.count(": left out") == 4


@pytest.mark.tried(
    "odd, wrong or missing fields in a file", len(TAILS) + len(NO_RECORDS), "read as without the shortcut"
)
def test_skipping_unread_fields_changes_no_model(tmp_path, capsys):
    """`load` decodes only what it reads: the models are those of the whole records, broken lines included."""
    path, models = tmp_path / "records.json", []
    for tail in (*TAILS, *NO_RECORDS):  # each with a whole record after it, in a block of its own
        path.write_text(f'[\n{{"id": "a/b", {tail.strip()}}},\n{{"id": "a/last"}}\n]\n')
        found = [*PTM.load(path)]
        assert found == [PTM.from_record(r) for r in read_records(path)], tail
        assert len(found) == (1 if tail in NO_RECORDS else 2) and found[-1].id == "a/last"
        models += found[:-1]
    assert capsys.readouterr().err.count("line 2: left out") == 2 * len(NO_RECORDS)
    assert {(m.task, m.sha, m.modified) for m in models} == {(None, None, None)}
    assert {m.gated for m in models} == {None, "auto", "manual"} and "a/old" in {m.id for m in models}
    assert [m.has_card for m in models[:5]] == [True, False, False, False, None]
