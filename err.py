"""How many models are off? Compares claims with measurements and draws the study's headline figure.

Reads `modelinfo.json` (claims) and `reproducibility/results.json` (measurements, from results.py); writes
`assets/data/err.json`, `err.png` with its copy in `assets/figures/`, and `assets/figures/discrepancies.png`.

    python err.py
"""

import argparse
import csv
import io
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import msgspec
from msgspec.structs import asdict

from ptm import PTM
from scored.claims import VOCABULARY
from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.intervals import newcombe_difference, wilson
from scored.verdicts import STUDY, is_whole, latest_rows

# The metric that a task's headline compares: top-1 accuracy, accuracy, mAP over IoU 0.50:0.95.
HEADLINE = {"object-detection": "AP", "image-classification": "accuracy", "sentiment-analysis": "accuracy"}
# How many examples a split holds: the data sets' own cards. Where a claim names no split, it is taken to be
# as large as the smallest split that one evaluates on, which makes the verdict the more careful one.
SIZES = {
    "emotion": {"train": 16000, "validation": 2000, "test": 2000, "unsplit": 416809},
    "imagenet-1k": {"train": 1281167, "validation": 50000, "test": 100000},
    "coco": {"train": 118287, "validation": 5000, "test": 40670},
}
CONFIGS = {  # of the data sets on the Hub, and what cards write for "the usual one"
    "emotion": {"split", "unsplit", "default", "emotion", "plain_text"},
    "imagenet-1k": {"default", "imagenet-1k", "imagenet", "plain_text"},
    "coco": {"default", "2017", "coco", "plain_text"},
}
PART = "measured on a part of the data set only"
MORE = "measured on more examples than the split has"
SHARES = {"accuracy", "accuracy-top5", "f1-micro"}  # k of n examples, so that Wilson's interval holds
VERDICTS = {  # in the order in which the figure stacks them, in Okabe and Ito's colour-blind safe palette
    "reproduced": "#009E73",
    "close": "#56B4E9",
    "undecidable at this n": "#CCCCCC",
    "claim under-specified": "#F0E442",
    "understated": "#0072B2",
    "overstated": "#D55E00",
    "not runnable": "#000000",
}
CAUSES = ["#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#882255", "#999999"]
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]
SIZE = (9, 4.8)  # inches


def points(claimed: float, measured: float) -> Decimal:
    """Measured minus claimed in points (0.01), exact to ten decimals of a point.

    Both are taken as the decimals they print as: the subtraction of doubles would make 0.941 - 0.931 more
    than 0.01, by an error in the seventeenth digit.
    """
    return round((Decimal(repr(measured)) - Decimal(repr(claimed))) * 100, 10)


def precision(claim: dict) -> float:
    """Half a unit of the last digit that the card states, in points; never more than half a point."""
    if isinstance(claim["value"], str):
        decimals = re.search(r"[.,](\d+)", claim["value"])
        exponent = -len(decimals[1]) if decimals else 0
    else:
        exponent = Decimal(repr(claim["value"])).as_tuple().exponent
    half = float(Decimal(50).scaleb(max(exponent, -20))) / (100 if claim["unit"] == "percent" else 1)
    return min(max(half, 1e-9), 0.5)


def spread(value: float, metric: str, n: int, row: dict) -> list[float] | None:
    """95 % interval of a value that was found on n examples: Wilson's for a share; for mAP and macro F1 the
    measured interval, moved to the value and scaled by the root of the sizes. None if there is none.
    """
    if metric in SHARES:
        return wilson(round(value * n), n)
    if (ends := (row.get("intervals") or {}).get(metric)) is None:
        return None
    scale, measured = (row["examples"]["expected"] / n) ** 0.5, row["metrics"][metric]
    return [value + scale * (end - measured) for end in ends]


