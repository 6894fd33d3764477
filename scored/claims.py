"""Claims: what the metrics of a model's metadata mean, in one vocabulary.

Every metric becomes a `Claim`, or a `Rejected` with the reason. Metrics are read by claim_names.py, data sets
by claim_datasets.py, values by claim_values.py.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from scored.benchmarks import all_benchmarks
from scored.claim_datasets import dataset_name, dataset_split
from scored.claim_names import is_bounded, metric_name, read_metric_name
from scored.claim_values import as_fraction, percent_to_fraction, read_bound, read_value, show_value
from scored.claim_words import VOCABULARY, first_stated, first_text, split_name

__all__ = [
    "TRAINER",
    "VOCABULARY",
    "Claim",
    "Rejected",
    "as_fraction",
    "dataset_name",
    "first_text",
    "is_bounded",
    "metric_name",
    "read_eval_results",
    "read_model_index",
    "read_value",
]
TRAINER = "generated_from_trainer"  # the tag of cards that transformers wrote
TRAINER_NOTE = "transformers 4.21 to 4.25 named the training split beside evaluation metrics"
PROPORTIONS = re.compile(r"accuracy(-top\d+)?")  # k of n examples
ANY_SPLIT = ("validation", "test", "train")


class Claim(msgspec.Struct, frozen=True):
    """A metric value that a model card states, in the vocabulary's words and in its own."""

    task: str | None
    dataset: str
    dataset_stated: str
    config: str | None
    split: str | None
    revision: str | None
    metric: str | None  # of an .eval_results entry the headline metric of a known benchmark's task, else None
    metric_stated: str | None
    value: object  # as stated: a number, a text, or what holds them
    number: float  # the value as a number, in the unit as stated
    error: float | None  # the term after ±
    fraction: float | None  # 0.01 is a point; None where nothing can be compared with it
    unit: str  # fraction, percent, ambiguous, none
    verified: bool  # by the Hub's own proof
    source: str  # model-index, .eval_results or card text
    name: str | None = None  # the metric's name as stated: "POS Accuracy"
    dataset_title: str | None = None  # the data set's name as stated, beside its type
    possible_splits: tuple[str, ...] = ()  # where `split` is None although the card names one
    split_note: str | None = None  # why
    bound: str | None = None  # > or < where the card states a bound; it has no fraction
    unit_from: str = "value"  # value, name ("WER (%)") or siblings: the card's other values
    proposal: bool = False  # a pull request's, not the model's own; it has no fraction
    line: int | None = None  # in the card's text, from 1
    contradicts: object = None  # another value that the same card states for it


class Rejected(msgspec.Struct, frozen=True):
    """A metric that could not be read as a claim: the reason, and the entry of the card."""

    reason: str
    stated: object

    @property
    def kind(self) -> str:
        return self.reason.split(":")[0]

    @property
    def text(self) -> str:
        return show_value(self.stated)


class _Context(msgspec.Struct, frozen=True):
    """What a result states about all of its metrics."""

    task: str | None
    dataset: str | None
    dataset_stated: str | None
    dataset_title: str | None
    config: str | None
    split: str | None
    revision: str | None
    source: str
    is_by_trainer: bool = False


def _as_dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list:
    """Return a list as it is, one object as a list of one, anything else as an empty list."""
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []


# ── model-index ───────────────────────────────────────────────────────────────────────────────────────────


def read_model_index(index: object, is_by_trainer: bool = False) -> list[Claim | Rejected]:
    """Read the metrics of a model-index of any shape; `is_by_trainer`: the card has the tag TRAINER."""
    entries = []
    if index and not isinstance(index, (list, dict)):
        entries.append(Rejected("model-index is not a list", index))
    for model in _as_list(index):
        results = _as_list(_as_dict(model).get("results"))
        if not results:
            entries.append(Rejected("no results", model))
        for result in results:
            metrics = _as_list(_as_dict(result).get("metrics"))
            if not metrics:
                entries.append(Rejected("no metrics", result))
                continue
            context = _result_context(result, is_by_trainer)
            claims = [_read_metric(metric, context) for metric in metrics]
            entries += claims if context.split is None else _exclude_splits(claims)
    return _decide_by_siblings(entries)


def _result_context(result: dict, is_by_trainer: bool) -> _Context:
    dataset, task = _as_dict(result.get("dataset")), _as_dict(result.get("task"))
    kind, name = first_stated(dataset.get("type")), first_stated(dataset.get("name"))
    task_name = first_stated(task.get("type"), task.get("name"))
    config, split = _read_arguments(dataset)
    known = dataset_name(kind, name, task_name)
    if split is None and known in all_benchmarks():
        split = dataset_split(kind, name)
    return _Context(
        task=task_name,
        dataset=known,
        dataset_stated=kind or name,
        dataset_title=name,
        config=config,
        split=split_name(split),
        revision=first_stated(dataset.get("revision")),
        source="model-index",
        is_by_trainer=is_by_trainer,
    )


