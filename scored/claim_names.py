"""Metrics in claims: which metric the type and the name on a card mean, in one vocabulary.

A name is read as a phrase: a metric's word, a split, a unit, and the words that are left over.
"""

import functools
import re
import unicodedata

import msgspec

from scored.benchmarks import Benchmark, all_benchmarks
from scored.claim_datasets import own_words
from scored.claim_words import NEUTRAL_WORDS, VOCABULARY, letters_and_digits, take_splits

_METRIC_WORDS = frozenset(VOCABULARY["metric_words"])
_PREFIX = re.compile(r"^(?:evaluate-metric|metrics?)[/:]")
_EVALUATION = re.compile(r"\b(?:eval|evaluation)(?: (?:data ?)?set)?\b")
_PERCENT = re.compile(
    r"(?<!\d)(?<!\d )[(\[]? ?(?:\bin )?(?:%|\b(?:percent|percentage|pct)\b(?! error| of)) ?[)\]]?"
)


def _index_metrics() -> dict[str, str]:
    """Map the key of each name and alias of a metric to the name."""
    index = {}
    for metric, aliases in VOCABULARY["metrics"].items():
        for alias in (metric, *aliases):
            index[letters_and_digits(alias)] = metric
    return index


_METRIC = _index_metrics()

# ── Metrics ───────────────────────────────────────────────────────────────────────────────────────────────

_ASIDE = re.compile(r"\([^()]*(?:\d[.,]\d|\d\d)[^()]*\)")  # "(macro F1 0.88)"
_AVERAGE = re.compile(r"\b(macro|micro|weighted)(?:[- ]?(?:averaged?|avg))?\b")
_TOP = re.compile(r"\btop[- ]?([1-9]\d?)(?![\d.])|@ ?([1-9]|10)(?![\w.]| *[a-z%])")  # but no resolution
_AT_K = re.compile(r"(ndcg|mrr|map|recall|precision|hits?|pass)(?: ?@ ?| at )([1-9]\d*)(?![\w.])")
_AVERAGE_PRECISION = re.compile(r"(?<![a-z])(?:mean average precision|average precision|map|ap)(?![a-z])")
_IOU = r"(?:0?\.\d\d?|[1-9]\d(?:\.0)?)"
_THRESHOLDS = re.compile(
    rf"^(?:[\s@(\[=:,>≥-]|iou|at)*({_IOU})((?: ?(?:[:,–~-]|\.\.+|to) ?(?:{_IOU}|0?5))*)(?![\w.])[)\]\s]*"
)
_SPELT_OUT = re.compile(r"\b(?:mean )?average precision \(?(m?ap)\b\)?")
_NO_AREA = re.compile(r"area ?= ?all|max ?dets? ?= ?100|\|")
_BOX = re.compile(r"\b(?:box|bbox|boxes|bounding box(?:es)?|detection)\b|\(b\)")
_OTHER_AP = {
    "mask": re.compile(r"\b(?:masks?|segm?|segmentation|instance)\b|\(m\)"),
    "keypoint": re.compile(r"\b(?:key ?points?|kpts?|kp|pose|oks)\b|\(p\)"),
}
_SIMILARITY = re.compile(r"\b(?:cosine|cos sim|dot|euclidean|manhattan)\b")
_AP_FAMILY = frozenset({"AP", "mAP", "AP50", "AP75", "APs", "APm", "APl"})
_ERROR_RATE = re.compile(r"([\w-]+) error rate\b")
_ERROR = re.compile(r"\berr(?:ors?)?\b")


class Phrase(msgspec.Struct, frozen=True):
    """The meaning of a metric's type or name."""

    text: str = ""  # lower-case, without split and unit
    metric: str | None = None
    average: str | None = None  # macro, micro, weighted
    boxes: str | None = None  # box, mask or keypoint
    splits: frozenset[str] = frozenset()
    is_percent: bool = False
    rest: tuple[str, ...] = ()  # words that are of no metric, split or unit


@functools.lru_cache(4096)
def read_phrase(stated: str | None) -> Phrase:
    """Read what a metric is called, as its type or as its name."""
    if not stated:
        return Phrase()
    text = unicodedata.normalize("NFKC", stated).casefold().replace("_", " ")
    text = _PREFIX.sub("", " ".join(text.split()))
    text, splits = take_splits(_EVALUATION.sub(" ", text))
    is_percent = _PERCENT.search(text) is not None
    text = " ".join(_PERCENT.sub(" ", text).split())
    metric, boxes, rest = _find_metric(text)
    average = _AVERAGE.search(_drop_asides(text))
    if average:
        rest = [word for word in rest if not _AVERAGE.fullmatch(word) and word not in ("averaged", "avg")]
    return Phrase(text, metric, average and average[1], boxes, splits, is_percent, tuple(rest))


def _drop_asides(text: str) -> str:
    """Remove a parenthesis that gives the value of another metric."""

    def drop(aside: re.Match) -> str:
        metrics, _ = _search_metrics(aside[0])
        return " " if metrics and metrics != ["iou"] else aside[0]

    return _ASIDE.sub(drop, text)


