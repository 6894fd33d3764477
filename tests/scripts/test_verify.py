"""verify.py end to end: exit codes, lines, what is measured, and the reports."""

import json
import os
import re
import shlex
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
from markdown_it import MarkdownIt

from bench import in_this_process
from fake_hub import FakeHub
from faults import faulty, permute
from project import ROOT
from scored.claims import TRAINER
from verifiable import copy_model, write_card

HOSTILE = "<img src=x onerror=alert(1)> \"'`|@all \x1b[2J\x07\u202e ]]> # h\n- x"


@pytest.fixture
def model(verifiable, tmp_path):
    """Return a function (card, name) -> a copy of the small model with this card."""
    return lambda card=None, name="copy": copy_model(verifiable / "model", tmp_path / name, card)


@pytest.fixture
def verify_small(verify_here, verifiable):
    """Return a function that runs verify.py on the small model's data."""
    return lambda *arguments, **options: verify_here(*arguments, "--data", verifiable / "data", **options)


def lines_of(call) -> dict[str, str]:
    """Return what one model's lines say, by their label; the first under `model`."""
    first, *rest = call.out.splitlines()
    return {"model": first} | {line.split()[0]: line.split(maxsplit=1)[1] for line in rest}


# ── A true claim, a raised one, and what the card says of the split ───────────────────────────────────────

CARDS = {
    "no split": lambda value: write_card({"value": value}),
    "train, by the Trainer": lambda value: write_card({"value": value, "split": "train"}, tags=(TRAINER,)),
    "validation": lambda value: write_card({"value": value, "split": "validation"}),
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_true_claim_is_reproduced_whatever_the_card_says_of_its_split(verify_small, model, card):
    call = verify_small(model(card(0.9025)))
    assert call.code == 0, call.out + call.err
    lines = lines_of(call)
    assert lines["claimed"].startswith("accuracy 0.9025 (card metadata, ")
    assert "validation 0.9025 [0.8887, 0.9147]" in lines["measured"]
    assert lines["verdict"].startswith("reproduced: ")
    assert "causes" not in lines


@pytest.mark.parametrize(("name", "code"), [("no split", 4), ("train, by the Trainer", 4), ("validation", 3)])
def test_claim_raised_by_a_point_and_a_half(verify_small, model, name, code):
    call = verify_small(model(CARDS[name](0.9175)))
    assert call.code == code, call.out + call.err
    verdict = lines_of(call)["verdict"]
    assert verdict.startswith("overstated: " if code == 3 else "inconclusive: ")
    assert "-1.50" in verdict or "1.50" in verdict


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_claim_raised_by_eight_points_is_overstated(verify_small, model, card):
    call = verify_small(model(card(0.9825)))
    assert call.code == 3, call.out + call.err
    lines = lines_of(call)
    assert lines["verdict"].startswith("overstated: ") and "unexplained" in lines["causes"]
    assert len(call.out.splitlines()) == 5


def test_injected_fault_is_named(verify_small, verifiable, tmp_path):
    folder = faulty(verifiable / "model", tmp_path / "copy", permute(0, 1, 3))
    (folder / "README.md").write_text(write_card({"value": 0.9025, "split": "validation"}))
    call = verify_small(folder)
    assert call.code == 3, call.out + call.err
    assert lines_of(call)["causes"].startswith("label order -")


# ── What cannot run, and wrong input ──────────────────────────────────────────────────────────────────────


def without(name: str):
    return lambda folder: (folder / name).unlink()


def with_remote_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling.Evil"}
    (folder / "config.json").write_text(json.dumps(config))


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (without("model.safetensors"), "it has no weights"),
        (without("config.json"), "it has no config.json"),
        (with_remote_code, "at load: it needs remote code, which is never executed"),
        (truncated, "at load: "),
    ],
)
def test_model_that_cannot_run_says_why(verify_small, model, tmp_path, fault, reason):
    folder = model(write_card({"value": 0.9025}))
    fault(folder)
    call = verify_small(folder, "--junit", tmp_path / "junit.xml", "--markdown", tmp_path / "report.md")
    assert call.code == 1, call.out + call.err
    assert lines_of(call)["verdict"].startswith(f"failed to run: {reason}")
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("1", "1", "0")
    assert "| failed to run |" in (tmp_path / "report.md").read_text()


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_pickled_weights_does_not_run(verify_small, model, tmp_path):
    import torch

    folder = model(write_card({"value": 0.9025}))
    (folder / "model.safetensors").unlink()
    torch.save({"x": Payload(tmp_path / "ran")}, folder / "pytorch_model.bin")
    call = verify_small(folder)
    assert call.code == 1 and not (tmp_path / "ran").exists()
    assert "failed to run: at load: its pickled weights hold more than tensors" in call.out


