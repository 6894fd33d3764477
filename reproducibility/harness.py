"""What does a model score? The chores that the three task scripts share; none of their science is here.

A task script hands a `Task` to `start`, which reads the arguments, chooses the models, runs each in a process
of its own and writes one row per model, split and protocol to `results/<FOLDER>/<task>.json`, and the raw
outputs to `predictions/<FOLDER>/*.parquet` (not in git). Run again, it does only what is not done yet.

    python reproducibility/sentiment_analysis.py MODEL --data FOLDER
"""

import argparse
import hashlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from ptm import PTM, ROOT, Problem, atomic, read_json, run, shown, write_json  # noqa: E402

from isolated import Batch, Data, Failure, Model, Pass, Refused  # noqa: E402

HERE = ROOT / "reproducibility"
CLAIM = "claim"  # a protocol's split: the one that the model's claim names


# ── What a task script and the harness hand each other ────────────────────────────────────────────────────


@dataclass(frozen=True)
class Task:
    """One task as the harness sees it. Functions must be top-level ones: they are sent to the child process.

    load_data(path, split) reads the full split from a folder, or from the Hub where path is None; raises
        Problem with `data_help` where there is none. Its `revision` must change with the content.
    load_model(folder, device, dtype) loads from a local folder (see `pretrained`); raises Refused.
    describe(model) gives facts in JSON that `score` and the row need: `labels`, `preprocessing`, …
    predict(model, data, protocol, batch_size) yields Batches, in any order. If memory runs out, it is called
        again with the examples that are left and half the batch size. Columns must hold raw outputs and
        `hash`, a hash of the example's content.
    score(table, data, protocol, about) gives {"metrics", "intervals", "interval_method"} and any further notes
        for the row. Row i of the Arrow table is example i of `data`; `about` is what `describe` gave.
        Raises Refused, for example for labels that cannot be mapped.
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
    text: Callable | None = None  # row -> text written beside the rows, one file per model and protocol
