"""What do the records of the whole registry tell? Nine trends, all counted in one pass.

Reads `modelinfo.json` a line at a time (never the whole file) and the study's figures in `assets/data/`;
writes `assets/data/audit.json` and one PNG per trend to `assets/figures/`. A trend is a generator that is
sent batches of PTMs and returns its counts; its figure is drawn from those counts alone.

    python audit.py                     all trends, the figures and a short table
    python audit.py MODEL_ID ...        one page per model
    python audit.py --compare OLD.json  what changed since an earlier audit.json or modelinfo.json
"""

import argparse
import gc
import re
import unicodedata
from collections import Counter
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from ptm import PTM
from scored.claims import is_bounded
from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.records import read_records

DATA = ROOT / "assets" / "data"
TOP = 20  # names listed per ranking
LONG = 200  # characters of a name; the names of longer ones are cut
SAFE = frozenset("safetensors gguf onnx tf jax flax tflite openvino coreml".split())  # no pickle
SIZES = ((1, "1"), (2, "2"), (5, "3–5"), (10, "6–10"), (100, "11–100"), (float("inf"), "over 100"))
WEEKS = 365.25 / 12 / 7  # in a month
PARTS = (100, 1_000, 10_000, 50_000, 100_000, 200_000, 500_000)  # of a million models, the most downloaded
RELATIONS = "finetune:", "quantized:", "adapter:", "merge:"  # after base_model: in a second tag of each base
BETWEEN = "between 1 and 2, impossible unless percent"
MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")  # Okabe and Ito, colour-blind safe


# ── Counting in bounded memory ────────────────────────────────────────────────────────────────────────────


class Tally(Counter):
    """A Counter of at most 2 × `limit` names, long ones cut: exact below that, and else no count is short by
    more than `short` (Misra and Gries 1982, in the batched form of Agarwal et al. 2012)."""

    def __init__(self, limit: int = 100_000):
        super().__init__()
        self.limit, self.short = limit, 0

    def add(self, names: list[str]) -> None:
        self.update(names if max(map(len, names), default=0) <= LONG else map(cut, names))
        if len(self) > 2 * self.limit:
            less = sorted(self.values(), reverse=True)[self.limit]
            self.short += less
            kept = {name: count - less for name, count in self.items() if count > less}
            self.clear()
            self.update(kept)


