"""sentiment_analysis.py end to end: what cannot be measured says why; texts are cut, and run one by one."""

import pickle
from pathlib import Path

import pytest

from emotion_models import WORDS
from harness.shards import read_predictions
from sentiment_analysis import TASK


def test_models_that_cannot_be_measured_say_why(emotion_models, measure):
    names = ["renamed", "two-labels", "other-task", "corrupt", "own-code", "indexed"]
    models = [emotion_models / name for name in names]
    call, rows = measure(TASK, *models, "--data", emotion_models / "data")
    assert call.code == 1
    errors = {(Path(r["model"]).name, r["protocol"]): (r["stage"], r["error"]) for r in rows if "error" in r}
    assert errors.pop(("renamed", "standard")) == (
        "score",
        "its labels happy, sad, in love, angry, afraid, amazed are not those of emotion:"
        " sadness, joy, love, anger, fear, surprise",
    )
    assert errors.pop(("two-labels", None)) == (
        "load",
        "it has 2 labels (NEGATIVE, POSITIVE) and emotion has 6",
    )
    stage, reason = errors.pop(("other-task", None))
    assert stage == "load" and "no weights for" in reason and "not a model trained for this task" in reason
    stage, reason = errors.pop(("corrupt", None))
    assert stage == "load" and "SafetensorError" in reason
    stage, reason = errors.pop(("own-code", None))
    assert stage == "load" and reason.startswith("it needs remote code, which is never executed")
    assert not errors and not (emotion_models / "ran").exists()
    measured = {(Path(r["model"]).name, r["protocol"]): r["notes"]["labels"] for r in rows if "metrics" in r}
    assert measured == {
        ("renamed", "scored-2022"): "by index, whatever the labels are called",
        ("indexed", "standard"): "by index: the model calls its labels LABEL_0 to LABEL_5",
        ("indexed", "scored-2022"): "by index, whatever the labels are called",
    }


class Payload:
    """What a malicious checkpoint holds: unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(emotion_models, measure, tmp_path, zipped):
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    folder.mkdir()
    for path in (emotion_models / "good").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    arguments = [folder, "--data", emotion_models / "data", "--protocol", "scored-2022"]
    torch.save(weights, file, _use_new_zipfile_serialization=zipped)
    call, rows = measure(TASK, *arguments)
    assert call.code == 0, call.err  # plain tensors are read
    torch.save(weights | {"x": Payload(tmp_path / "ran")}, file, _use_new_zipfile_serialization=zipped)
    (tmp_path / "rows.json").unlink()
    call, rows = measure(TASK, *arguments)
    assert call.code == 1 and rows[0]["stage"] == "load"
    assert rows[0]["error"].startswith("its pickled weights hold more than tensors, perhaps code")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran"))).close()
    assert (tmp_path / "ran").exists()  # the payload works where it is let


def test_long_texts_are_cut_at_what_the_model_takes_and_counted(emotion_models, measure):
    data = emotion_models / "data"
    call, rows = measure(TASK, emotion_models / "good", "--data", data, "--protocol", "standard")
    assert call.code == 0, call.err
    assert rows[0]["settings"]["preprocessing"]["max_length"] == 8  # of positions; two are [CLS] and [SEP]
    assert rows[0]["notes"]["truncated"] == 4  # the texts of 7, 8, 9 and 10 words
    assert rows[0]["examples"] == {"expected": 2000, "evaluated": 10}  # ten texts are not the whole split


def test_model_without_padding_is_run_text_by_text(emotion_models, measure):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = emotion_models / "no-padding"
    call, rows = measure(TASK, model, "--data", emotion_models / "data", "--protocol", "standard")
    assert call.code == 0, call.err
    assert rows[0]["settings"]["preprocessing"]["padding"] == "none: batches of one"
    table, _ = read_predictions(rows[0]["predictions"]["file"])
    net = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    for n, logits in enumerate(table["logits"].to_pylist()):
        with torch.inference_mode():
            expected = net(**tokenizer(" ".join(WORDS[: n % 10 + 1]), return_tensors="pt")).logits[0]
        assert logits == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.shared
def test_emotion_tiny_scores_what_its_card_claims(shared, measure):
    call, rows = measure(TASK, shared / "models" / "emotion-tiny", "--data", shared / "emotion")
    assert call.code == 0, call.err
    assert {(r["protocol"], r["split"], r["metrics"]["accuracy"]) for r in rows} == {
        ("standard", "validation", 0.9025),
        ("scored-2022", "test", 0.8885),
    }
    for row in rows:
        assert row["examples"] == {"expected": 2000, "evaluated": 2000} and row["notes"]["truncated"] == 0
