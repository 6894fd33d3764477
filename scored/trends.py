"""Trends of the registry: models, downloads and risks, each counted in one pass.

A trend is given all models in batches (`add`) and then returns its counts (`result`), which audit.json holds.
`known` is the number of records that a count is out of: those in which its fields were taken.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection
from hashlib import blake2b
from heapq import nlargest, nsmallest
from typing import NamedTuple

from ptm import PTM
from scored.intervals import ratio

TOP = 20  # names listed per ranking
LONGEST = 200  # characters of a name
MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
DAY = re.compile(MONTH.pattern + r"-(0[1-9]|[12]\d|3[01])")
# The Hub tags each base model twice: base_model:X and base_model:finetune:X.
RELATION_PREFIXES = ("finetune:", "quantized:", "adapter:", "merge:")
RANGES = ((1, "1"), (2, "2"), (5, "3–5"), (10, "6–10"), (100, "11–100"), (float("inf"), "over 100"))


class Batch:
    """Some models, and lists of them by what is known: made once for all trends."""

    def __init__(self, models: list[PTM]):
        self.models = models
        self.card = self.hub = models  # those whose card, or whose entry in the Hub's list, was taken
        self.partial = [model for model in models if model.taken is not None]
        self.without_card = [model for model in self.partial if not model.taken.card]
        self.without_hub = [model for model in self.partial if not model.taken.hub]
        if self.without_card:
            self.card = [model for model in models if model.taken is None or model.taken.card]
        if self.without_hub:
            self.hub = [model for model in models if model.taken is None or model.taken.hub]
        self.claiming = [model for model in self.card if model.claims]
        tags = [(model, " ".join(model.tags)) for model in self.card]  # searched much faster than tag by tag
        self.with_datasets = [model for model, text in tags if "dataset:" in text]
        self.derived = [(model, base_models(model)) for model, text in tags if "base_model:" in text]


def base_models(model: PTM) -> list[str]:
    """Return the models named as the base of this one, without the tags that repeat them with a relation."""
    names = model.tags_after("base_model:")
    return list(dict.fromkeys([name for name in names if not name.startswith(RELATION_PREFIXES)]))


def truncate(text: str) -> str:
    """Shorten a name to at most LONGEST characters; a hash keeps long names apart."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:180]}…{blake2b(text.encode(errors='replace'), digest_size=8).hexdigest()}"


def top(counts: dict[str, int], limit: int = TOP) -> dict[str, int]:
    """Return the largest counts, ties by name."""
    largest = nsmallest(limit, counts.items(), key=lambda item: (-item[1], item[0]))
    return {truncate(name): count for name, count in largest}


def count_ranges(sizes: Counter) -> dict[str, int]:
    """Sum the counts of sizes (size -> count) by ranges of the size."""
    ranges = {name: 0 for _, name in RANGES}
    for size, count in sizes.items():
        ranges[next(name for largest, name in RANGES if size <= largest)] += count
    return ranges


def weighted(models: int, downloads: int, known: int, known_downloads: int) -> dict:
    """Describe some models and their downloads as parts of all that are known."""
    return {
        "models": models,
        "known": known,
        "fraction_of_models": ratio(models, known),
        "downloads": downloads,
        "known_downloads": known_downloads,
        "fraction_of_downloads": ratio(downloads, known_downloads),
    }


class Registry:
    """Count the records, and find of when their fields are."""

    def __init__(self):
        self.models = self.whole = self.only_named = 0
        self.newest = ""  # change of a record that was fetched whole: the file does not say when
        self.dates = {"cards": Counter(), "tasks": Counter()}
        self.missing = {"downloads": Counter(), "creation dates": Counter()}  # dates of records without them

    def add(self, batch: Batch) -> None:
        self.models += len(batch.models)
        taken = [model.taken for model in batch.partial]
        self.whole += len(batch.models) - len(taken)
        self.only_named += len([model for model in batch.without_card if not model.taken.hub])
        self.dates["cards"].update([dates.card for dates in taken if dates.card])
        self.dates["tasks"].update([dates.hub for dates in taken if dates.hub])
        without_downloads = [model.taken.hub for model in batch.partial if model.downloads is None]
        without_creation = [model.taken.hub for model in batch.partial if not model.created]
        self.missing["downloads"].update(without_downloads)
        self.missing["creation dates"].update(without_creation)
        if len(taken) < len(batch.models):
            for modified in [model.modified for model in batch.models if model.taken is None]:
                if modified and modified > self.newest and DAY.match(modified):
                    self.newest = modified

    def result(self) -> dict:
        newest = self.newest[:10]
        days, texts = {newest}, {}
        for field, missing in self.missing.items():
            self.dates[field] = self.dates["tasks"] - missing
        for field, dates in self.dates.items():
            valid = Counter({date: n for date, n in dates.items() if date and DAY.fullmatch(date)})
            if newest:
                valid[newest] += self.whole
            texts[field] = describe_dates(valid)
            days.update(valid)
        return {
            "models": self.models,
            "known": self.models - self.only_named,
            "without_metadata": self.only_named,
            "as_of": max(days) or None,
            "dates": texts,
        }