def top(counts: dict[str, int], most: int = TOP) -> dict[str, int]:
    """The largest counts, ties by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])


def share(k: float, n: float) -> float | None:
    return k / n if n else None


def cut(text: str) -> str:
    """A name of at most LONG characters; a longer one keeps a hash, so that two cannot be taken for one."""
    return text if len(text) <= LONG else f"{text[:180]}…{number(text):016x}"


def number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big")


def described(batch: list[PTM]) -> list[PTM]:
    """The models whose record holds more than a name, a task and claims."""
    return [m for m in batch if m.sha is not None or m.modified is not None or m.downloads is not None]


def bases(model: PTM) -> list[str]:
    """The models named as the base of this one: the Hub tags each of them plainly and with the relation."""
    return [name for name in model.tags_after("base_model:") if not name.startswith(RELATIONS)]


# ── Trends: generators that are sent batches of PTMs and return their counts ──────────────────────────────


def registry():
    """How many records, how many of them with no metadata, and the date of the newest change."""
    n = bare = 0
    newest = ""
    while batch := (yield):
        n += len(batch)
        bare += len(batch) - len(described(batch))
        later = [m.modified for m in batch if m.modified and m.modified > newest and MONTH.match(m.modified)]
        newest = max(later, default=newest)
    return {"models": n, "without_metadata": bare, "as_of": newest[:10] or None}


def claims_by_task():
    """Models with at least one claim, by the task that the Hub states."""
    models, claimed = Tally(), Tally()
    while batch := (yield):
        models.add([m.task or "no task stated" for m in batch])
        claimed.add([m.task or "no task stated" for m in batch if m.claims])
    n, k = models.total(), claimed.total()
    own = [task for task, count in top(models, 25).items() if count >= min(30, n / 100)]
    tasks = {t: {"models": models[t], "with_claims": claimed[t]} for t in top(models, 1000)}
    folded = {t: tasks.pop(t) for t in [*tasks] if t not in own}
    if folded:
        left = {key: sum(row[key] for row in tasks.values()) for key in ("models", "with_claims")}
        tasks["other"] = {"models": n - left["models"], "with_claims": k - left["with_claims"]}
    for row in tasks.values():
        row["fraction"] = share(row["with_claims"], row["models"])
    return {
        **{"models": n, "with_claims": k, "fraction": share(k, n), "tasks": tasks, "folded": folded},
        "rule": "A task has its own bar if it is among the 25 with the most models and at least 30 models "
        "(1 % of them where there are fewer than 3,000) state it; the others are folded into 'other'.",
    }


def claim_contents():
    """What claims are about: datasets, metrics, how many a model makes, who vouches for them and where."""
    datasets, metrics, sizes, vouched, sources = Tally(), Tally(), Counter(), Counter(), Counter()
    while batch := (yield):
        claiming = [m.claims for m in batch if m.claims]
        claims = [claim for found in claiming for claim in found]
        datasets.add([c.dataset for c in claims])
        metrics.add([c.metric or "none stated (.eval_results)" for c in claims])
        sizes.update([next(name for most, name in SIZES if len(found) <= most) for found in claiming])
        vouched.update(["verified" if c.verified else "self-reported" for c in claims])
        sources.update([c.source for c in claims])
    return {
        **{"claims": vouched.total(), "models": sizes.total()},
        **{"datasets": top(datasets), "distinct_datasets": len(datasets)},
        **{"metrics": top(metrics), "distinct_metrics": len(metrics)},
        "claims_per_model": {name: sizes[name] for _, name in SIZES},
        "vouched": {name: vouched[name] for name in ("verified", "self-reported")},
        "sources": {name: sources[name] for name in ("model-index", ".eval_results")},
        "short_by_at_most": max(datasets.short, metrics.short),
    }


def claim_quality():
    """What keeps claims from being checked: why entries were rejected, and what the others leave open."""
    rejected, n, equal = Counter(), 0, Equal()
    lacking = dict.fromkeys(("no split", "no dataset revision", "ambiguous unit", BETWEEN), 0)
    while batch := (yield):
        rejected.update([cut(r.kind) for m in batch if m.rejected for r in m.rejected])
        for m in [m for m in batch if m.claims]:
            equal.add(m)
            n += len(m.claims)
            for c in m.claims:
                lacking["no split"] += c.split is None
                lacking["no dataset revision"] += c.revision is None
                if c.unit == "ambiguous":
                    lacking["ambiguous unit"] += 1
                    lacking[BETWEEN] += c.number > 1 and is_bounded(c.metric)
    impossible = {"rejected, out of range": rejected["out of range"], BETWEEN: lacking[BETWEEN]}
    return {
        **{"claims": n, "rejected": rejected.total(), "rejected_because": dict(rejected)},
        **{"impossible_values": impossible, "lacking": lacking, "equal": equal.result()},
    }


class Equal:
    """Claims that several models state with the same value, or that equal one of the model's base.

    A sample by the claim's hash, the same for every model: all claims while they are few; whenever there are
    more than `limit` distinct ones, every second claim is dropped with all who state it.
    """

    RULE = (
        "Claims are equal if dataset, config, split, metric and value are, the value with 3 or more digits. "
        "Equal values need not be copies: accuracy on n examples takes n + 1 values. Counted are the claims "
        "that 2 (10) or more models state and, of claims of models with a base model, those that the base "
        "states too. one_in: 1 where all claims were compared, else the sample."
    )

    def __init__(self, limit: int = 300_000):
        self.limit, self.mask, self.models, self.stated, self.derived = limit, 0, Counter(), set(), []

    def add(self, model: PTM) -> None:
        over, name = bases(model)[:8], number(model.id) << 64
        for words in {(c.dataset, c.config, c.split, c.metric, c.number) for c in model.claims}:
            if len(repr(words[-1]).split("e")[0].replace(".", "").strip("-0")) < 3:
                continue
            text = cut(" · ".join([str(word) for word in words if word is not None]))
            if (key := number(text)) & self.mask:
                continue
            self.models[text] += 1
            self.stated.add(name | key)
            if over:
                self.derived.append([number(base) << 64 | key for base in over])
        while max(len(self.models), len(self.stated) // 4, len(self.derived) // 2) > self.limit:
            self.mask = self.mask * 2 + 1
            self.models = Counter({t: n for t, n in self.models.items() if not number(t) & self.mask})
            self.stated = {key for key in self.stated if not key & self.mask}
            self.derived = [keys for keys in self.derived if not keys[0] & self.mask]

    def result(self) -> dict:
        counts = self.models.values()
        return {
            **{"rule": self.RULE, "one_in": self.mask + 1, "claims": sum(counts)},
            **{f"shared_by_{least}_or_more": sum(n for n in counts if n >= least) for least in (2, 10)},
            "claims_of_derived_models": len(self.derived),
            "same_as_base_model": sum(not self.stated.isdisjoint(keys) for keys in self.derived),
            "most_shared": {text: n for text, n in top(self.models, 10).items() if n > 1},
        }


def downloads():
    """How downloads are spread over models, and how many rest on models whose claims somebody checked."""
    values, best = Counter(), []  # a Counter of values: far fewer than models, and exact
    kinds = {kind: [0, 0] for kind in ("verified claim", "unverified claims only", "no claim")}
    while batch := (yield):
        known = [m for m in batch if m.downloads is not None and m.downloads >= 0]
        values.update([m.downloads for m in known])
        for m in [m for m in known if m.claims]:
            verified = any(c.verified for c in m.claims)
            kind = kinds["verified claim" if verified else "unverified claims only"]
            kind[0] += 1
            kind[1] += m.downloads
        least = best[-1][0] if len(best) == TOP else -1
        if new := [(m.downloads, cut(m.id)) for m in known if m.downloads > least]:
            best = nlargest(TOP, best + new)
    n, total = values.total(), sum(value * count for value, count in values.items())
    kinds["no claim"] = [all - sum(found) for all, *found in zip((n, total), *kinds.values(), strict=True)]
    below = area = 0  # under the Lorenz curve, exact in integers
    for value, count in sorted(values.items()):
        area += count * (2 * below + count * value)
        below += count * value
    tops = {f"{part / 10_000:g} %": top_sum(values, part) for part in PARTS}
    decades = [(10**e, 10 ** (e + 1) - 1) for e in range(len(str(max(values, default=0))))]
    spans = {"0": (0, 0)} | {f"{low:,}–{high:,}": (low, high) for low, high in decades}
    return {
        **{"models": n, "downloads": total, "gini": 1 - area / (n * total) if total else None},
        "top": {name: count for count, name in best},
        "share_of_top": {name: {"downloads": k, "fraction": share(k, total)} for name, k in tops.items()},
        "models_by_downloads": {
            span: sum(n for v, n in values.items() if low <= v <= high) for span, (low, high) in spans.items()
        },
        "by_claims": {kind: weighted(*row, n, total) for kind, row in kinds.items()},
    }


def weighted(k: int, loads: int, n: int, total: int) -> dict:
    """k of n models, and their downloads of all downloads."""
    of_models, of_downloads = {"models": k, "fraction_of_models": share(k, n)}, share(loads, total)
    return {**of_models, "downloads": loads, "fraction_of_downloads": of_downloads}


def top_sum(values: Counter, part: int) -> int:
    """Downloads of the most downloaded `part` of a million models, rounded up to whole models."""
    left, found = -(-values.total() * part // 1_000_000), 0
    for value, count in sorted(values.items(), reverse=True):
        found += value * min(left, count)
        left -= min(left, count)
    return found


def growth():
    """Models and claims by the month in which the repository was created."""
    n, models, claims = 0, *({"created": Counter(), "last changed": Counter()} for _ in range(2))
    while batch := (yield):
        n += len(batch)
        models["created"].update([m.created[:7] for m in batch if m.created])
        models["last changed"].update([m.modified[:7] for m in batch if m.modified])
        for m in [m for m in batch if m.claims]:
            claims["created"][(m.created or "")[:7]] += len(m.claims)
            claims["last changed"][(m.modified or "")[:7]] += len(m.claims)
    by = "created" if models["created"] else "last changed"
    models, claims = models[by], claims[by]
    found = [m for m in models if MONTH.fullmatch(m) and (m >= "2022" or by == "last changed")]
    months = every_month(min(found), max(found)) if found else []
    return {
        **{"by": by, "models": n, "claims": claims.total()},
        "undated": n - sum(models[m] for m in months),
        "months": {m: {"models": models[m], "claims": claims[m]} for m in months},
        "rule": "By createdAt, since 2022; the Hub dates 2022-03 all that is older than its creation dates. "
        "If no record has createdAt, by lastModified: no growth, but the age of the last change. A claim "
        "counts in the month of its model.",
    }


def every_month(first: str, last: str) -> list[str]:
    """The months from `first` to `last`; one in which nothing happened is a gap, not left out."""
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{month // 12}-{month % 12 + 1:02}" for month in range(start, end + 1)]


TAGS = SAFE | {"pytorch", "custom_code"}
PROPERTIES = {  # what a user should know before loading a model, by its tags of these and four of its fields
    "safetensors": lambda tags, *_: "safetensors" in tags,
    "pickle only": lambda tags, *_: "pytorch" in tags and SAFE.isdisjoint(tags),
    "GGUF": lambda tags, *_: "gguf" in tags,
    "ONNX": lambda tags, *_: "onnx" in tags,
    "custom code": lambda tags, *_: "custom_code" in tags,
    "no licence stated": lambda tags, licence, *_: licence is None,
    "licence unknown or other": lambda tags, licence, *_: licence in ("unknown", "other"),
    "gated": lambda tags, licence, gated, *_: gated,
    "no task stated": lambda tags, licence, gated, task, card: not task,
    "no card data": lambda tags, licence, gated, task, card: not card,
}


def artifacts_and_risks():
    """Weight formats and risks, by models and weighted by downloads."""
    kinds = {}  # models that are alike in all this: a few hundred kinds, each with its models and downloads
    while batch := (yield):
        for m in described(batch):
            licence = m.license if m.license in (None, "unknown", "other") else "stated"
            kind = TAGS.intersection(m.tags), licence, m.gated is not None, m.task is not None, m.has_card
            row = kinds.get(kind) or kinds.setdefault(kind, [0, 0])
            row[0] += 1
            row[1] += m.downloads or 0
    n, total = (sum(row[i] for row in kinds.values()) for i in (0, 1))
    found = {
        name: [sum(row[i] for kind, row in kinds.items() if holds(*kind)) for i in (0, 1)]
        for name, holds in PROPERTIES.items()
    }
    if all(card is None for *_, card in kinds):
        del found["no card data"]  # fetched without card data: nobody knows
    return {
        **{"models": n, "downloads": total},
        "properties": {name: weighted(*row, n, total) for name, row in found.items()},
        "rule": "By the tags that the Hub derives from file names and configuration, of the records with "
        f"more than a name. Pickle only: tagged pytorch and none of {', '.join(sorted(SAFE))}. A licence may "
        "stand in the text of the card alone. No card data is left out where no record of the file has any.",
    }


def dependencies():
    """The base models and datasets on which the most models rest, by the tags of the models."""
    names = {"base_models": Tally(), "datasets": Tally()}
    models, links, relations = Counter(), Counter(), Counter()
    while batch := (yield):
        found = {"base_models": [], "datasets": []}
        for m in batch:
            tags = " ".join(m.tags)
            if "dataset:" in tags:
                found["datasets"].append(set(m.tags_after("dataset:")))
            if "base_model:" in tags:
                found["base_models"].append(set(bases(m)))
                relations.update([r[:-1] for r in RELATIONS if f"base_model:{r}" in tags] or ["unstated"])
        for kind, sets in found.items():
            models[kind] += sum(map(bool, sets))
            links[kind] += sum(map(len, sets))
            names[kind].add([name for names in sets for name in names])
    kinds = {
        kind: {"models_that_name_one": models[kind], "links": links[kind], "distinct": len(tally)}
        | {"top": top(tally), "share_of_top_10": share(sum(top(tally, 10).values()), links[kind])}
        | {"short_by_at_most": tally.short}
        for kind, tally in names.items()
    }
    return {**kinds, "relations": dict(relations)}


TRENDS = (claims_by_task, claim_contents, claim_quality, downloads, growth, artifacts_and_risks, dependencies)


def watch(ids):
    """Today's downloads of these models."""
    found = {}
    while batch := (yield):
        found.update({m.id: m.downloads for m in batch if m.id in ids and m.downloads is not None})
    return found


