"""Claims: what the metrics of a model's metadata mean, in one vocabulary.

Every metric becomes a `Claim`, or a `Rejected` with the reason.
"""

import functools
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from scored.benchmarks import all_benchmarks
from scored.files import ROOT

VOCABULARY = json.loads((ROOT / "assets" / "data" / "vocabulary.json").read_text(encoding="utf-8"))


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _index(words: dict[str, list[str]]) -> dict[str, str]:
    return {_key(alias): name for name, aliases in words.items() for alias in [name, *aliases]}


_METRIC, _DATASET = (
    _index(VOCABULARY["metrics"]),
    _index({name: benchmark.aliases for name, benchmark in all_benchmarks().items()}),
)
_AT_ONE_IOU = {(over, at) for over in ("AP", "mAP") for at in ("AP50", "AP75")}
_TOP = re.compile(r"(?<![a-z])top[\W_]?([1-9]\d?)(?![\d.])|@ ?([1-9]|10)(?![\w.]| *[a-z%])")  # no resolution


@functools.lru_cache(4096)  # the same few words in most cards
def metric_name(stated: str | None, name: str | None = None, average: str | None = None) -> str | None:
    """The vocabulary's word for a metric of type `stated` that the card calls `name`.

    The name may refine the type (`accuracy` called "Top-5 Accuracy", `mAP` called "mAP@0.5", `f1` called
    "F1 Macro"), as may `average`, the argument of an F1. A metric outside the vocabulary keeps its own name
    in lower case.
    """
    found = _METRIC.get(_key(stated or "")) or _METRIC.get(_key(name or ""))
    called = _METRIC.get(_key(name or ""))
    if called and found and (called.startswith(found + "-") or (found, called) in _AT_ONE_IOU):
        found = called
    if found == "accuracy" and not called and (top := _TOP.search((name or "").casefold())):
        found = "accuracy" if (k := top[1] or top[2]) == "1" else f"accuracy-top{k}"
    words = f"{stated or ''} {name or ''} {average or ''}".casefold()
    if (base := re.search(r"f1|f.?score|precision|recall", words)) and (
        how := re.search(r"macro|micro|weighted", words)
    ):
        return f"{'f1' if base[0].startswith('f') else base[0]}-{how[0]}"
    return found or (stated or name or "").strip().casefold() or None


@functools.lru_cache(4096)
def dataset_name(stated: str | None, name: str | None = None) -> str | None:
    """The vocabulary's word for a data set; a loader's name (`imagefolder`) yields to the name beside it."""
    if name and (not stated or stated.casefold() in VOCABULARY["loaders"]):
        return _DATASET.get(_key(name)) or name.strip()
    return _DATASET.get(_key(stated or "")) or (stated or "").strip() or None


@functools.lru_cache(4096)
def is_bounded(metric: str | None) -> bool:
    """True for a metric that cannot leave [0, 1] (correlations: [-1, 1]) when it is a fraction."""
    known = metric in VOCABULARY["metrics"] or re.match(
        r"(f1|precision|recall)-|pass@\d|accuracy-top\d", metric or ""
    )
    return bool(known) and metric not in VOCABULARY["unbounded"] and metric not in VOCABULARY["error_rates"]


