"""What happens in a model's own process: download, load, forward pass, scores. And how its parent watches it.

A crash, a hang or an out-of-memory kill ends this process only; the parent (`harness.py`) gets a `Failure`
that names the stage. Reads the model's files and the data; writes one Parquet file of raw outputs per split.
Used through `harness.py`; has no command of its own.
"""

import contextlib
import gc
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptm import Problem, atomic

LIBRARIES = "torch transformers tokenizers safetensors huggingface_hub datasets numpy pillow pyarrow hotcoco"
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
BESIDE = re.compile(r"[^/]+\.(json|txt|model|tiktoken|jinja)|README\.md")
NOT_BESIDE = re.compile(r".*\.index\.json|adapter_.*|(trainer|training)_.*|(all|eval|train)_results\.json")


class Refused(Exception):
    """A model that cannot be measured on this data, and why: becomes the `error` of its row."""


class Failure(Exception):
    """What went wrong with a model and at which stage: resolve, data, download, load, predict or score."""

    def __init__(self, stage: str, reason: str, **where):
        super().__init__(reason)
        self.stage, self.reason, self.where = stage, reason, where


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

    def take(self, places: Sequence[int]) -> "Data":
        """The examples at these places of this `Data`."""
        index = self.index or range(len(self.examples))
        return replace(
            self,
            examples=[self.examples[i] for i in places],
            targets=[self.targets[i] for i in places],
            index=[index[i] for i in places],
        )


@dataclass(frozen=True)
class Batch:
    """Raw outputs of some examples: one value per example in each column."""

    places: Sequence[int]  # of these examples in the `Data` that `predict` was given
    columns: dict[str, Sequence]  # name -> list, NumPy array (n) or (n, k), Arrow array
    unread: dict[int, str] = field(default_factory=dict)  # place -> why this example could not be read


@dataclass(frozen=True)
class Model:
    """A model whose revision is known."""

    name: str  # Hub id, or a local folder as seen from the project's root
    revision: str  # commit SHA, or "sha256:" and the hash of the folder's content
    files: tuple[str, ...]  # those that loading may read
    path: str | None  # of a local folder; None for a model on the Hub


@dataclass(frozen=True)
class Pass:
    """One forward pass (a model over a split) and the protocols that are scored from it."""

    record: dict  # what makes the raw outputs what they are; kept in the Parquet file
    data: Data
    protocols: dict[str, object]
    file: Path