def over(models, trends: dict) -> dict:
    """What each of these generators returns for a stream of PTMs, in one pass of it."""
    models, results = iter(models), {}
    for trend in trends.values():
        next(trend)
    gc.disable()  # records and models are trees, freed as they go; looking for cycles takes 40 % of the time
    try:
        while batch := list(islice(models, 200)):
            for trend in trends.values():
                trend.send(batch)
    finally:
        gc.enable()
    for name, trend in trends.items():
        try:
            trend.send(None)
        except StopIteration as done:
            results[name] = done.value
    return results


# ── The study of 2022 beside today ────────────────────────────────────────────────────────────────────────


def registries(study: dict, today: dict) -> dict:
    """Monthly downloads of the 20 most downloaded packages of three registries, in one unit."""
    factors = {"month": 1, "week": WEEKS}
    return {
        "unit": f"downloads a month; npm's weekly figures times {WEEKS:.6f} (365.25 / 12 / 7 weeks)",
        **{key: study["npm"][key] for key in ("as_of", "source")},
        "monthly_downloads": {
            name: {k: v * factors[study[name]["period"]] for k, v in study[name]["packages"].items()}
            for name in ("Hugging Face", "npm", "PyPI")
        },
        "hugging_face_in_these_records": today["top"],
        "hubs": study["hubs"]["pretrained_models"],
    }