@pytest.mark.parametrize("name", ["/nowhere", "./nowhere", "a/b/c", "ann/tiny/../x", "", "model.zip/", "x y"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_wrong_input(verify_small, name):
    call = verify_small(name)
    assert (call.code, call.out) == (2, "") and "there is no such folder" in call.err


def test_misspelt_folder_beside_others_is_not_taken_for_a_hub_id(verify_small, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ann").mkdir()
    folder = model(write_card({"value": 0.9025, "split": "validation"}))
    with FakeHub(models={"ann/tiny": folder}) as hub:
        call = verify_small("ann/wrong", hub=hub.url)
        assert (call.code, call.out) == (2, "") and "there is no such folder" in call.err
        assert verify_small("ann/tiny", hub=hub.url).code == 0


def test_nothing_is_measured_where_the_data_lack_a_split_or_a_folder(
    verify_small, verify_here, model, tmp_path
):
    data = tmp_path / "data"
    data.mkdir()
    folder = model(write_card({"value": 0.9025, "split": "validation"}))
    call = verify_here(folder, "--data", data)
    assert (call.code, call.out) == (2, "") and "validation.jsonl" in call.err
    call = verify_here(folder, "--data", tmp_path / "nowhere")
    assert (call.code, call.out) == (2, "") and "nowhere" in call.err
    assert not list(tmp_path.rglob("*.parquet"))


def test_split_that_no_claim_names_may_be_missing(verify_here, verifiable, model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for split in ("validation", "test"):
        (data / f"{split}.jsonl").write_bytes((verifiable / "data" / f"{split}.jsonl").read_bytes())
    call = verify_here(model(CARDS["train, by the Trainer"](0.9825)), "--data", data)
    assert call.code == 4 and "train was not measured" in lines_of(call)["verdict"], call.out
    assert "train is not measured: cannot read" in call.err
    (data / "test.jsonl").unlink()
    call = verify_here(model(CARDS["no split"](0.9025), "other"), "--data", data)
    assert (call.code, call.out) == (2, "") and "test.jsonl" in call.err


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (
            "bleu=0.3",
            "unknown metric 'bleu'; known on emotion are accuracy, f1-macro, f1-micro, f1-weighted, f1",
        ),
        ("accuracy=0.9@dev2", "unknown split 'dev2'; known in emotion are train, validation, test"),
        ("accuracy=1.5", "may be a fraction or a percentage"),
        ("accuracy=1e999", "out of range"),
        ("accuracy=nan", "NaN"),
        ("accuracy=high", "not a number"),
        ("accuracy=>0.9", "a bound is not a value"),
        ("validation accuracy=0.9@test", "it names the splits test and validation"),
    ],
)
def test_claim_that_cannot_be_read_is_wrong_input(verify_small, model, claim, message):
    call = verify_small(model(), "--claim", claim)
    assert (call.code, call.out) == (2, "") and message in call.err
    assert call.err.startswith(f"script: --claim {claim}: ")


@pytest.mark.parametrize(
    "claim", ["accuracy", "=0.9", "accuracy=", "accuracy=0.9@", "accuracy>=0.9", "=", "@"]
)
def test_claim_of_another_form_is_wrong_usage(verify_small, model, claim):
    call = verify_small(model(), "--claim", claim)
    assert (call.code, call.out) == (2, "") and "must be METRIC=VALUE or METRIC=VALUE@SPLIT" in call.err


@pytest.mark.parametrize("flag", ["--junit", "--markdown", "--results", "--predictions"])
def test_output_that_cannot_be_written_is_wrong_input(verify_small, model, flag, tmp_path):
    (tmp_path / "file").write_text("")
    call = verify_small(flag, tmp_path / "file" / "x", model(write_card({"value": 0.9025})))
    assert (call.code, call.out) == (2, "") and flag in call.err


@pytest.mark.parametrize("flag", ["--junit", "--markdown"])
def test_folder_or_device_is_not_replaced_by_a_report(verify_small, model, flag, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        call = verify_small(flag, path, model(write_card({"value": 0.9025}), f"copy-{path.name}"))
        assert (call.code, call.out) == (2, "") and "it is not a regular file" in call.err
    assert pipe.is_fifo()


# ── What can be judged ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("claims", "code", "verdicts"),
    [
        ([{"value": 0.9, "dataset": "imdb"}], 4, ["not measured here"]),
        ([{"value": 1.5}], 4, ["claim underspecified"]),
        ([{"value": "> 0.8"}], 4, ["claim underspecified"]),
        ([{"value": 0.3, "metric": "loss"}], 4, ["not measured here"]),
        (
            [{"value": 1.5}, {"value": 0.9, "dataset": "imdb"}],
            4,
            ["claim underspecified", "not measured here"],
        ),
        ([{"value": 0.9, "dataset": "imdb"}, {"value": 0.9025}], 0, ["reproduced", "not measured here"]),
        (
            [{"value": 0.9025, "split": "validation"}, {"value": 0.95, "split": "test"}],
            3,
            ["overstated", "reproduced"],
        ),
    ],
)
def test_several_claims(verify_small, model, tmp_path, claims, code, verdicts):
    call = verify_small(model(write_card(*claims)), "--junit", tmp_path / "junit.xml")
    assert call.code == code, call.out + call.err
    assert len(call.out.splitlines()) <= 5
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    outcomes = {"reproduced": "system-out", "overstated": "failure"}
    assert [case[0].tag for case in suite] == [outcomes.get(verdict, "skipped") for verdict in verdicts]
    messages = [case[0].get("message", "reproduced: ") for case in suite]
    assert [message.partition(":")[0] for message in messages] == verdicts
    is_measured = any(verdict in ("reproduced", "overstated") for verdict in verdicts)
    assert bool(list(tmp_path.rglob("*.parquet"))) == is_measured


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"value": "> 0.8"}, '"> 0.8" is a bound, not a value'),
        ({"value": 1.5}, "1.5 may be a fraction or a percentage"),
        ({"value": 0.3, "metric": "loss"}, "loss is not measured on emotion, only accuracy, f1-macro"),
        ({"value": 0.8, "dataset": "imdb"}, "it is about imdb, the model is measured on emotion"),
    ],
)
def test_claim_that_is_not_judged_says_why(verify_small, model, claim, reason):
    assert reason in lines_of(verify_small(model(write_card(claim))))["verdict"]