def _find_metric(text: str) -> tuple[str | None, str | None, list[str]]:
    """Return the metric that lower-case text names, whether it is about boxes, and the words left over."""
    key = letters_and_digits(text)
    if key in _METRIC and not _BOX.search(text):
        return _METRIC[key], None, []
    if _SIMILARITY.search(text):
        return None, None, _words(text)
    text = _drop_asides(text)
    at_k = _AT_K.fullmatch(text)
    if at_k and (at_k[1] != "map" or not 25 <= int(at_k[2]) <= 95):  # "mAP@50" is at IoU 0.50
        return f"{at_k[1]}@{at_k[2]}", None, []
    if _AVERAGE_PRECISION.search(text):
        return _find_average_precision(text)
    metrics, rest = _search_metrics(text)
    top = _TOP.search(text)
    if top and metrics in ([], ["accuracy"]) and not _ERROR.search(text):
        k = top[1] or top[2]
        _, rest = _search_metrics(_TOP.sub(" ", text))
        return "accuracy" if k == "1" else f"accuracy-top{k}", None, rest
    if len(metrics) == 1:
        return metrics[0], None, rest
    return None, None, _words(text)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def _search_metrics(text: str) -> tuple[list[str], list[str]]:
    """Find the vocabulary's metrics in a text, the longest names first; also return the other words."""
    tokens, metrics, rest = _words(text), [], []
    place = 0
    while place < len(tokens):
        for length in (4, 3, 2, 1):
            metric = _METRIC.get("".join(tokens[place : place + length]))
            if metric and place + length <= len(tokens):
                metrics.append(metric)
                place += length
                break
        else:
            rest.append(tokens[place])
            place += 1
    return list(dict.fromkeys(metrics)), rest


def _find_average_precision(text: str) -> tuple[str | None, str | None, list[str]]:
    """Read a detection metric: AP50 of "mAP@0.5 (box)", AP of "AP@[.5:.95]"; masks and key points apart."""
    boxes = "box" if _BOX.search(text) else None
    for other, pattern in _OTHER_AP.items():
        if pattern.search(text):
            boxes = other
            text = pattern.sub(" ", text)
    text = " ".join(_NO_AREA.sub(" ", _BOX.sub(" ", text)).split())
    text = _SPELT_OUT.sub(r"\1", text)
    key = letters_and_digits(text)
    if key in _METRIC:
        return _METRIC[key], boxes, []
    name = _AVERAGE_PRECISION.search(text)
    if name is None:
        return None, boxes, _words(text)
    metric = _METRIC[letters_and_digits(name[0])]
    before, after = text[: name.start()], text[name.end() :]
    thresholds = _THRESHOLDS.match(after)
    if thresholds:
        metric = _metric_at(metric, thresholds)
        after = after[thresholds.end() :]
    others, rest = _search_metrics(f"{before} {after}")
    return (None, boxes, _words(text)) if others else (metric, boxes, rest)


def _metric_at(metric: str, thresholds: re.Match) -> str:
    """Return the name of an average precision at the IoU that follows it."""
    first = _as_percent(thresholds[1])
    if not thresholds[2]:
        return f"AP{first}"
    last = _as_percent(re.findall(r"[\d.]*\d", thresholds[2])[-1])
    if (first, last) == (50, 95):
        return metric
    return f"AP{first}-{last}"


def _as_percent(threshold: str) -> int:
    number = float(threshold)
    return round(number * 100) if number < 1 else round(number)


class MetricName(msgspec.Struct, frozen=True):
    """What the type and the name of a metric say together."""

    metric: str | None
    splits: frozenset[str] = frozenset()
    is_percent: bool = False


def metric_name(stated: str | None, name: str | None = None, average: str | None = None) -> str | None:
    """Return the vocabulary's word for a metric of type `stated` that the card calls `name`.

    The name may refine the type (`accuracy` called "Top-5 Accuracy", `precision` called "mAP@0.5", `f1`
    called "F1 Macro"), as may `average`, the argument of an F1. A metric outside the vocabulary keeps its
    own name in lower case.
    """
    return read_metric_name(stated, name, average).metric


@functools.lru_cache(4096)  # most cards use the same few names
def read_metric_name(
    stated: str | None,
    name: str | None = None,
    average: str | None = None,
    dataset: str | None = None,
    task: str | None = None,
) -> MetricName:
    """Read a metric's type and name. On a data set that is measured, each word must be understood."""
    typed, called = read_phrase(stated), read_phrase(name)
    own_name = (stated or name or "").strip().casefold() or None
    metric = _choose_metric(typed, called) or own_name
    if metric in ("f1", "precision", "recall"):
        named = _average_words(typed, called, average)
        if len(named) == 1:
            metric = f"{metric}-{min(named)}"
    elif metric in _AP_FAMILY or metric == "average-precision":
        metric = _detection_metric(metric, typed.boxes or called.boxes, dataset, task)
    benchmark = all_benchmarks().get(dataset)
    if benchmark and is_known(metric) and _left_over(typed, called, benchmark):
        metric = (name or stated).strip().casefold()
        if metric in _METRIC.values():
            metric = f"{metric} ({stated})"
    return MetricName(metric, typed.splits | called.splits, typed.is_percent or called.is_percent)


