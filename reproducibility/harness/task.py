"""Types exchanged between a task script and the harness. Nothing here runs a model.

A task script builds a `Task` and passes it to `harness.runner.main`.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import inspect
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scored.benchmarks import Benchmark, all_benchmarks, benchmark_named
from scored.files import UserError

LIBRARIES = "torch transformers tokenizers safetensors huggingface_hub datasets numpy pillow pyarrow hotcoco"
CLAIM = "claim"  # a protocol's split: the one that the model's claim names


class StageError(Exception):
    """Why a model failed, and at which stage: resolve, data, download, load, predict or score."""

    def __init__(self, stage: str, reason: str, crashed: bool = False):
        super().__init__(reason)
        self.stage, self.reason, self.crashed = stage, reason, crashed


@dataclass(frozen=True)
class Data:
    """Examples and targets of a split, or of a subset of it, in the split's order."""

    split: str
    revision: str  # commit SHA of a Hub data set, or "sha256:" and the hash of the content
    source: str  # where it was read, without names of this machine: "dair-ai/emotion", "local folder"
    examples: Sequence  # what `predict` needs of each: a text, a file's path
    targets: Sequence  # what `score` needs of each: a label, a list of annotations
    expected: int  # examples in the full split
    split_facts: dict = field(default_factory=dict)  # facts about the whole split, such as categories
    selected: Sequence[int] = ()  # index in the full split of each example; empty if all are here
    hashes: Sequence[str] = ()  # of each example's content, where it was read; "" where it could not be

    @property
    def indices(self) -> Sequence[int]:
        """Index of each example in the full split."""
        return self.selected or range(len(self.examples))

    def take(self, positions: Sequence[int]) -> "Data":
        """Return the examples at these positions of this `Data`."""
        indices = self.indices
        return replace(
            self,
            examples=[self.examples[i] for i in positions],
            targets=[self.targets[i] for i in positions],
            selected=[indices[i] for i in positions],
            hashes=[self.hashes[i] for i in positions] if self.hashes else (),
        )


@dataclass(frozen=True)
class Batch:
    """Raw outputs of some examples: each column holds one value per example."""

    indices: Sequence[int]  # positions of these examples in the `Data` that `predict` received
    columns: dict[str, Sequence]  # name -> list, NumPy array (n) or (n, k), Arrow array
    unreadable: dict[int, str] = field(default_factory=dict)  # position -> why it could not be read


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass (a model over a split) and the protocols that are scored from it."""

    record: dict  # what determines the raw outputs; stored in the Parquet file
    data: Data
    protocols: dict[str, object]
    split_reason: dict[str, str]  # protocol -> why it is measured on this split
    file: Path


@dataclass(frozen=True)
class Job:
    """A model and the forward passes that it needs, or the error that prevents them."""

    model: object  # checkpoint.Model
    passes: Sequence[ForwardPass] = ()
    error: StageError | None = None
    claims: Sequence = ()  # what the model claims on the data set


@dataclass(frozen=True)
class Outputs:
    """A model's raw outputs on some examples, and the protocol under which they are read."""

    table: object  # Arrow table; row i is example i of `data`
    data: Data
    protocol: object
    model_facts: dict