def beside(study: dict, found: dict, now: dict, err: dict) -> dict:
    """The numbers of the study and its sequel beside those of today's records, where both exist."""
    by_task, theirs, keys = now["claims_by_task"], study["tasks"]["tasks"], ("models", "with_claims")
    here = {**by_task["folded"], **by_task["tasks"]}
    mine = {task: {key: here.get(task, {}).get(key, 0) for key in keys} for task in theirs if task != "other"}
    mine["other"] = {key: by_task[key] - sum(row[key] for row in mine.values()) for key in keys}
    for row in (*theirs.values(), *mine.values()):
        row["fraction"] = share(row["with_claims"], row["models"])
    packages = study["Hugging Face"]["packages"]
    return {
        **{key: study["tasks"][key] for key in ("as_of", "source")},
        "models": {"study": study["security"]["models"], "today": by_task["models"]},
        "tasks": {task: {"study": theirs[task], "today": mine[task]} for task in theirs},
        "downloads": {name: {"study": k, "today": found.get(name)} for name, k in packages.items()},
        "off_by_more_than_1_point": {
            "published": err.get("published", {}).get("off_by_more_than_1_percent", {}),
            "err.json": {
                f"{task} ({s.get('measured')}, {s.get('protocol')})": f"{row.get('k')}/{row.get('n')}"
                for s in err.get("series", [])
                for task, row in s.get("datasets", {}).items()
            },
        },
        "rule": "A model renamed since 2022 counts as absent (null). 'other': all other tasks, or none.",
    }