_ARGUMENT = re.compile(r"\b(config|split)[\"']?\s*[:=]\s*[\"']?([^,;\"'}]+)", re.IGNORECASE)


def _read_arguments(dataset: dict) -> tuple[str | None, str | None]:
    """Return configuration and split, each from its own field or from `args`."""
    config, split = first_stated(dataset.get("config")), first_stated(dataset.get("split"))
    arguments = dataset.get("args")
    if isinstance(arguments, dict):
        return config or first_stated(arguments.get("config")), split or first_stated(arguments.get("split"))
    text = first_stated(arguments)
    if text is None:
        return config, split
    stated = {key.casefold(): value.strip() for key, value in _ARGUMENT.findall(text)}
    if not stated:  # the plain name of a configuration
        return config or text, split
    return config or first_stated(stated.get("config")), split or first_stated(stated.get("split"))


def _read_metric(entry: object, context: _Context) -> Claim | Rejected:
    """Read an entry of a result's `metrics`."""
    if not isinstance(entry, dict):
        return Rejected(f"metric is not an object: {show_value(entry, 40)}", entry)
    if context.dataset is None:
        return Rejected("no dataset", entry)
    kind, name = first_stated(entry.get("type")), first_stated(entry.get("name"))
    settings = entry.get("args") or entry.get("config")
    average = first_text(settings.get("average")) if isinstance(settings, dict) else None
    reading = read_metric_name(kind, name, average, context.dataset, context.task)
    if reading.metric is None:
        return Rejected("no metric", entry)
    value, bound = read_bound(entry.get("value"))
    unit_from = "value"
    try:
        number, error, is_percent = read_value(value, reading.metric)
        if reading.is_percent and not is_percent:
            is_percent, unit_from = True, "name"
        fraction, unit = as_fraction(reading.metric, number, is_percent)
    except ValueError as reason:
        return Rejected(str(reason), entry)
    if unit_from == "name" and abs(number) <= 1 and is_bounded(reading.metric):
        fraction, unit = None, "ambiguous"  # an accuracy of 0.9 "in %" is 0.9% or 90%
    if bound:
        fraction, unit = None, "none"
    split, possible_splits, note = _read_split(reading.splits, context)
    return Claim(
        task=context.task,
        dataset=context.dataset,
        dataset_stated=context.dataset_stated,
        config=context.config,
        split=split,
        revision=context.revision,
        metric=reading.metric,
        metric_stated=kind or name,
        value=entry["value"],
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=_has_token(entry) and entry.get("verified") is not False,
        source=context.source,
        name=name,
        dataset_title=context.dataset_title,
        possible_splits=possible_splits,
        split_note=note,
        bound=bound,
        unit_from=unit_from,
    )


def _has_token(entry: dict) -> bool:
    """Tell whether the Hub has signed a value; `verified: true` anyone may write."""
    return first_text(entry.get("verifyToken")) is not None


# ── Splits ────────────────────────────────────────────────────────────────────────────────────────────────


def _read_split(named: frozenset[str], context: _Context) -> tuple[str | None, tuple[str, ...], str | None]:
    """Return the split by the metric's name and by the result; if unknown, the possible ones and why."""
    splits = named | {context.split} if context.split else named
    if len(splits) > 1:
        return None, tuple(sorted(splits)), f"the card names {' and '.join(sorted(splits))}"
    if context.split == "train" and not named and context.is_by_trainer:
        benchmark = all_benchmarks().get(context.dataset)
        splits = ANY_SPLIT
        if benchmark:
            splits = tuple(dict.fromkeys((*benchmark.public, "train")))
        return None, splits, TRAINER_NOTE
    return (min(splits) if splits else None), (), None


def _exclude_splits(claims: list[Claim | Rejected]) -> list[Claim | Rejected]:
    """Exclude splits on which k of n examples cannot give the accuracy; all metrics of a result share one."""
    excluded = set()
    for claim in claims:
        if type(claim) is Claim and claim.possible_splits:
            excluded |= _impossible_splits(claim)
    if not excluded:
        return claims
    return [_without_splits(claim, excluded) if type(claim) is Claim else claim for claim in claims]


def _without_splits(claim: Claim, excluded: set[str]) -> Claim:
    left = tuple(split for split in claim.possible_splits if split not in excluded)
    if not left or left == claim.possible_splits:
        return claim
    note = f"{claim.split_note}; no k of n examples gives the accuracy on {', '.join(sorted(excluded))}"
    return msgspec.structs.replace(claim, possible_splits=left, split_note=note)


