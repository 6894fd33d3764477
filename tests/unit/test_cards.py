"""A card as a whole: claims of metadata and text as one list, and what it leaves open."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptm
from fake_hub import FakeHub
from project import ROOT
from scored.card_report import describe_card, missing_facts
from scored.cards import find_card, read_model_card
from scored.files import UserError
from scored.front_matter import read_front_matter

CARD = """---
datasets: [emotion]
model-index:
- name: m
  results:
  - task: {{type: text-classification}}
    dataset: {{type: emotion, name: emotion{split}}}
    metrics: [{{type: accuracy, value: {value}}}]
---
# m

It achieves the following results on the {where} set:
- Accuracy: 0.9250
"""


def read(value=0.925, split="", where="evaluation"):
    return read_model_card(CARD.format(value=value, split=split, where=where), "ann/m")


def test_a_value_that_the_text_repeats_is_one_claim():
    (claim,) = read().claims
    assert (claim.source, claim.line, claim.fraction, claim.contradicts) == ("model-index", 13, 0.925, None)


def test_more_digits_in_the_metadata_are_the_same_value():
    (claim,) = read(0.92504).claims
    assert (claim.fraction, claim.line) == (0.92504, 13)


def test_the_text_may_name_the_split_of_the_metadatas_claim():
    (claim,) = read(where="validation").claims
    assert (claim.split, claim.line) == ("validation", 13)


def test_a_value_that_contradicts_the_metadata_is_a_claim_of_its_own():
    stated, in_text = read(0.95).claims
    assert (stated.source, in_text.source) == ("model-index", "card text")
    assert (stated.contradicts, in_text.contradicts) == ("0.9250", 0.95)


def test_values_on_two_splits_do_not_contradict_each_other():
    stated, in_text = read(0.95, ", split: test", "validation").claims
    assert (stated.split, in_text.split) == ("test", "validation")
    assert stated.contradicts is None and in_text.contradicts is None


def test_what_a_reader_must_guess():
    claims = read().claims
    assert missing_facts(claims[0]) == ["split"]
    assert missing_facts(read(where="test").claims[0]) == []
    lines = describe_card(read())
    assert lines[0] == "accuracy 0.925 on emotion  (model-index and text, line 13)"
    assert "  missing: split" in lines


@pytest.mark.parametrize(
    "block",
    [
        "[",
        "a: &a [*a]",
        "!!python/object/apply:os.mkdir [x]",
        "[" * 30_000,
        "- 1",
        ": : :",
        "\x00",
        "license: !!bool foo",
        "a: !!int ''",
        "tags: !!timestamp foo",
        "datasets: !!float x",
    ],
)
def test_front_matter_of_any_kind_costs_itself_only_and_is_reported(block):
    with pytest.raises(ValueError):
        read_front_matter(f"---\n{block}\n---\n# m")
    card = read_model_card(f"---\n{block}\n---\n# m", "ann/m")
    assert card.has_invalid_metadata and card.claims == ()


def test_merge_keys_do_not_multiply():
    levels = ["a0: &a0 {x: 1}"]
    for level in range(1, 30):
        levels.append(f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}")
    with pytest.raises(ValueError, match="merge keys"):
        read_front_matter("---\n" + "\n".join(levels) + "\n---\n")


def test_a_share_of_1_is_not_another_value_rounded():
    values = CARD.replace("0.9250", "0.995").format(value=1, split="", where="evaluation")
    stated, in_text = read_model_card(values, "ann/m").claims
    assert (stated.fraction, in_text.fraction, in_text.contradicts) == (1.0, 0.995, 1)


def test_a_truncated_value_is_the_same_claim():
    (claim,) = read(0.92509).claims
    assert claim.fraction == 0.92509


def test_the_next_value_of_as_many_digits_is_a_contradiction():
    assert len(read(0.9251).claims) == 2 and len(read(0.9249).claims) == 2


@given(st.binary(max_size=300))
def test_a_card_of_any_bytes_is_read(content):
    text = content.decode(errors="replace")
    describe_card(read_model_card(text, "ann/m"))
    describe_card(read_model_card(f"---\n{text}\n---\n{text}", "ann/m"))


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def check(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["ptm.py", *map(str, arguments)])
    return ptm.main(), capsys.readouterr().out


def test_card_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    path = tmp_path / "README.md"
    path.write_text(CARD.format(value=0.925, split="", where="evaluation"))
    code, out = check(monkeypatch, capsys, "--card", path)
    assert code == 1 and "missing: split" in out
    path.write_text(CARD.format(value=0.925, split=", split: test, revision: abc", where="test"))
    code, out = check(monkeypatch, capsys, "--card", tmp_path)
    assert code == 0 and "missing" not in out and "revision" not in out


def test_markup_and_control_characters_of_a_card_are_not_printed(tmp_path, monkeypatch, capsys):
    path = tmp_path / "README.md"
    path.write_text("---\ndatasets: [emotion]\n---\n# m\n\n- Accuracy \x1b[2J: 0.93 and 0.94\n")
    _, out = check(monkeypatch, capsys, "--card", path)
    assert "\x1b" not in out


def test_card_of_a_model_on_the_hub(tmp_path, monkeypatch, capsys):
    """In a process of its own, since huggingface_hub reads HF_ENDPOINT when it is imported."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text(CARD.format(value=0.925, split=", split: test", where="test"))
    (folder / "config.json").write_text("{}")
    with FakeHub(models={"ann/m": folder}) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        runs = []
        for name in ("ann/m", "ann/nobody"):
            command = [sys.executable, ROOT / "ptm.py", "--card", name]
            runs.append(subprocess.run(command, env=env, capture_output=True, text=True))
    known, unknown = runs
    assert known.returncode == 0 and "split test" in known.stdout, known.stderr
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1
    assert "ann/nobody" in unknown.stderr and "no such model" in unknown.stderr


def test_card_command_reports_invalid_metadata(tmp_path, monkeypatch, capsys):
    path = tmp_path / "README.md"
    path.write_text("---\nmodel-index: [\n---\n# m\n")
    code, out = check(monkeypatch, capsys, "--card", path)
    assert code == 1 and "invalid front matter" in out


def test_card_that_is_not_in_the_cache_is_one_line_offline(tmp_path):
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, ROOT / "ptm.py", "--card", "ann/m"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "HF_HUB_OFFLINE" in done.stderr


@pytest.mark.parametrize("text", ["nobody.md", "../../etc/passwd.md", "a b"])
def test_card_that_is_neither_file_nor_id_is_an_error(text):
    with pytest.raises(UserError, match="no such file"):
        find_card(text)


def test_card_command_loads_nothing_heavy(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# m\n")
    code = f"import sys; sys.argv = ['ptm.py', '--card', {str(path)!r}]; import ptm; ptm.main(); "
    heavy = {"torch", "transformers", "huggingface_hub", "matplotlib", "pandas"}
    code += f"print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
