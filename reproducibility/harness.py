"""What does a model score? The chores that the three task scripts share; none of their science is here.

A task script hands a `Task` to `start`, which reads the arguments, chooses the models, runs each in a process
of its own and writes one row per model, split and protocol to `results/<FOLDER>/<task>.json`, and the raw
outputs to `predictions/<FOLDER>/*.parquet` (not in git). Run again, it does only what is not done yet.

    python reproducibility/sentiment_analysis.py MODEL --data FOLDER
"""

import argparse
import functools
import inspect
import json
import math
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from checkpoint import (
    Model,
    Refused,
    card,
    digest,
    file_digest,
    one_line,
    pretrained,
    refuse_remote_code,
    resolve,
)
from isolated import Batch, Data, Failure, Pass, predictions, run_apart, versions

from ptm import PTM, ROOT, Problem, atomic, read_json, run, shown, write_json

__all__ = [
    "Batch",
    "Data",
    "Problem",
    "Refused",
    "predictions",
    "pretrained",
    "refuse_remote_code",
]  # for tasks

HERE = ROOT / "reproducibility"
CLAIM = "claim"  # a protocol's split: the one that the model's claim names
DTYPES = ("float32", "float16", "bfloat16", "auto")


# ── What a task script and the harness hand each other ────────────────────────────────────────────────────


@dataclass(frozen=True)
class Task:
    """One task as the harness sees it. Functions must be top-level ones: they are sent to the child process.

    load_data(path, split) reads the full split from a folder, or from the Hub where path is None; raises
        Problem with `data_help` where there is none. Its `revision` must change with the content.
    load_model(folder, device, dtype) loads from a local folder (see `pretrained`); raises Refused.
    describe(model) gives facts in JSON that `score` and the row need: `labels`, `preprocessing`, …
    predict(model, data, protocol, batch_size) yields Batches, in any order. If memory runs out, it is called
        again with the examples that are left and half the batch size. Columns must hold raw outputs and
        `hash`, a hash of the example's content.
    score(table, data, protocol, about) gives {"metrics", "intervals", "interval_method"} and further notes
        for the row. Row i of the Arrow table is example i of `data`; `about` is what `describe` gave.
        Raises Refused, for example for labels that cannot be mapped.
    """

    name: str  # the Hub's word: "sentiment-analysis"
    dataset: str  # ptm's word: "emotion"
    folder: str  # under results/ and predictions/: "EMOTION"
    split: str  # measured where neither --split, the protocol nor the claim names one
    splits: tuple[str, ...]  # that the data set has
    protocols: dict[str, object]  # name -> frozen dataclass with a `split`: a name, CLAIM, or None for any
    inputs: tuple[str, ...]  # the protocol's fields that change raw outputs; the others need no forward pass
    batch_size: dict[str, int]  # first try per kind of device: {"cpu": 32, "cuda": 256}
    load_data: Callable
    load_model: Callable
    describe: Callable
    predict: Callable
    score: Callable
    data_help: str  # what to download and how to lay it out
    code: tuple[str, ...] = ()  # further files beside the script whose change makes a measurement stale
    text: Callable | None = None  # row -> text written beside the rows, one file per model and protocol