@dataclass(frozen=True)
class Task:
    """One task on one data set. Functions must be top-level ones: they are sent to the child process.

    load_data(path, split) reads the full split from a folder, or from the Hub where path is None; raises
        UserError with `data_help` if it is missing. Its `revision` must change with the content.
    load_model(folder, device, dtype) loads from a local folder (see `load_pretrained`); raises CannotMeasure.
    describe(model) returns facts in JSON that `score` and the row need: `labels`, `preprocessing`, …
    predict(model, data, protocol, batch_size) yields Batches, in any order, of a shard of the data. If memory
        runs out, it is called again with the remaining examples and half the batch size. Columns must
        hold raw outputs and `hash`, a hash of the example's content.
    score(table, data, protocol, model_facts) returns {"metrics", "intervals", "interval_method"} and further
        notes for the row. Row i of the Arrow table is example i of `data`; `model_facts` is from `describe`.
        Raises CannotMeasure, for example for labels that cannot be mapped.

    explain.py looks for the causes of a missed claim with these:

    repairs(model_facts) returns {choice: values}. A choice is a field of the protocol, or a part of its
        `preprocessing` (see harness/choices.py). Each value is one repair: the protocol with this choice
        changed to it. It is a cause only if it makes the model better, and shown to by `p_value`. An empty
        list: this choice was looked at, and there is nothing to change. Values of `labels` are names of
        orders of the labels, which `score` and `predicted_and_true` read: "by index", "shifted by one". On
        enough examples per class, an order counts only if the answers say so (see harness/label_orders.py),
        and one fitted to the answers is tried, too; on fewer, only these named ones are. A value that does
        not fit the model is left out here, or raises CannotMeasure in `score`: then it was not tried.
    p_value(before, after, metric) takes the Outputs of two protocols on the same examples and returns the
        two-sided p-value of "the metric is the same": McNemar's exact test for k of n examples, else the z
        of 200 paired resamples (harness/evidence.py).
    predicted_and_true(table, data, protocol, model_facts) returns the output that won (n), the right class
        (n), and the class for which each output stands (-1: none).
    class_names(data) returns {class: name}.
    """

    name: str  # the Hub's name: "sentiment-analysis"
    dataset: str  # an entry of scored/benchmarks.toml: "emotion"
    protocols: dict[str, object]  # name -> frozen dataclass with a `split`: a name, CLAIM, or None for any
    forward_fields: tuple[str, ...]  # the protocol's fields that change raw outputs
    batch_size: dict[str, int]  # first try per kind of device: {"cpu": 32, "cuda": 256}
    load_data: Callable
    load_model: Callable
    describe: Callable
    predict: Callable
    score: Callable
    data_help: str  # what to download and how to lay it out
    code_files: tuple[str, ...] = ()  # further files beside the script; a change makes a measurement stale
    shard_size: int = 1000  # examples computed by one request; finished shards survive a kill
    shard_order: Callable | None = None  # data -> positions in the order in which they are sharded
    format_text: Callable | None = None  # row -> text for a file beside the rows
    # Below: for results.py --check, which takes the arguments of `score`, and for explain.py
    reference_scores: Callable | None = None  # -> metrics by the field's reference implementations
    predicted_and_true: Callable | None = None
    class_names: Callable | None = None
    p_value: Callable | None = None
    repairs: Callable | None = None
    architecture: str = ""  # end of the architectures' names in config.json: "ForObjectDetection"
    choice_names: dict[str, str] = field(default_factory=dict)  # choice -> name of the factor
    choice_values: dict[str, tuple[str, ...]] = field(default_factory=dict)  # the values of a choice
    metrics: tuple[str, ...] = ()  # the metrics that `score` computes, for verify.py --claim

    @property
    def script(self) -> Path:
        """The task script, which defines `score`."""
        return Path(inspect.getsourcefile(self.score))

    @property
    def benchmark(self) -> Benchmark:
        """The data set's entry in scored/benchmarks.toml. Raises UserError for an unknown one."""
        return benchmark_named(self.dataset)

    @property
    def protocol_type(self) -> type:
        """The dataclass of the protocols."""
        return type(next(iter(self.protocols.values())))

    @property
    def folder(self) -> str:
        """Folder under results/ and predictions/: "EMOTION"."""
        return self.benchmark.folder

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that can be measured."""
        return self.benchmark.public

    @property
    def default_split(self) -> str:
        """The split measured where neither --split, the protocol nor the claim names one."""
        return self.benchmark.default


@dataclass(frozen=True)
class Run:
    """What every step of a run needs."""

    task: Task
    args: argparse.Namespace
    code: dict  # see rows.code_state
    load: Callable[[str], Data]  # split -> Data; each split is read once


def task_for(dataset: str) -> Task:
    """Return the task of the script that measures a data set. Raises UserError if there is none."""
    script = benchmark_named(dataset).script
    if script is None:
        raise UserError(f"no script measures {dataset}; its entry in scored/benchmarks.toml can name one")
    return importlib.import_module(script).TASK


def all_tasks() -> list[Task]:
    """Return the task of each data set that a script measures."""
    return [task_for(name) for name, benchmark in all_benchmarks().items() if benchmark.script]


def versions() -> dict[str, str]:
    """The versions of the libraries that affect a measurement."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed
