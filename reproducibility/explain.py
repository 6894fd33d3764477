"""Why is it off? Splits the gap between a claim and a measurement into points per cause.

Two protocols are two sets of choices. A model is measured under every combination of those in which they
differ, and each choice gets its Shapley value: the points add up exactly to the gap between the protocols.
If the faithful protocol does not meet the claim either, repairs are tried (the field's usual preprocessing,
longer texts, another order of the labels) and join the causes; what still is missing is the model's own.

Reads models and data as the task scripts do; writes `reproducibility/results/explanations.json`.

    python reproducibility/explain.py MODEL --data FOLDER
"""

import argparse
import contextlib
import functools
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

from msgspec import structs

from harness.checkpoint import CannotMeasure, describe_error, read_card, resolve
from harness.cluster import connected, run_on_cluster
from harness.plan import plan_passes, subset
from harness.rows import code_state, safe_name
from harness.runner import DTYPES, HERE, machine_flags, measure, require_writable
from harness.shards import read_predictions
from harness.task import CLAIM, Job, Run
from scored.cli import HelpFormatter, require_packages, run
from scored.files import ROOT, UserError, atomic_write, display_path, exclusive, read_json, write_json

TASKS = {  # by the end of the architecture's name
    "ForSequenceClassification": "sentiment_analysis",
    "ForImageClassification": "image_classification",
    "ForObjectDetection": "detection",
}
METRIC = {"emotion": "accuracy", "imagenet-1k": "accuracy", "coco": "AP"}
WORTH = 0.5  # points: a repair must bring a value this much nearer to the claim, and a gap below it is no gap
NAMED = 0.01  # points: what a cause must cost to be named
PERMUTED = 5.0  # points: what another order of the labels must gain to be reported
OWN = "the model's own"


# ── Splitting ─────────────────────────────────────────────────────────────────────────────────────────────


def subsets(names: Iterable[str]) -> list[frozenset]:
    """Every subset, the empty one first."""
    names = list(names)
    return [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]


def shapley(value: Callable[[frozenset], float], names: Iterable[str]) -> dict[str, float]:
    """The Shapley value of each factor (Shapley, 1953), where `value` gives the metric with some switched.

    They add up to value(all) - value(none); 2^k values are asked for.
    """
    names = list(names)
    weights = [1 / (len(names) * math.comb(len(names) - 1, size)) for size in range(len(names))]
    return {
        name: math.fsum(
            weights[len(others)] * (value(others | {name}) - value(others))
            for others in subsets(other for other in names if other != name)
        )
        for name in names
    }


def best_order(said, true, order: list[int]) -> tuple[list[int], float]:
    """The order of labels that fits best, and what it gains over `order`, in points of accuracy.

    `said` (n) is the head that answered, `true` (n) the class that is right, `order` the class that each head
    declares (-1: none). The order is found on one half of the examples and judged on the other, both ways, so
    that with few examples a class chance gains nothing; what is returned is fitted to all of them.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    said, true, declared = np.asarray(said), np.asarray(true), np.asarray(order)
    classes = int(max(true.max(), declared.max())) + 1

    def fitted(part):
        counts = np.zeros((len(declared), classes))
        np.add.at(counts, (said[part], true[part]), 1)
        counts[np.flatnonzero(declared >= 0), declared[declared >= 0]] += 1e-3  # a tie stays as declared
        heads, found = linear_sum_assignment(counts, maximize=True)
        result = np.full(len(declared), -1)
        result[heads] = found
        return result

    halves = [np.arange(len(said)) % 2 == side for side in (0, 1)]
    hits = sum((fitted(~half)[said[half]] == true[half]).sum() for half in halves)
    gain = 100 * (hits - (declared[said] == true).sum()) / len(said)
    return fitted(np.full(len(said), True)).tolist(), float(gain)


# ── Choices ───────────────────────────────────────────────────────────────────────────────────────────────
# A protocol and a dtype as one flat dict, choice -> value. The settings that replace the model's own
# preprocessing are several choices: mean/std, resize and crop, interpolation. None is the model's own.

PREPROCESSING = {
    "mean/std": ("do_normalize", "image_mean", "image_std"),
    "resize and crop": ("do_resize", "size", "do_center_crop", "crop_size", "crop_pct"),
    "interpolation": ("resample",),
}


def flat(protocol, dtype: str) -> dict:
    choices = {**asdict(protocol), "dtype": dtype}
    settings = choices.pop("preprocessing", {})
    for group, keys in PREPROCESSING.items() if hasattr(protocol, "preprocessing") else ():
        choices[group] = {key: settings[key] for key in keys if key in settings} or None
    return choices


def protocol_of(module, choices: dict) -> object:
    """The task's protocol that these choices make (without the dtype)."""
    kept = {name: value for name, value in choices.items() if name not in PREPROCESSING and name != "dtype"}
    settings = {key: value for group in PREPROCESSING for key, value in (choices.get(group) or {}).items()}
    return module.Protocol(**kept, **({"preprocessing": settings} if settings else {}))


