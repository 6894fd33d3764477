"""Sentiment analysis on `dair-ai/emotion`: accuracy and F1 of a model that tells six emotions apart.

Reads the splits from `--data` (or the Hub) and models in transformers format; writes rows to
`results/EMOTION/sentiment-analysis.json` and each text's logits to `predictions/EMOTION/`.

    python reproducibility/sentiment_analysis.py MODEL --data FOLDER
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import evidence, reference, texts
from harness.checkpoint import CannotMeasure, digest
from harness.runner import main
from harness.task import CLAIM, Batch, Data, Outputs, Task
from scored.benchmarks import benchmark_named
from scored.intervals import wilson

EMOTION = benchmark_named("emotion")
LABELS = list(EMOTION.labels)
DATA_HELP = (
    "a folder with train.jsonl, validation.jsonl and test.jsonl, one text per line as"
    f' {{"text": "i feel fine", "label": 1}}, labels 0-5 = {", ".join(LABELS)};'
    f" download config `{EMOTION.config}` of the Hub's {EMOTION.hub_id}, or omit --data if the Hub answers"
)
NEEDED = f"--data is {DATA_HELP}"
RESAMPLES = 2000  # draws of the texts for the F1s' intervals
BY_NAME, BY_INDEX = "by name", "by index"
SIDES = ("right", "left")  # on which a text that is too long is cut
LONGEST = 512  # tokens: what most text models take


@dataclass(frozen=True)
class Protocol:
    """Every choice between weights and metric."""

    split: str
    labels: str | tuple  # BY_NAME: match by the labels' names; one of ORDERS; or each output's class
    max_length: int | None = None  # tokens to which texts are cut; None: what the model takes
    truncation_side: str | None = None  # "right": a longer text loses its end; None: the tokenizer's own side
    prediction: str = "highest logit"


PROTOCOLS = {
    "standard": Protocol(split=CLAIM, labels=BY_NAME),
    "scored-2022": Protocol(split="test", labels=BY_INDEX),
}


# ── Data ──────────────────────────────────────────────────────────────────────────────────────────────────


def load_data(path: Path | None, split: str) -> Data:
    """Load a split's texts and labels (0-5) from `<path>/<split>.jsonl` or from the Hub. Raises UserError."""
    if path is None:
        examples, labels, revision = texts.load_from_hub(EMOTION, split, f"Give --data: {DATA_HELP}")
        return Data(split, revision, EMOTION.hub_id, examples, labels, EMOTION.splits[split])
    examples, labels = texts.read_jsonl(Path(path) / f"{split}.jsonl", len(LABELS), NEEDED)
    revision = f"sha256:{digest(examples, labels)}"
    return Data(split, revision, "local folder", examples, labels, EMOTION.splits[split])


# ── Model ─────────────────────────────────────────────────────────────────────────────────────────────────


def load_model(folder: Path, device, dtype) -> texts.Classifier:
    """Load a text classifier with one logit per emotion. Raises CannotMeasure for any other model."""
    return texts.load(folder, device, dtype, EMOTION)


def predict(model: texts.Classifier, data: Data, protocol: Protocol, batch_size: int) -> Iterator[Batch]:
    """Yield the float32 logits (n, 6) of each text."""
    yield from texts.predict(model, data, protocol.max_length, protocol.truncation_side, batch_size)


# ── Metric ────────────────────────────────────────────────────────────────────────────────────────────────


def map_labels(labels: list[str], how: str | tuple) -> tuple[list[int], str]:
    """Map each of a model's labels to the data set's index, and say how. Raises CannotMeasure."""
    if not isinstance(how, str):
        return list(how), "in a given order"
    if how != BY_NAME:
        return ORDERS[how](labels), f"{how}, whatever the labels are called"
    in_order = list(range(len(LABELS)))
    if all(re.fullmatch(rf"label_{i}", label, re.IGNORECASE) for i, label in enumerate(labels)):
        return in_order, f"by index: the model calls its labels LABEL_0 to LABEL_{len(LABELS) - 1}"
    names = [label.strip().casefold() for label in labels]
    if sorted(names) != sorted(LABELS):
        own, expected = ", ".join(labels), ", ".join(LABELS)
        raise CannotMeasure(f"its labels {own} are not those of {EMOTION.name}: {expected}")
    return [LABELS.index(name) for name in names], "by name"