def wilson(successes: int, n: int, z: float = 1.959963984540054) -> list[float]:
    """The 95 % score interval of a proportion (Wilson, 1927)."""
    share, centre = successes / n, (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(n * share * (1 - share) + z * z / 4)
    return [max(0.0, centre - half), min(1.0, centre + half)]


# ── Which models, at which revision, on which split ───────────────────────────────────────────────────────


def choose(task: Task, args) -> list[tuple[str, PTM | None]]:
    """The models to measure: those named, or all that claim something on the data set and are not ignored."""
    if args.models:
        return [(name, None) for name in dict.fromkeys(args.models)]
    ignored = read_json(args.ignore, dict | list) if args.ignore.exists() else {}
    claiming = [m for m in PTM.load(args.modelinfo) if any(c.dataset == task.dataset for c in m.claims)]
    chosen = [(m.id, m) for m in claiming if m.id not in ignored]
    print(
        f"{len(chosen)} models of {shown(args.modelinfo)} claim something on {task.dataset}"
        f" ({len(claiming) - len(chosen)} more are left out by {shown(args.ignore)})",
        file=sys.stderr,
    )
    return chosen


def splits(task: Task, protocol, asked: str | None, claimed: list[str | None]) -> dict[str, str]:
    """Split -> why this one, for each split that a protocol measures; none where it forbids `asked`."""
    if protocol.split not in (None, CLAIM):
        fixed = {protocol.split: "the protocol's"}
        return fixed if asked in (None, protocol.split) else {}
    if asked:
        return {asked: "--split"}
    found = {}
    for split in claimed if protocol.split == CLAIM else []:
        if split in task.splits:
            found[split] = "the claim's"
        elif split:
            found.setdefault(task.split, f"the claim's, {split!r}, is none of {', '.join(task.splits)}")
        else:
            found.setdefault(task.split, "the claim names none")
    return found or {task.split: "the default"}


# ── Rows ──────────────────────────────────────────────────────────────────────────────────────────────────


def code_state(task: Task) -> dict:
    """The project's commit, whether its code differs from it, and a hash of the code that measures."""

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    script = Path(inspect.getsourcefile(task.score))
    files = [HERE / "harness.py", HERE / "isolated.py", script, *(script.parent / name for name in task.code)]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "requirements.txt")
    hashes = [(path.name, file_digest(path)) for path in files]
    return {"git": git("rev-parse", "HEAD"), "dirty": bool(changed), "hash": digest(hashes)}


def row_key(record: dict, name: str, protocol: object) -> str:
    """What must be the same for a row to be reused instead of measured again."""
    return digest(record["key"], name, asdict(protocol))


def make_row(task: Task, part: Pass, name: str, record: dict, scores: dict, code: dict) -> dict:
    """The row of one protocol, scored from raw outputs that `record` describes."""
    protocol, about = part.protocols[name], dict(record["about"])
    return {
        **{k: record[k] for k in ("model", "revision", "source", "dataset_revision", "split", "examples")},
        **{k: record[k] for k in ("measured_at", "seconds")},
        "task": task.name,
        "dataset": task.dataset,
        "protocol": name,
        **{k: scores.pop(k) for k in ("metrics", "intervals", "interval_method")},
        "settings": {
            **{k: record[k] for k in ("dtype", "limit")},
            **record["ran"],
            "preprocessing": about.pop("preprocessing", None),
            "choices": asdict(protocol),
        },
        "notes": {"split": record["split_because"], "data": part.data.source, **scores},
        "versions": record["versions"],
        "code": code,
        "predictions": {
            "file": shown(part.file),
            "sha256": file_digest(part.file),
            "code": record["code"]["hash"],  # differs from the row's where they were scored again later
        },
        "key": row_key(record, name, protocol),
    }


def error_row(
    task: Task, model: Model, why: Failure, code: dict, part: Pass | None = None, protocol=None
) -> dict:
    """The row of a model that failed: at which stage, and why in one line."""
    return {
        "model": model.name,
        "revision": model.revision,
        "task": task.name,
        "dataset": task.dataset,
        "split": part.data.split if part else None,
        "protocol": protocol,
        "stage": why.stage,
        "error": why.reason,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "code": code,
    }


def read_rows(path: Path, task: Task) -> list[dict]:
    """The rows in a results file; none if there is no file yet. Raises Problem for another kind of file."""
    found = read_json(path, dict, "move it away to start afresh") if path.exists() else {}
    rows = found.get("rows", [])
    if found.get("task", task.name) != task.name or not all(isinstance(r, dict) for r in rows):
        raise Problem(f"{shown(path)} holds no rows of {task.name}; give another --results")
    return rows


def add_row(path: Path, task: Task, row: dict) -> None:
    """Adds a row to the file. It replaces the same measurement; an error never replaces a measurement."""

    def same(old: dict, *fields: str) -> bool:
        return all(old.get(f) == row.get(f) for f in fields)

    def stale(old: dict) -> bool:
        if "error" in old:  # the model's last word counts, and a success clears the errors before it
            return same(old, "model") and all(
                old.get(f) in (None, row.get(f)) or row.get(f) is None
                for f in ("revision", "split", "protocol")
            )
        return (
            "error" not in row
            and same(old, "model", "revision", "dataset_revision", "split", "protocol")
            and all(old["settings"].get(f) == row["settings"].get(f) for f in ("limit", "dtype"))
        )

    rows = [old for old in read_rows(path, task) if not stale(old)] + [row]
    rows.sort(key=lambda r: [str(r.get(f) or "") for f in ("model", "revision", "split", "protocol", "key")])
    write_json(path, {"task": task.name, "rows": rows})


def safe_name(text: str) -> str:
    """A file name for any text: what is odd becomes `_`, and a hash keeps two texts apart if need be."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")[:80]
    return safe if safe == text else f"{safe}-{digest(text)[:8]}"


# ── The run ───────────────────────────────────────────────────────────────────────────────────────────────


def arguments(task: Task, words: list[str] | None = None) -> argparse.Namespace:
    def positive(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
        return int(text)

    def device(text: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
            raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda, cuda:N or mps, not {text!r}")
        return text

    parser = argparse.ArgumentParser(
        description=f"Measures models of {task.name} on {task.dataset}.",
        epilog="Exit code: 0 all measured, 1 some model failed (its row says why), 2 wrong usage or no data.",
    )
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="Hub id, id@revision or local folder (default: every model"
        f" in --modelinfo that claims something on {task.dataset} and is not in --ignore)")  # fmt: skip
    add("--data", type=Path, metavar="DIR", help=task.data_help + " (default: the Hub's)")
    add("--split", choices=task.splits, help=f"(default: the protocol's; where it has none, {task.split})")
    add("--protocol", action="append", choices=task.protocols, help="may be repeated (default: all)")
    add("--limit", type=positive, metavar="N", help="only N examples, drawn with a fixed seed (default: all)")
    add("--batch-size", type=positive, metavar="N", help="halved on out-of-memory (default: by device)")
    add("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add("--dtype", choices=DTYPES, default="float32", help="auto is the checkpoint's own (default: float32)")
    add("--timeout", type=positive, default=1800, metavar="S",
        help="give a model up after S seconds without progress (default: 1800)")  # fmt: skip
    add("--force", action="store_true", help="measure again what is measured already (default: reuse it)")
    add("--from-predictions", action="store_true",
        help="load no model: score what lies in --predictions again (default: run the models)")  # fmt: skip
    add("--results", type=Path, default=HERE / "results" / task.folder / f"{task.name}.json", metavar="FILE",
        help=f"rows (default: reproducibility/results/{task.folder}/{task.name}.json)")  # fmt: skip
    add("--predictions", type=Path, default=HERE / "predictions", metavar="DIR",
        help="raw outputs (default: reproducibility/predictions)")  # fmt: skip
    add(
        "--modelinfo",
        type=Path,
        default=ROOT / "modelinfo.json",
        metavar="FILE",
        help="(default: modelinfo.json)",
    )
    add("--ignore", type=Path, default=ROOT / "ignore.json", metavar="FILE", help="(default: ignore.json)")
    return parser.parse_args(words)


def subset(data: Data, limit: int | None) -> Data:
    """The data, or `limit` examples of it: always the same ones, in the data's order."""
    places = range(len(data.examples))
    if limit and limit < len(places):
        places = sorted(random.Random(0).sample(places, limit))
    return data.take(places)