def repairs(module, about: dict) -> dict[str, list]:
    """What is tried, choice by choice, where the faithful protocol does not meet the claim.

    The mean and std of ImageNet and of Inception (0.5); a resize to 1/0.875 of the input and a centre crop,
    or a resize to the input without one; both usual interpolations; 512 tokens; DETR's 800 x 1333 pixels.
    """
    tries = {"labels": [name for name in (module.BY_NAME, module.BY_INDEX)]}
    if module.TASK.dataset == "emotion":
        return tries | {"max_length": [512]}
    tries["mean/std"] = [
        {"do_normalize": True, "image_mean": mean, "image_std": std}
        for mean, std in (([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.5] * 3, [0.5] * 3))
    ]
    if module.TASK.dataset == "coco":
        return tries | {
            "resize and crop": [{"do_resize": True, "size": {"shortest_edge": 800, "longest_edge": 1333}}]
        }
    side = about.get("image_size") or 224
    square = {"height": side, "width": side}
    crop = {"do_resize": True, "size": {"shortest_edge": round(side / 0.875)}}
    return tries | {
        "resize and crop": [
            {**crop, "do_center_crop": True, "crop_size": square},
            {"do_resize": True, "size": square, "do_center_crop": False},
        ],
        "interpolation": [{"resample": 2}, {"resample": 3}],
    }


# ── Measuring ─────────────────────────────────────────────────────────────────────────────────────────────


class Measured:
    """The rows of one model under any choices, each measured once. Raises CannotMeasure if it fails."""

    def __init__(self, module, args, model, load: Callable):
        self.module, self.args, self.model, self.load = module, args, model, load
        self.code, self.rows, self.passes = code_state(module.TASK), {}, set()

    def __call__(self, *wanted: dict) -> list[dict]:
        """A row for each set of choices; what shares inputs shares a forward pass."""
        keys = [json.dumps(choices, sort_keys=True) for choices in wanted]
        for dtype in dict.fromkeys(choices["dtype"] for choices in wanted):
            new = {
                key: protocol_of(self.module, choices)
                for key, choices in zip(keys, wanted, strict=True)
                if choices["dtype"] == dtype and key not in self.rows
            }
            if not new:
                continue
            task = replace(self.module.TASK, protocols=new)
            args = argparse.Namespace(**{**vars(self.args), "dtype": dtype, "protocol": None, "split": None})
            run = Run(task, args, self.code, self.load)
            passes = plan_passes(run, self.model, [])
            self.passes |= {part.file for part in passes}
            jobs = [Job(self.model, passes)]
            (job,) = run_on_cluster(run, jobs) if args.cluster else jobs
            for row in measure(run, job):
                if "error" in row:
                    raise CannotMeasure(f"failed at {row['stage']}: {row['error']}")
                self.rows[row["protocol"]] = row
        return [self.rows[key] for key in keys]


def repair(measured: Measured, faithful: dict, claim: float, metric: str, tries: dict) -> dict:
    """The faithful choices with the repairs that bring the value nearest to the claim, one by one."""
    (row,) = measured(faithful)
    gap = abs(row["metrics"][metric] - claim)
    while 100 * gap > WORTH:
        others = [{**faithful, name: value} for name, values in tries.items() for value in values]
        found = [abs(row["metrics"][metric] - claim) for row in measured(*others)]
        least = min(found, default=gap)
        if 100 * (gap - least) < WORTH:
            break
        faithful, gap = others[found.index(least)], least
    return faithful