def test_card_without_a_claim_is_nothing_to_judge(verify_small, model):
    for card in (None, "no metadata\n", "---\n: [\n---\n", write_card()):
        call = verify_small(model(card, name=f"copy-{hash(card)}"))
        assert call.code == 4 and "  verdict   nothing to judge: " in call.out, call.out
    assert "invalid front matter" in verify_small(model("---\n: [\n---\n")).out


def test_model_of_an_unmeasured_kind(verify_small, model):
    folder = model(write_card({"value": 0.9025}), "classifier")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertLMHeadModel"]}))
    call = verify_small(folder)
    assert call.code == 1 and "no task script measures the architecture BertLMHeadModel" in call.out
    (folder / "README.md").write_text(
        write_card({"value": 20.1, "metric": "perplexity", "dataset": "wikitext"})
    )
    call = verify_small(folder)
    assert call.code == 4 and "no task script measures the architecture BertLMHeadModel" in call.out


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("accuracy=0.9025@validation", "reproduced"),
        ("accuracy=90.25%", "reproduced"),
        ("accuracy=90.25@dev", "reproduced"),
        ("eval_accuracy=0.903", "close"),
        ("Accuracy (%)=92.25@validation", "overstated"),
        ("accuracy=0.85@test", "understated"),
    ],
)
def test_claim_of_the_caller_replaces_the_cards(verify_small, model, claim, verdict):
    call = verify_small(model(write_card({"value": 0.5})), "--claim", claim)
    lines = lines_of(call)
    assert lines["verdict"].startswith(f"{verdict}: "), call.out
    assert "(--claim, " in lines["claimed"] and "0.5 " not in lines["claimed"]


