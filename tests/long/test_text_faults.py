"""Faults of a text classifier end to end: one run per kind; a cause only where there is one."""

import pytest

from faults import change_weights, claiming, edit, faulty, noise, permute

pytestmark = pytest.mark.shared
TRUE = claiming("accuracy", 0.9025, "emotion", split="validation")
WORDS, WEIGHT, BIAS = "bert.embeddings.word_embeddings.weight", "classifier.weight", "classifier.bias"


def cut(tokens, side):
    """Cut texts, and lose their end (right) or their beginning (left)."""
    change = {"model_max_length": tokens, "truncation_side": side}
    return edit("tokenizer_config.json", lambda config: config.update(change))


def lean(weights):
    weights[BIAS][4] += 8


def collapse(weights):
    weights[WEIGHT] *= 0.01


def forget(weights):
    import torch

    weights[WEIGHT].normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    weights[BIAS].zero_()


def shift_vocabulary(weights):
    weights[WORDS] = weights[WORDS].roll(1, 0)


def skip_a_layer(weights):
    for name, value in weights.items():
        if "layer.1." in name and name.endswith(("output.dense.weight", "output.dense.bias")):
            value.zero_()


@pytest.mark.parametrize(
    "fault",
    [
        change_weights(lean),
        change_weights(collapse),
        change_weights(forget),
        change_weights(shift_vocabulary),
        change_weights(skip_a_layer),
        noise(1.0),
        claiming("accuracy", 0.7825, "emotion", split="validation"),
        claiming("accuracy", 0.9825, "emotion"),
    ],
    ids=["leaning", "collapsed", "untrained", "vocabulary", "layer", "noise", "low claim", "high claim"],
)
def test_fault_that_no_repair_undoes_has_no_cause(shared, explain_here, tmp_path, fault):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", TRUE, fault)
    explanation = explain_here(model, shared / "emotion", "--seen", "standard")
    assert explanation["verdict"] in ("overstated", "understated")
    assert explanation["causes"] == [] and explanation["named"] == ["unexplained"]
    assert explanation["tried"][0] == "split"


def test_true_claims_on_two_splits_have_nothing_to_explain(shared, explain_all, tmp_path):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy")
    card = model / "README.md"
    test = "  - dataset: {type: dair-ai/emotion, name: emotion, split: test}\n"
    test += "    metrics: [{type: accuracy, value: 0.8885}]\n---\n\n# emotion-tiny"
    card.write_text(card.read_text().replace("---\n\n# emotion-tiny", test))
    for flags, verdicts in [
        ((), ["agrees under scored-2022", "inconclusive"]),
        (("--seen", "standard"), ["reproduced", "reproduced"]),
    ]:
        explanations = explain_all(model, shared / "emotion", *flags)
        assert [explanation["claim"]["fraction"] for explanation in explanations] == [0.8885, 0.9025]
        assert [explanation["verdict"] for explanation in explanations] == verdicts
        assert not any(explanation["causes"] or explanation["named"] for explanation in explanations)


@pytest.mark.parametrize(
    ("fault", "causes"),
    [
        (permute(0, 1, 2, 3, 4, 5), ["label order"]),
        (permute(2, 5), ["label order"]),
        (edit("tokenizer_config.json", lambda config: config.update(model_max_length=8)), ["truncation"]),
    ],
    ids=["cycle", "swapped pair", "truncation"],
)
def test_fault_that_a_repair_undoes_is_found(shared, explain_here, tmp_path, fault, causes):
    model = faulty(shared / "models" / "emotion-tiny", tmp_path / "copy", TRUE, fault)
    explanation = explain_here(model, shared / "emotion", "--seen", "standard")
    assert explanation["named"] == [cause["factor"] for cause in explanation["causes"]] == causes
    assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-9)


def test_other_side_of_texts_that_is_cut_is_found(shared, explain_here, tmp_path):
    """The claim is the value with their beginning cut, which says less than their end."""
    original, data, flags = shared / "models" / "emotion-tiny", shared / "emotion", ("--seen", "standard")
    left = explain_here(faulty(original, tmp_path / "left", TRUE, cut(6, "left")), data, *flags)
    claim = claiming("accuracy", left["seen"]["value"], "emotion", split="validation")
    explanation = explain_here(faulty(original, tmp_path / "right", claim, cut(6, "right")), data, *flags)
    assert explanation["named"] == ["truncation side"]
    assert explanation["unexplained_points"] == pytest.approx(0, abs=1e-9)
