"""Claims: what the metrics of a model's metadata mean, in one vocabulary.

Every metric becomes a `Claim`, or a `Rejected` with the reason.
"""

import functools
import json
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from scored.benchmarks import all_benchmarks
from scored.files import ROOT

VOCABULARY = json.loads((ROOT / "assets" / "data" / "vocabulary.json").read_text(encoding="utf-8"))


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _index(aliases: dict[str, Iterable[str]]) -> dict[str, str]:
    """Map the key of each name and alias to the name."""
    index = {}
    for name, others in aliases.items():
        for alias in (name, *others):
            index[_key(alias)] = name
    return index


_METRIC = _index(VOCABULARY["metrics"])
_DATASET = _index({name: benchmark.aliases for name, benchmark in all_benchmarks().items()})
_AT_ONE_IOU = {(over, at) for over in ("AP", "mAP") for at in ("AP50", "AP75")}
_TOP = re.compile(r"(?<![a-z])top[\W_]?([1-9]\d?)(?![\d.])|@ ?([1-9]|10)(?![\w.]| *[a-z%])")  # no resolution


@functools.lru_cache(4096)  # most cards use the same few names
def metric_name(stated: str | None, name: str | None = None, average: str | None = None) -> str | None:
    """Return the vocabulary's word for a metric of type `stated` that the card calls `name`.

    The name may refine the type (`accuracy` called "Top-5 Accuracy", `mAP` called "mAP@0.5", `f1` called
    "F1 Macro"), as may `average`, the argument of an F1. A metric outside the vocabulary keeps its own name
    in lower case.
    """
    averaged = _averaged_metric(f"{stated or ''} {name or ''} {average or ''}".casefold())
    if averaged:
        return averaged
    refined = _METRIC.get(_key(name or ""))
    metric = _METRIC.get(_key(stated or "")) or refined
    if metric is None:
        return (stated or name or "").strip().casefold() or None
    if refined and (refined.startswith(metric + "-") or (metric, refined) in _AT_ONE_IOU):
        return refined
    if metric == "accuracy" and not refined:
        return _top_k_accuracy((name or "").casefold())
    return metric


def _averaged_metric(text: str) -> str | None:
    """Return `f1-macro` and the like if the text names both a metric and its average."""
    base = re.search(r"f1|f.?score|precision|recall", text)
    average = re.search(r"macro|micro|weighted", text)
    if not base or not average:
        return None
    metric = "f1" if base[0].startswith("f") else base[0]
    return f"{metric}-{average[0]}"


def _top_k_accuracy(name: str) -> str:
    """Return `accuracy-top5` for "Top-5", `accuracy` for "Top-1" or without a k."""
    top = _TOP.search(name)
    k = (top[1] or top[2]) if top else "1"
    return "accuracy" if k == "1" else f"accuracy-top{k}"


@functools.lru_cache(4096)
def dataset_name(stated: str | None, name: str | None = None) -> str | None:
    """Return the vocabulary's word for a data set. A loader (`imagefolder`) yields to the name beside it."""
    if name and (not stated or stated.casefold() in VOCABULARY["loaders"]):
        return _DATASET.get(_key(name)) or name.strip()
    return _DATASET.get(_key(stated or "")) or (stated or "").strip() or None


@functools.lru_cache(4096)
def is_bounded(metric: str | None) -> bool:
    """Tell whether a metric cannot leave [0, 1] (correlations: [-1, 1]) when it is a fraction."""
    known = metric in VOCABULARY["metrics"] or re.match(
        r"(f1|precision|recall)-|pass@\d|accuracy-top\d", metric or ""
    )
    return bool(known) and metric not in VOCABULARY["unbounded"] and metric not in VOCABULARY["error_rates"]


def as_fraction(metric: str | None, number: float, percent: bool = False) -> tuple[float | None, str]:
    """Convert a stated number to a fraction; also return its unit: fraction, percent, ambiguous or none.

    `none` stands for a metric without such a scale (loss) or outside the vocabulary. Raises
    ValueError("out of range").
    """
    bounded = is_bounded(metric)
    if not bounded and metric not in VOCABULARY["error_rates"]:
        return None, "none"
    low, high = VOCABULARY["undecidable"].get(metric) or VOCABULARY["undecidable"]["*"]
    size = abs(number)
    if (number < 0 and metric not in VOCABULARY["correlations"]) or (bounded and size > 100):
        raise ValueError("out of range")
    if percent or size > high:
        return float(Decimal(repr(number)) / 100), "percent"  # in decimal, so that 92.7 % is 0.927
    if size == 0 or size < low:
        return number, "fraction"
    return None, "ambiguous"


