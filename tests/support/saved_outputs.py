"""Explanations of emotion-tiny with faults in its head, from its features; no process starts."""

import functools
from dataclasses import dataclass, replace
from types import SimpleNamespace

import sentiment_analysis
from harness.choices import as_protocol
from harness.measurements import Measurements
from harness.task import Outputs, Run
from project import SHARED

TASK = sentiment_analysis.TASK


@dataclass(frozen=True)
class Head:
    """A linear head on the features of each split, and the labels in the order of its outputs."""

    features: dict  # split -> array (n, 128)
    data: dict  # split -> Data
    weight: object
    bias: object
    labels: tuple = tuple(sentiment_analysis.LABELS)

    def logits(self, split: str):
        return self.features[split] @ self.weight.T + self.bias


@functools.cache
def emotion_head() -> Head:
    """Read emotion-tiny, and compute the features that its head sees on validation and test."""
    import numpy as np
    import torch

    model = sentiment_analysis.load_model(
        SHARED / "models" / "emotion-tiny", torch.device("cpu"), torch.float32
    )
    layer = model.net.classifier
    model.net.classifier = torch.nn.Identity()  # what it returns are the features now
    features, data = {}, {}
    for split in ("validation", "test"):
        data[split] = TASK.load_data(SHARED / "emotion", split)
        batches = TASK.predict(model, data[split], TASK.protocols["standard"], 256)
        features[split] = np.empty((len(data[split].examples), layer.in_features), "float32")
        for batch in batches:
            features[split][batch.indices] = batch.columns["logits"]
    weight, bias = (parameter.detach().numpy() for parameter in (layer.weight, layer.bias))
    return Head(features, data, weight, bias)


class SavedMeasurements(Measurements):
    """Measurements of a head, or of any logits: split -> array (n, 6)."""

    def __init__(self, head: Head, logits: dict | None = None, labels=None):
        args = SimpleNamespace(dtype="float32", seen="standard", faithful="standard")
        super().__init__(Run(TASK, args, {}, head.data.__getitem__), SimpleNamespace(name="m", revision="r"))
        self.head = head if labels is None else replace(head, labels=tuple(labels))
        self.logits = logits or {split: head.logits(split) for split in head.data}

    def _measure(self, wanted) -> None:
        for choices in wanted:
            if self.key(choices) in self.rows:
                continue
            outputs = self.outputs(choices)
            scores = TASK.score(outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
            n = len(outputs.data.examples)
            self.rows[self.key(choices)] = {
                "model": "m",
                "protocol": "standard",
                "split": choices["split"],
                "examples": {"evaluated": n, "expected": outputs.data.expected},
                "settings": {"limit": None, "device": "cpu"},
                **dict.fromkeys(("revision", "dataset_revision", "measured_at", "code", "predictions")),
                **scores,
            }

    def outputs(self, choices: dict) -> Outputs:
        import pyarrow as pa

        logits = self.logits[choices["split"]]
        column = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel().astype("float32")), 6)
        table = pa.table({"logits": column, "truncated": [False] * len(logits)})
        settings = {"max_length": 128, "positions": 128, "truncation_side": "right"}
        facts = {"labels": list(self.head.labels), "preprocessing": settings}
        return Outputs(table, self.head.data[choices["split"]], as_protocol(TASK, choices), facts)


def accuracy_claim(value: float, split: str | None) -> dict:
    """A claim of this accuracy, as a card's metadata state it."""
    fields = {"dataset": "emotion", "config": None, "split": split, "metric": "accuracy", "value": value}
    return {**fields, "fraction": value, "unit": "fraction", "bound": None, "source": "model-index"}


def explain_saved(measurements: SavedMeasurements, claim: dict, others: tuple = ()) -> dict:
    """Judge a claim by the measured values under `standard`, and explain it."""
    import explain
    from harness.choices import as_choices
    from scored.verdicts import judge_claim

    standard = as_choices(TASK.protocols["standard"], "float32")
    splits = [claim["split"]] if claim["split"] else ["validation", "test"]
    rows = {split: measurements.rows_for({**standard, "split": split})[0] for split in splits}
    comparison = judge_claim(claim, rows, TASK.benchmark, others)
    return explain.explain_claim(measurements, claim, comparison)