def as_fraction(metric: str | None, number: float, percent: bool = False) -> tuple[float | None, str]:
    """A stated number as a fraction, and its unit: `fraction`, `percent`, `ambiguous` or `none`.

    `none` is a metric with no such scale (loss) or outside the vocabulary. Raises ValueError("out of range").
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
    """A metric that could not be read as a claim: why, and what the card has there."""

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
    """A number with a decimal point or comma; ValueError if `1,234` could be either of two numbers."""
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
    """A stated value as (number, error term or None, written with %). ValueError says why it is not one."""
    if value is None or value == "" or value == []:
        raise ValueError("no value")
    error, percent = None, False
    try:
        if isinstance(value, str):
            if value.strip().casefold() in ("nan", "inf", "-inf", "+inf"):
                value = float(value)
            elif found := _NUMBER.fullmatch(value.strip()):
                bounded = is_bounded(metric)
                percent = bool(found[2] or found[4])
                error = _decimal(found[3], bounded) if found[3] else None
                value = _decimal(found[1], bounded)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("not a number")
        number = float(value)
    except OverflowError:
        raise ValueError("out of range") from None
    except ValueError as why:
        kind = str(why) if str(why).startswith("ambiguous") else "not a number"
        raise ValueError(f"{kind}: {_text(value, 40)}") from None
    if math.isnan(number):
        raise ValueError("NaN")
    if math.isinf(number):
        raise ValueError("out of range")
    return number, error, percent


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode  # json.dumps would make one each time


def _text(value: object, length: int = 200) -> str:
    try:
        text = _ENCODE(value)
    except (ValueError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= length else text[: length - 1] + "…"


def first_text(value: object, other: object = None, third: object = None) -> str | None:
    """The first of these that is a string and not blank."""
    if type(value) is str and (text := value.strip()):  # JSON knows no subclass of it
        return text
    return None if other is None and third is None else first_text(other, third)


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list:
    """A list as it is, one object as a list of one, anything else as nothing."""
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


def _result_context(result: dict) -> dict:
    """What a result of a model-index says about all of its metrics, as fields of a Claim."""
    data, task = _dict(result.get("dataset")), _dict(result.get("task"))
    kind, name, arguments = first_text(data.get("type")), first_text(data.get("name")), data.get("args")
    more = _dict(arguments)
    split = first_text(data.get("split"), more.get("split"))
    return {
        "task": first_text(task.get("type"), task.get("name")),
        "dataset": dataset_name(kind, name),
        "dataset_stated": kind or name,
        "config": first_text(data.get("config"), arguments, more.get("config")),
        "split": split and VOCABULARY["splits"].get(split.casefold(), split.casefold()),
        "revision": first_text(data.get("revision")),
        "source": "model-index",
    }


def _read_metric(metric: object, about: dict) -> Claim | Rejected:
    """One entry of a result's `metrics`."""
    if not isinstance(metric, dict):
        return Rejected(f"metric is not an object: {_text(metric, 40)}", metric)
    if about["dataset"] is None:
        return Rejected("no dataset", metric)
    kind, name = first_text(metric.get("type")), first_text(metric.get("name"))
    settings = _dict(metric.get("args")) or _dict(metric.get("config"))
    found = metric_name(kind, name, first_text(settings.get("average")))
    if found is None:
        return Rejected("no metric", metric)
    if found == "mAP" and about["dataset"] == "coco":
        found = "AP"  # mean average precision over 0.50:0.95 is COCO's AP
    return _make_claim(
        metric, found, kind or name, metric.get("verified") or metric.get("verifyToken"), about
    )


def _make_claim(
    stated: dict, metric: str | None, metric_stated: str | None, verified: object, about: dict
) -> Claim | Rejected:
    """A claim, if the value that the card states is a number that the metric can take."""
    value = stated.get("value")
    try:
        number, error, percent = read_value(value, metric)
        fraction, unit = as_fraction(metric, number, percent)
    except ValueError as why:
        return Rejected(str(why), stated)
    return Claim(
        metric=metric,
        metric_stated=metric_stated,
        value=value,
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=bool(verified),
        **about,
    )


def read_model_index(index: object) -> Iterator[Claim | Rejected]:
    if index and not isinstance(index, (list, dict)):
        yield Rejected("model-index is not a list", index)
    for entry in _as_list(index):
        results = _as_list(_dict(entry).get("results"))
        if not results:
            yield Rejected("no results", entry)
        for result in results:
            metrics = _as_list(_dict(result).get("metrics"))
            if not metrics:
                yield Rejected("no metrics", result)
                continue
            about = _result_context(result)
            for metric in metrics:
                yield _read_metric(metric, about)


def read_eval_results(entries: object) -> Iterator[Claim | Rejected]:
    """The Hub's `evalResults`: the repository's `.eval_results/*.yaml`, each with its data or its error."""
    for entry in _as_list(entries) or ([entries] if entries else []):
        if not isinstance(entry, dict) or "error" in entry:
            yield Rejected(f"invalid .eval_results file: {_text(_dict(entry).get('error'), 80)}", entry)
            continue
        data = _dict(entry.get("data", entry))
        dataset = _dict(data.get("dataset"))
        name = first_text(dataset.get("id"))
        if name is None:
            yield Rejected("no dataset", data)
            continue
        about = {
            "task": None,
            "dataset": dataset_name(name),
            "dataset_stated": name,
            "config": first_text(dataset.get("task_id")),
            "split": None,
            "revision": first_text(dataset.get("revision")),
            "source": ".eval_results",
        }
        yield _make_claim(data, None, None, entry.get("verified") or data.get("verifyToken"), about)
