"""explain.py end to end: the points of emotion-tiny, what shares a forward pass, and on to a verdict."""

import json

import pytest

import err
import results
import sentiment_analysis
from faults import claiming, edit, faulty, noise, permute

cut_short = edit("tokenizer_config.json", lambda config: config.update(model_max_length=8))


@pytest.mark.shared
def test_true_claim_has_nothing_to_explain(shared, explain_here, tmp_path):
    """Under scored-2022 it is measured on test: a claim on validation is neither met nor missed."""
    model, data = shared / "models" / "emotion-tiny", shared / "emotion"
    for flags, verdict in [((), "inconclusive"), (("--seen", "standard"), "reproduced")]:
        explanation = explain_here(model, data, *flags, "--figures", tmp_path)
        assert explanation["verdict"] == verdict
        assert explanation["causes"] == explanation["named"] == []
        assert explanation["unexplained_points"] is None
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.shared
def test_split_is_named_where_the_claim_is_that_of_another_split(shared, explain_here, tmp_path):
    claim = claiming("accuracy", 0.9025, "emotion", split="test")
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", claim)
    explanation = explain_here(model, shared / "emotion", "--figures", tmp_path)
    assert [(cause["factor"], round(cause["points"], 9)) for cause in explanation["causes"]] == [
        ("split", -1.4)
    ]
    assert explanation["named"] == ["split"] and explanation["forward_passes"] == 2
    assert round(explanation["unexplained_points"], 9) == 0
    assert explanation["verdict"] == "differs under scored-2022"
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.shared
@pytest.mark.parametrize(
    ("faults", "causes"),
    [
        ([permute(0, 1, 3)], ["label order"]),
        ([cut_short], ["truncation"]),
        ([noise(1.0)], ["unexplained"]),
        ([permute(0, 1, 3), cut_short], ["label order", "truncation"]),
    ],
    ids=["labels", "truncation", "weights", "labels and truncation"],
)
def test_fault_injected_into_a_text_model_is_named(shared, explain_here, tmp_path, faults, causes):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", *faults)
    explanation = explain_here(model, shared / "emotion", "--seen", "standard")
    assert (explanation["named"][0], set(explanation["named"])) == (causes[0], set(causes))
    assert bool(explanation["moved"]) == ("label order" in causes)


@pytest.mark.shared
def test_label_orders_share_a_forward_pass_and_another_dtype_needs_its_own(shared, explain_here, tmp_path):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", permute(0, 1, 3))
    ends = ["--seen", "standard", "--faithful", "standard,labels=by index"]
    explanation = explain_here(model, shared / "emotion", *ends)
    assert (explanation["named"], explanation["forward_passes"]) == (["label order"], 1)
    ends = ["--seen", "standard,dtype=bfloat16", "--faithful", "standard,labels=by index"]
    explanation = explain_here(model, shared / "emotion", *ends)
    assert (
        explanation["named"][0] == "label order"
        and explanation["faithful"]["choices"]["labels"] == "by index"
    )
    assert explanation["verdict"] == "differs under standard,dtype=bfloat16"


@pytest.mark.shared
def test_without_a_claim_nothing_is_explained(shared, explain_here, tmp_path):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", permute(0, 1, 3))
    (model / "README.md").unlink()
    ends = ["--seen", "standard", "--faithful", "standard,labels=by index"]
    explanation = explain_here(model, shared / "emotion", *ends)
    assert explanation["claim"] is None and explanation["verdict"] == "no claim"
    assert explanation["causes"] == [] and explanation["unexplained_points"] is None
    assert explanation["gap_points"] < -60  # both ends were measured all the same


@pytest.mark.shared
def test_from_a_local_model_to_its_verdicts_and_its_eval_results(shared, measure, run_script, tmp_path):
    """Measured, gathered, compared: off by 1.4 points as the study did it, reproduced as claimed."""
    from huggingface_hub import parse_eval_result_entries
    from yaml import safe_load

    model, data = shared / "models" / "emotion-tiny", shared / "emotion"
    call, _ = measure(sentiment_analysis.TASK, model, "--data", data)
    assert call.code == 0, call.err
    folder = tmp_path / "results" / "EMOTION"
    folder.mkdir(parents=True)
    (tmp_path / "rows.json").rename(folder / "rows.json")
    flags = ["--results", tmp_path / "results", "--output", tmp_path, "--eval-results", tmp_path / "yaml"]
    flags += ["--benchmark", "dair-ai/emotion:default"]
    call = run_script(results.main, *flags, "--source-url", "https://example.org/results")
    assert call.code == 0, call.err
    call = run_script(err.main, "--results", tmp_path / "results.json", "--output", tmp_path)
    assert call.code == 0, call.err
    series = json.loads((tmp_path / "assets" / "data" / "err.json").read_text())["series"]
    entries = {entry["protocol"]: entry["datasets"]["emotion"] for entry in series}
    assert {name: (entry["k"], entry["n"]) for name, entry in entries.items()} == {
        "scored-2022": (1, 1),
        "standard": (0, 1),
    }
    study, standard = (entries[name]["models"][0] for name in ("scored-2022", "standard"))
    assert (study["discrepancy"], study["verdict"]) == (-1.4, "inconclusive")
    assert (standard["discrepancy"], standard["verdict"], standard["rule"]) == (
        0,
        "reproduced",
        "same examples",
    )
    assert study["verdict_under_standard"] == "reproduced"
    (file,) = (tmp_path / "yaml").glob("*[!x].yaml")
    entries = parse_eval_result_entries(safe_load(file.read_text()))
    assert {entry.dataset_id for entry in entries} == {"dair-ai/emotion"}
    assert 0.9025 in [entry.value for entry in entries]
    assert all(entry.source_url and "protocol standard" in entry.notes for entry in entries)