def labels_of(measured: Measured, choices: dict) -> dict:
    """What another order of the labels would gain, found in the predictions saved for these choices."""
    (row,) = measured(choices)
    table, record = read_predictions(ROOT / row["predictions"]["file"])
    data = subset(measured.load(choices["split"]), record["limit"])
    module, about = measured.module, record["about"]
    said, true, order = module.answers(table, data, protocol_of(module, choices), about)
    found, gain = best_order(said, true, order)
    names = module.class_names(data)
    changed = (
        [i for i, old in enumerate(order) if old != found[i] and found[i] in names] if gain > PERMUTED else []
    )
    moved = {about["labels"][i]: names[found[i]] for i in changed}
    return {
        "gain_points": gain,
        "permuted": gain > PERMUTED,
        "order": found if changed else None,
        "moved": moved,
    }


def explain(measured: Measured, seen: dict, faithful: dict, claim: dict | None) -> dict:
    """The gap between what was `seen` and the `faithful` choices, in points per choice."""
    module = measured.module
    metric = METRIC[module.TASK.dataset]
    (row,) = measured(faithful)
    labels = labels_of(measured, faithful)
    if claim:
        _, record = read_predictions(ROOT / row["predictions"]["file"])
        tries = repairs(module, record["about"])
        tries["labels"] += [tuple(labels["order"])] if labels["permuted"] else []
        faithful = repair(measured, faithful, claim["fraction"], metric, tries)
    factors = [name for name in faithful if faithful[name] != seen[name]]
    combined = {some: {**faithful, **{name: seen[name] for name in some}} for some in subsets(factors)}
    rows = dict(zip(combined, measured(*combined.values()), strict=True))
    points = shapley(lambda some: 100 * rows[some]["metrics"][metric], factors)
    none, every = rows[frozenset()], rows[frozenset(factors)]
    causes = [
        {
            "factor": module.FACTORS.get(name, name),
            "points": points[name],
            "faithful": faithful[name],
            "seen": seen[name],
        }
        for name in sorted(factors, key=lambda name: -abs(points[name]))
    ]
    own = 100 * (none["metrics"][metric] - claim["fraction"]) if claim else None
    shares = {cause["factor"]: cause["points"] for cause in causes} | ({OWN: own} if claim else {})
    named = sorted(
        (name for name in shares if abs(shares[name]) > NAMED), key=lambda name: -abs(shares[name])
    )
    return {
        "metric": metric,
        "claim": claim,
        "seen": side(seen, every, metric),
        "faithful": side(faithful, none, metric),
        "gap_points": 100 * (every["metrics"][metric] - none["metrics"][metric]),
        "causes": causes,
        "unexplained_points": own,
        "named": named,
        "labels": labels,
        "forward_passes": len(measured.passes),
    }


def side(choices: dict, row: dict, metric: str) -> dict:
    """One end of the gap: its choices, value and interval, and what it was measured on."""
    kept = ("revision", "dataset_revision", "split", "examples", "measured_at", "code", "predictions")
    return {
        "choices": choices,
        "value": row["metrics"][metric],
        "interval": row["intervals"].get(metric),
        **{key: row[key] for key in kept},
        **{key: row["settings"][key] for key in ("limit", "device")},
    }


# ── The waterfall ─────────────────────────────────────────────────────────────────────────────────────────


def words(value: object) -> str:
    """A choice as it reads in a line or under a bar."""
    if isinstance(value, dict):
        return ", ".join(words(one) for one in value.values())
    if isinstance(value, (list, tuple)) and len(value) > 3:
        return "another order"
    return "as published" if value is None else str(value)