def _choose_metric(typed: Phrase, called: Phrase) -> str | None:
    """Return the metric of the type, or of the name where it is more exact; None outside the vocabulary."""
    metric = typed.metric
    if metric and typed.rest and not typed.average:
        metric = None  # "slot accuracy" is a metric of its own
    if metric is None:
        is_explained = not typed.text or set(called.rest) <= NEUTRAL_WORDS
        is_metric = not _METRIC_WORDS.isdisjoint(_words(typed.text))
        return called.metric if is_explained and not is_metric else None
    if called.text and _is_other_metric(metric, called.text):
        return called.text
    return called.metric if called.metric and _refines(called.metric, metric) else metric


def _is_other_metric(metric: str, name: str) -> bool:
    """Tell whether a name says that it is an error ("Top-1 Error"), or the rate of another error."""
    rate = _ERROR_RATE.search(name)
    if metric in VOCABULARY["error_rates"]:
        return (
            rate is not None
            and letters_and_digits(rate[0]) not in _METRIC
            and letters_and_digits(rate[1]) != metric
        )
    return metric.startswith("accuracy") and _ERROR.search(name) is not None


def _refines(name: str, metric: str) -> bool:
    """Tell whether a metric's name says the same as its type, but more exactly."""
    if name.startswith(f"{metric}-") or name.startswith(f"{metric}@"):
        return True
    if metric == "precision":
        return name.startswith(("AP", "mAP", "average-precision"))
    if metric in ("AP", "mAP", "average-precision"):
        return name.startswith("AP")
    if metric == "recall":
        return name.startswith("AR")
    return metric == "rouge" and name.startswith("rouge")


def _average_words(typed: Phrase, called: Phrase, average: str | None) -> set[str]:
    """Return how an F1 is averaged: by its name, else by its type, else by its argument."""
    argument = read_phrase(average).average
    for word in (called.average, typed.average, argument):
        if word:
            return {word}
    return set()


def _detection_metric(metric: str, boxes: str | None, dataset: str | None, task: str | None) -> str:
    """Return the metric of boxes, or `mask-AP` and `keypoint-AP` for other things than boxes."""
    lowered = (task or "").casefold()
    if boxes is None and "segmentation" in lowered:
        boxes = "mask"
    if boxes is None and ("keypoint" in lowered or "pose" in lowered):
        boxes = "keypoint"
    if dataset == "coco" and metric in ("mAP", "average-precision"):
        metric = "AP"  # mean average precision over IoU 0.50:0.95 is COCO's AP
    return f"{boxes}-{metric}" if boxes in _OTHER_AP else metric


def _left_over(typed: Phrase, called: Phrase, benchmark: Benchmark) -> list[str]:
    """Return the words of a metric that may make it another one: a class, a subset, a protocol."""
    neutral = NEUTRAL_WORDS | own_words(benchmark.name)
    rest = []
    for word in (*typed.rest, *called.rest):
        is_size = word.replace("x", "").replace("px", "").isdigit() and len(word) > 2
        if word not in neutral and not is_size:
            rest.append(word)
    return rest


# ── Scales ────────────────────────────────────────────────────────────────────────────────────────────────

_FAMILY = re.compile(
    r"(?:f1|precision|recall)-(?:macro|micro|weighted)|accuracy-top\d+|AP\d\d(?:-\d\d)?"
    r"|(?:mask|keypoint)-m?AP\w*|(?:ndcg|mrr|map|recall|precision|hits?|pass)@\d+"
)
_OF_SIMILARITY = re.compile(
    r"(?:cosine|cos_sim|dot|euclidean|manhattan|max)_(\w+?)(?:@\d+)?|(\w+)_(?:cosine|dot|euclidean|manhattan|max)"
)


@functools.lru_cache(4096)
def is_known(metric: str | None) -> bool:
    """Tell whether a metric is in the vocabulary or of one of its families, such as pass@k."""
    return metric in VOCABULARY["metrics"] or _FAMILY.fullmatch(metric or "") is not None


@functools.lru_cache(4096)
def is_bounded(metric: str | None) -> bool:
    """Tell whether a metric cannot leave [0, 1] (correlations: [-1, 1]) when it is a fraction."""
    if metric in VOCABULARY["unbounded"] or metric in VOCABULARY["error_rates"]:
        return False
    return is_known(metric) or _base_of_similarity(metric) is not None


@functools.lru_cache(4096)
def is_correlation(metric: str | None) -> bool:
    """Tell whether a metric may be negative."""
    return (_base_of_similarity(metric) or metric) in VOCABULARY["correlations"]


def _base_of_similarity(metric: str | None) -> str | None:
    """Return `accuracy` for cosine_accuracy@1, `spearman` for spearman_cosine."""
    match = _OF_SIMILARITY.fullmatch((metric or "").replace(" ", "_"))
    base = match and _METRIC.get(letters_and_digits(match[1] or match[2]))
    return base if base and is_bounded(base) else None
