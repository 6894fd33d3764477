"""Are the F1s scikit-learn's, the predictions the plain pipeline's, and unfit models refused?"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

import sentiment_analysis as sentiment
from fake_hub import FakeHub
from harness import texts as texts_of
from harness.checkpoint import CannotMeasure
from harness.shards import read_predictions
from harness.task import Data
from scored.files import UserError
from scored.intervals import wilson

SCRIPT = Path(sentiment.__file__)
WORDS = ["im", "feeling", "rather", "sad", "happy", "loved", "angry", "scared", "surprised", "today"]
LABELS = sentiment.LABELS
GOLD = (0, 1, 2, 3, 4, 5, 0, 1, 1, 5)


def run(folder: Path, *words: object, **kwargs) -> tuple[subprocess.CompletedProcess, list[dict]]:
    paths = ["--results", folder / "rows.json", "--predictions", folder / "predictions"]
    command = [sys.executable, SCRIPT, *paths, *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **kwargs)
    rows = json.loads((folder / "rows.json").read_text())["rows"] if (folder / "rows.json").exists() else []
    return done, rows


def sklearn_scores(true, said) -> dict:
    averages = {f"f1-{how}": f1_score(true, said, average=how) for how in ("macro", "micro", "weighted")}
    return {"accuracy": accuracy_score(true, said)} | averages


# ── Scores ────────────────────────────────────────────────────────────────────────────────────────────────


def test_scores_are_sklearns_also_where_classes_are_absent():
    draw = np.random.default_rng(1)
    for size, classes in [(2000, 6), (50, 6), (7, 6), (9, 2), (1, 6), (300, 3)]:
        true, said = draw.integers(0, classes, (2, size))
        ours = sentiment.metrics_of(confusion_matrix(true, said, labels=range(6)))
        assert ours == pytest.approx(sklearn_scores(true, said), abs=1e-15), (size, classes)


def test_intervals_are_those_of_a_bootstrap_over_texts():
    draw = np.random.default_rng(2)
    true = draw.integers(0, 6, 400)
    said = np.where(draw.random(400) < 0.8, true, draw.integers(0, 6, 400))
    table = {"logits": np.eye(6)[said], "truncated": np.zeros(400, bool)}
    data = Data("test", "", "", [""] * 400, true.tolist(), 400)
    found = sentiment.score(Columns(table), data, sentiment.PROTOCOLS["standard"], {"labels": LABELS})
    drawn = [draw.integers(0, 400, 400) for _ in range(1000)]
    for name, how in (("f1-macro", "macro"), ("f1-weighted", "weighted")):
        values = [f1_score(true[i], said[i], average=how) for i in drawn]
        assert found["intervals"][name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.008)
        assert "bootstrap" in found["interval_method"][name]
    assert found["intervals"]["accuracy"] == wilson(int((true == said).sum()), 400)
    assert found["interval_method"]["accuracy"] == "Wilson"


class Columns(dict):
    """As much of an Arrow table as `score` reads."""

    def __getitem__(self, name):
        values = super().__getitem__(name)
        return type("Column", (), {"to_pylist": lambda _: values.tolist()})()


def test_labels_are_matched_by_name_then_by_index_or_not_at_all():
    assert sentiment.map_labels(["Joy", "SADNESS", "fear ", "love", "anger", "surprise"], "by name") == (
        [1, 0, 4, 2, 3, 5],
        "by name",
    )
    order, how = sentiment.map_labels([f"LABEL_{i}" for i in range(6)], "by name")
    assert order == [0, 1, 2, 3, 4, 5] and how.startswith("by index: the model calls")
    assert sentiment.map_labels(["?"] * 6, "by index")[0] == [0, 1, 2, 3, 4, 5]
    for names in (["joy"] * 6, ["happy", *LABELS[1:]], [f"LABEL_{i}" for i in (1, 0, 2, 3, 4, 5)]):
        with pytest.raises(CannotMeasure, match="are not those of emotion"):
            sentiment.map_labels(names, "by name")


# ── Models made for the test ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    """A folder of models of a few hundred weights, and `data/test.jsonl` with ten texts."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertForSequenceClassification,
        GPT2Config,
        GPT2ForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("zoo")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    padded = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")
    unpadded = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]")
    torch.manual_seed(0)

    def save(name: str, network=BertForSequenceClassification, labels=LABELS, **kwargs) -> Path:
        sizes = {"vocab_size": len(vocabulary), "hidden_size": 8, "intermediate_size": 8}
        sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8}
        config = BertConfig(**sizes, pad_token_id=0, **kwargs)
        config.id2label = dict(enumerate(labels))
        network(config).save_pretrained(folder / name)
        padded.save_pretrained(folder / name)
        return folder / name

    save("good", initializer_range=1.0)
    save("indexed", labels=[f"LABEL_{i}" for i in range(6)])
    save("renamed", labels=["happy", "sad", "in love", "angry", "afraid", "amazed"])
    save("two-labels", labels=["NEGATIVE", "POSITIVE"])
    save("other-task", BertForMaskedLM)
    corrupt = save("corrupt") / "model.safetensors"
    corrupt.write_bytes(corrupt.read_bytes()[:-100])
    config = json.loads((save("own-code") / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling.Evil"}
    (folder / "own-code" / "config.json").write_text(json.dumps(config))
    (folder / "own-code" / "modeling.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    gpt = GPT2Config(vocab_size=len(vocabulary), n_positions=32, n_embd=8, n_layer=1, n_head=2)
    gpt.id2label = dict(enumerate(LABELS))
    GPT2ForSequenceClassification(gpt).save_pretrained(folder / "no-padding")
    unpadded.save_pretrained(folder / "no-padding")

    (folder / "data").mkdir()
    texts = [" ".join(WORDS[: n % 10 + 1]) for n in range(10)]
    lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, GOLD, strict=True)]
    (folder / "data" / "test.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_models_that_cannot_be_measured_are_rows_that_say_why(zoo, tmp_path):
    names = ["renamed", "two-labels", "other-task", "corrupt", "own-code", "indexed"]
    done, rows = run(tmp_path, *(zoo / name for name in names), "--data", zoo / "data")
    assert done.returncode == 1 and "Traceback" not in done.stderr
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
    stage, why = errors.pop(("other-task", None))
    assert stage == "load" and "no weights for" in why and "not a model trained for this task" in why
    stage, why = errors.pop(("corrupt", None))
    assert stage == "load" and "SafetensorError" in why
    stage, why = errors.pop(("own-code", None))
    assert stage == "load" and why.startswith("it needs remote code, which is never executed")
    assert not errors and not (zoo / "ran").exists()
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
def test_the_code_in_a_pickle_does_not_run(zoo, tmp_path, zipped):
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    folder.mkdir()
    for path in (zoo / "good").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    done, rows = run(tmp_path / "clean", folder, "--data", zoo / "data", "--protocol", "scored-2022")
    assert done.returncode == 0, done.stderr  # plain tensors are read
    torch.save(weights | {"x": Payload(tmp_path / "ran")}, folder / "pytorch_model.bin",
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    done, rows = run(tmp_path / "evil", folder, "--data", zoo / "data", "--protocol", "scored-2022")
    assert done.returncode == 1 and rows[0]["stage"] == "load"
    assert rows[0]["error"].startswith("its pickled weights hold more than tensors")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran"))).close()
    assert (tmp_path / "ran").exists()  # the payload works where it is let


def test_long_texts_are_cut_at_what_the_model_takes_and_counted(zoo, tmp_path):
    done, rows = run(tmp_path, zoo / "good", "--data", zoo / "data", "--protocol", "standard")
    assert done.returncode == 0, done.stderr
    assert rows[0]["settings"]["preprocessing"]["max_length"] == 8  # of positions; two are [CLS] and [SEP]
    assert rows[0]["notes"]["truncated"] == 4  # the texts of 7, 8, 9 and 10 words
    assert rows[0]["examples"] == {"expected": 2000, "evaluated": 10}  # ten texts are not the whole split


def test_a_model_without_padding_is_run_text_by_text(zoo, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    done, rows = run(tmp_path, zoo / "no-padding", "--data", zoo / "data", "--protocol", "standard")
    assert done.returncode == 0, done.stderr
    assert rows[0]["settings"]["preprocessing"]["padding"] == "none: batches of one"
    table, _ = read_predictions(rows[0]["predictions"]["file"])
    net = AutoModelForSequenceClassification.from_pretrained(zoo / "no-padding").eval()
    tokenizer = AutoTokenizer.from_pretrained(zoo / "no-padding")
    for n, logits in enumerate(table["logits"].to_pylist()):
        with torch.inference_mode():
            expected = net(**tokenizer(" ".join(WORDS[: n % 10 + 1]), return_tensors="pt")).logits[0]
        assert logits == pytest.approx(expected.tolist(), abs=1e-5)


# ── Batches ───────────────────────────────────────────────────────────────────────────────────────────────


KINDS = (
    "bert roberta electra distilbert deberta-v2 mpnet modernbert big_bird albert gpt2 xlnet bart longformer"
    " funnel llama"
).split()


@pytest.fixture
def one_thread():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_an_architecture_answers_in_batches_as_text_by_text(zoo, one_thread, kind):
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    sizes = {"vocab_size": 14, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "max_position_embeddings": 64, "initializer_range": 0.5}
    sizes |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "num_labels": 6}
    if kind in ("xlnet", "funnel"):
        del sizes["max_position_embeddings" if kind == "xlnet" else "num_hidden_layers"]
    sizes |= {
        "albert": {"embedding_size": 16},
        "electra": {"embedding_size": 16},
        "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
        "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
        "bart": {
            "d_model": 16,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_layers": 2,
        }
        | {"decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "decoder_start_token_id": 2},
        "big_bird": {"attention_type": "original_full"},
        "longformer": {"attention_window": 8},
        "funnel": {"d_model": 16, "block_sizes": [1, 1], "n_head": 2, "d_head": 8, "d_inner": 24},
    }.get(kind, {})
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **sizes)).eval()
    tokenizer = AutoTokenizer.from_pretrained(zoo / "good", model_max_length=62)
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(WORDS, n)) for n in [*draw.integers(1, 5, 30), 20, 70]]
    model = texts_of.Classifier(net, tokenizer, torch.device("cpu"), 62, None, LABELS)
    data = Data("test", "", "", texts, [0] * len(texts), len(texts))
    found, batches = {}, 0
    for batch in sentiment.predict(model, data, sentiment.PROTOCOLS["standard"], 16):
        found |= dict(zip(batch.indices, batch.columns["logits"], strict=True))
        batches += 1
    assert batches < len(texts) / 3
    with torch.inference_mode():
        alone = [net(**tokenizer(t, truncation=True, return_tensors="pt")).logits[0].numpy() for t in texts]
    assert np.ptp(alone, axis=0).min() > 0.1  # the answers do differ
    np.testing.assert_allclose([found[i] for i in range(len(texts))], alone, rtol=1e-4, atol=1e-5)

    def padded(places: list[int]) -> dict:
        return tokenizer([texts[i] for i in places], padding=True, return_tensors="pt")

    short = min(range(len(texts)), key=lambda i: len(texts[i]))
    ignored = kind != "xlnet"  # which reads the last token, and this tokenizer pads on the right
    assert texts_of.padding_is_ignored(net, padded, short, 30) == ignored


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (None, "cannot read"),
        ("", "is empty"),
        ('{"text": "a", "label": 0}\n{"text": "b", "label": 6}', "line 2"),
        ('{"text": "a"}', "line 1"),
        ("[1, 2]", "line 1"),
        ("not json", "line 1"),
        ('{"text": 3, "label": 1}', "line 1"),
    ],
)
def test_data_that_cannot_be_read_are_named_with_what_to_do(tmp_path, lines, says):
    if lines is not None:
        (tmp_path / "test.jsonl").write_text(lines)
    with pytest.raises(UserError, match=says) as why:
        sentiment.load_data(tmp_path, "test")
    assert "train.jsonl, validation.jsonl and test.jsonl" in str(why.value)


