"""Read the claims that stand in a model card's text: in its tables, lists and sentences.

    claims, rejected = read_claims(text, "facebook/detr-resnet-50")

A value is a claim if a metric's word stands beside it, if it is about this model and no other, and if the
card says that it was measured on a data set of SCORED. Whatever looks like a claim and is not taken has a
reason. Precision before recall: a word beside the value that is not understood is a reason.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from scored.benchmarks import all_benchmarks
from scored.card_blocks import Card, read_card
from scored.card_labels import DETECTION, Value, normalise, read_label, read_splits, reject, take_datasets
from scored.card_names import ModelNames, explain_rest
from scored.card_sentences import read_passage
from scored.card_tables import read_table
from scored.claims import Claim, Rejected, as_fraction, dataset_name, read_value

CLASSIFICATION = re.compile(r"accuracy(-top\d+|-balanced)?|(f1|precision|recall)(-(macro|micro|weighted))?")
OTHER_PROTOCOL = re.compile(
    r"\b(?:zero[- ]?shot|few[- ]?shot|\d+-shot|linear(?: prob\w*| eval\w*| classif\w*)|k-?nn)\b"
)
OTHER_AP = re.compile(r"\b(?:segm\w*|masks?|key-?points?|pose|panoptic|seg)\b")  # not of boxes
OTHER_SECTION = re.compile(
    r"\b(?:baselines?|teacher|original model|base model|other models|examples?|usage|hyper-?parameters"
    r"|config\w*)\b"
)
NOT_THE_INPUT = {
    "imagenet-1k": "text|audio|token",
    "coco": "text|audio|token",
    "emotion": "image|audio|speech|video|object",
}
MENTION = {  # what the text must hold; emotion may stand in the front matter only
    "imagenet-1k": r"image-?net|ilsvrc|in-?1k",
    "coco": "coco",
    "emotion": "",
}
DATASET_STATED = re.compile(r"data ?sets?(?: name)?\W{0,4}[:|]\W{0,4}(.{1,80})", re.I)
PRETRAINING = re.compile(r"imagenet-?(?:\d\d+k)|objects-?365|laion|jft")  # beside the data set of the values
TRAINING = {"train", "training"}
LONGEST_CAPTION = 60  # characters of a text such as "On the training set:"
MAX_VALUES = 2000  # a card with more is read as far as this


class TextClaim(Claim, frozen=True, kw_only=True):
    """A claim of the card's text, and where it stands."""

    line: int  # from 1, in the whole README
    where: str  # table, list or sentence


@dataclass(frozen=True)
class Context:
    """What holds for each value of a card."""

    model: ModelNames
    general: tuple[frozenset[str], ...]  # data sets by its statements, its first paragraphs, its front matter
    tasks: tuple[str, ...]  # the front matter's tags and pipeline
    is_other_ap: bool  # the model segments or finds key points, so that AP alone is not the boxes'
    is_other_protocol: bool


def read_claims(
    text: str, model_id: str, metadata: dict | None = None
) -> tuple[list[TextClaim], list[Rejected]]:
    """Read a card's text, in the order of its lines, and what looks like a claim and is not taken.

    `metadata` is the front matter, if the caller has it already. Takes any text and never raises.
    """
    card = read_card(text)
    context = make_context(card, model_id, card.metadata if metadata is None else metadata)
    claims: list[TextClaim] = []
    rejected: list[Rejected] = []
    for value in itertools.islice(read_values(card, context.model), MAX_VALUES):
        result = make_claim(value, context) if isinstance(value, Value) else value
        if isinstance(result, TextClaim):
            claims.append(result)
        else:
            rejected.append(result)
    return merge_claims(claims), sorted(rejected, key=lambda item: item.stated["line"])


def read_values(card: Card, model: ModelNames) -> Iterator[Value | Rejected]:
    """Read the values of all tables, then of all passages."""
    for table in card.tables:
        yield from read_table(table, model)
    for passage in card.passages:
        yield from read_passage(passage)


# ── The card as a whole ───────────────────────────────────────────────────────────────────────────────────


def make_context(card: Card, model_id: str, metadata: dict) -> Context:
    """Gather what the card says of all its values."""
    names = [model_id.rpartition("/")[2]]
    if isinstance(metadata.get("duplicated_from"), str):
        names.append(metadata["duplicated_from"].rpartition("/")[2])
    tasks = [text for key in ("pipeline_tag", "tags") for text in read_strings(metadata.get(key))]
    lead = normalise(card.lead)
    about = normalise(" ".join([*tasks, *names, *card.headings[:1]]).replace("-", " "))
    is_other_ap = OTHER_AP.search(about) or (OTHER_AP.search(lead) and "detect" not in lead)
    is_other_protocol = OTHER_PROTOCOL.search(about) or OTHER_PROTOCOL.search(lead)
    return Context(
        ModelNames(model_id, tuple(names)),
        (read_statements(card), read_datasets(card.lead), read_front_matter_datasets(metadata, card.body)),
        tuple(tasks),
        bool(is_other_ap),
        bool(is_other_protocol),
    )