def plot(ax, found: dict) -> None:
    """From the claim (or the faithful value) over each cause to what was seen."""
    steps = [
        (f"{c['factor']}\n{words(c['faithful'])} → {words(c['seen'])}", c["points"]) for c in found["causes"]
    ]
    level = 100 * found["faithful"]["value"]
    if found["claim"]:
        steps.insert(0, (f"{OWN}\n(unexplained)", found["unexplained_points"]))
        level = 100 * found["claim"]["fraction"]
    ends = [("claimed" if found["claim"] else "faithful", level)]
    ax.bar(0, level, color="#999999")
    for x, (_, size) in enumerate(steps, 1):
        ax.bar(x, size, bottom=level, color="#D55E00" if size < 0 else "#009E73")
        ax.plot([x - 1.4, x + 0.4], [level, level], color="black", lw=0.8)
        ax.annotate(
            f"{size:+.2f}", (x, level + max(size, 0)), (0, 3), textcoords="offset points", ha="center"
        )
        level += size
    ax.bar(len(steps) + 1, level, color="#555555")
    ends.append(("measured", level))
    for x, (_, height) in zip((0, len(steps) + 1), ends, strict=True):
        ax.annotate(
            f"{height:.2f}", (x, height), (0, 3), textcoords="offset points", ha="center", weight="bold"
        )
    names = [ends[0][0], *(name for name, _ in steps), ends[1][0]]
    ax.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=9)
    heights = [
        ends[0][1],
        level,
        *(ends[0][1] + sum(size for _, size in steps[:i]) for i in range(len(steps) + 1)),
    ]
    spread = max(max(heights) - min(heights), 1)
    ax.set_ylim(max(0, min(heights) - spread), max(heights) + 0.4 * spread)
    ax.set_ylabel(f"{found['metric']} (points; the axis does not start at 0)")
    n, limit = found["seen"]["examples"]["evaluated"], found["seen"]["limit"]
    when = found["seen"]["measured_at"][:10]
    part = " (a part of the data set)" if limit else ""
    name = Path(found["model"]).name[:60].replace("$", r"\$")
    ax.set_title(f"{name}: {n:,} examples{part}, measured {when}", loc="left", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)


def draw(path: Path, found: dict) -> None:
    from matplotlib.figure import Figure

    width = max(6.5, 1.9 * (len(found["causes"]) + 3))
    figure = Figure(figsize=(width, 4.5), dpi=110, layout="constrained")
    plot(figure.add_subplot(), found)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png")


# ── The run ───────────────────────────────────────────────────────────────────────────────────────────────


def choices_of(text: str, module, dtype: str, split: str) -> dict:
    """`standard` or `standard,threshold=0.5` as flat choices. Raises UserError for what the task has not."""
    name, *changes = text.split(",")
    if name not in module.TASK.protocols:
        raise UserError(f"no protocol {name!r}; there are {', '.join(module.TASK.protocols)}")
    choices = flat(module.TASK.protocols[name], dtype)
    if choices["split"] in (None, CLAIM):
        choices["split"] = split
    words = {"dtype": DTYPES, "labels": (module.BY_NAME, module.BY_INDEX), "boxes": ("float", "int")}
    for change in changes:
        choice, _, value = change.partition("=")
        if choice not in choices:
            raise UserError(f"{module.TASK.name} has no choice {choice!r}; there are {', '.join(choices)}")
        if choice in words and value not in words[choice]:  # else it would be taken for the first
            raise UserError(f"no {choice} {value!r}; there are {', '.join(words[choice])}")
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value, parse_constant=str)
        if isinstance(choices[choice], bool) and not isinstance(value, bool):
            raise UserError(f"no {choice} {value!r}; there are true and false")
        choices[choice] = value
    return choices


def module_for(model) -> object:
    """The task script for a model, by the architecture that its configuration names. Raises CannotMeasure."""
    folder = Path(model.path) if model.path else None
    if folder is None:
        from huggingface_hub import hf_hub_download

        folder = Path(hf_hub_download(model.name, "config.json", revision=model.revision)).parent
    names = json.loads((folder / "config.json").read_bytes()).get("architectures") or []
    for name in map(str, names):
        for end, module in TASKS.items():
            if name.endswith(end):
                return importlib.import_module(module)
    raise CannotMeasure(f"no task script measures the architecture {', '.join(map(str, names))}")