def judged(claim: dict, row: dict) -> dict:
    """The verdict on one claim by one measurement, with the numbers behind it."""
    measured, claimed = row["metrics"][claim["metric"]], claim["fraction"]
    change = float(points(claimed, measured))
    split = "unsplit" if claim["config"] == "unsplit" else claim["split"]
    if split == row["split"]:
        allowed = precision(claim)
        verdict = "reproduced" if abs(change) <= allowed else "close" if abs(change) <= 0.5 else None
        numbers = {"rule": "same examples", "precision_points": allowed}
    else:
        sizes = SIZES.get(row["dataset"], {})
        n_claimed = sizes.get(split) or min((n for name, n in sizes.items() if name != "train"), default=0)
        n_measured = row["examples"]["expected"]
        numbers = {"rule": "two samples", "n_claimed": n_claimed, "n_measured": n_measured}
        of_claimed = spread(claimed, claim["metric"], n_claimed, row) if n_claimed else None
        of_measured = (row.get("intervals") or {}).get(claim["metric"]) or (
            wilson(round(measured * n_measured), n_measured) if claim["metric"] in SHARES else None
        )
        if of_claimed is None or of_measured is None:
            return {
                "verdict": "undecidable at this n",
                **numbers,
                "why": "no interval is known for this metric",
            }
        low, high = numbers["interval_points"] = newcombe_difference(
            claimed, of_claimed, measured, of_measured
        )
        inside, outside = low >= -1 and high <= 1, high < -1 or low > 1
        verdict = "reproduced" if inside else None if outside else "undecidable at this n"
    return {"verdict": verdict or ("overstated" if change < 0 else "understated"), **numbers}


def under_specified(claim: dict, row: dict) -> str | None:
    """Why a claim on this data set cannot be compared although it is a number; None if it can."""
    if claim["dataset"] in VOCABULARY["loaders"]:
        return f"it names a way to load data, {claim['dataset']!r}, and no data set"
    if claim["config"] and claim["config"] not in CONFIGS.get(row["dataset"], ()):
        return f"its configuration {claim['config']!r} is none that is known of {row['dataset']}"
    if claim["metric"] is None:
        return "it names no metric"
    if any(f"{claim['metric']}-{average}" in row["metrics"] for average in ("macro", "micro", "weighted")):
        return f"it does not say how {claim['metric']} is averaged"
    if claim["metric"] in row["metrics"] and claim["fraction"] is None:
        return f"{claim['value']!r} may be a fraction or a percentage"
    return None


def claims_of(row: dict, known: dict) -> list[dict]:
    """What a row is compared with: the claims of its model's card at the revision measured.

    Where that has none: what `known` holds for (model, revision), and then for the model at an unknown one;
    for a model that failed, what it holds for (model, None).
    """
    if row.get("claims") or ("claims" in row and row["source"] == STUDY):
        return row["claims"]
    revision = None if row.get("error") else row.get("revision")  # what failed has none to compare with
    return known.get((row["model"], revision)) or known.get(row["model"], [])


def comparisons(row: dict, claims: list[dict]) -> tuple[list[dict], str | None]:
    """Every claim on the row's data set with its verdict, and why none of them counts in the headline."""
    found = []
    failed = row.get("error") and (f"failed ({row['stage']})" if row.get("stage") else row["error"])
    examples = row.get("examples") or {}
    part = None if is_whole(row) else PART if examples["evaluated"] < examples["expected"] else MORE
    here = [claim for claim in claims if claim["dataset"] in (row["dataset"], *VOCABULARY["loaders"])]
    for claim in here:
        one = {
            "model": row["model"],
            "revision": row.get("revision"),
            "metric": claim["metric"],
            "claimed": claim["fraction"],
            "claimed_as": claim["value"],
            "claimed_split": claim["split"],
            "claim_from": claim.get("from", "card"),
            "headline": False,
        }
        if failed:
            found.append({**one, "verdict": "not runnable", "why": row["error"]})
        elif part:
            continue
        elif why := under_specified(claim, row):
            found.append({**one, "verdict": "claim under-specified", "why": why})
        elif claim["metric"] in row["metrics"]:
            measured = row["metrics"][claim["metric"]]
            one |= {"measured": measured, "measured_split": row["split"]}
            found.append(
                {**one, "discrepancy": float(points(claim["fraction"], measured)), **judged(claim, row)}
            )
    if any(one["metric"] == HEADLINE[row["task"]] and "measured" in one for one in found):
        return found, None
    vague = any(one["verdict"] == "claim under-specified" for one in found)
    reasons = [
        (failed, failed),
        (not claims, "no claim"),
        (not here, "no claim on this data set"),
        (part, part),
        (vague, "claim under-specified"),
        (True, "claim on another metric"),
    ]
    return found, next(reason for holds, reason in reasons if holds)


def summary(task: str, rows: list[dict], unnamed: dict | None, claims: dict, threshold: Decimal) -> dict:
    """One task of one series: k of n models off by more than `threshold` points, and who was left out.

    `unnamed` holds differences published without their models; each stands for one measured model, so as
    many of the rows without a claim are taken as counted.
    """
    left_out, models, counted, every = {}, [], {}, len(rows)
    for row in (rows := latest_rows(rows)):
        found, reason = comparisons(row, claims_of(row, claims))
        models += found
        left_out[row["model"]] = reason
        for one in found:  # one comparison a model counts: if there is a choice, on the claim's own split
            rank = {one.get("measured_split"): 0, None: 1}.get(one["claimed_split"], 2)
            if (
                "measured" in one
                and one["metric"] == HEADLINE[task]
                and rank < counted.get(one["model"], (3,))[0]
            ):
                counted[one["model"]] = (rank, one)
    left_out = Counter(reason for model, reason in left_out.items() if model not in counted)
    for _, one in counted.values():
        one["headline"] = True
    for value in unnamed["values"] if unnamed else ():
        one = {"model": None, "metric": unnamed["metric"], "discrepancy": float(points(0, value))}
        why = "the study published neither the model, nor the claim, nor its split"
        models.append({**one, "headline": True, "verdict": "undecidable at this n", "why": why})
        left_out["no claim"] -= 1
    for one in models:
        one["off"] = "discrepancy" in one and abs(Decimal(repr(one["discrepancy"]))) > threshold
    headline = [one for one in models if one["headline"]]
    others = {one["model"]: one for one in models if one["model"] not in counted and one["model"] is not None}
    k, n = sum(one["off"] for one in headline), len(headline)
    return {
        "k": k,
        "n": n,
        "fraction": k / n if n else None,
        "interval": wilson(k, n),
        "verdicts": dict(Counter(one["verdict"] for one in [*headline, *others.values()])),
        "left_out": {reason: count for reason, count in sorted(left_out.items()) if count > 0},
        "older": every - len(rows),
        "models": sorted(
            models,
            key=lambda one: (
                str(one["model"]),
                str(one["metric"]),
                one["model"] is not None,  # a model may be called None
                str(one["claimed_as"]) if one["model"] else one["discrepancy"],
            ),
        ),
        **({"note": unnamed["note"]} if unnamed else {}),
    }


def compare(results: dict, claims: dict, published: dict, threshold: Decimal) -> list[dict]:
    """One series for every pair of source and protocol, with a summary of each of its tasks."""
    found = []
    pairs = {(row["source"], row["protocol"]) for row in results["rows"] if row["protocol"]}
    none = {row["source"] for row in results["rows"]} - {source for source, _ in pairs}
    for source, protocol in sorted(pairs | {(source, "none reached") for source in none}):
        series = {"source": source, "protocol": protocol, "tasks": {}}
        chosen = [  # a model that failed before any protocol failed under all of them
            row for row in results["rows"] if row["source"] == source and row["protocol"] in (protocol, None)
        ]
        series["measured"] = max(str(row.get("measured_at") or "")[:10] for row in chosen)
        for task in HEADLINE:
            rows = [row for row in chosen if row["task"] == task]
            unnamed = next(
                (
                    one
                    for one in results["discrepancies"]
                    if (one["task"], one["source"], one["protocol"]) == (task, source, protocol)
                ),
                None,
            )
            if rows or unnamed:
                series["tasks"][task] = summary(task, rows, unnamed, claims, threshold)
                if source == STUDY:
                    series["tasks"][task]["published"] = published["off_by_more_than_1_percent"].get(task)
        found.append(series)
    standard = {}
    for series in found:
        for task in series["tasks"].values() if series["protocol"] == "standard" else ():
            for one in task["models"]:
                standard.setdefault((one["model"], one["metric"]), []).append(one)
    for series in found:
        for task in series["tasks"].values() if series["protocol"] != "standard" else ():
            for one in task["models"]:
                others = [
                    other for other in standard.get((one["model"], one["metric"]), ()) if same(one, other)
                ]
                best = min(others, key=lambda other: ranked(one, other), default={})
                unknown = f"not known: measured under {series['protocol']} only"
                one["verdict_under_standard"] = best.get("verdict", unknown)
    return found


def same(one: dict, other: dict) -> bool:
    """Whether two comparisons are of one claim; the study's claims are rounded to a tenth of a point."""
    if None in (one.get("claimed"), other.get("claimed")):
        return one.get("claimed_as") == other.get("claimed_as")
    return abs(Decimal(repr(one["claimed"])) - Decimal(repr(other["claimed"]))) <= Decimal("0.0005")


def ranked(one: dict, other: dict) -> tuple:
    """What a claim is worth is decided on its own split under `standard`, not as the study measured."""
    split = other.get("claimed_split")
    elsewhere = one.get("claimed_split") != split, other.get("measured_split") != split
    return "measured" not in other, *elsewhere, not other["headline"]


def table(found: list[dict]) -> str:
    """Every comparison as CSV, one line each."""
    text = io.StringIO()
    columns = [
        "task",
        "source",
        "protocol",
        "model",
        "revision",
        "metric",
        "claimed_as",
        "claimed",
        "claimed_split",
    ]
    columns += ["measured", "measured_split", "discrepancy", "off", "headline", "verdict", "rule", "why"]
    columns += ["verdict_under_standard", "claim_from"]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for series in found:
        about = {key: series[key] for key in ("source", "protocol")}
        for task, one in series["tasks"].items():
            writer.writerows({"task": task, **about, **row} for row in one["models"])
    return text.getvalue()


def cross_check(rows: list[dict], laboratory: list[dict]) -> list[dict]:
    """Our top-1 accuracies beside another laboratory's (timm's `model, img_size, top1` in percent).

    `timm/NAME` is looked up by its name, other ids by their last part against the architecture before the
    dot. One architecture may have several entries (weights, sizes): agreeing is to lie within a point of
    their range.
    """
    named = {}
    for entry in laboratory:
        for name in {entry["model"], entry["model"].partition(".")[0]}:
            named.setdefault(re.sub(r"[^a-z0-9.]", "", name.casefold()), []).append(entry)
    found = []
    for row in rows:
        measured = (row.get("metrics") or {}).get("accuracy")
        theirs = named.get(re.sub(r"[^a-z0-9.]", "", row["model"].rpartition("/")[2].casefold()))
        if row["dataset"] != "imagenet-1k" or measured is None or not theirs or not is_whole(row):
            continue
        low, high = min(float(one["top1"]) for one in theirs), max(float(one["top1"]) for one in theirs)
        found.append(
            {
                **{key: row[key] for key in ("model", "source", "protocol", "split")},
                "measured_percent": 100 * measured,
                "theirs_percent": [low, high],
                "entries": sorted(f"{one['model']} at {one['img_size']}" for one in theirs),
                "agrees": low - 1 <= 100 * measured <= high + 1,
            }
        )
    return found


# ── Figures ───────────────────────────────────────────────────────────────────────────────────────────────


def named(series: dict) -> str:
    return f"{series['source']}, protocol {series['protocol']}, measured {series['measured']}"


def plot_fractions(ax, found: list[dict], threshold: Decimal) -> None:
    """One bar a task and series: the share of models off, with k/n and the Wilson interval."""
    tasks = [task for task in HEADLINE if any(task in series["tasks"] for series in found)]
    width = 0.8 / max(len(found), 1)
    for i, series in enumerate(found):
        for x, task in enumerate(tasks):
            one = series["tasks"].get(task)
            if not one or not one["n"]:
                continue
            at = x + (i - (len(found) - 1) / 2) * width
            height, (low, high) = 100 * one["fraction"], (100 * end for end in one["interval"])
            ax.bar(at, height, width * 0.7, color=COLOURS[i % 6], label=None)
            ax.errorbar(
                at,
                height,
                [[max(0, height - low)], [max(0, high - height)]],
                color="black",
                capsize=4,
                lw=1.2,
            )
            ax.annotate(
                f"{one['k']}/{one['n']}",
                (at, max(height, high)),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=12,
                fontweight="bold",
            )
        ax.bar(0, 0, color=COLOURS[i % 6], label=named(series))
    ax.set_xticks(range(len(tasks)), [task.replace("-", " ") for task in tasks], fontsize=11)
    ax.set_ylim(0, 112)
    ax.set_yticks(range(0, 101, 20))
    ax.set_ylabel(f"models off by more than {threshold.normalize():f} point{'s' * (threshold != 1)} (%)")
    ax.set_title(
        "Models that miss their card's claim (whiskers: 95 % Wilson interval)", loc="left", fontsize=13
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), fontsize=10, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)


