"""Texts: data sets of labeled texts, text classifiers, and batches that change no answer.

Used by sentiment_analysis.py.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.checkpoint import CannotMeasure, load_pretrained, refuse_remote_code
from harness.task import Batch, Data
from harness.threads import map_in_threads
from scored.benchmarks import Benchmark
from scored.files import UserError

# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def read_jsonl(file: Path, classes: int, needed: str) -> tuple[list[str], list[int]]:
    """Read texts and labels from lines of {"text": …, "label": 0 to classes - 1}.

    Raises UserError that names the line and what is `needed`.
    """
    try:
        content = file.read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}. {needed}") from error
    if not content:
        raise UserError(f"{file} is empty. {needed}")
    texts, labels = [], []
    for number, line in enumerate(content.split("\n"), 1):  # a text may hold other line breaks
        try:
            text, label = _parse_line(line, classes)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{file}, line {number}: {error!r}. {needed}") from error
        texts.append(text)
        labels.append(label)
    return texts, labels


def _parse_line(line: str, classes: int) -> tuple[str, int]:
    row = json.loads(line)
    text, label = row["text"], row["label"]
    if not isinstance(text, str) or type(label) is not int or not 0 <= label < classes:
        raise ValueError(f"text must be a string and label 0-{classes - 1}")
    text.encode()  # no tokenizer takes a lone surrogate, which is not a character
    return text, label


def load_from_hub(benchmark: Benchmark, split: str, needed: str) -> tuple[list[str], list[int], str]:
    """Load a split's texts and labels, and the commit they are from, from the Hub.

    Raises UserError, with what is `needed` instead, if the Hub does not answer or has other labels.
    """
    from datasets import load_dataset
    from huggingface_hub import HfApi

    hub_id = benchmark.hub_id
    try:
        revision = HfApi().dataset_info(hub_id, timeout=60).sha
        data = load_dataset(hub_id, benchmark.config, split=split, revision=revision)
    except Exception as error:  # the library raises many kinds if the Hub cannot be reached
        raise UserError(f"cannot get {hub_id} from the Hub: {error}. {needed}") from error
    names = data.features["label"].names
    if tuple(names) != benchmark.labels:
        raise UserError(f"{hub_id} at {revision} has other labels: {names}")
    return list(data["text"]), list(data["label"]), revision


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Classifier:
    """A network in eval mode on its device, and its tokenizer."""

    net: object
    tokenizer: object
    device: object
    max_length: int | None  # tokens to which its tokenizer cuts; None for any number
    positions: int | None  # tokens that the network takes; None for any number
    labels: list[str]  # in the order of the logits
    truncation_side: str = "right"  # on which its tokenizer cuts

    def limit(self, max_length: int | None = None) -> int | None:
        """Return the number of tokens to which texts are cut; None for no limit."""
        limits = [max_length or self.max_length, self.positions]
        return min([limit for limit in limits if limit], default=None)


def load(folder: Path, device, dtype, benchmark: Benchmark) -> Classifier:
    """Load a text classifier with one logit per label of a data set. Raises CannotMeasure."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    refuse_remote_code(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    labels = _read_labels(config.id2label)
    if len(labels) != len(benchmark.labels):
        some = ", ".join(labels[:8])
        expected = f"{benchmark.name} has {len(benchmark.labels)}"
        raise CannotMeasure(f"it has {len(labels)} labels ({some}) and {expected}")
    net = load_pretrained(AutoModelForSequenceClassification, folder, device, dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    vocabulary = set(tokenizer.vocab_files_names.values())
    if vocabulary and not any((folder / name).exists() for name in vocabulary):
        # transformers would make up an empty vocabulary
        raise CannotMeasure(f"it has no tokenizer ({' or '.join(sorted(vocabulary))})")
    length = tokenizer.model_max_length if tokenizer.model_max_length < 1_000_000 else None
    side = tokenizer.truncation_side
    return Classifier(net, tokenizer, device, length, _count_positions(net), labels, side)


def _read_labels(id2label: dict) -> list[str]:
    numbers = sorted(id2label)
    if numbers != list(range(len(numbers))):
        raise CannotMeasure("its labels are not numbered from 0, so it is unknown which output is which")
    return [str(id2label[number]) for number in numbers]


def _count_positions(net) -> int | None:
    """Count the tokens with a learned position; models like RoBERTa count them from the padding index."""
    counts = []
    for name, module in net.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            counts.append(module.num_embeddings - first)
    return min(counts, default=None)


def describe(model: Classifier) -> dict:
    """Return the labels in the order of the logits, the tokenizer, its limits and the padding."""
    padding = "to the longest text of the batch, where that changes no answer"
    if not can_batch(model):
        padding = "none: batches of one"
    elif model.device.type == "cpu":
        padding = "none: texts of one length share a batch"
    return {
        "labels": model.labels,
        "preprocessing": {
            "tokenizer": type(model.tokenizer).__name__,
            "max_length": model.limit(),
            "positions": model.positions,
            "truncation_side": model.truncation_side,
            "padding": padding,
        },
        "dtype": str(model.net.dtype),
    }


def can_batch(model: Classifier) -> bool:
    """Whether there is a padding token; some networks refuse two texts at a time without one."""
    return None not in (model.tokenizer.pad_token_id, getattr(model.net.config, "pad_token_id", None))


# ── Batches ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Tokens:
    """The tokenized texts of a shard."""

    model: Classifier
    columns: dict[str, list]  # the tokenizer's output: name -> a list of numbers per text
    truncated: frozenset[int]  # texts that are cut

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.columns["input_ids"]]

    def batch(self, indices: Sequence[int]) -> dict:
        """Make the network's inputs of some texts, longest first; padded only if their lengths differ."""
        import torch

        rows = {name: [values[i] for i in indices] for name, values in self.columns.items()}
        if len(rows["input_ids"][0]) != len(rows["input_ids"][-1]):
            padded = self.model.tokenizer.pad(rows, return_tensors="pt", verbose=False)
            return padded.to(self.model.device)
        return {name: torch.tensor(values, device=self.model.device) for name, values in rows.items()}


