"""How well does a model tell the six emotions of `dair-ai/emotion` apart?

Reads the splits from `--data` (or the Hub) and models in transformers format; writes rows to
`results/EMOTION/sentiment-analysis.json` and every text's logits to `predictions/EMOTION/`.

    python reproducibility/sentiment_analysis.py MODEL --data FOLDER
"""

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.checkpoint import CannotMeasure, digest, load_pretrained, refuse_remote_code
from harness.process import map_in_threads
from harness.runner import main
from harness.task import CLAIM, Batch, Data, Task
from scored.files import UserError
from scored.intervals import wilson

LABELS = ["sadness", "joy", "love", "anger", "fear", "surprise"]  # the data set's order
SIZES = {"train": 16000, "validation": 2000, "test": 2000}
DATASET, CONFIG = "dair-ai/emotion", "split"
DATA_HELP = (
    "a folder with train.jsonl, validation.jsonl and test.jsonl, one text a line as"
    ' {"text": "i feel fine", "label": 1}, labels 0-5 = sadness, joy, love, anger, fear, surprise;'
    f" download config `{CONFIG}` of the Hub's {DATASET}, or leave --data out where the Hub can be reached"
)
RESAMPLES = 2000
BY_NAME, BY_INDEX = "by name", "by index"


@dataclass(frozen=True)
class Protocol:
    """Every choice between weights and metric."""

    split: str
    labels: str | tuple  # BY_NAME: matched by what they are called; BY_INDEX: by position; or their classes
    max_length: int | None = None  # tokens to which texts are cut; None: what the model takes
    prediction: str = "highest logit"


PROTOCOLS = {
    "standard": Protocol(split=CLAIM, labels=BY_NAME),
    "scored-2022": Protocol(split="test", labels=BY_INDEX),
}


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def load_data(path: Path | None, split: str) -> Data:
    """The texts and labels of a split, from `<path>/<split>.jsonl` or from the Hub. Raises UserError."""
    if path is None:
        texts, labels, revision = from_hub(split)
        return Data(split, revision, DATASET, texts, labels, SIZES[split])
    texts, labels = from_file(Path(path) / f"{split}.jsonl")
    return Data(split, f"sha256:{digest(texts, labels)}", "local folder", texts, labels, SIZES[split])


def from_file(file: Path) -> tuple[list[str], list[int]]:
    try:
        content = file.read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as why:
        raise UserError(f"cannot read {file}: {why}. --data is {DATA_HELP}") from why
    texts, labels = [], []
    for number, line in enumerate(content.split("\n") if content else [], 1):  # a text may hold other breaks
        try:
            row = json.loads(line)
            text, label = row["text"], row["label"]
            if not isinstance(text, str) or type(label) is not int or not 0 <= label < len(LABELS):
                raise ValueError("text must be a string and label 0-5")
            text.encode()  # a lone surrogate is no character, and no tokenizer takes it
        except (ValueError, KeyError, TypeError, RecursionError) as why:
            raise UserError(f"{file}, line {number}: {why!r}. --data is {DATA_HELP}") from why
        texts.append(text)
        labels.append(label)
    if not texts:
        raise UserError(f"{file} is empty. --data is {DATA_HELP}")
    return texts, labels


def from_hub(split: str) -> tuple[list[str], list[int], str]:
    from datasets import load_dataset
    from huggingface_hub import HfApi

    try:
        revision = HfApi().dataset_info(DATASET, timeout=60).sha
        data = load_dataset(DATASET, CONFIG, split=split, revision=revision)
    except Exception as why:  # the library raises of many kinds for a Hub out of reach
        raise UserError(f"cannot get {DATASET} from the Hub: {why}. Give --data: {DATA_HELP}") from why
    if data.features["label"].names != LABELS:
        raise UserError(f"{DATASET} at {revision} has other labels: {data.features['label'].names}")
    return list(data["text"]), list(data["label"]), revision


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Classifier:
    net: object
    tokenizer: object
    device: object
    max_length: int | None  # tokens to which its tokenizer cuts; None for any number
    positions: int | None  # tokens that the network takes; None for any number
    labels: list[str]  # in the order of the logits