def plot_verdicts(ax, found: list[dict]) -> None:
    """One bar a task and series: the models by the verdict on their claim, as shares of those judged."""
    rows = [(s, t) for t in HEADLINE for s in found if s["tasks"].get(t, {}).get("verdicts")]
    stack(
        ax,
        {
            f"{task.replace('-', ' ')}\n{series['source']}, {series['protocol']}": series["tasks"][task][
                "verdicts"
            ]
            for series, task in rows
        },
        VERDICTS,
    )
    ax.set_xlabel("models by the verdict on their claim (%)")
    ax.set_title("What the numbers allow to say", loc="left", fontsize=13)


def plot_causes(ax, explained: list[dict]) -> None:
    """One bar a task: the points of all explained models by cause, without their sign."""
    points = {}
    for one in explained:
        shares = points.setdefault(one["task"], Counter())
        shares.update({cause["factor"]: abs(cause["points"]) for cause in one["causes"]})
        shares["the model's own"] += abs(one["unexplained_points"] or 0)
    names = sorted({name for shares in points.values() for name in shares if shares[name]})
    models = Counter(one["task"] for one in explained)
    stack(
        ax,
        {
            f"{task.replace('-', ' ')}\n{models[task]} explained": points[task]
            for task in HEADLINE
            if task in points
        },
        {name: CAUSES[i % len(CAUSES)] for i, name in enumerate(names)},
        below=0.24,
    )
    ax.set_xlabel("points off by cause (%), from explain.py")
    ax.set_title("Where the points went", loc="left", fontsize=13)


def stack(ax, rows: dict[str, dict], colours: dict[str, str], below: float = 0.14) -> None:
    """Horizontal bars of 100 %, one a row, divided by the names in `colours`; each part says its number."""
    for y, parts in enumerate(reversed(rows.values())):
        total, left = sum(parts.values()) or 1, 0.0
        for name, colour in colours.items():
            width = 100 * parts.get(name, 0) / total
            ax.barh(y, width, left=left, color=colour, height=0.6, edgecolor="white", linewidth=0.5)
            if width > 6:
                dark = colour in ("#000000", "#0072B2", "#D55E00", "#009E73", "#882255")
                number = f"{parts[name]:.3g}"
                ax.annotate(
                    number,
                    (left + width / 2, y),
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                )
            left += width
    for name, colour in colours.items():
        if any(parts.get(name) for parts in rows.values()):
            ax.barh(0, 0, color=colour, label=name)
    ax.set_yticks(range(len(rows)), list(reversed(rows)), fontsize=9)
    ax.set_xlim(0, 100)
    if rows:
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.legend(loc="upper center", bbox_to_anchor=(0.4, -below), fontsize=9, frameon=False, ncols=2)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def plot_discrepancies(ax, found: list[dict], threshold: Decimal) -> None:
    """One dot a model: measured minus claimed, in points; one row a task and series."""
    import numpy

    rows = [(i, s, t) for t in HEADLINE for i, s in enumerate(found) if s["tasks"].get(t, {}).get("n")]
    ax.axvspan(
        -threshold, threshold, color="#DDDDDD", zorder=0, label=f"within {threshold.normalize():f} point"
    )
    ax.axvline(0, color="black", lw=0.8, zorder=1)
    for y, (i, series, task) in enumerate(reversed(rows)):
        for unnamed in (False, True):
            values = sorted(
                one["discrepancy"]
                for one in series["tasks"][task]["models"]
                if one["headline"] and (one["model"] is None) == unnamed
            )
            spread = numpy.random.default_rng(0).permutation(numpy.linspace(-0.25, 0.25, len(values)))
            ax.scatter(
                values,
                y + (spread if len(values) > 8 else 0 * spread),
                s=26,
                zorder=2,
                linewidths=1.0,
                edgecolors=COLOURS[i % 6],
                facecolors="none" if unnamed else COLOURS[i % 6],
                label="absolute difference, sign not published" if unnamed and values else None,
            )
    ax.set_yticks(
        range(len(rows)),
        [
            f"{task.replace('-', ' ')}, {s['tasks'][task]['n']} models\n{s['source']}, {s['protocol']}"
            for _, s, task in reversed(rows)
        ],
    )
    ax.set_ylim(-0.6, max(len(rows), 1) - 0.4)
    ax.set_xscale("symlog", linthresh=2, linscale=1.5)
    ticks = [-100, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 100]
    ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    values = [o["discrepancy"] for _, s, t in rows for o in s["tasks"][t]["models"] if o["headline"]]
    ax.set_xlim(1.3 * min([-5.0, *values]), 1.3 * max([5.0, *values]))
    ax.set_xlabel("measured minus claimed, points (0.01 of accuracy or mAP; logarithmic beyond ±2)")
    when = ", ".join(sorted({series["measured"] for series in found}))
    ax.set_title(f"How far each model is from its claim (measured {when})", loc="left", fontsize=13)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize=10, frameon=False, ncols=2)
    ax.spines[["top", "right", "left"]].set_visible(False)


