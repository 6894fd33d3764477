"""Small models of the three tasks with their data, and copies with faults."""

import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

import detection
import image_classification
import sentiment_analysis
from harness import coco
from harness.imagenet import synsets
from harness.task import Data


def places(node: dict | list) -> list[tuple]:
    """All places of some JSON: (the object or list, the key or index in it)."""
    inner = [(node, key) for key in (node if isinstance(node, dict) else range(len(node)))]
    return inner + [
        at for node, key in inner if isinstance(node[key], (dict, list)) for at in places(node[key])
    ]


def photo(width: int = 30, height: int = 20) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


COCO = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "height": 20, "width": 30} for n in (1, 2)],
    "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {"id": n, "image_id": n, "category_id": c, "bbox": [1.5, 1, 9, 9], "area": 81, "iscrowd": 0}
        for n, c in ((1, 1), (2, 3))
    ],
}


def coco_folder(folder, text: str):
    """A data folder of COCO's layout with this annotation file."""
    for name in ("annotations", "val2017"):
        (folder / name).mkdir(exist_ok=True)
    for n in (1, 2):
        (folder / "val2017" / f"{n}.jpg").write_bytes(encoded(photo(), "JPEG"))
    (folder / "annotations" / "instances_val2017.json").write_text(text, errors="surrogatepass")
    return folder


PARTS_OF = {"text": sentiment_analysis, "image": image_classification, "boxes": detection}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder with a model of a few hundred weights for each task, and two pictures."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        PreTrainedTokenizerFast,
        ViTConfig,
        ViTForImageClassification,
        ViTImageProcessorPil,
        YolosConfig,
        YolosForObjectDetection,
        YolosImageProcessorPil,
    )

    folder, threads = tmp_path_factory.mktemp("zoo"), torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vocabulary = {word: i for i, word in enumerate("[PAD] [UNK] [CLS] i feel happy and sad".split())}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder / "text"
    )
    config = BertConfig(**tiny, vocab_size=len(vocabulary), max_position_embeddings=16, pad_token_id=0)
    config.id2label = dict(enumerate(sentiment_analysis.LABELS))
    BertForSequenceClassification(config).save_pretrained(folder / "text")
    config = ViTConfig(**tiny, image_size=32, patch_size=16)
    config.id2label = dict(enumerate(synsets().values()))
    ViTForImageClassification(config).save_pretrained(folder / "image")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder / "image")
    config = YolosConfig(**tiny, image_size=[64, 64], patch_size=16, num_detection_tokens=5)
    config.id2label = {0: "person", 1: "cat"}
    YolosForObjectDetection(config).save_pretrained(folder / "boxes")
    YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder / "boxes")
    yield folder
    torch.set_num_threads(threads)


def examples(kind: str, folder, texts: list[str] | None = None) -> Data:
    """Two examples of a task's data."""
    files = [folder / f"{n}.png" for n in (1, 2)]
    for file in files:
        file.write_bytes(encoded(photo(), "PNG"))
    if kind == "text":
        texts = texts or ["i feel happy", "and sad"]
        return Data("test", "", "", texts, [1] * len(texts), len(texts))
    if kind == "image":
        return Data("validation", "", "", list(map(str, files)), [0, 1], 2)
    marks = [[{"category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}]] * 2
    about = {"categories": {1: "person", 3: "cat"}}
    return Data("validation", "", "", [(n, str(f), 20, 30) for n, f in enumerate(files)], marks, 2, about)


def measure(kind: str, folder, data: Data, dtype="float32") -> dict[str, dict]:
    """Protocol -> scores, through what a model's own process does; raises what becomes the row's error."""
    import torch

    task = PARTS_OF[kind].TASK
    model = task.load_model(folder, torch.device("cpu"), getattr(torch, dtype, dtype))
    about, tables, places = task.describe(model), [], []
    json.dumps(about, allow_nan=False)
    for batch in task.predict(model, data, next(iter(task.protocols.values())), 2):
        assert not batch.unreadable
        columns = {k: list(v) if isinstance(v, np.ndarray) else v for k, v in batch.columns.items()}
        tables.append(pa.table(columns))
        places += batch.indices
    assert sorted(places) == list(range(len(data.examples)))
    table = pa.concat_tables(tables).append_column("example", pa.array(places)).sort_by("example")
    result = {name: task.score(table, data, protocol, about) for name, protocol in task.protocols.items()}
    for scores in result.values():
        json.dumps(scores, allow_nan=False)
        assert all(0 <= value <= 1 for value in scores["metrics"].values())
    return result


def give_intervals(monkeypatch) -> None:
    """Let COCO's numbers have intervals on any number of images, from few draws."""
    monkeypatch.setattr(coco, "HALVES", 2)
    monkeypatch.setattr(coco, "MIN_IMAGES", dict.fromkeys(coco.MIN_IMAGES, 1))


@pytest.fixture
def altered(zoo, tmp_path, monkeypatch):
    """A copy of a model with other files: name -> bytes, a JSON list, changed keys of its JSON, or None."""
    give_intervals(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def copy(kind: str, **files):
        folder = tmp_path / kind
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(zoo / kind, folder)
        for name, content in files.items():
            path = folder / {"config": "config.json", "weights": "model.safetensors"}.get(name, name)
            if content is None:
                path.unlink()
            elif isinstance(content, dict):
                path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | content))
            else:
                path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return folder

    return copy