def plan(task: Task, args, model: Model, claimed: list[str | None], load: Callable, code: dict) -> list[Pass]:
    """The forward passes that the protocols need: protocols that agree on split and inputs share one."""
    passes: dict[str, Pass] = {}
    for name in args.protocol or task.protocols:
        protocol = task.protocols[name]
        for split, because in splits(task, protocol, args.split, claimed).items():
            inputs = {field: getattr(protocol, field) for field in task.inputs}
            data = subset(full := load(split), args.limit)
            facts = {
                "model": model.name,
                "revision": model.revision,
                "dataset_revision": data.revision,
                "split": split,
                "limit": args.limit if len(data.examples) < len(full.examples) else None,
                "dtype": args.dtype,
                "inputs": inputs,
            }
            used = versions()
            key = digest(facts, code["hash"], args.device, used.get("torch"), used.get("transformers"))
            if key not in passes:
                stem = f"{safe_name(model.name)}@{model.revision.split(':')[-1][:12]}.{split}.{key[:16]}"
                record = facts | {
                    "key": key,
                    "task": task.name,
                    "source": f"measured here; model from {'a local folder' if model.path else 'the Hub'}",
                    "examples": {"expected": data.expected, "evaluated": len(data.examples)},
                    "code": code,
                    "split_because": {},
                }
                passes[key] = Pass(record, data, {}, args.predictions / task.folder / f"{stem}.parquet")
            passes[key].protocols[name] = protocol
            passes[key].record["split_because"][name] = because
    return list(passes.values())


def saved(task: Task, args, load: Callable) -> Iterator[tuple[Model, list[Pass]]]:
    """The passes whose raw outputs lie in --predictions, of the models named or all. Problem if none."""
    import pyarrow.parquet as pq

    asked = [(m.name, m.revision) for m in map(resolve, filter(os.path.isdir, args.models))]
    asked += [tuple(text.partition("@")[::2]) for text in args.models if not os.path.isdir(text)]
    found = []
    for path in sorted((args.predictions / task.folder).glob("[!.]*.parquet")):
        record = json.loads(pq.read_schema(path).metadata[b"scored"])
        names = {(record["model"], ""), (record["model"], record["revision"])}
        if (not asked or names & set(asked)) and args.split in (None, record["split"]):
            found.append((record["measured_at"], path, record))
    if not found:
        raise Problem(f"no saved predictions of these models in {shown(args.predictions / task.folder)}")
    for _, path, record in sorted(found, key=lambda f: f[0]):  # the newest last, so that its row stays
        chosen = {
            name: task.protocols[name]
            for name in args.protocol or task.protocols
            if task.protocols[name].split in (None, CLAIM, record["split"])
            and all(getattr(task.protocols[name], f) == v for f, v in record["inputs"].items())
        }
        data = subset(load(record["split"]), record["limit"])
        yield Model(record["model"], record["revision"], (), None), [Pass(record, data, chosen, path)]


def measure(task: Task, args, model: Model, passes: list[Pass], code: dict) -> Iterator[dict]:
    """A row per pass and protocol; where the model's process fails, one with the error is the last."""
    from tqdm import tqdm

    options = {k: getattr(args, k) for k in ("device", "dtype", "batch_size", "force")}
    bar = tqdm(desc=model.name[-50:], unit=" examples", leave=False)
    try:
        for kind, *said in run_apart(task, model, passes, options, args.timeout):
            if kind == "stage":
                bar.set_postfix_str(said[0])
            elif kind == "tick":
                bar.n, bar.total = said
                bar.refresh()
            elif kind == "scored":
                yield make_row(task, passes[said[0]], *said[1:], code)
            elif kind == "refused":
                yield error_row(task, model, Failure("score", said[2]), code, passes[said[0]], said[1])
    except Failure as why:
        yield error_row(task, model, why, code)
    finally:
        bar.close()


