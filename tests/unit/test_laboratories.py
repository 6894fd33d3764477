"""Other laboratories' files as rows: what each format states, and what is skipped."""

import json

import pytest

from project import ROOT
from scored.files import UserError
from scored.laboratories import import_results, read_same_weights
from scored.schema import check_row

HEADER = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LM_EVAL = {
    "results": {
        "emotion_zero": {
            "alias": "emotion_zero",
            "acc,none": 0.5685,
            "acc_stderr,none": 0.011,
            "word_perplexity,none": 12.5,
            "acc,strict": 0.5,
        },
        "hellaswag": {"alias": "hellaswag", "acc,none": 0.4, "acc_stderr,none": 0.01},
    },
    "configs": {
        "emotion_zero": {
            "task": "emotion_zero",
            "dataset_path": "dair-ai/emotion",
            "dataset_name": "split",
            "test_split": "test",
            "validation_split": "validation",
            "num_fewshot": 0,
        },
        "hellaswag": {
            "task": "hellaswag",
            "dataset_path": "Rowan/hellaswag",
            "validation_split": "validation",
        },
    },
    "n-shot": {"emotion_zero": 0, "hellaswag": 0},
    "n-samples": {"emotion_zero": {"original": 2000, "effective": 2000}},
    "config": {"model": "hf", "model_args": "pretrained=org/model,revision=main", "model_sha": COMMIT},
    "date": 1766006519.5,
    "lm_eval_version": "0.4.9.2",
    "git_hash": "02bb9278",
}
EVERY_EVAL = {
    "schema_version": "0.2.1",
    "evaluation_id": "imagenet/org/net/1",
    "retrieved_timestamp": "1766006519",
    "evaluation_timestamp": "2026-01-02",
    "source_metadata": {
        "source_type": "evaluation_run",
        "source_organization_name": "Some Lab (2026)",
        "evaluator_relationship": "third_party",
    },
    "eval_library": {"name": "timm", "version": "1.0"},
    "model_info": {"name": "net", "id": "org/net", "additional_details": {"revision": COMMIT}},
    "evaluation_results": [
        {
            "evaluation_name": "accuracy",
            "source_data": {
                "dataset_name": "ImageNet",
                "source_type": "hf_dataset",
                "hf_repo": "ILSVRC/imagenet-1k",
                "hf_split": "val",
                "samples_number": 50000,
            },
            "metric_config": {"lower_is_better": False, "min_score": 0, "max_score": 100},
            "score_details": {"score": 81.98},
        },
    ],
}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def read(path, value):
    imported = import_results(write(path, value))
    for row in imported.rows:
        check_row(row, "row", "")
    return imported


# ── timm ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_entry_of_timm_is_about_the_hubs_model_with_the_same_weights_at_that_size(tmp_path):
    lines = (
        "deit_tiny_patch16_224.fb_in1k,224,72.190,27.810,91.100,8.900,5.72,0.900,bicubic\n"
        "convnext_tiny.fb_in1k,224,82.066,17.934,95.854,4.146,28.59,0.875,bicubic\n"
        "convnext_tiny.fb_in1k,288,82.694,17.306,96.144,3.856,28.59,1.000,bicubic\n"
        "vit_base_patch16_224.orig_in21k_ft_in1k,224,81.782,18.218,96.122,3.878,86.57,0.900,bicubic\n"
    )
    rows = read(tmp_path / "results-imagenet.csv", HEADER + lines).rows
    assert [(row["model"], row["protocol"], row["metrics"]["accuracy"]) for row in rows] == [
        ("facebook/deit-tiny-patch16-224", "timm at 224 px", 0.7219),
        ("facebook/convnext-tiny-224", "timm at 224 px", 0.82066),
        ("timm/convnext_tiny.fb_in1k", "timm at 288 px", 0.82694),
        ("timm/vit_base_patch16_224.orig_in21k_ft_in1k", "timm at 224 px", 0.81782),
    ]
    assert {(row["source"], row["revision"], row["split"]) for row in rows} == {("timm", None, "validation")}
    assert rows[0]["settings"] == {"img_size": 224, "crop_pct": "0.900", "interpolation": "bicubic"}
    assert "which both hold" in rows[0]["same_weights"]