class Claim(msgspec.Struct, frozen=True):
    """A metric value that a model card states, in the vocabulary's words and in its own."""

    task: str | None
    dataset: str
    dataset_stated: str
    config: str | None
    split: str | None
    revision: str | None
    metric: str | None  # None in .eval_results, which name a benchmark's task and no metric
    metric_stated: str | None
    value: int | float | str  # as stated
    number: float  # the value as a number, in the unit as stated
    error: float | None  # the term after ±
    fraction: float | None  # 0.01 is a point; None where the unit is ambiguous or the metric unbounded
    unit: str  # fraction, percent, ambiguous, none
    verified: bool
    source: str  # model-index or .eval_results


class Rejected(msgspec.Struct, frozen=True):
    """A metric that could not be read as a claim: the reason, and the entry of the card."""

    reason: str
    stated: object

    @property
    def kind(self) -> str:
        return self.reason.split(":")[0]

    @property
    def text(self) -> str:
        return _text(self.stated)


_NUMBER = re.compile(  # possessive, so that no text of any length takes more than one try
    r"\(?([+-]?(?=[.,]*+\d)[\d.,]++(?:[eE][+-]?\d{1,3})?)\s*+(%?)\s*+"
    r"(?:\(?\s*+(?:±|\+/-|\+-)\s*+([\d.,]*\d)\s*+(%?)\s*+\)?)?\)?"
)


def _decimal(text: str, bounded: bool) -> float:
    """Parse a number with a decimal point or comma. Raises ValueError if it could be two numbers (1,234)."""
    body = text.lstrip("+-")
    if "," in body and "." in body:  # the last one is the decimal sign, the other groups thousands
        group = "," if body.rfind(".") > body.rfind(",") else "."
        if not re.match(rf"\d{{1,3}}(\{group}\d{{3}})+(?!\d|\{group})", body):
            raise ValueError("not a number")
        text = text.replace(group, "")
    elif re.fullmatch(r"[1-9]\d{0,2},\d{3}", body) and not bounded:
        raise ValueError("ambiguous number")
    return float(text.replace(",", "."))


def read_value(value: object, metric: str | None) -> tuple[float, float | None, bool]:
    """Read a stated value: (number, error term or None, whether it has a percent sign).

    Raises ValueError with the reason why it is not a value.
    """
    if value is None or value == "" or value == []:
        raise ValueError("no value")
    error, is_percent = None, False
    try:
        if isinstance(value, str):
            number, error, is_percent = _parse_number(value.strip(), is_bounded(metric))
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("not a number")
        else:
            number = float(value)
    except OverflowError:
        raise ValueError("out of range") from None
    except ValueError as reason:
        kind = str(reason) if str(reason).startswith("ambiguous") else "not a number"
        raise ValueError(f"{kind}: {_text(value, 40)}") from None
    if math.isnan(number):
        raise ValueError("NaN")
    if math.isinf(number):
        raise ValueError("out of range")
    return number, error, is_percent


def _parse_number(text: str, bounded: bool) -> tuple[float, float | None, bool]:
    """Parse text such as "92.7 % ± 0.3". Raises ValueError."""
    if text.casefold() in ("nan", "inf", "-inf", "+inf"):
        return float(text), None, False
    parts = _NUMBER.fullmatch(text)
    if not parts:
        raise ValueError("not a number")
    error = _decimal(parts[3], bounded) if parts[3] else None
    return _decimal(parts[1], bounded), error, bool(parts[2] or parts[4])


_ENCODE = json.JSONEncoder(
    ensure_ascii=False, default=str
).encode  # json.dumps would make an encoder per call