class Comparisons(TypedDict):
    """One task of one series in err.json, as far as it is read here."""

    k: int
    n: int
    models: list[dict]


class Series(TypedDict):
    protocol: str
    measured: str
    datasets: dict[str, Comparisons]


class Compared(TypedDict):
    series: list[Series]
    published: dict[str, Any]


def measurements() -> dict:
    """What err.py compared, where it has run."""
    if not (DATA / "err.json").exists():
        return {}
    try:
        return msgspec.convert(read_json(DATA / "err.json", dict), Compared)
    except ValueError as why:
        raise UserError(f"{display_path(DATA / 'err.json')}: {why}; write it again with err.py") from why


def audit(models) -> dict:
    """All trends over a stream of PTMs: what audit.json holds."""
    files = {"Hugging Face": "top20model_downloads", "npm": "top20npm_downloads", "hubs": "model_hubs"}
    files |= {"PyPI": "top20pypi_downloads", "tasks": "claims_by_task", "security": "security"}
    study = {name: read_json(DATA / f"{file}.json", dict) for name, file in files.items()}
    extra = {"about": registry(), "watched": watch(study["Hugging Face"]["packages"])}
    now = over(models, {trend.__name__: trend() for trend in TRENDS} | extra)
    about, watched = now.pop("about"), now.pop("watched")
    now["registries"] = registries(study, now["downloads"])
    now["study_and_today"] = beside(study, watched, now, measurements())
    return {"about": about, "trends": now}


# ── Figures: each trend's counts as panels, and one function that draws panels ────────────────────────────


@cache
def glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def clean(text: object, length: int = 64, drawable: frozenset[int] | None = None) -> str:
    """A stranger's text as one short line: control, combining, right-to-left and undrawable characters are
    written as their numbers."""
    text, line = str(text), ""
    for c in text[:length]:
        plain = c.isprintable() and unicodedata.bidirectional(c) not in ("R", "AL", "AN")
        plain = plain and not unicodedata.combining(c) and (drawable is None or ord(c) in drawable)
        line += c if plain else f"\\u{ord(c):04x}"
    return line if len(line) <= length and len(text) <= length else line[: length - 1] + "…"