def test_rows_hold_the_cards_claims_also_where_the_caller_states_others(verify_small, model, tmp_path):
    verify_small(model(write_card({"value": 0.5})), "--claim", "accuracy=0.9025@test")
    rows = json.loads((tmp_path / "verified" / "EMOTION" / "sentiment-analysis.json").read_text())["rows"]
    assert [(row["split"], row["claims"][0]["value"]) for row in rows] == [("test", 0.5)]


def test_worst_of_several_models_counts_and_each_has_its_lines(verify_small, model, tmp_path):
    good, raised = (
        model(write_card({"value": value, "split": "test"}), str(value)) for value in (0.8885, 0.95)
    )
    broken = model(write_card({"value": 0.8885}), "broken")
    (broken / "config.json").unlink()
    call = verify_small(good, raised, good, "--junit", tmp_path / "junit.xml")
    assert call.code == 3 and call.out.count("  verdict   ") == 2
    names = [suite.get("name") for suite in ElementTree.parse(tmp_path / "junit.xml").getroot()]
    assert [Path(name).name for name in names] == ["0.8885", "0.95"]
    assert verify_small(raised, broken, good).code == 1
    assert verify_small(good, good).code == 0


# ── Measured once ─────────────────────────────────────────────────────────────────────────────────────────


def test_second_run_measures_nothing_again(verify_small, model, tmp_path, monkeypatch):
    folder = model(write_card({"value": 0.95, "split": "validation"}))
    first = verify_small(folder)
    outputs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    second = verify_small(folder)
    assert (second.code, second.out) == (first.code, first.out) == (3, first.out)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == outputs
    verify_small(folder, "--force")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} != outputs


def test_folders_may_be_relative_to_where_the_script_is_started(
    run_script, verifiable, model, monkeypatch, tmp_path
):
    import verify

    folder = model(write_card({"value": 0.95, "split": "validation"}))
    monkeypatch.chdir(tmp_path)
    flags = [
        "--data",
        verifiable / "data",
        "--results",
        "verified",
        "--predictions",
        "outputs",
        "--device",
        "cpu",
    ]
    with in_this_process(SimpleNamespace(folder=tmp_path, env={}), "http://127.0.0.1:9"):
        call = run_script(verify.main, folder.name, *flags)
    assert call.code == 3 and "unexplained" in call.out, call.out + call.err
    assert (tmp_path / "verified" / "explanations.json").exists() and list(
        (tmp_path / "outputs").rglob("*.parquet")
    )


def test_part_of_the_data_decides_nothing(verify_small, model):
    call = verify_small(model(write_card({"value": 0.5, "split": "test"})), "--limit", "50")
    assert call.code == 4
    lines = lines_of(call)
    assert (
        lines["verdict"] == "inconclusive: only 50 of 2,000 examples were measured, and a verdict needs all"
    )
    assert lines["model"].endswith("test 50 of 2,000 examples")


def test_outputs_lie_where_git_ignores_them():
    import verify

    if not (ROOT / ".git").exists():
        pytest.skip("not a clone of the repository")
    defaults = verify.make_parser().parse_args(["x"])
    for folder in (defaults.results, defaults.predictions):
        done = subprocess.run(["git", "check-ignore", "-q", folder / "x"], cwd=ROOT)
        assert done.returncode == 0, folder


# ── Other places for models and cards ─────────────────────────────────────────────────────────────────────