def test_the_revision_of_data_is_that_of_their_content(tmp_path):
    file = tmp_path / "test.jsonl"

    def revision(*rows: dict) -> str:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return sentiment.load_data(tmp_path, "test").revision

    first = revision({"text": "a", "label": 0}, {"text": "b", "label": 1})
    assert first == revision({"label": 0, "text": "a"}, {"text": "b", "label": 1, "label_text": "joy"})
    other = revision({"text": "a", "label": 1}, {"text": "b", "label": 1})
    assert len({first, other, revision({"text": "a", "label": 0})}) == 3


def test_data_and_model_from_a_hub_at_known_commits(zoo, tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    texts, _ = texts_of.read_jsonl(zoo / "data" / "test.jsonl", 6, "")
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABELS)})
    data = Dataset.from_dict({"text": texts, "label": GOLD}, features=features)
    card = "---\nconfigs:\n- config_name: split\n  data_files:\n  - {split: test, path: split/test-*}\n---\n"
    (tmp_path / "emotion" / "split").mkdir(parents=True)
    (tmp_path / "emotion" / "README.md").write_text(card)
    data.to_parquet(tmp_path / "emotion" / "split" / "test-00000-of-00001.parquet")
    with FakeHub(
        models={"ann/good": zoo / "good"}, datasets={"dair-ai/emotion": tmp_path / "emotion"}
    ) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        done, rows = run(tmp_path / "hub", "ann/good", "--protocol", "scored-2022", env=env)
        assert done.returncode == 0, done.stderr
        assert rows[0]["dataset_revision"] == hub.sha("datasets", "dair-ai/emotion")
        assert rows[0]["revision"] == hub.sha("models", "ann/good")
    _, local = run(tmp_path, zoo / "good", "--data", zoo / "data", "--protocol", "scored-2022")
    assert rows[0]["metrics"] == local[0]["metrics"] and rows[0]["notes"]["data"] == "dair-ai/emotion"
    done, _ = run(tmp_path, zoo / "good", env=env)  # the Hub is gone
    assert done.returncode == 2 and "cannot get dair-ai/emotion from the Hub" in done.stderr


# ── The real thing ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.shared
def test_emotion_tiny_scores_what_its_card_claims_and_predicts_what_the_pipeline_predicts(shared, tmp_path):
    from transformers import pipeline

    model = shared / "models" / "emotion-tiny"
    done, rows = run(tmp_path, model, "--data", shared / "emotion")
    assert done.returncode == 0, done.stderr
    assert {(r["protocol"], r["split"], r["metrics"]["accuracy"]) for r in rows} == {
        ("standard", "validation", 0.9025),
        ("scored-2022", "test", 0.8885),
    }
    plain = pipeline("text-classification", str(model), device="cpu")
    for row in rows:
        data = sentiment.load_data(shared / "emotion", row["split"])
        table, _ = read_predictions(row["predictions"]["file"])
        logits = np.array(table["logits"].to_pylist())
        said = [LABELS.index(plain(text)[0]["label"]) for text in data.examples]  # one text at a time
        assert len(said) == 2000 and logits.argmax(1).tolist() == said
        assert row["metrics"] == sklearn_scores(data.targets, said)  # the same doubles
        assert row["examples"] == {"expected": 2000, "evaluated": 2000} and row["notes"]["truncated"] == 0