def draw(path: Path, *plots: tuple) -> None:
    """Saves one figure as PNG, in one piece: a panel for each (plot, data…), two in a row."""
    from matplotlib.figure import Figure

    rows = {1: [[0]], 2: [[0, 1]], 3: [[0, 1], [2, 2]]}[len(plots)]
    size = (SIZE[0] if len(plots) == 1 else 13, SIZE[1] + 3.2 * (len(rows) - 1))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    for i, ax in figure.subplot_mosaic(rows, height_ratios=[3, 2][: len(rows)]).items():
        plot, *data = plots[i]
        plot(ax, *data)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png")


# What is read of results.json and of explanations.json, which hold what strangers' cards say.
Share = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Points = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9 ,.:'/_+-]{1,80}$")]  # stands in figures


class Claim(TypedDict):
    dataset: str
    config: str | None
    split: str | None
    metric: str | None
    value: int | float | str
    fraction: float | None
    unit: str


class Examples(TypedDict):
    expected: Count
    evaluated: Count | None


class Row(TypedDict):
    model: str
    task: str
    dataset: str
    split: NotRequired[str | None]
    revision: NotRequired[str | None]
    source: Word
    protocol: Word | None
    claims: NotRequired[list[Claim]]
    stage: NotRequired[str | None]
    measured_at: NotRequired[Word | None]
    examples: NotRequired[Examples | None]
    settings: NotRequired[dict | None]


class Failed(Row):
    error: str


class Measured(Row):
    protocol: Word
    split: str
    examples: Examples
    metrics: dict[str, Share]
    intervals: NotRequired[dict[str, tuple[Share, Share]] | None]


class Unnamed(TypedDict):
    task: str
    source: Word
    protocol: Word
    metric: str
    values: list[Points]
    note: str


class Cause(TypedDict):
    factor: Word
    points: Points


class Side(TypedDict):
    examples: NotRequired[Examples | None]


class Explained(TypedDict):
    task: Word
    seen: NotRequired[Side]
    causes: list[Cause]
    unexplained_points: Points | None


def valid(value: object, kind: type, where: str, remedy: str) -> None:
    """Raises UserError for JSON that is not of this kind."""
    try:
        msgspec.convert(value, kind)
    except ValueError as why:
        raise UserError(f"{where}: {why}; {remedy}") from why


def checked(results: dict, path: Path) -> dict:
    """The results, if every row has what a comparison needs; a Problem names the first that has not."""
    remedy = "write it again with: python reproducibility/results.py"
    for part in ("rows", "discrepancies"):
        if not isinstance(results.get(part), list):
            raise UserError(f"{display_path(path)} has no list {part!r}; {remedy}")
    valid(results["discrepancies"], list[Unnamed], display_path(path), remedy)
    for i, row in enumerate(results["rows"], 1):
        where = f"{display_path(path)}, row {i}"
        failed = isinstance(row, dict) and row.get("error")
        valid(row, Failed if failed else Measured, where, remedy)
        for claim in row.get("claims", ()):
            if claim["metric"] in row.get("metrics", ()) and not 0 <= (claim["fraction"] or 0) <= 1:
                raise UserError(f"{where}: claims {claim['metric']} of {claim['fraction']}; {remedy}")
    return results