def attempt(
    task: Task, args, text: str, known: PTM | None, load: Callable, code: dict, done: set
) -> Iterator[dict]:
    """The rows of the model that `text` names, save those with a key in `done`; a failure is a row too."""
    model, stage = Model(text, None, (), None), "resolve"
    try:
        model = resolve(text)
        claimed = [c.split for c in (known or card(model)).claims if c.dataset == task.dataset]
        stage = "data"
        passes = plan(task, args, model, claimed, load, code)
    except Exception as why:
        yield error_row(task, model, Failure(stage, one_line(why)), code)
        return
    for part in passes:
        for name in [n for n, p in part.protocols.items() if row_key(part.record, n, p) in done]:
            del part.protocols[name]
    if passes := [part for part in passes if part.protocols]:
        yield from measure(task, args, model, passes, code)


def check(task: Task, args, load: Callable) -> None:
    """Raises Problem for a device, data or a split that are not there, before any model is loaded."""
    if args.data and not args.data.is_dir():
        raise Problem(f"--data: there is no folder {args.data}. It must hold: {task.data_help}")
    if args.device not in ("auto", "cpu"):
        import torch

        try:
            torch.empty(1, device=args.device)
        except (RuntimeError, AssertionError) as why:
            raise Problem(f"--device {args.device}: {str(why).splitlines()[0]}") from why
    wanted = {name: task.protocols[name] for name in args.protocol or task.protocols}
    if args.split and (out := [n for n, p in wanted.items() if not splits(task, p, args.split, [])]):
        print(f"left out: {', '.join(out)}, which is not measured on {args.split}", file=sys.stderr)
        if len(out) == len(wanted):
            raise Problem(f"--split {args.split}: no protocol asked for is measured on it")
    for protocol in wanted.values():
        if protocol.split != CLAIM or args.split:
            for split in splits(task, protocol, args.split, []):
                load(split)


def show(row: dict) -> None:
    """A row as a line: measurements to stdout, failures to stderr."""
    from tqdm import tqdm

    where = "  ".join(filter(None, [row["model"], row["split"], row["protocol"]]))
    if "error" in row:
        tqdm.write(f"{where}  failed at {row['stage']}: {row['error']}", file=sys.stderr)
        return
    values = [
        f"{k} {v:.4f} [{', '.join(f'{x:.4f}' for x in row['intervals'].get(k, []))}]"
        for k, v in row["metrics"].items()
    ]
    tqdm.write(f"{where}  {'  '.join(values)}", file=sys.stdout)


def main(task: Task) -> int:
    from tqdm import tqdm

    args = arguments(task)
    code, load = code_state(task), functools.cache(lambda split: task.load_data(args.data, split))
    check(task, args, load)
    done = set() if args.force else {r.get("key") for r in read_rows(args.results, task) if "error" not in r}
    if args.from_predictions:
        args.force = False  # there is nothing to run again
        jobs = [measure(task, args, model, passes, code) for model, passes in saved(task, args, load)]
    else:
        jobs = [attempt(task, args, text, known, load, code, done) for text, known in choose(task, args)]
    counts = {"measured": 0, "failed": 0, "measured before": 0}
    for job in tqdm(jobs, desc=task.name, unit=" models", disable=len(jobs) < 2):
        failed = rows = 0
        for row in job:
            add_row(args.results, task, row)
            show(row)
            rows, failed = rows + 1, failed + ("error" in row)
            if task.text and "error" not in row and row["settings"]["limit"] is None:
                with atomic(args.results.parent / f"{safe_name(row['model'])}.{row['protocol']}.txt") as file:
                    file.write(task.text(row))
        counts["failed" if failed else "measured" if rows else "measured before"] += 1
    said = ", ".join(f"{n} {what}" for what, n in counts.items())
    print(f"{len(jobs)} models: {said}; rows in {shown(args.results)}", file=sys.stderr)
    return 1 if counts["failed"] else 0


def start(task: Task) -> None:
    """Runs a task script."""
    run(lambda: main(task))