def test_claims_elsewhere_are_no_error_of_a_model_that_failed(verify_small, model, tmp_path):
    folder = model(write_card({"value": 0.9025}, {"value": 0.8, "dataset": "imdb"}))
    truncated(folder)
    call = verify_small(folder, "--junit", tmp_path / "junit.xml")
    assert call.code == 1
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [case[0].tag for case in suite] == ["error", "skipped"]


def test_model_of_a_hub_at_its_revision(verify_small, model):
    folder = model(write_card({"value": 0.9025, "split": "validation"}))
    with FakeHub(models={"ann/tiny": folder}) as hub:
        sha = hub.sha("models", "ann/tiny")
        call = verify_small(f"ann/tiny@{sha}", hub=hub.url)
        assert call.code == 0, call.out + call.err
        assert lines_of(call)["model"].startswith(f"ann/tiny @ {sha[:12]}  sentiment-analysis on emotion")
        call = verify_small("ann/tiny@0123", "ann/unknown", hub=hub.url)
    assert call.code == 1
    assert "failed to run: the Hub has no such revision of this model" in call.out
    assert "failed to run: the Hub has no such model" in call.out


def test_claim_in_the_cards_text_is_judged_with_its_line(verify_small, model):
    text = "\n| dataset | split | accuracy |\n|---|---|---|\n| emotion | test | 0.8885 |\n"
    call = verify_small(model(text))
    assert call.code == 0, call.out + call.err
    assert lines_of(call)["claimed"] == "accuracy 0.8885 (card text line 4, split test)"


def test_hostile_card_cannot_inject_into_any_output(verify_small, model, tmp_path):
    claims = [
        {"value": 0.9025, "split": "validation"},
        {"value": f"0.9 {HOSTILE}"},
        {"value": 0.9, "dataset": HOSTILE},
        {"value": 0.9, "metric": HOSTILE},
        {"value": 0.9025, "split": HOSTILE},
    ]
    card = write_card(*claims, text=f"# {HOSTILE}\n\naccuracy on emotion: 1e999 {HOSTILE}")
    card = card.replace('"value": 0.9025', '"value": 0.9025', 1).replace("0.9,", "1e999,", 1)
    junit, markdown = tmp_path / "junit.xml", tmp_path / "report.md"
    call = verify_small(model(card, "<b>|`x`"), "--junit", junit, "--markdown", markdown)
    assert call.code in (0, 3, 4), call.err
    assert len(call.out.splitlines()) <= 5 and all(line.isprintable() for line in call.out.splitlines())
    tags = {element.tag for element in ElementTree.parse(junit).getroot().iter()}
    assert tags <= {"testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"}
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown.read_text(encoding="utf-8"))
    inline = {child.type for token in tokens if token.type == "inline" for child in token.children}
    assert inline == {"text", "code_inline"} and tokens[-1].type == "fence"
    assert {"html_block", "heading_open"}.isdisjoint(token.type for token in tokens)


def test_data_of_each_data_set_may_lie_apart(verify_here, verifiable, model, tmp_path):
    folder = model(write_card({"value": 0.8885, "split": "test"}))
    call = verify_here(folder, "--data", f"coco={tmp_path}", "--data", f"emotion={verifiable / 'data'}")
    assert call.code == 0, call.out + call.err
    call = verify_here(folder, "--data", tmp_path, "--data", verifiable / "data")
    assert call.code == 2 and "DATASET=DIR" in call.err


# ── The README's CI job and pre-commit hook ───────────────────────────────────────────────────────────────


def commands(node: object) -> list[str]:
    """Collect the strings in some YAML that run verify.py."""
    if isinstance(node, str):
        return [node] if "verify.py " in node else []
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [command for item in inner for command in commands(item)]


def test_ci_job_and_hook_of_the_readme_are_yaml_and_their_commands_have_such_flags():
    import yaml

    import verify

    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    run = [command for block in blocks for command in commands(yaml.safe_load(block))]
    assert len(blocks) == len(run) == 2 and all(block.count("\n") <= 6 for block in blocks)
    for command in run:
        verify.make_parser().parse_args(shlex.split(command.partition("verify.py ")[2]))