def laboratory(path: Path) -> list[dict]:
    """The rows of a CSV with the columns model, img_size and top1."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            float(row["top1"]), row["model"].strip(), row["img_size"].strip()
        if not rows:
            raise ValueError("it has no rows")
    except OSError as why:
        raise UserError(f"cannot read --reference {display_path(path)}: {why.strerror}") from why
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as why:
        raise UserError(
            f"--reference {display_path(path)} needs the columns model, img_size and top1: {why}"
        ) from why
    return rows


def a_threshold(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of points such as 1 or 0.5")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Compares claims with measurements and draws err.png.",
        formatter_class=HelpFormatter,
    )
    path = ROOT / "reproducibility" / "results.json"
    explanations = ROOT / "reproducibility" / "results" / "explanations.json"
    parser.add_argument("--modelinfo", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records")
    parser.add_argument("--results", type=Path, default=path, help="table from results.py")
    parser.add_argument(
        "--explanations", type=Path, default=explanations, help="causes from explain.py, if any"
    )
    parser.add_argument(
        "--threshold", type=a_threshold, default="1", help="off means by more than this, in points"
    )
    parser.add_argument("--source", help="only measurements from this source, e.g. study-2022")
    parser.add_argument("--protocol", help="only measurements under this protocol, e.g. scored-2022")
    parser.add_argument(
        "--reference", type=Path, help="CSV of another laboratory's ImageNet results, as timm publishes them"
    )
    parser.add_argument("--output", type=Path, default=ROOT, help="folder that receives err.png and assets/")
    args = parser.parse_args()
    remedy = "Write it with: python reproducibility/results.py"
    results = checked(read_json(args.results, dict, remedy), args.results)
    every = results["rows"]
    for part in ("rows", "discrepancies"):
        results[part] = [
            row
            for row in results[part]
            if args.source in (None, row["source"])
            and (not args.protocol or row["protocol"] in (args.protocol, None))
        ]
    if not results["rows"]:
        raise UserError(
            f"{display_path(args.results)} has no row of that --source and --protocol; results.py lists them"
        )
    measured = {row["model"] for row in results["rows"]}
    claims = {}
    for model in PTM.load(args.modelinfo):
        if model.id in measured:
            made = [asdict(claim) | {"from": args.modelinfo.name} for claim in model.claims]
            claims[(model.id, model.sha) if model.sha else model.id] = claims[(model.id, None)] = made
    for row in every:
        if row["source"] == STUDY and row.get("claims") and not claims.get(row["model"]):
            claims[row["model"]] = [claim | {"from": STUDY} for claim in row["claims"]]
    published = read_json(ROOT / "assets" / "data" / "published.json", dict)
    found = compare(results, claims, published, args.threshold)
    explained = []
    if args.explanations.exists():
        explained = read_json(
            args.explanations, dict, "Write it with: python reproducibility/explain.py MODEL"
        )
        explained = explained.get("explanations")
        valid(explained, list[dict], display_path(args.explanations), "write it again with explain.py")
        explained = [one for one in explained if "error" not in one]
        valid(explained, list[Explained], display_path(args.explanations), "write it again with explain.py")
        whole = [one for one in explained if is_whole(one.get("seen", {}))]
        if len(whole) < len(explained):
            print(f"{len(explained) - len(whole)} explanations left out: {PART}")
        explained = whole
    data = {"threshold_points": float(args.threshold), "series": found, "published": published}
    if args.reference:
        data["reference"] = cross_check(results["rows"], laboratory(args.reference))
    write_json(args.output / "assets" / "data" / "err.json", data)
    figures = args.output / "assets" / "figures"
    panels = [(plot_fractions, found, args.threshold), (plot_verdicts, found)]
    panels += [(plot_causes, explained)] if explained else []
    draw(args.output / "err.png", *panels)
    draw(figures / "err.png", *panels)
    draw(figures / "discrepancies.png", (plot_discrepancies, found, args.threshold))
    with atomic_write(args.output / "assets" / "data" / "err.csv") as file:
        file.write(table(found))
    for series in found:
        print(named(series))
        for task, one in series["tasks"].items():
            low, high = one["interval"] or (0, 1)
            share = f"{one['k']}/{one['n']}"
            paper = f"  the paper printed {one['published']}" if one.get("published") else ""
            print(f"  {task:<22}{share:>8} off  95 % interval {low:6.1%} to {high:6.1%}{paper}")
            for reason, count in one["left_out"].items():
                print(f"  {'':<22}{count:>8} left out: {reason}")
            if one["older"]:
                print(f"  {'':<22}{one['older']:>8} measurements are not counted: a newer or fuller one is")
    for one in data.get("reference", ()):
        low, high = one["theirs_percent"]
        word = "agrees" if one["agrees"] else "DIFFERS"
        print(f"{word:<8}{one['measured_percent']:7.3f}  reference {low:.3f} to {high:.3f}  {one['model']}")
    return 0


if __name__ == "__main__":
    run(main)