def tokenize(model: Classifier, texts: list[str], max_length: int | None, side: str | None) -> Tokens:
    """Tokenize texts; cut those that are longer than `max_length` or than the model takes, on this side."""
    limit = model.limit(max_length)
    model.tokenizer.truncation_side = side or model.truncation_side
    columns = dict(model.tokenizer(texts, verbose=False))
    truncated = []
    for i, ids in enumerate(columns["input_ids"]):
        if limit and len(ids) > limit:
            truncated.append(i)
    for i in truncated:
        for name, values in model.tokenizer(texts[i], truncation=True, max_length=limit).items():
            columns[name][i] = values
    return Tokens(model, columns, frozenset(truncated))


def predict(
    model: Classifier, data: Data, max_length: int | None, side: str | None, batch_size: int
) -> Iterator[Batch]:
    """Yield each text's float32 logits (n, labels), its hash and label, longest texts first.

    Longer texts lose their end, or their beginning: on the tokenizer's own `side`, where none is given.
    """
    import torch

    texts = list(data.examples)
    tokens = tokenize(model, texts, max_length, side)

    def compute(indices: Sequence[int]) -> Batch:
        with torch.inference_mode():
            logits = model.net(**tokens.batch(indices)).logits
        columns = {
            "hash": [hashlib.sha256(texts[i].encode()).hexdigest() for i in indices],
            "label": [data.targets[i] for i in indices],
            "logits": logits.float().cpu().numpy(),
            "truncated": [i in tokens.truncated for i in indices],
        }
        return Batch(indices, columns)

    yield from map_in_threads(compute, _make_batches(tokens, batch_size), model.device)


def _make_batches(tokens: Tokens, batch_size: int) -> list[list[int]]:
    """Group the texts into batches, longest first; by length, unless padding is shown to change no answer."""
    model, lengths = tokens.model, tokens.lengths
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    size = batch_size if can_batch(model) else 1
    by_length = model.device.type == "cpu" or size == 1
    if by_length or not padding_is_ignored(model.net, tokens.batch, order[-1], order[0]):
        groups = [list(group) for _, group in itertools.groupby(order, lengths.__getitem__)]
    else:
        groups = [order]
    batches = []
    for group in groups:
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def padding_is_ignored(net, make_batch: Callable, short: int, long: int) -> bool:
    """Whether a text has the same logits by itself and padded: not so for an XLNet padded on the right."""
    import torch

    with torch.inference_mode():
        single = net(**make_batch([short])).logits[0]
        padded = net(**make_batch([long, short])).logits[1]
    noise = torch.finfo(single.dtype).eps ** 0.5
    return torch.allclose(single, padded, rtol=noise, atol=noise)