def test_where_several_entries_fit_none_is_named():
    table = read_same_weights()
    study = json.loads((ROOT / "reproducibility/results/IMAGENET/image_classification.json").read_text())
    assert set(table) <= set(study["measured"]) and len(table) == 18
    unmatched = {model for model, same in table.items() if same.entry is None}
    assert "google/vit-base-patch16-224" in unmatched
    entries = [same.entry for same in table.values() if same.entry]
    assert len(entries) == len(set(entries)) == 18 - len(unmatched)
    assert all(same.img_size == 224 for same in table.values() if same.entry)


@pytest.mark.shared
def test_the_shipped_entries_are_timms(shared):
    published = (shared / "reference" / "timm-results-imagenet.csv").read_text().splitlines()
    shipped = (ROOT / "assets" / "data" / "timm-results-imagenet.csv").read_text().splitlines()
    assert set(shipped) <= set(published) and shipped[0] == published[0]
    imported = import_results(shared / "reference" / "timm-results-imagenet.csv")
    named = [row for row in imported.rows if not row["model"].startswith("timm/")]
    assert len(imported.rows) == 1556 and len(named) == len(shipped) - 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("results-imagenet-a-clean.csv", HEADER, "only results-imagenet.csv is about ImageNet-1k's"),
        ("results-imagenet.csv", "a,b\n1,2\n", "no 'model'"),
        ("results-imagenet.csv", HEADER, "it has no rows"),
        ("results-imagenet.csv", HEADER + "x,224,high,1,2,3,4,5,6\n", "is not timm's"),
        ("results-imagenet.csv", HEADER + "x,224,101,1,2,3,4,5,6\n", "score 101 is not between 0 and 100"),
        ("results-imagenet.csv", "\x00", "is not timm's"),
        ("x.json", "{", "x.json is truncated or invalid JSON"),
        ("x.json", "{}", "is not timm's"),
        ("x.json", '{"results": [], "configs": {}}', "is not timm's"),
        ("x.json", '{"results": {}, "configs": {}, "config": {}}', "it names no model"),
        ("x.json", '{"evaluation_results": []}', "no 'source_metadata'"),
    ],
)
def test_another_file_is_refused(tmp_path, name, content, reason):
    with pytest.raises(UserError, match=reason):
        import_results(write(tmp_path / name, content))


# ── lm-evaluation-harness ─────────────────────────────────────────────────────────────────────────────────


def test_a_run_of_lm_eval_is_one_row_per_task_and_filter(tmp_path):
    imported = read(tmp_path / "results_2026.json", LM_EVAL)
    plain, strict = imported.rows
    assert (plain["model"], plain["revision"], plain["split"]) == ("org/model", COMMIT, "test")
    assert (plain["metrics"], strict["metrics"]) == ({"accuracy": 0.5685}, {"accuracy": 0.5})
    assert plain["protocol"] == "lm-eval emotion_zero, 0-shot"
    assert strict["protocol"] == "lm-eval emotion_zero, 0-shot, strict"
    assert (plain["source"], plain["measured_at"]) == ("lm-evaluation-harness", "2025-12-17T21:21:59Z")
    assert plain["examples"] == {"expected": 2000, "evaluated": 2000}
    assert imported.skipped == {"unknown metric word_perplexity": 1, "unknown data set Rowan/hellaswag": 1}


def test_a_run_of_lm_eval_that_states_no_shots_has_none_in_its_protocol(tmp_path):
    value = json.loads(json.dumps(LM_EVAL))
    del value["n-shot"], value["configs"]["emotion_zero"]["num_fewshot"]
    plain, strict = read(tmp_path / "results_2026.json", value).rows
    assert (plain["protocol"], strict["protocol"]) == ("lm-eval emotion_zero", "lm-eval emotion_zero, strict")


@pytest.mark.parametrize(
    ("config", "model", "revision"),
    [
        ({"model_args": {"pretrained": "a/b", "revision": COMMIT}}, "a/b", COMMIT),
        ({"model_args": "pretrained=a/b,revision=main"}, "a/b", None),
        ({"model_args": "dtype=float32, pretrained=a/b"}, "a/b", None),
    ],
)
def test_a_revision_is_a_commit_or_null(tmp_path, config, model, revision):
    row = read(tmp_path / "x.json", LM_EVAL | {"config": config}).rows[0]
    assert (row["model"], row["revision"]) == (model, revision)


