"""A text classifier of a few hundred weights with whole splits of emotion on which its accuracy is known."""

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import in_this_process
from emotion_models import WORDS
from harness.task import Data

NO_HUB = "http://127.0.0.1:9"  # nobody answers there
SIZES = {"validation": 2000, "test": 2000, "train": 16000}
ACCURACY = {"validation": 0.9025, "test": 0.8885, "train": 0.95}


@pytest.fixture(scope="session")
def verifiable(emotion_models, tmp_path_factory) -> Path:
    """A folder with `model` and `data`: as many texts of each class, the accuracy on each split is known."""
    import sentiment_analysis

    folder = tmp_path_factory.mktemp("verifiable")
    shutil.copytree(emotion_models / "good", folder / "model")
    (folder / "data").mkdir()
    by_class = texts_by_class(sentiment_analysis, folder / "model")
    draws = random.Random(0)
    for split, size in SIZES.items():
        labels = [number % len(by_class) for number in range(size)]
        texts = [draws.choice(by_class[label]) for label in labels]
        for place in draws.sample(range(size), size - round(ACCURACY[split] * size)):
            labels[place] = (labels[place] + draws.randrange(1, 6)) % 6
        with open(folder / "data" / f"{split}.jsonl", "w") as file:
            for text, label in zip(texts, labels, strict=True):
                file.write(json.dumps({"text": text, "label": label}) + "\n")
    return folder


def texts_by_class(task, model: Path) -> list[list[str]]:
    """Return texts of a few words that the model takes for each class."""
    import torch

    draws = random.Random(0)
    texts = [" ".join(draws.choices(WORDS, k=draws.randrange(1, 6))) for _ in range(20_000)]
    data = Data("test", "", "", texts, [0] * len(texts), len(texts))
    network = task.load_model(model, torch.device("cpu"), torch.float32)
    by_class = [[] for _ in range(6)]
    for batch in task.predict(network, data, task.TASK.protocols["standard"], 256):
        for index, logits in zip(batch.indices, batch.columns["logits"], strict=True):
            by_class[int(logits.argmax())].append(texts[index])
    assert all(by_class)
    return by_class


# ── Cards ─────────────────────────────────────────────────────────────────────────────────────────────────


def write_card(*claims: dict, tags: tuple[str, ...] = (), text: str = "") -> str:
    """Write a card with a result for each claim: metric, value, split, dataset."""
    results = []
    for claim in claims:
        dataset = {"type": claim.get("dataset", "emotion"), "name": claim.get("dataset", "emotion")}
        if "split" in claim:
            dataset["split"] = claim["split"]
        metric = {"type": claim.get("metric", "accuracy"), "value": claim["value"]}
        task = {"type": "text-classification"}
        results.append({"task": task, "dataset": dataset, "metrics": [metric]})
    metadata = {"tags": list(tags), "model-index": [{"name": "m", "results": results}]}
    return f"---\n{json.dumps(metadata)}\n---\n{text}\n"


def copy_model(source: Path, folder: Path, card: str | None = None) -> Path:
    """Copy a model, with another card."""
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8", errors="surrogatepass")
    return folder


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def verify_here(run_script, quiet_transformers, tmp_path):
    """Return a function (*arguments, folder=…, hub=…) -> Call that runs verify.py in this process."""
    import verify

    def call(*arguments: object, folder: Path = tmp_path, hub: str = NO_HUB):
        paths = ["--results", folder / "verified", "--predictions", folder / "predictions"]
        with in_this_process(SimpleNamespace(folder=folder, env={}), hub):
            return run_script(verify.main, *paths, "--device", "cpu", *arguments)

    return call