def read_strings(value: object) -> list[str]:
    """Return the strings of a front matter's field that holds one or a list."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def read_datasets(text: str) -> frozenset[str]:
    """Return the data sets that a text is about."""
    return take_datasets(normalise(text))[0]


def read_statements(card: Card) -> frozenset[str]:
    """Return the data sets that lines such as "Dataset: ImageNet-1k" name."""
    names: frozenset[str] = frozenset()
    for passage in card.passages:
        stated = DATASET_STATED.match(passage.text)
        if stated:
            names |= read_datasets(stated[1])
    return names


def read_front_matter_datasets(metadata: dict, body: str) -> frozenset[str]:
    """Return the data sets of the front matter, but for ImageNet and COCO where the text never names them."""
    names: set[str] = set()
    for name in read_strings(metadata.get("datasets")):
        known = dataset_name(name)
        names |= {known} if known in MENTION else read_datasets(name) or {name}
    unnamed = {name for name in names & MENTION.keys() if not re.search(MENTION[name], body, re.I)}
    return frozenset(names - unnamed)


# ── Claims ────────────────────────────────────────────────────────────────────────────────────────────────


def make_claim(value: Value, context: Context) -> TextClaim | Rejected:
    """Return a claim, if metric, data set and number are all certain."""
    try:
        metric = check_metric(value, context)
        dataset = find_dataset(value, context, metric)
        split = find_split(value)
        number, error, fraction, unit = read_number(value, metric)
    except ValueError as why:
        return reject(str(why), value.line, value.text)
    return TextClaim(
        task=all_benchmarks()[dataset].task,
        dataset=dataset,
        dataset_stated=dataset,
        config=None,
        split=split,
        revision=None,
        metric=metric,
        metric_stated=value.text,
        value=value.written,
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=False,
        source="card text",
        line=value.line,
        where=value.where,
    )


def check_metric(value: Value, context: Context) -> str:
    """Return the metric, if everything beside the value is understood. Raises ValueError."""
    label = explain_rest(value.label, context.model.names[0], is_whole=True)
    metric = "AP" if label.metric == "mAP" else label.metric
    if metric is None:
        raise ValueError("names several metrics")
    if metric not in DETECTION and not CLASSIFICATION.fullmatch(metric):
        raise ValueError(f"not measured here: {metric}")
    if label.rest or label.numbers:
        raise ValueError(f"not understood: {' '.join((*label.rest, *label.numbers))[:60]}")
    if OTHER_SECTION.search(normalise(value.heading)):
        raise ValueError(f"under the heading {value.heading[:60]!r}")
    if metric == "precision" and value.written in ("16", "32", "64"):
        raise ValueError("precision in bits")
    near = normalise(" ".join(value.near))
    if context.is_other_protocol or OTHER_PROTOCOL.search(near):
        raise ValueError("another protocol: zero-shot or a probe")
    if metric in DETECTION and not label.is_box and (context.is_other_ap or OTHER_AP.search(near)):
        raise ValueError("AP of boxes or of masks")
    return metric


def find_dataset(value: Value, context: Context, metric: str) -> str:
    """Return the data set that the value is about by the nearest text that names one. Raises ValueError."""
    fitting = {"coco"} if metric in DETECTION else {"imagenet-1k", "emotion"}
    near = [value.label.datasets, *(read_datasets(text) for text in value.near)]
    for place, names in enumerate([*near, *context.general]):
        ours, others = names & fitting, names - MENTION.keys()
        is_general, is_label = place >= len(near), place == 0
        if is_general:
            others = {name for name in others if not PRETRAINING.search(name)}
        if len(ours) == 1 and not others:
            return check_modality(min(ours), context)
        if others and (is_label or not ours):
            raise ValueError(f"another data set: {', '.join(sorted(others))[:60]}")
    raise ValueError("no data set")


def check_modality(dataset: str, context: Context) -> str:
    """Return the data set, if the model takes such input by its tags. Raises ValueError."""
    for task in context.tasks:
        if re.match(NOT_THE_INPUT[dataset], task):
            raise ValueError(f"another task: {task[:60]}")
    return dataset


def find_split(value: Value) -> str | None:
    """Return the split that the value's label or the nearest text names. Raises ValueError for `train`."""
    splits = value.label.splits
    captions = [read_label(text) for text in value.near if len(text) < LONGEST_CAPTION]
    is_training = any(label.splits <= TRAINING and label.splits and not label.rest for label in captions)
    if len(splits) > 1 or splits & TRAINING or (is_training and not splits):
        raise ValueError(f"split: {', '.join(sorted(splits)) or 'train'}")
    for names in (splits, *(read_splits(text) for text in value.near)):
        if len(names) == 1:
            return min(names)
    return None


def read_number(value: Value, metric: str) -> tuple[float, float | None, float, str]:
    """Return number, error, fraction and unit of a value as written. Raises ValueError."""
    if not value.written[0].isdigit():
        raise ValueError(f"bound or approximation: {value.written}")
    number, error, is_percent = read_value(value.written.replace(" percent", "%"), metric)
    is_percent = is_percent or (value.label.is_percent and number > 1)
    fraction, unit = as_fraction(metric, number, is_percent)
    if fraction is None:
        raise ValueError("ambiguous unit")
    return number, error, fraction, unit


def merge_claims(claims: list[TextClaim]) -> list[TextClaim]:
    """Return each claim once, where it stands first; a split may be stated elsewhere."""
    merged: list[TextClaim] = []
    for claim in sorted(claims, key=lambda claim: claim.line):
        for place, other in enumerate(merged):
            if is_same_claim(claim, other):
                if other.split is None:
                    merged[place] = msgspec.structs.replace(other, split=claim.split)
                break
        else:
            merged.append(claim)
    return merged


def is_same_claim(claim: TextClaim, other: TextClaim) -> bool:
    """Say whether two claims are the same value, written with more or fewer digits."""
    if (claim.metric, claim.dataset) != (other.metric, other.dataset):
        return False
    if claim.split and other.split and claim.split != other.split:
        return False
    return abs(claim.fraction - other.fraction) < 1.01 * max(last_digit(claim), last_digit(other))


def last_digit(claim: TextClaim) -> float:
    """Return what the last digit written is worth, as a fraction."""
    digits = str(claim.value).rstrip("% ").partition(".")[2]
    return 10.0 ** -(len(digits) + 2 * (claim.unit == "percent"))