def load_model(folder: Path, device, dtype) -> Classifier:
    """A text classifier with one logit per emotion. Raises CannotMeasure for any other model."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    refuse_remote_code(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise CannotMeasure(
            "its labels are not numbered from 0 on, so that nobody can tell which output is which"
        )
    labels = [str(config.id2label[i]) for i in sorted(config.id2label)]
    if len(labels) != len(LABELS):
        some = ", ".join(labels[:8])
        raise CannotMeasure(f"it has {len(labels)} labels ({some}) and emotion has {len(LABELS)}")
    net = load_pretrained(AutoModelForSequenceClassification, folder, device, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    needed = set(tokenizer.vocab_files_names.values())
    if needed and not any((folder / name).exists() for name in needed):  # transformers makes up an empty one
        raise CannotMeasure(f"it has no tokenizer ({' or '.join(sorted(needed))})")
    length = tokenizer.model_max_length if tokenizer.model_max_length < 1_000_000 else None
    return Classifier(net, tokenizer, device, length, min(positions(net), default=None), labels)


def positions(net) -> Iterator[int]:
    """How many tokens have a learned position; models like RoBERTa count positions from the padding index."""
    for name, module in net.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            yield module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)


def describe(model: Classifier) -> dict:
    return {
        "labels": model.labels,
        "preprocessing": {
            "tokenizer": type(model.tokenizer).__name__,
            "max_length": min([n for n in (model.max_length, model.positions) if n], default=None),
            "positions": model.positions,
            "padding": "none: batches of one"
            if not can_batch(model)
            else "none: texts of one length share a batch"
            if model.device.type == "cpu"
            else "to the longest text of the batch, where that changes no answer",
        },
        "dtype": str(model.net.dtype),
    }


def can_batch(model: Classifier) -> bool:
    """Without a padding token some networks refuse two texts at a time."""
    return None not in (model.tokenizer.pad_token_id, getattr(model.net.config, "pad_token_id", None))


def predict(model: Classifier, data: Data, protocol: Protocol, batch_size: int) -> Iterator[Batch]:
    """Float32 logits (n, labels) of every text; longest first, so that like lengths share a batch."""
    import torch

    limit = min([n for n in (protocol.max_length or model.max_length, model.positions) if n], default=None)
    texts = list(data.examples)
    tokens = dict(model.tokenizer(texts, verbose=False))  # name -> a list for each text
    cut = [i for i, ids in enumerate(tokens["input_ids"]) if limit and len(ids) > limit]
    for i in cut:
        for name, values in model.tokenizer(texts[i], truncation=True, max_length=limit).items():
            tokens[name][i] = values
    lengths = [len(ids) for ids in tokens["input_ids"]]
    order = sorted(range(len(texts)), key=lambda i: -lengths[i])
    truncated, on_cpu = set(cut), model.device.type == "cpu"

    def inputs(places: Sequence[int]) -> dict:
        batch = {name: [values[i] for i in places] for name, values in tokens.items()}
        if lengths[places[0]] != lengths[places[-1]]:
            return model.tokenizer.pad(batch, return_tensors="pt", verbose=False).to(model.device)
        return {name: torch.tensor(values, device=model.device) for name, values in batch.items()}

    def answer(places: Sequence[int]) -> Batch:
        with torch.inference_mode():
            logits = model.net(**inputs(places)).logits
        columns = {
            "hash": [hashlib.sha256(texts[i].encode()).hexdigest() for i in places],
            "label": [data.targets[i] for i in places],
            "logits": logits.float().cpu().numpy(),
            "truncated": [i in truncated for i in places],
        }
        return Batch(places, columns)

    size = batch_size if can_batch(model) else 1
    if on_cpu or size == 1 or not padding_is_ignored(model.net, inputs, order[-1], order[0]):
        # texts of one length are to the network what a single text is
        groups = [list(group) for _, group in itertools.groupby(order, lengths.__getitem__)]
    else:
        groups = [order]
    batches = [group[start : start + size] for group in groups for start in range(0, len(group), size)]
    with first_token_only(model.net, inputs(order[:1])) if on_cpu else contextlib.nullcontext():
        yield from map_in_threads(answer, batches, model.device)


def padding_is_ignored(net, inputs: Callable, short: int, long: int) -> bool:
    """Whether a text is answered alike alone and padded: an XLNet that is padded on the right is not."""
    import torch

    with torch.inference_mode():
        alone, padded = net(**inputs([short])).logits[0], net(**inputs([long, short])).logits[1]
    noise = torch.finfo(alone.dtype).eps ** 0.5
    return torch.allclose(alone, padded, rtol=noise, atol=noise)


@contextlib.contextmanager
def first_token_only(net, probe: dict) -> Iterator[None]:
    """Spares the last layer the tokens that nobody reads, where the head reads the first alone (as BERT's).

    Behind the last attention no token hears of another any more. That is proven for each model, not assumed:
    where all others are NaN from there on, the logits of `probe` (one text) must stay as they are to the bit.
    """
    import torch

    shape, reached = probe["input_ids"].shape, []

    def poison(_, values: tuple) -> tuple:
        reached.append(all(value.shape[:2] == shape for value in values) and len(values) > 0)
        first = torch.arange(shape[1])[:, None] == 0
        return tuple(value.where(first, torch.nan) for value in values)

    def cut(_, values: tuple) -> tuple:
        return tuple(value[:, :1] for value in values)

    def logits(module=net, change: Callable = lambda *_: None):
        hook = module.register_forward_pre_hook(change)
        try:
            with torch.inference_mode():
                return net(**probe).logits
        except Exception:  # no module that works token by token
            return torch.tensor(torch.nan)
        finally:
            hook.remove()

    expected, hook = logits(), None
    norms = [name for name, module in net.named_modules() if isinstance(module, torch.nn.LayerNorm)]
    for name in [place for norm in norms[-2:-1] for place in (norm.rpartition(".")[0], norm)]:
        module = net.get_submodule(name)  # what takes up the last attention's output, or the norm in it
        reached.clear()
        same = torch.equal(logits(module, poison), expected) and reached == [True]
        if same and torch.allclose(logits(module, cut), expected, rtol=1e-4, atol=1e-5):
            hook = module.register_forward_pre_hook(cut)
            break
    try:
        yield
    finally:
        if hook:
            hook.remove()


# ── Scores ────────────────────────────────────────────────────────────────────────────────────────────────


def label_order(names: list[str], how: str) -> tuple[list[int], str]:
    """For each of a model's labels the data set's index, and how it was found. Raises CannotMeasure."""
    if not isinstance(how, str):
        return list(how), "in a given order"
    if how == BY_INDEX:
        return list(range(len(LABELS))), "by index, whatever the labels are called"
    if all(re.fullmatch(rf"label_{i}", name, re.IGNORECASE) for i, name in enumerate(names)):
        return list(range(len(LABELS))), "by index: the model calls its labels LABEL_0 to LABEL_5"
    known = [name.strip().casefold() for name in names]
    if sorted(known) != sorted(LABELS):
        raise CannotMeasure(f"its labels {', '.join(names)} are not those of emotion: {', '.join(LABELS)}")
    return [LABELS.index(name) for name in known], "by name"


def scores_of(confusion) -> dict:
    """Accuracy and F1s from confusion matrices (..., true, predicted): arrays (...).

    As in scikit-learn, a class that is neither among the targets nor the predictions does not count.
    """
    import numpy as np

    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, said = confusion.sum(-1), confusion.sum(-2)
    f1 = 2 * hits / np.maximum(true + said, 1)
    n, classes = true.sum(-1), (true + said > 0).sum(-1)
    accuracy = hits.sum(-1) / n
    return {
        "accuracy": accuracy,
        "f1-macro": f1.sum(-1) / classes,
        "f1-micro": accuracy,  # one label a text: every false positive is another class's false negative
        "f1-weighted": (f1 * true).sum(-1) / n,
    }


def score(table, data: Data, protocol: Protocol, about: dict) -> dict:
    """Accuracy, macro, micro and weighted F1 with 95 % intervals, from logits (n, labels) and labels (n)."""
    import numpy as np

    order, found = label_order(about["labels"], protocol.labels)
    logits = np.array(table["logits"].to_pylist())
    if not np.isfinite(logits).all():
        raise CannotMeasure(f"{(~np.isfinite(logits)).any(1).sum()} texts have logits that are not finite")
    said, true = np.array(order)[logits.argmax(1)], np.array(data.targets)
    confusion = np.zeros((len(LABELS), len(LABELS)), int)
    np.add.at(confusion, (true, said), 1)
    n, hits = len(true), int(np.trace(confusion))
    samples = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, size=RESAMPLES)
    ends = {
        k: np.quantile(v, [0.025, 0.975]).tolist() for k, v in scores_of(samples.reshape(-1, 6, 6)).items()
    }
    method = f"percentile bootstrap over texts, {RESAMPLES} resamples, seed 0"
    exact = dict.fromkeys(("accuracy", "f1-micro"), wilson(hits, n))
    return {
        "metrics": {name: float(value) for name, value in scores_of(confusion).items()},
        "intervals": ends | exact,
        "interval_method": {name: "Wilson" if name in exact else method for name in ends},
        "labels": found,
        "truncated": sum(table["truncated"].to_pylist()),
    }


def answers(table, data: Data, protocol: Protocol, about: dict) -> tuple:
    """Which head answered each text (n), which class is right (n), which class each head declares (6)."""
    import numpy as np

    said = np.array(table["logits"].to_pylist()).argmax(1)
    return said, np.array(data.targets), label_order(about["labels"], protocol.labels)[0]


def class_names(data: Data) -> dict[int, str]:
    return dict(enumerate(LABELS))


FACTORS = {"labels": "label order", "max_length": "truncation"}  # what explain.py calls the choices

TASK = Task(
    name="sentiment-analysis",
    dataset="emotion",
    protocols=PROTOCOLS,
    forward_fields=("max_length",),
    batch_size={"cpu": 64, "cuda": 512},
    load_data=load_data,
    load_model=load_model,
    describe=describe,
    predict=predict,
    score=score,
    data_help=DATA_HELP,
    shard_size=2000,  # the texts of a split, but for the training split
)

if __name__ == "__main__":
    main(TASK)