def short(number: float, *_) -> str:
    """1,234 as it is; from a hundred thousand on three digits: 123k, 1.23M, 12.3G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= max(size, 1e5):
            return f"{float(f'{number / size:.3g}'):g}{unit}"
    return f"{number:,.0f}"


def of(k: int, n: int | None) -> str:
    """`k/n (share)`, or k alone."""
    if not n:
        return short(k) if n is None else f"{k}/0"
    rounded = "<0.1%" if 0 < k / n < 0.0005 else ">99.9%" if 0.9995 <= k / n < 1 else f"{k / n:.1%}"
    return f"{short(k)}/{short(n)} ({rounded})"


def bars(title: str, rows: dict, n: int, *legend: str) -> dict:
    """A panel of horizontal bars: `rows` gives for each label a count of n, or one (k, n) per colour."""
    rows = {name: row if isinstance(row, list) else [(row, n)] for name, row in rows.items()}
    return {"title": title, "rows": rows if n != 0 else {}, "legend": legend}


def by_share(rows: dict[str, list]) -> dict[str, list]:
    """Rows sorted by the share of their first bar, the largest first."""
    return dict(sorted(rows.items(), key=lambda row: (-(share(*row[1][0]) or 0), row[0])))


def panels(about: dict, t: dict):
    """Each figure as (name, title, panels); every number in it stands in the trends `t`."""
    n, found = about["models"], t["claims_by_task"]
    rows = by_share({task: [(row["with_claims"], row["models"])] for task, row in found["tasks"].items()})
    title = f"Models that claim at least one metric value: {of(found['with_claims'], n)}"
    part = bars("Models with a claim / models, by task; small tasks are in 'other'", rows, n)
    yield "claims_by_task", title, [part]

    found = t["claim_contents"]
    claims, models = found["claims"], found["models"]
    sizes = {f"{size} claim{'s' * (size != '1')}": k for size, k in found["claims_per_model"].items()}
    parts = [
        bars("Claims by dataset (the 15 most frequent)", top(found["datasets"], 15), claims),
        bars("Claims by metric (the 15 most frequent)", top(found["metrics"], 15), claims),
        bars("Models by the number of their claims", sizes, models),
        bars("Claims by who vouches for them", top(found["vouched"]), claims),
        bars("Claims by where they are stated", top(found["sources"]), claims),
    ]
    yield "claim_contents", f"What {claims:,} claims of {models:,} models are about", parts

    found = t["claim_quality"]
    equal, refused = found["equal"], found["rejected"]
    sample = "" if equal["one_in"] == 1 else f" (a sample: 1 in {equal['one_in']})"
    shared = {f"stated by {k} or more models": equal[f"shared_by_{k}_or_more"] for k in (2, 10)}
    derived, same = (
        equal["claims_of_derived_models"],
        {"same as the base model's": equal["same_as_base_model"]},
    )
    title = f"What keeps claims from being checked: {claims:,} claims, {refused:,} rejected entries"
    parts = [
        bars("Entries of cards that are no claim, by reason", top(found["rejected_because"], 15), refused),
        bars("Claims that leave open what was measured", top(found["lacking"]), claims),
        bars(f"Claims whose value (3 or more digits) others state too{sample}", shared, equal["claims"]),
        bars(f"Such claims of models with a base model{sample}", same, derived),
    ]
    yield "claim_quality", title, parts

    found = t["downloads"]
    total, known = found["downloads"], found["models"]
    best = {f"top {part} of models": row["downloads"] for part, row in found["share_of_top"].items()}
    kinds = {
        kind: [(row["downloads"], total), (row["models"], known)] for kind, row in found["by_claims"].items()
    }
    spans = {f"{span} downloads": k for span, k in found["models_by_downloads"].items()}
    title = f"{short(total)} downloads in 30 days of {known:,} models"
    parts = [
        bars("Share of all downloads that the most downloaded models have", best, total),
        bars("By the claims of the model", kinds, total, "share of downloads", "share of models"),
        bars("Models by their downloads", spans, known),
    ]
    yield "downloads", title + (f"; Gini {found['gini']:.3f}" if total else ""), parts

    found = t["registries"]
    lines = {f"{name}, {found['as_of']}": packages for name, packages in found["monthly_downloads"].items()}
    if found["hugging_face_in_these_records"]:
        lines["Hugging Face, these records"] = found["hugging_face_in_these_records"]
    title = f"The 20 most downloaded packages of three registries, {found['as_of']}"
    parts = [
        {
            "title": f"Downloads a month by rank (npm: a week × {WEEKS:.3f}), logarithmic scale",
            "lines": lines,
        },
        bars(f"Pre-trained models on the hubs, {found['as_of']}", top(found["hubs"]), None),
    ]
    yield "registry_monthly_downloads", title, parts

    found = t["growth"]
    title = f"{n - found['undated']:,} of {n:,} models by the month in which they were {found['by']}"
    heads = {"models": "Models a month", "claims": "Claims that these models make"}
    months = found["months"]
    parts = [{"title": heads[k], "months": {month: row[k] for month, row in months.items()}} for k in heads]
    yield "growth", title, parts

    found = t["artifacts_and_risks"]
    known, total = found["models"], found["downloads"]
    rows = {k: [(v["models"], known), (v["downloads"], total)] for k, v in found["properties"].items()}
    title = f"Weights and risks of {known:,} models, {short(total)} downloads in 30 days"
    parts = [bars("", by_share(rows), known, "share of models", "share of downloads")]
    yield "artifacts_and_risks", title, parts

    found, parts = t["dependencies"], []
    for key, kind in (("base_models", "Base models"), ("datasets", "Datasets")):
        k = found[key]["models_that_name_one"]
        title = f"{kind}: the 15 most named, of {k:,} models that name one"
        parts.append(bars(title, top(found[key]["top"], 15), k))
    yield "dependencies", f"On what {n:,} models rest, by their tags", parts

    found, sides = t["study_and_today"], ("study", "today")
    rows = {
        task: [(row[side]["with_claims"], row[side]["models"]) for side in sides]
        for task, row in found["tasks"].items()
    }
    title = f"Models with a claim, by task: the study of {found['as_of']} and these {n:,} models"
    part = bars("", by_share(rows), None, f"the study, {found['as_of']}", "these records")
    yield "study_and_today", title, [part]


def draw_bars(ax, rows: dict, legend: tuple) -> None:
    """Horizontal bars with their text, from the top down; two to a row where there are two series."""
    series = list(zip(*rows.values(), strict=True))
    for b, (pairs, colour) in enumerate(zip(series, COLOURS, strict=False)):
        places = [i + (b - (len(series) - 1) / 2) * 0.4 for i in range(len(rows))]
        values = [k if n is None else share(k, n) or 0 for k, n in pairs]
        ax.barh(places, values, 0.8 / len(series), color=colour, label=legend[b] if legend else "")
        for place, value, pair in zip(places, values, pairs, strict=True):
            place = {"xy": (value, place), "xytext": (3, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate(of(*pair), **place, fontsize=8)
    ax.set_yticks(range(len(rows)), [clean(name, 48, glyphs()).strip() or "(blank)" for name in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    counts = any(n is None for _, n in series[0])
    wide = max(patch.get_width() for patch in ax.patches) * 1.3 or 1
    ax.set_xlim(0, wide)
    ax.set_xticks([x for x in ax.get_xticks() if 0 <= x <= (wide if counts else min(wide, 1))])
    ax.xaxis.set_major_formatter(short if counts else lambda x, _: f"{x * 100:.3g}%")
    if legend:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8.5)


def draw_months(ax, months: dict) -> None:
    ax.bar(range(len(months)), list(months.values()), color=COLOURS[0])
    step = -(-len(months) // 14)
    ax.set_xticks(range(0, len(months), step), list(months)[::step], rotation=45, ha="right")
    ax.yaxis.set_major_formatter(short)


def draw_lines(ax, lines: dict) -> None:
    for (name, found), colour, mark in zip(lines.items(), COLOURS, "osD^", strict=False):
        label = f"{name} (first: {clean(next(iter(top(found))), 30, glyphs())})"
        values = sorted(found.values(), reverse=True)
        ax.plot(range(1, len(values) + 1), values, marker=mark, markersize=4, color=colour, label=label)
    ax.set_yscale("log")
    ax.set_xticks([1, 5, 10, 15, 20])
    ax.yaxis.set_major_formatter(short)
    ax.yaxis.set_minor_formatter("")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False, fontsize=8.5)


def draw(ax, panel: dict) -> None:
    """Draws one panel: horizontal bars, columns by month, or lines by rank."""
    ax.set_title(panel["title"], loc="left", fontsize=9.5, wrap=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8.5)
    if panel.get("rows"):
        draw_bars(ax, panel["rows"], panel["legend"])
    elif panel.get("months"):
        draw_months(ax, panel["months"])
    elif panel.get("lines"):
        draw_lines(ax, panel["lines"])
    else:
        empty = "none in these records; modelinfo.py fetches today's"
        ax.text(0, 0.5, empty, va="center", fontsize=9, transform=ax.transAxes)
        ax.set_axis_off()


def height(panel: dict) -> float:
    """Inches that a panel needs."""
    if rows := panel.get("rows"):
        return 0.65 + len(rows) * (0.36 if len(next(iter(rows.values()))) > 1 else 0.23)
    return 3 if panel.get("months") or panel.get("lines") else 0.7


def save(path: Path, title: str, parts: list[dict], foot: str) -> None:
    """Draws the panels below each other and writes them as one PNG."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    heights = [height(panel) for panel in parts]
    figure = Figure(figsize=(8.5, sum(heights) + 0.7), dpi=150, layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, parts, strict=True):
        draw(ax, panel)
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(foot, fontsize=8, x=0.01, ha="left", color="0.35")
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})