def _text(value: object, length: int = 200) -> str:
    try:
        text = _ENCODE(value)
    except (ValueError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= length else text[: length - 1] + "…"


def first_text(*values: object) -> str | None:
    """Return the first of the values that is a string and not blank, stripped."""
    for value in values:
        text = value.strip() if isinstance(value, str) else ""
        if text:
            return text
    return None


def _as_dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list:
    """Return a list as it is, one object as a list of one, anything else as an empty list."""
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []


class _Context(msgspec.Struct, frozen=True):
    """What a result states about all of its metrics."""

    task: str | None
    dataset: str | None
    dataset_stated: str | None
    config: str | None
    split: str | None
    revision: str | None
    source: str


def read_model_index(index: object) -> Iterator[Claim | Rejected]:
    """Read the metrics of a model-index of any shape."""
    if index and not isinstance(index, (list, dict)):
        yield Rejected("model-index is not a list", index)
    for entry in _as_list(index):
        results = _as_list(_as_dict(entry).get("results"))
        if not results:
            yield Rejected("no results", entry)
        for result in results:
            metrics = _as_list(_as_dict(result).get("metrics"))
            if not metrics:
                yield Rejected("no metrics", result)
                continue
            context = _result_context(result)
            for metric in metrics:
                yield _read_metric(metric, context)


def _result_context(result: dict) -> _Context:
    dataset, task = _as_dict(result.get("dataset")), _as_dict(result.get("task"))
    kind, name = first_text(dataset.get("type")), first_text(dataset.get("name"))
    arguments = dataset.get("args")
    more = _as_dict(arguments)
    split = first_text(dataset.get("split"), more.get("split"))
    return _Context(
        task=first_text(task.get("type"), task.get("name")),
        dataset=dataset_name(kind, name),
        dataset_stated=kind or name,
        config=first_text(dataset.get("config"), arguments, more.get("config")),
        split=split and VOCABULARY["splits"].get(split.casefold(), split.casefold()),
        revision=first_text(dataset.get("revision")),
        source="model-index",
    )


def _read_metric(entry: object, context: _Context) -> Claim | Rejected:
    """Read an entry of a result's `metrics`."""
    if not isinstance(entry, dict):
        return Rejected(f"metric is not an object: {_text(entry, 40)}", entry)
    if context.dataset is None:
        return Rejected("no dataset", entry)
    kind, name = first_text(entry.get("type")), first_text(entry.get("name"))
    settings = _as_dict(entry.get("args")) or _as_dict(entry.get("config"))
    metric = metric_name(kind, name, first_text(settings.get("average")))
    if metric is None:
        return Rejected("no metric", entry)
    if metric == "mAP" and context.dataset == "coco":
        metric = "AP"  # mean average precision over IoU 0.50:0.95 is COCO's AP
    is_verified = bool(entry.get("verified") or entry.get("verifyToken"))
    return _make_claim(entry, metric, kind or name, is_verified, context)


def _make_claim(
    entry: dict, metric: str | None, metric_stated: str | None, verified: bool, context: _Context
) -> Claim | Rejected:
    """Make a claim if the stated value is a number that the metric can take."""
    value = entry.get("value")
    try:
        number, error, is_percent = read_value(value, metric)
        fraction, unit = as_fraction(metric, number, is_percent)
    except ValueError as reason:
        return Rejected(str(reason), entry)
    return Claim(
        task=context.task,
        dataset=context.dataset,
        dataset_stated=context.dataset_stated,
        config=context.config,
        split=context.split,
        revision=context.revision,
        metric=metric,
        metric_stated=metric_stated,
        value=value,
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=verified,
        source=context.source,
    )


def read_eval_results(entries: object) -> Iterator[Claim | Rejected]:
    """Read the Hub's `evalResults`: the repository's `.eval_results/*.yaml`, with their data or errors."""
    if entries and not isinstance(entries, (list, dict)):
        entries = [entries]
    for entry in _as_list(entries):
        if not isinstance(entry, dict) or "error" in entry:
            error = _text(_as_dict(entry).get("error"), 80)
            yield Rejected(f"invalid .eval_results file: {error}", entry)
            continue
        data = _as_dict(entry.get("data", entry))
        context = _eval_result_context(_as_dict(data.get("dataset")))
        if context.dataset is None:
            yield Rejected("no dataset", data)
        else:
            is_verified = bool(entry.get("verified") or data.get("verifyToken"))
            yield _make_claim(data, None, None, is_verified, context)


def _eval_result_context(dataset: dict) -> _Context:
    name = first_text(dataset.get("id"))
    return _Context(
        task=None,
        dataset=dataset_name(name),
        dataset_stated=name,
        config=first_text(dataset.get("task_id")),
        split=None,
        revision=first_text(dataset.get("revision")),
        source=".eval_results",
    )
