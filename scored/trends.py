"""Trends of the registry: models, downloads, growth, risks and dependencies, each counted in one pass.

A trend is given all models in batches (`add`) and then returns its counts (`result`), which audit.json holds.
"""

import re
from collections import Counter
from collections.abc import Collection
from hashlib import blake2b
from heapq import nlargest, nsmallest
from typing import NamedTuple

from ptm import PTM
from scored.intervals import ratio

TOP = 20  # names listed per ranking
LONGEST = 200  # characters of a name
MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
# The Hub tags each base model twice: base_model:X and base_model:finetune:X.
RELATIONS = ("finetune", "quantized", "adapter", "merge")
RELATION_PREFIXES = tuple(f"{relation}:" for relation in RELATIONS)


def truncate(text: str) -> str:
    """Shorten a name to at most LONGEST characters; a hash keeps long names apart."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:180]}…{blake2b(text.encode(errors='replace'), digest_size=8).hexdigest()}"


def top(counts: dict[str, int], limit: int = TOP) -> dict[str, int]:
    """Return the largest counts, ties by name."""
    largest = nsmallest(limit, counts.items(), key=lambda item: (-item[1], item[0]))
    return {truncate(name): count for name, count in largest}


def has_metadata(model: PTM) -> bool:
    """Whether a record holds more than a name, a task and claims."""
    return model.sha is not None or model.modified is not None or model.downloads is not None


def base_models(model: PTM) -> list[str]:
    """Return the models named as the base of this one, without the tags that repeat them with a relation."""
    return [name for name in model.tags_after("base_model:") if not name.startswith(RELATION_PREFIXES)]


def weighted(models: int, downloads: int, all_models: int, all_downloads: int) -> dict:
    """Describe some models and their downloads as parts of all."""
    return {
        "models": models,
        "fraction_of_models": ratio(models, all_models),
        "downloads": downloads,
        "fraction_of_downloads": ratio(downloads, all_downloads),
    }


class Registry:
    """Count the records, and those without metadata; find the date of the newest change."""

    def __init__(self):
        self.models = self.without_metadata = 0
        self.newest = ""

    def add(self, batch: list[PTM]) -> None:
        self.models += len(batch)
        for model in batch:
            self.without_metadata += not has_metadata(model)
            modified = model.modified
            if modified and modified > self.newest and MONTH.match(modified):
                self.newest = modified

    def result(self) -> dict:
        return {
            "models": self.models,
            "without_metadata": self.without_metadata,
            "as_of": self.newest[:10] or None,
        }


class Downloads:
    """Count how downloads are spread over models, and how many go to models with verified claims."""

    PARTS = (100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000)  # of a million models

    def __init__(self):
        self.values = Counter()  # downloads -> models: far fewer entries than models
        self.top = []  # (downloads, id) of the most downloaded models
        self.verified, self.unverified = [0, 0], [0, 0]  # models, downloads

    def add(self, batch: list[PTM]) -> None:
        known = [model for model in batch if model.downloads is not None and model.downloads >= 0]
        self.values.update([model.downloads for model in known])
        for model in known:
            if model.claims:
                is_verified = any(claim.verified for claim in model.claims)
                row = self.verified if is_verified else self.unverified
                row[0] += 1
                row[1] += model.downloads
        least = self.top[-1][0] if len(self.top) == TOP else -1
        more = [(model.downloads, model.id) for model in known if model.downloads > least]
        if more:
            self.top = nlargest(TOP, self.top + more)

    def result(self) -> dict:
        n = self.values.total()
        total = sum(value * count for value, count in self.values.items())
        no_claim = [n - self.verified[0] - self.unverified[0], total - self.verified[1] - self.unverified[1]]
        tops = {}
        for part in self.PARTS:
            downloads = self.sum_of_top(-(-n * part // 1_000_000))
            tops[f"{part / 10_000:g}%"] = {"downloads": downloads, "fraction": ratio(downloads, total)}
        return {
            "models": n,
            "downloads": total,
            "gini": self.gini(n, total),
            "top": {truncate(name): count for count, name in self.top},
            "share_of_top": tops,
            "models_by_downloads": self.ranges(),
            "by_claims": {
                "verified claim": weighted(*self.verified, n, total),
                "unverified claims only": weighted(*self.unverified, n, total),
                "no claim": weighted(*no_claim, n, total),
            },
        }

    def gini(self, n: int, total: int) -> float | None:
        """Compute the Gini coefficient from the Lorenz curve, exactly in integers; None without downloads."""
        below = area = 0
        for value, count in sorted(self.values.items()):
            area += count * (2 * below + count * value)
            below += count * value
        return 1 - area / (n * total) if total else None

    def sum_of_top(self, models: int) -> int:
        """Sum the downloads of this many models, the most downloaded."""
        total = 0
        for value, count in sorted(self.values.items(), reverse=True):
            total += value * min(models, count)
            models -= min(models, count)
        return total

    def ranges(self) -> dict[str, int]:
        """Count models by powers of ten of their downloads."""
        counts = {"0": self.values[0]}
        for power in range(len(str(max(self.values, default=0)))):
            low, high = 10**power, 10 ** (power + 1) - 1
            models = sum(count for value, count in self.values.items() if low <= value <= high)
            counts[f"{low:,}–{high:,}"] = models
        return counts


class Growth:
    """Count models and claims by the month in which the repository was created."""

    RULE = (
        "By createdAt, since 2022; the Hub dates 2022-03 all that is older than its creation dates. "
        "If no record has createdAt, by lastModified: no growth, but the age of the last change. A claim "
        "counts in the month of its model."
    )

    def __init__(self):
        self.n = 0
        self.models = {"created": Counter(), "last changed": Counter()}
        self.claims = {"created": Counter(), "last changed": Counter()}

    def add(self, batch: list[PTM]) -> None:
        self.n += len(batch)
        self.models["created"].update([model.created[:7] for model in batch if model.created])
        self.models["last changed"].update([model.modified[:7] for model in batch if model.modified])
        for model in batch:
            if model.claims:
                self.claims["created"][(model.created or "")[:7]] += len(model.claims)
                self.claims["last changed"][(model.modified or "")[:7]] += len(model.claims)

    def result(self) -> dict:
        by = "created" if self.models["created"] else "last changed"
        models, claims = self.models[by], self.claims[by]
        known = [month for month in models if MONTH.fullmatch(month)]
        if by == "created":
            known = [month for month in known if month >= "2022"]
        months = months_between(min(known), max(known)) if known else []
        return {
            "by": by,
            "models": self.n,
            "claims": claims.total(),
            "undated": self.n - sum(models[month] for month in months),
            "months": {month: {"models": models[month], "claims": claims[month]} for month in months},
            "rule": self.RULE,
        }


def months_between(first: str, last: str) -> list[str]:
    """List the months from `first` to `last`, also those in which nothing happened."""
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{month // 12}-{month % 12 + 1:02}" for month in range(start, end + 1)]


SAFE_FORMATS = frozenset("safetensors gguf onnx tf jax flax tflite openvino coreml".split())  # no pickle
RISK_TAGS = SAFE_FORMATS | {"pytorch", "custom_code"}


class Traits(NamedTuple):
    """What a user should know about a model before loading it."""

    tags: frozenset[str]  # those of RISK_TAGS
    license: str | None  # None, unknown, other or stated
    is_gated: bool
    has_task: bool
    has_card: bool | None


PROPERTIES = {
    "safetensors": lambda traits: "safetensors" in traits.tags,
    "pickle only": lambda traits: "pytorch" in traits.tags and SAFE_FORMATS.isdisjoint(traits.tags),
    "GGUF": lambda traits: "gguf" in traits.tags,
    "ONNX": lambda traits: "onnx" in traits.tags,
    "custom code": lambda traits: "custom_code" in traits.tags,
    "no license stated": lambda traits: traits.license is None,
    "license unknown or other": lambda traits: traits.license in ("unknown", "other"),
    "gated": lambda traits: traits.is_gated,
    "no task stated": lambda traits: not traits.has_task,
    "no card data": lambda traits: not traits.has_card,
}


class ArtifactsAndRisks:
    """Count weight formats and risks, by models and by their downloads."""

    RULE = (
        "By the tags that the Hub derives from file names and configuration, of the records with more than a "
        f"name. Pickle only: tagged pytorch and none of {', '.join(sorted(SAFE_FORMATS))}. A license may "
        "stand only in the text of the card. No card data is left out where no record of the file has any."
    )

    def __init__(self):
        self.kinds = {}  # traits -> [models, downloads]: a few hundred entries

    def add(self, batch: list[PTM]) -> None:
        for model in batch:
            if not has_metadata(model):
                continue
            license = model.license if model.license in (None, "unknown", "other") else "stated"
            tags = RISK_TAGS.intersection(model.tags)
            traits = (tags, license, model.gated is not None, model.task is not None, model.has_card)
            row = self.kinds.get(traits)
            if row is None:
                row = self.kinds[traits] = [0, 0]
            row[0] += 1
            row[1] += model.downloads or 0

    def result(self) -> dict:
        kinds = [(Traits(*traits), models, downloads) for traits, (models, downloads) in self.kinds.items()]
        n = sum(models for _, models, _ in kinds)
        total = sum(downloads for _, _, downloads in kinds)
        properties = {}
        for name, holds in PROPERTIES.items():
            matching = [(models, downloads) for traits, models, downloads in kinds if holds(traits)]
            models = sum(models for models, _ in matching)
            downloads = sum(downloads for _, downloads in matching)
            properties[name] = weighted(models, downloads, n, total)
        if all(traits.has_card is None for traits, _, _ in kinds):
            del properties["no card data"]  # the records were fetched without card data
        return {"models": n, "downloads": total, "properties": properties, "rule": self.RULE}


class Dependencies:
    """Count the base models and data sets that models name, by their tags."""

    def __init__(self):
        self.n = 0
        self.base_models, self.datasets = Mentions(), Mentions()
        self.relations = Counter()

    def add(self, batch: list[PTM]) -> None:
        self.n += len(batch)
        for model in batch:
            tags = " ".join(model.tags)  # searched much faster than tag by tag
            if "dataset:" in tags:
                self.datasets.add(set(model.tags_after("dataset:")))
            if "base_model:" in tags:
                self.base_models.add(set(base_models(model)))
                relations = [relation for relation in RELATIONS if f"base_model:{relation}:" in tags]
                self.relations.update(relations or ["unstated"])

    def result(self) -> dict:
        return {
            "models": self.n,
            "base_models": self.base_models.result(),
            "datasets": self.datasets.result(),
            "relations": dict(self.relations),
        }


class Mentions:
    """Count how many models name each of some names."""

    def __init__(self):
        self.models = self.links = 0
        self.names = Counter()

    def add(self, names: set[str]) -> None:
        self.models += bool(names)
        self.links += len(names)
        self.names.update(names)

    def result(self) -> dict:
        return {
            "models": self.models,
            "links": self.links,
            "distinct": len(self.names),
            "top": top(self.names),
            "share_of_top_10": ratio(sum(top(self.names, 10).values()), self.links),
        }


class DownloadsOf:
    """Find today's downloads of some models."""

    def __init__(self, ids: Collection[str]):
        self.ids, self.downloads = ids, {}

    def add(self, batch: list[PTM]) -> None:
        for model in batch:
            if model.id in self.ids and model.downloads is not None:
                self.downloads[model.id] = model.downloads

    def result(self) -> dict:
        return self.downloads