# ── Pages and tables ──────────────────────────────────────────────────────────────────────────────────────


def page(model: PTM, rank: int, n: int, err: dict) -> list[str]:
    """What the records and the measurements say about one model, line by line."""
    formats = ["pickle"] * ("pytorch" in model.tags) + sorted(SAFE.intersection(model.tags))
    known = model.downloads is not None
    facts = {
        "task": model.task,
        "downloads": f"{model.downloads:,} in 30 days, rank {rank:,} of {n:,}" if known else None,
        **{"licence": model.license, "formats": ", ".join(formats)},
        **{"custom code": "yes" if "custom_code" in model.tags else None, "gated": model.gated},
        **{"base models": ", ".join(bases(model)), "last change": model.modified},
        "claims": f"{len(model.claims)}; {len(model.rejected)} rejected",
    }
    lines = [clean(model.id, 120)]
    lines += [f"  {k:13} {clean(v, 100) if v else 'not stated'}" for k, v in facts.items()]
    for c in model.claims:
        where = ", ".join(clean(part, 40) for part in (c.dataset, c.config, c.split) if part)
        lacking = [word for word, v in (("split", c.split), ("dataset revision", c.revision)) if v is None]
        vouched, value = "verified" if c.verified else "self-reported", clean(c.value, 24)
        line = (
            f"    {clean(c.metric or 'no metric')} {value} on {where}: {vouched}, {c.source}, unit {c.unit}"
        )
        lines.append(line + (f", no {' and no '.join(lacking)}" if lacking else ""))
    lines += [f"    rejected, {clean(r.reason, 60)}: {clean(r.text, 60)}" for r in model.rejected]
    measured = [
        f"    {clean(row.get('metric'))}: claimed {row.get('claimed')}, measured {row.get('measured')}, "
        f"discrepancy {row.get('discrepancy')} points, "
        f"{clean(row.get('verdict') or ('off' if row.get('off') else 'not off'))} "
        f"({clean(task)}, measured {clean(series.get('measured'))}, protocol {clean(series.get('protocol'))})"
        for series in err.get("series", [])
        for task, result in series.get("datasets", {}).items()
        for row in result.get("models", [])
        if row.get("model") == model.id
    ]
    return [*lines, f"  {'measured':13} {len(measured) or 'not compared (assets/data/err.json)'}", *measured]


def pages(path: Path, ids: list[str]) -> list[str]:
    """The pages of these models, in one pass of the records."""
    values, found = Counter(), {}
    for record in read_records(path):
        if type(count := record.get("downloads")) is int:
            values[count] += 1
        if (name := record.get("id") or record.get("modelId")) in ids:
            found[name] = PTM.from_record(record)
    if missing := ", ".join([clean(name, 120) for name in ids if name not in found]):
        raise UserError(
            f"{display_path(path)} has no model {missing}; check the id, upper and lower case too"
        )
    lines, err = [], measurements()
    for name in dict.fromkeys(ids):
        rank = 1 + sum(n for value, n in values.items() if value > (found[name].downloads or 0))
        lines += page(found[name], rank, values.total(), err)
    return lines


