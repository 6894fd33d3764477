"""What do a task script and the harness hand each other? The words between them; nothing here runs a model.

A task script builds a `Task` and gives it to `harness.start`. It finds all of this in `harness`, and imports
nothing else of the project's.
"""

import contextlib
import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

LIBRARIES = "torch transformers tokenizers safetensors huggingface_hub datasets numpy pillow pyarrow hotcoco"
CLAIM = "claim"  # a protocol's split: the one that the model's claim names


class StageError(Exception):
    """What went wrong with a model and at which stage: resolve, data, download, load, predict or score."""

    def __init__(self, stage: str, reason: str, crashed: bool = False):
        super().__init__(reason)
        self.stage, self.reason, self.crashed = stage, reason, crashed


@dataclass(frozen=True)
class Data:
    """Examples and targets of one split, in the split's own order (or a subset of them, in that order)."""

    split: str
    revision: str  # commit SHA of a Hub data set, or "sha256:" and the hash of the content
    source: str  # where it was read, in words that hold on any machine: "dair-ai/emotion", "local folder"
    examples: Sequence  # what `predict` needs of each: a text, a file's path
    targets: Sequence  # what `score` needs of each: a label, a list of annotations
    expected: int  # examples in the full split
    about: dict = field(default_factory=dict)  # what belongs to the split as a whole, such as categories
    index: Sequence[int] = ()  # place of each example in the full split; empty for all of them
    hashes: Sequence[str] = ()  # of each example's content, where it was read; "" where it could not be

    @property
    def places(self) -> Sequence[int]:
        """Place of each example in the full split."""
        return self.index or range(len(self.examples))

    def take(self, places: Sequence[int]) -> "Data":
        """The examples at these places of this `Data`."""
        index = self.places
        return replace(
            self,
            examples=[self.examples[i] for i in places],
            targets=[self.targets[i] for i in places],
            index=[index[i] for i in places],
            hashes=[self.hashes[i] for i in places] if self.hashes else (),
        )


@dataclass(frozen=True)
class Batch:
    """Raw outputs of some examples: one value per example in each column."""

    places: Sequence[int]  # of these examples in the `Data` that `predict` was given
    columns: dict[str, Sequence]  # name -> list, NumPy array (n) or (n, k), Arrow array
    unread: dict[int, str] = field(default_factory=dict)  # place -> why this example could not be read


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass (a model over a split) and the protocols that are scored from it."""

    record: dict  # what makes the raw outputs what they are; kept in the Parquet file
    data: Data
    protocols: dict[str, object]
    because: dict[str, str]  # protocol -> why it is measured on this split
    file: Path


@dataclass(frozen=True)
class Job:
    """A model and the forward passes that are wanted of it, or why there are none."""

    model: object  # checkpoint.Model
    passes: Sequence[ForwardPass] = ()
    why: StageError | None = None


@dataclass(frozen=True)
class Task:
    """One task as the harness sees it. Functions must be top-level ones: they are sent to the child process.

    load_data(path, split) reads the full split from a folder, or from the Hub where path is None; raises
        Problem with `data_help` where there is none. Its `revision` must change with the content.
    load_model(folder, device, dtype) loads from a local folder (see `pretrained`); raises CannotMeasure.
    describe(model) gives facts in JSON that `score` and the row need: `labels`, `preprocessing`, …
    predict(model, data, protocol, batch_size) yields Batches, in any order, of a shard of the data. If memory
        runs out, it is called again with the examples that are left and half the batch size. Columns must
        hold raw outputs and `hash`, a hash of the example's content.
    score(table, data, protocol, about) gives {"metrics", "intervals", "interval_method"} and further notes
        for the row. Row i of the Arrow table is example i of `data`; `about` is what `describe` gave.
        Raises CannotMeasure, for example for labels that cannot be mapped.
    """

    name: str  # the Hub's word: "sentiment-analysis"
    dataset: str  # ptm's word: "emotion"
    folder: str  # under results/ and predictions/: "EMOTION"
    split: str  # measured where neither --split, the protocol nor the claim names one
    splits: tuple[str, ...]  # that the data set has
    protocols: dict[str, object]  # name -> frozen dataclass with a `split`: a name, CLAIM, or None for any
    inputs: tuple[str, ...]  # the protocol's fields that change raw outputs; the others need no forward pass
    batch_size: dict[str, int]  # first try per kind of device: {"cpu": 32, "cuda": 256}
    load_data: Callable
    load_model: Callable
    describe: Callable
    predict: Callable
    score: Callable
    data_help: str  # what to download and how to lay it out
    code: tuple[str, ...] = ()  # further files beside the script whose change makes a measurement stale
    shard: int = 1000  # examples that a process answers at a time; what is answered survives a kill
    order: Callable | None = None  # data -> places in the order in which they are cut into shards
    text: Callable | None = None  # row -> text written beside the rows, one file per model and protocol


def versions() -> dict[str, str]:
    """The versions of the libraries that have a hand in a measurement."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