def _shifted(labels: list[str], step: int) -> list[int]:
    return [(index + step) % len(LABELS) for index in map_labels(labels, BY_NAME)[0]]


ORDERS = {  # name -> function of the labels -> the class of each output
    BY_INDEX: lambda labels: list(range(len(LABELS))),
    "shifted by one, to the class before": lambda labels: _shifted(labels, -1),
    "shifted by one, to the class after": lambda labels: _shifted(labels, 1),
    "alphabetical": lambda labels: sorted(range(len(LABELS)), key=LABELS.__getitem__),
}


def other_orders(labels: list[str]) -> list[str]:
    """Return the names of the ORDERS that differ from the one that the labels' names declare, if they do."""
    try:
        declared, _ = map_labels(labels, BY_NAME)
    except CannotMeasure:
        return [BY_INDEX]
    return [name for name, order in ORDERS.items() if order(labels) != declared]


def confusion_matrix(true, predicted):
    """Count the texts of each class (n) that got each answer (n): array (true, predicted)."""
    import numpy as np

    confusion = np.zeros((len(LABELS), len(LABELS)), int)
    np.add.at(confusion, (true, predicted), 1)
    return confusion


def metrics_of(confusion) -> dict:
    """Compute accuracy and F1s from confusion matrices (..., true, predicted): arrays (...).

    As in scikit-learn, a class that is neither among the targets nor the predictions does not count.
    """
    import numpy as np

    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    f1 = 2 * hits / np.maximum(true + predicted, 1)
    n, classes = true.sum(-1), (true + predicted > 0).sum(-1)
    accuracy = hits.sum(-1) / n
    return {
        "accuracy": accuracy,
        "f1-macro": f1.sum(-1) / classes,
        "f1-micro": accuracy,  # one label per text: a false positive is another class's false negative
        "f1-weighted": (f1 * true).sum(-1) / n,
    }


def bootstrap_intervals(confusion) -> dict[str, list[float]]:
    """Compute 95% percentile bootstrap intervals over texts: metric -> [low, high]."""
    import numpy as np

    n, classes = confusion.sum(), len(confusion)
    draws = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, size=RESAMPLES)
    metrics = metrics_of(draws.reshape(-1, classes, classes))
    return {name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in metrics.items()}


def score(table, data: Data, protocol: Protocol, model_facts: dict) -> dict:
    """Compute accuracy and macro, micro and weighted F1 with 95% intervals, from logits (n, 6)."""
    import numpy as np

    order, how = map_labels(model_facts["labels"], protocol.labels)
    logits = np.array(table["logits"].to_pylist())
    if not np.isfinite(logits).all():
        count = (~np.isfinite(logits)).any(1).sum()
        raise CannotMeasure(f"{count} texts have logits that are not finite")
    predicted, true = np.array(order)[logits.argmax(1)], np.array(data.targets)
    confusion = confusion_matrix(true, predicted)
    intervals = bootstrap_intervals(confusion)
    method = f"percentile bootstrap over texts, {RESAMPLES} resamples, seed 0"
    methods = dict.fromkeys(intervals, method)
    for name in ("accuracy", "f1-micro"):  # proportions of the texts
        intervals[name] = wilson(int(np.trace(confusion)), len(true))
        methods[name] = "Wilson"
    return {
        "metrics": {name: float(value) for name, value in metrics_of(confusion).items()},
        "intervals": intervals,
        "interval_method": methods,
        "labels": how,
        "truncated": sum(table["truncated"].to_pylist()),
    }