def describe_dates(dates: Counter) -> str:
    """Write when fields were taken: a day, or a range and the day of most of them."""
    if not dates:
        return "an unknown date"
    first, last = min(dates), max(dates)
    if first == last:
        return first
    day = max(dates, key=dates.get)
    mostly = f", mostly {day}" if dates[day] * 2 > dates.total() else ""
    return f"{first} to {last}{mostly}"


def with_downloads(models: list[PTM]) -> list[PTM]:
    """Return the models whose downloads are known."""
    return [model for model in models if model.downloads is not None and model.downloads >= 0]


class Downloads:
    """Count how downloads are spread over models, and how many go to models with verified claims."""

    PARTS = (100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000)  # of a million models

    def __init__(self):
        self.values = Counter()  # downloads -> models: far fewer entries than models
        self.top = []  # (downloads, id) of the most downloaded models
        self.verified, self.unverified, self.without_card = [0, 0], [0, 0], [0, 0]  # models, downloads

    def add(self, batch: Batch) -> None:
        known = with_downloads(batch.hub)
        self.values.update([model.downloads for model in known])
        without_card = [model.downloads for model in with_downloads(batch.without_card) if model.taken.hub]
        self.without_card[0] += len(without_card)
        self.without_card[1] += sum(without_card)
        for model in with_downloads(batch.claiming):
            if model.is_known("downloads"):
                row = self.verified if any(claim.verified for claim in model.claims) else self.unverified
                row[0] += 1
                row[1] += model.downloads
        least = self.top[-1][0] if len(self.top) == TOP else -1
        more = [(model.downloads, model.id) for model in known if model.downloads > least]
        if more:
            self.top = nlargest(TOP, self.top + more)

    def result(self) -> dict:
        n = self.values.total()
        total = sum(value * count for value, count in self.values.items())
        tops = {}
        ordered = sorted(self.values.items(), reverse=True)
        for part in self.PARTS:
            downloads = sum_of_top(ordered, -(-n * part // 1_000_000))
            row = {"downloads": downloads, "known": n, "fraction": ratio(downloads, total)}
            tops[f"{part / 10_000:g}%"] = row
        known = (n - self.without_card[0], total - self.without_card[1])
        no_claim = [all - self.verified[i] - self.unverified[i] for i, all in enumerate(known)]
        return {
            "models": n,
            "known": n,
            "downloads": total,
            "gini": self.gini(n, total),
            "top": {truncate(name): count for count, name in self.top},
            "share_of_top": tops,
            "models_by_downloads": self.count_decades(),
            "by_claims": {
                "verified claim": weighted(*self.verified, *known),
                "unverified claims only": weighted(*self.unverified, *known),
                "no claim": weighted(*no_claim, *known),
            },
        }

    def gini(self, n: int, total: int) -> float | None:
        """Compute the Gini coefficient from the Lorenz curve, exactly in integers; None without downloads."""
        below = area = 0
        for value, count in sorted(self.values.items()):
            area += count * (2 * below + count * value)
            below += count * value
        return 1 - area / (n * total) if total else None

    def count_decades(self) -> dict[str, int]:
        """Count models by powers of ten of their downloads."""
        decades = Counter()
        for value, count in self.values.items():
            decades[len(str(value)) if value else 0] += count
        ranges = {"0": decades[0]}
        for digits in range(1, max(decades, default=0) + 1):
            ranges[f"{10 ** (digits - 1):,}–{10**digits - 1:,}"] = decades[digits]
        return ranges


def sum_of_top(ordered: list[tuple[int, int]], models: int) -> int:
    """Sum the downloads of this many models; `ordered` holds downloads and models with them, from the top."""
    total = 0
    for value, count in ordered:
        total += value * min(models, count)
        models -= min(models, count)
        if not models:
            break
    return total


SAFE_FORMATS = frozenset("safetensors gguf onnx tf jax flax tflite openvino coreml".split())  # no pickle
RISK_TAGS = SAFE_FORMATS | {"pytorch", "custom_code"}
LICENSES = {None: "none", "unknown": "unknown", "other": "other"}


class Traits(NamedTuple):
    """What a user should know about a model before loading it; None is not known."""

    tags: frozenset[str] | None = None  # those of RISK_TAGS
    license: str | None = None  # none, unknown, other or stated
    is_gated: bool | None = None
    has_task: bool | None = None
    has_card: bool | None = None


PROPERTIES = {  # name -> the trait that says it, and how
    "safetensors": ("tags", lambda tags: "safetensors" in tags),
    "pickle only": ("tags", lambda tags: "pytorch" in tags and SAFE_FORMATS.isdisjoint(tags)),
    "GGUF": ("tags", lambda tags: "gguf" in tags),
    "ONNX": ("tags", lambda tags: "onnx" in tags),
    "custom code": ("tags", lambda tags: "custom_code" in tags),
    "no license stated": ("license", lambda license: license == "none"),
    "license unknown or other": ("license", lambda license: license in ("unknown", "other")),
    "gated": ("is_gated", lambda is_gated: is_gated),
    "no task stated": ("has_task", lambda has_task: not has_task),
    "no card data": ("has_card", lambda has_card: not has_card),
}


class ArtifactsAndRisks:
    """Count weight formats and risks, by models and by their downloads, each of the models that show it."""

    RULE = (
        "By the tags that the Hub derives from file names and configuration. Pickle only: tagged pytorch and "
        f"none of {', '.join(sorted(SAFE_FORMATS))}. A license may stand only in the text of the card."
    )

    def __init__(self):
        self.kinds = {}  # traits -> [models, downloads]: a few hundred entries

    def add(self, batch: Batch) -> None:
        for model in batch.models:
            traits = traits_of(model)
            row = self.kinds.get(traits)
            if row is None:
                row = self.kinds[traits] = [0, 0]
            row[0] += 1
            row[1] += model.downloads or 0

    def result(self) -> dict:
        kinds = [(Traits(*traits), *row) for traits, row in self.kinds.items()]
        if not any(traits.has_card for traits, _, _ in kinds):  # the records were fetched without card data
            kinds = [(traits._replace(has_card=None), *row) for traits, *row in kinds]
        return {
            "models": sum(models for _, models, _ in kinds),
            "known": sum(models for traits, models, _ in kinds if any(known is not None for known in traits)),
            "properties": {name: count_property(kinds, *PROPERTIES[name]) for name in PROPERTIES},
            "rule": self.RULE,
        }


def traits_of(model: PTM) -> tuple:
    """Return the traits of a model, as a plain tuple, which is made faster than `Traits`."""
    taken = model.taken
    tags = license = has_task = None
    if taken is None or taken.card:
        tags = RISK_TAGS.intersection(model.tags)
        license = LICENSES.get(model.license, "stated")
    if taken is None or taken.hub:
        has_task = model.task is not None
    if taken is not None:
        return tags, license, None, has_task, None
    return tags, license, model.gated is not None, has_task, bool(model.has_card)


def count_property(kinds: list[tuple], trait: str, holds: Callable) -> dict:
    """Count the models with a property, and their downloads, out of those of which the trait is known."""
    known = known_downloads = with_property = downloads = 0
    for traits, models_of_kind, downloads_of_kind in kinds:
        value = getattr(traits, trait)
        if value is not None:
            known += models_of_kind
            known_downloads += downloads_of_kind
            if holds(value):
                with_property += models_of_kind
                downloads += downloads_of_kind
    return weighted(with_property, downloads, known, known_downloads)


class DownloadsOf:
    """Find today's downloads of some models."""

    def __init__(self, ids: Collection[str]):
        self.ids, self.downloads = frozenset(ids), {}

    def add(self, batch: Batch) -> None:
        for model in batch.hub:
            if model.id in self.ids and model.downloads is not None:
                self.downloads[model.id] = model.downloads

    def result(self) -> dict:
        return self.downloads