def one(text: str, args, cache: Callable) -> dict:
    """The explanation of one model, or its error."""
    about = {"model": text}
    try:
        model = resolve(text)
        module = module_for(model)
        about = {"model": model.name, "revision": model.revision, "task": module.TASK.name}
        metric = METRIC[module.TASK.dataset]
        claims = [
            c for c in read_card(model).claims if c.dataset == module.TASK.dataset and c.metric == metric
        ]
        claim = next((structs.asdict(c) for c in claims if c.fraction is not None), None)
        claimed = claim["split"] if claim else None
        split = claimed if claimed in module.TASK.splits else module.TASK.default_split
        ends = [choices_of(text, module, args.dtype, split) for text in (args.seen, args.faithful)]
        measured = Measured(module, args, model, functools.cache(lambda split: cache(module, split)))
        return about | {"dataset": module.TASK.dataset} | explain(measured, *ends, claim)
    except UserError:
        raise
    except Exception as why:
        return about | {"error": describe_error(why)}


def kept(path: Path) -> dict[str, dict]:
    """Model -> explanation, from an earlier run or one beside this."""
    before = read_json(path, dict) if path.exists() else {"explanations": []}
    try:
        return {str(found["model"]): found for found in before["explanations"]}
    except (KeyError, TypeError) as why:
        raise UserError(f"{display_path(path)} holds no explanations; move it away") from why


def better(old: dict, new: dict) -> bool:
    """Whether an explanation is not to give way to a newer one, which failed or is of a part of the data."""

    def worth(one: dict) -> int:
        try:
            examples = one["seen"]["examples"]
            return 2 if examples["evaluated"] == examples["expected"] else 1
        except (KeyError, TypeError):  # it failed, or is of another hand
            return 0

    return worth(old) > worth(new)


def show(found: dict) -> None:
    if "error" in found:
        print(f"{found['model']}  failed: {found['error']}", file=sys.stderr)
        return
    claim = f"claimed {100 * found['claim']['fraction']:.2f}, " if found["claim"] else "no claim, "
    print(f"{found['model']}  {found['metric']}: {claim}measured {100 * found['seen']['value']:.2f}")
    for cause in found["causes"]:
        change = f"{words(cause['faithful'])} → {words(cause['seen'])}"
        print(f"  {cause['points']:+8.3f}  {cause['factor']}: {change}")
    if found["unexplained_points"] is not None:
        print(f"  {found['unexplained_points']:+8.3f}  {OWN} (unexplained)")
    if found["labels"]["permuted"]:
        print(f"  labels are permuted: {found['labels']['moved']}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Splits the gap between claim and measurement into points per cause.",
        formatter_class=HelpFormatter,
    )
    here = HERE
    parser.add_argument("models", nargs="+", metavar="MODEL", help="Hub id, id@revision or local folder")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data set's folder, as for the task's script"
    )
    parser.add_argument("--seen", default="scored-2022", metavar="PROTOCOL[,CHOICE=VALUE…]",
                        help="how it was measured")  # fmt: skip
    parser.add_argument("--faithful", default="standard", metavar="PROTOCOL[,CHOICE=VALUE…]",
                        help="how it should be measured")  # fmt: skip
    machine_flags(parser)
    parser.add_argument(
        "--output", type=Path, default=here / "results" / "explanations.json", help="explanations"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="folder for a waterfall PNG of each model"
    )
    args = parser.parse_args()
    cache = functools.cache(lambda module, split: module.TASK.load_data(args.data, split))
    require_packages("torch", "transformers")
    kept(args.output)  # before anything is measured: it may be broken
    require_writable("--output", args.output.parent)
    require_writable("--predictions", args.predictions)
    failed = 0
    if args.cluster and args.data:
        args.data = args.data.resolve()
    with connected(None, args):
        for text in args.models:
            found = one(text, args, cache)
            with exclusive(args.output):
                every = kept(args.output)
                if kept_one := better(every.get(found["model"], {}), found):
                    place = display_path(args.output)
                    print(f"{found['model']}: {place} keeps the explanation that it has", file=sys.stderr)
                else:
                    every[found["model"]] = found
                write_json(args.output, {"explanations": [every[name] for name in sorted(every)]})
            show(found)
            failed += "error" in found
            if args.figures and "error" not in found and not kept_one:
                draw(args.figures / f"{safe_name(found['model'])}.png", found)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