def reference_scores(table, data: Data, protocol: Protocol, model_facts: dict) -> dict[str, float]:
    """Compute the same metrics with scikit-learn."""
    import numpy as np

    predicted, true, order = predicted_and_true(table, data, protocol, model_facts)
    return reference.accuracy_and_f1(true, np.array(order)[predicted])


# ── Explanation ───────────────────────────────────────────────────────────────────────────────────────────


def predicted_and_true(table, data: Data, protocol: Protocol, model_facts: dict) -> tuple:
    """Return each text's best output (n), its class (n), and the class that each output declares (6)."""
    import numpy as np

    best = np.array(table["logits"].to_pylist()).argmax(1)
    return best, np.array(data.targets), map_labels(model_facts["labels"], protocol.labels)[0]


def p_value(before: Outputs, after: Outputs, metric: str) -> float:
    """Compute the p-value of "a metric is the same under both protocols", from the same texts.

    McNemar's exact test for accuracies, the z of paired resamples for the other F1s.
    """
    import numpy as np

    answers = []
    for outputs in (before, after):
        inputs = (outputs.table, outputs.data, outputs.protocol, outputs.model_facts)
        predicted, true, order = predicted_and_true(*inputs)
        answers.append(np.array(order)[predicted])
    if metric in ("accuracy", "f1-micro"):
        right = [predicted == true for predicted in answers]
        return evidence.p_value_of_proportions(*right)
    before_metrics, after_metrics = (metrics_of(confusion_matrix(true, predicted)) for predicted in answers)
    random, draws = np.random.default_rng(0), []
    for _ in range(evidence.RESAMPLES):
        chosen = random.integers(0, len(true), len(true))
        values = [metrics_of(confusion_matrix(true[chosen], predicted[chosen])) for predicted in answers]
        draws.append(values[1][metric] - values[0][metric])
    return evidence.p_value_of_draws(after_metrics[metric] - before_metrics[metric], draws)


def class_names(data: Data) -> dict[int, str]:
    """Return the name of each class."""
    return dict(enumerate(LABELS))


def repairs(model_facts: dict) -> dict[str, list]:
    """Return what to try, choice by choice, if the reference protocol does not meet the claim.

    Other orders of the labels; more tokens, unless the network takes no more than the tokenizer leaves; the
    other end of texts that are cut.
    """
    settings = model_facts["preprocessing"]
    limit, positions = settings["max_length"], settings["positions"]
    is_longest = limit is None or limit >= min(positions or LONGEST, LONGEST)
    sides = [side for side in SIDES if side != settings["truncation_side"]]
    return {
        "labels": other_orders(model_facts["labels"]),
        "max_length": [] if is_longest else [LONGEST],
        "truncation_side": [] if limit is None else sides,
    }


TASK = Task(
    name=EMOTION.task,
    dataset=EMOTION.name,
    protocols=PROTOCOLS,
    forward_fields=("max_length", "truncation_side"),
    batch_size={"cpu": 64, "cuda": 512},
    load_data=load_data,
    load_model=load_model,
    describe=texts.describe,
    predict=predict,
    score=score,
    data_help=DATA_HELP,
    code_files=("harness/texts.py",),
    shard_size=2000,  # the texts of a split, except the training split
    metrics=("accuracy", "f1-macro", "f1-micro", "f1-weighted"),
    reference_scores=reference_scores,
    architecture="ForSequenceClassification",
    choice_names={"labels": "label order", "max_length": "truncation", "truncation_side": "truncation side"},
    choice_values={"labels": (BY_NAME, *ORDERS), "truncation_side": SIDES},
    predicted_and_true=predicted_and_true,
    class_names=class_names,
    p_value=p_value,
    repairs=repairs,
)

if __name__ == "__main__":
    main(TASK)