def _impossible_splits(claim: Claim) -> set[str]:
    benchmark = all_benchmarks().get(claim.dataset)
    if benchmark is None or claim.fraction is None or not PROPORTIONS.fullmatch(claim.metric):
        return set()
    value = Decimal(repr(claim.fraction))
    half_unit = Decimal("0.5").scaleb(max(value.as_tuple().exponent, -12))
    impossible = set()
    for split in claim.possible_splits:
        n = benchmark.splits.get(split)
        if n and abs(round(value * n) / Decimal(n) - value) > half_unit:
            impossible.add(split)
    return impossible


# ── Units ─────────────────────────────────────────────────────────────────────────────────────────────────


def _decide_by_siblings(entries: list[Claim | Rejected]) -> list[Claim | Rejected]:
    """Decide ambiguous units by the card's other values of the same kind, where these agree."""
    claims = [entry for entry in entries if type(entry) is Claim]
    if all(claim.unit != "ambiguous" and claim.number != 1 for claim in claims):
        return entries
    return [_decide_unit(entry, claims) if type(entry) is Claim else entry for entry in entries]


def _decide_unit(claim: Claim, claims: list[Claim]) -> Claim:
    if claim.unit != "ambiguous" and (claim.number != 1 or not is_bounded(claim.metric)):
        return claim
    siblings = []
    for other in claims:
        is_decided = other.unit in ("fraction", "percent") and other.number not in (0, 1)
        if is_decided and _scale(other.metric) == _scale(claim.metric):
            siblings.append(other)
    units = {sibling.unit for sibling in siblings}
    if claim.unit == "fraction":  # exactly 1
        is_doubtful = "percent" in units
        return msgspec.structs.replace(claim, fraction=None, unit="ambiguous") if is_doubtful else claim
    if claim.unit_from == "name":
        return claim
    if units == {"percent"}:
        fraction = percent_to_fraction(claim.number)
        return msgspec.structs.replace(claim, fraction=fraction, unit="percent", unit_from="siblings")
    # More than 1 is a fraction only as an error rate, and not far above the others.
    is_possible = claim.number <= 1 or claim.metric in VOCABULARY["error_rates"]
    if units == {"fraction"} and is_possible and claim.number <= 3 * max(s.number for s in siblings):
        return msgspec.structs.replace(claim, fraction=claim.number, unit="fraction", unit_from="siblings")
    return claim


def _scale(metric: str | None) -> str:
    """Return what values on one scale have in common: error rates, shares of examples, or the metric."""
    if metric in VOCABULARY["error_rates"]:
        return "error rate"
    if metric in VOCABULARY["undecidable"] or not is_bounded(metric):
        return f"metric {metric}"
    return "share"


# ── .eval_results ─────────────────────────────────────────────────────────────────────────────────────────


def read_eval_results(entries: object) -> Iterator[Claim | Rejected]:
    """Read the Hub's `evalResults`: the repository's `.eval_results/*.yaml`, with their data or errors."""
    if entries and not isinstance(entries, (list, dict)):
        entries = [entries]
    for entry in _as_list(entries):
        if not isinstance(entry, dict) or "error" in entry:
            error = show_value(_as_dict(entry).get("error"), 80)
            yield Rejected(f"invalid .eval_results file: {error}", entry)
            continue
        data = _as_dict(entry.get("data", entry))
        is_verified = _has_token(data)
        if data is not entry and isinstance(entry.get("verified"), bool):
            is_verified = entry["verified"]  # the Hub's own word
        yield _read_eval_result(data, is_verified, bool(entry.get("pullRequest")))


def _read_eval_result(data: dict, is_verified: bool, is_proposal: bool) -> Claim | Rejected:
    dataset = _as_dict(data.get("dataset"))
    name = first_stated(dataset.get("id"))
    if name is None:
        return Rejected("no dataset", data)
    task_id, benchmark = first_stated(dataset.get("task_id")), all_benchmarks().get(dataset_name(name))
    metric = benchmark.headline if benchmark and task_id in benchmark.eval_tasks else None
    value, bound = read_bound(data.get("value"))
    fraction, unit = None, "none"
    try:
        number, error, is_percent = read_value(value, metric)
        if metric and not bound and not is_proposal:
            fraction, unit = as_fraction(metric, number, is_percent)
    except ValueError as reason:
        return Rejected(str(reason), data)
    return Claim(
        task=None,
        dataset=dataset_name(name),
        dataset_stated=name,
        config=task_id,
        split=None,
        revision=first_stated(dataset.get("revision")),
        metric=metric,
        metric_stated=None,
        value=data["value"],
        number=number,
        error=error,
        fraction=fraction,
        unit=unit,
        verified=is_verified,
        source=".eval_results",
        bound=bound,
        proposal=is_proposal,
    )