def test_results_of_the_first_format_name_no_data_sets(tmp_path):
    first = {"results": {"sciq": {"acc": 0.891, "acc_stderr": 0.01}}, "versions": {"sciq": 0}}
    first["config"] = {"model": "gpt2", "model_args": "use_fast=True,pretrained=bigscience/bloom-3b"}
    imported = read(tmp_path / "x.json", first)
    assert (imported.rows, imported.skipped) == ([], {"unknown data set sciq": 1})
    first["configs"] = {"sciq": {"dataset_path": "dair-ai/emotion", "test_split": "test"}}
    (row,) = read(tmp_path / "x.json", first).rows
    assert (row["model"], row["metrics"]) == ("bigscience/bloom-3b", {"accuracy": 0.891})


def test_a_part_of_a_split_says_so(tmp_path):
    samples = {"emotion_zero": {"original": 2000, "effective": 100}}
    row = read(tmp_path / "x.json", LM_EVAL | {"n-samples": samples}).rows[0]
    assert row["examples"] == {"expected": 2000, "evaluated": 100}


# ── Every Eval Ever ───────────────────────────────────────────────────────────────────────────────────────


def test_a_record_of_every_eval_ever_is_one_row_per_result(tmp_path):
    (row,) = read(tmp_path / "x.json", EVERY_EVAL).rows
    assert (row["model"], row["revision"], row["dataset"]) == ("org/net", COMMIT, "imagenet-1k")
    assert (row["split"], row["metrics"]) == ("validation", {"accuracy": 0.8198})
    assert (row["source"], row["protocol"]) == ("Every Eval Ever, Some Lab 2026", "timm 1.0")
    assert row["measured_at"] == "2026-01-02"


@pytest.mark.parametrize(
    ("name", "config", "metric"),
    [
        ("ImageNet", {"evaluation_description": "Accuracy on ImageNet"}, "accuracy"),
        ("ImageNet-1k", {"metric_kind": "accuracy", "metric_unit": "percent"}, "accuracy"),
        ("ImageNet-1k", {"metric_name": "top-5 accuracy"}, "accuracy-top5"),
        ("top-5 accuracy", {}, "accuracy-top5"),
        ("ImageNet", {"evaluation_description": "Accuracy on ImageNet-A"}, None),
        ("ImageNet (dogs)", {"metric_kind": "accuracy"}, None),
        ("ImageNet", {}, None),
    ],
)
def test_the_metric_stands_in_a_field_or_in_the_description(tmp_path, name, config, metric):
    result = EVERY_EVAL["evaluation_results"][0]
    changed = result | {"evaluation_name": name, "metric_config": result["metric_config"] | config}
    imported = read(tmp_path / "x.json", EVERY_EVAL | {"evaluation_results": [changed]})
    assert [list(row["metrics"]) for row in imported.rows] == ([[metric]] if metric else [])


def test_without_a_split_it_is_the_only_public_one(tmp_path):
    result = EVERY_EVAL["evaluation_results"][0]
    for repo, splits in (("ILSVRC/imagenet-1k", ["validation"]), ("dair-ai/emotion", [])):
        data = {"dataset_name": repo, "source_type": "hf_dataset", "hf_repo": repo}
        changed = result | {"source_data": data}
        imported = read(tmp_path / "x.json", EVERY_EVAL | {"evaluation_results": [changed]})
        assert [row["split"] for row in imported.rows] == splits


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("source_data", {"hf_repo": "cais/mmlu"}, "unknown data set cais/mmlu"),
        ("source_data", {"hf_split": "blind"}, "unknown split blind of imagenet-1k"),
        ("metric_config", {"max_score": 10}, "unknown metric or scale of accuracy"),
        (None, {"evaluation_name": "robustness"}, "unknown metric or scale of robustness"),
    ],
)
def test_what_is_not_known_is_counted_and_skipped(tmp_path, part, change, reason):
    result = EVERY_EVAL["evaluation_results"][0]
    changed = result | change if part is None else result | {part: result[part] | change}
    imported = read(tmp_path / "x.json", EVERY_EVAL | {"evaluation_results": [changed, result]})
    assert (len(imported.rows), imported.skipped) == (1, {reason: 1})


def test_a_score_beyond_its_scale_is_refused(tmp_path):
    result = EVERY_EVAL["evaluation_results"][0] | {"score_details": {"score": 181.98}}
    with pytest.raises(UserError, match=r"score 181\.98 is not between 0 and 100"):
        import_results(write(tmp_path / "x.json", EVERY_EVAL | {"evaluation_results": [result]}))