def numbers(value: object, path: tuple = ()) -> dict[tuple, float]:
    """The numbers of nested objects, by where they stand."""
    if isinstance(value, dict):
        return {p: v for key, inner in value.items() for p, v in numbers(inner, (*path, key)).items()}
    return {path: value} if type(value) in (int, float) else {}


def compare(old: dict, new: dict, most: int = 12) -> list[str]:
    """What changed per trend, totals first, then by difference; – is a number that one side lacks."""
    lines = [f"{clean(old['about'].get('as_of'))} → {clean(new['about'].get('as_of'))}"]
    for trend in new["trends"]:
        a, b = (numbers(side["trends"].get(trend)) for side in (old, new))
        changed = [(path, a.get(path), b.get(path)) for path in {*a, *b} if a.get(path) != b.get(path)]
        changed.sort(key=lambda row: (len(row[0]), -abs((row[2] or 0) - (row[1] or 0)), row[0]))
        lines.append(f"{trend}: {len(changed)} of {len({*a, *b})} numbers changed")
        for path, *pair in changed[:most]:
            before, after = ("–" if v is None else f"{v:.4g}" if type(v) is float else f"{v:,}" for v in pair)
            lines.append(f"  {clean(' / '.join(path), 76):76} {before:>14} → {after}")
    return lines


def table(result: dict) -> list[str]:
    """The few numbers that a reader wants first."""
    about, t = result["about"], result["trends"]
    loads, quality, risks = t["downloads"], t["claim_quality"], t["artifacts_and_risks"]
    claims, equal, total = quality["claims"], quality["equal"], loads["downloads"]
    rows = {
        "models": f"{about['models']:,}, newest change {about['as_of'] or 'unknown'}",
        "models without metadata": f"{about['without_metadata']:,}",
        "models with a claim": of(t["claims_by_task"]["with_claims"], about["models"]),
        "claims": f"{claims:,}; {quality['rejected']:,} entries of cards are none",
    }
    rows |= {f"impossible values, {name}": f"{k:,}" for name, k in quality["impossible_values"].items()}
    rows["claims, verified"] = of(t["claim_contents"]["vouched"]["verified"], claims)
    rows |= {f"claims, {name}": of(k, claims) for name, k in quality["lacking"].items() if name != BETWEEN}
    rows["claims, same value as another model"] = of(equal["shared_by_2_or_more"], equal["claims"])
    rows["downloads in 30 days"] = f"{total:,}"
    for name, row in (loads["share_of_top"] | loads["by_claims"]).items():
        rows[f"downloads, {'top ' * ('%' in name)}{name}"] = of(row["downloads"], total)
    rows |= {f"models, {k}": of(row["models"], risks["models"]) for k, row in risks["properties"].items()}
    return [f"{name:52} {value}" for name, value in rows.items()]


def models_in(path: Path):
    """The models of a file, with a progress bar where stderr is a terminal."""
    from tqdm import tqdm

    return tqdm(PTM.load(path), unit=" models", unit_scale=True, mininterval=1, disable=None)


def snapshot(path: Path) -> dict:
    """An earlier audit.json as it is, or the audit of an earlier file of records."""
    with suppress(UserError):
        old = read_json(path, dict)
        if isinstance(old.get("about"), dict) and isinstance(old.get("trends"), dict):
            return old
    return audit(models_in(path))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=HelpFormatter)
    flag, figures = parser.add_argument, ROOT / "assets" / "figures"
    flag("models", nargs="*", metavar="MODEL_ID", help="print a page about each of these and write nothing")
    flag(
        "--modelinfo",
        type=Path,
        default=ROOT / "modelinfo.json",
        help="file of Hub records, plain or gzipped",
    )
    flag(
        "--compare",
        type=Path,
        metavar="OLD",
        help="print what changed since this audit.json or modelinfo.json",
    )
    flag("--output", type=Path, default=DATA / "audit.json", help="file that receives the counts")
    flag("--figures", type=Path, default=figures, help="folder that receives one PNG per trend")
    args = parser.parse_args()
    if args.models:
        print(*pages(args.modelinfo, args.models), sep="\n")
        return 0
    old = snapshot(args.compare) if args.compare else None
    result = audit(models_in(args.modelinfo))
    if old:
        print(*compare(old, result), sep="\n")
        return 0
    about = result["about"]
    foot = f"{about['models']:,} records, newest change {about['as_of'] or 'unknown'}."
    if bare := about["without_metadata"]:
        foot += f" {bare:,} of them hold a name, some a task and claims, but no metadata."
    write_json(args.output, result)
    for name, title, parts in panels(about, result["trends"]):
        save(args.figures / f"{name}.png", title, parts, foot)
    print(*table(result), sep="\n")
    return 0


if __name__ == "__main__":
    run(main)
