"""What is to be measured? From the models named or claimed to the forward passes that their protocols need.

Used through `harness.py`. Reads `modelinfo.json`, `ignore.json` and saved predictions; writes nothing.
"""

import contextlib
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, TypedDict

import msgspec
from msgspec.structs import asdict

from harness.checkpoint import Model, digest, parse_model_argument, to_download
from harness.rows import safe_name
from harness.shards import make_shards, pending, read_metadata
from harness.task import CLAIM, Data, ForwardPass, Job, Run, Task, versions
from ptm import PTM
from scored.files import UserError, display_path, read_json


class Record(TypedDict):
    """What is read of the record that lies in a file of saved predictions."""

    model: str
    revision: str
    dataset_revision: str
    split: str
    limit: Annotated[int, msgspec.Meta(ge=1)] | None
    dtype: str
    inputs: dict
    key: str
    claims: list
    examples: dict
    code: dict[str, str | bool | None]
    about: dict
    measured_at: str
    seconds: float
    ran: dict
    versions: dict


def choose(run: Run) -> list[tuple[str, PTM | None]]:
    """The models to measure: those named, or all that claim something on the data set and are not ignored."""
    task, args = run.task, run.args
    if args.models:
        return [(name, None) for name in dict.fromkeys(args.models)]
    ignored = read_json(args.ignore, dict | list) if args.ignore.exists() else {}
    claiming = [m for m in PTM.load(args.modelinfo) if any(c.dataset == task.dataset for c in m.claims)]
    chosen = [(m.id, m) for m in claiming if m.id not in ignored]
    print(
        f"{len(chosen)} models of {display_path(args.modelinfo)} claim something on {task.dataset}"
        f" ({len(claiming) - len(chosen)} more are left out by {display_path(args.ignore)})",
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
            reason = f"the claim's, {split!r}, is none of {', '.join(task.splits)}"
            found.setdefault(task.default_split, reason)
        else:
            found.setdefault(task.default_split, "the claim names none")
    return found or {task.default_split: "the default"}


def subset(data: Data, limit: int | None) -> Data:
    """The data, or `limit` examples of it: always the same ones, in the data's order."""
    places = range(len(data.examples))
    if limit and limit < len(places):
        places = sorted(random.Random(0).sample(places, limit))
    return data.take(places)


def plan_passes(run: Run, model: Model, claims: list) -> list[ForwardPass]:
    """The forward passes that the protocols need: protocols that agree on split and inputs share one."""
    task, args, code = run.task, run.args, run.code
    passes: dict[str, ForwardPass] = {}
    for name in args.protocol or task.protocols:
        protocol = task.protocols[name]
        for split, because in splits(task, protocol, args.split, [c.split for c in claims]).items():
            inputs = {field: getattr(protocol, field) for field in task.forward_fields}
            data = subset(full := run.load(split), args.limit)
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
                about = facts | {
                    "key": key,
                    "weights": model.weights,
                    "task": task.name,
                    "claims": [asdict(claim) for claim in claims],
                    "examples": {"expected": data.expected, "evaluated": len(data.examples)},
                    "code": code,
                }
                passes[key] = ForwardPass(
                    about, data, {}, {}, args.predictions / task.folder / f"{stem}.parquet"
                )
            passes[key].protocols[name] = protocol
            passes[key].split_reason[name] = because
    return list(passes.values())


def saved_jobs(run: Run) -> Iterator[Job]:
    """The passes whose raw outputs lie in --predictions, of the models named or all. UserError if none."""
    task, args = run.task, run.args
    asked = {parse_model_argument(text) for text in args.models}
    found = []
    for path in sorted((args.predictions / task.folder).glob("[!.]*.parquet")):
        made = read_metadata(path)
        try:
            msgspec.convert(made, Record)
            if made["split"] not in task.splits:
                raise ValueError(f"no split {made['split']!r}")
            if "hash" not in made["code"]:
                raise ValueError("it does not say by which code")
        except ValueError as why:
            raise UserError(
                f"{display_path(path)} holds no saved predictions ({why!r}); move it away"
            ) from why
        names = {(made["model"], None), (made["model"], made["revision"])}
        if (not asked or names & asked) and args.split in (None, made["split"]):
            found.append((made["measured_at"], path, made))
    if not found:
        raise UserError(
            f"no saved predictions of these models in {display_path(args.predictions / task.folder)}"
        )
    for _, path, made in sorted(found, key=lambda f: f[0]):  # the newest last, so that its row stays
        chosen = {
            name: task.protocols[name]
            for name in args.protocol or task.protocols
            if task.protocols[name].split in (None, CLAIM, made["split"])
            and all(getattr(task.protocols[name], f, ...) == v for f, v in made["inputs"].items())
        }
        because = {n: "the protocol's" if p.split else "the saved outputs'" for n, p in chosen.items()}
        because |= {n: "the saved outputs'" for n, p in chosen.items() if p.split == CLAIM}
        data = subset(run.load(made["split"]), made["limit"])
        yield Job(
            Model(made["model"], made["revision"], (), None), [ForwardPass(made, data, chosen, because, path)]
        )


def estimate(task: Task, jobs: Iterable[Job], rows: list[dict]) -> Iterator[str]:
    """What is to be done and, by what the rows say of earlier measurements, how long it takes, line by line.

    A model that was measured takes as long again; another one takes time by the bytes of its weights, at the
    median rate of those measured on the same hardware. Core hours count all threads of a process.
    """
    rates: dict[str, dict] = {}  # hardware -> model -> (seconds an example, weights)
    for row in rows:
        ran, examples = row.get("settings", {}), row.get("examples")
        with contextlib.suppress(KeyError, TypeError, ZeroDivisionError):  # an error, or of another source
            on_cpu, threads = ran["device"] == "cpu", ran["threads"]
            cores = (max(threads) if isinstance(threads, list) else threads) if on_cpu else 1
            each = cores * row["seconds"] / examples["evaluated"]
            kind = f"{'core' if on_cpu else 'GPU'} hours on {ran['hardware']}"
            if ran["weights"]:
                rates.setdefault(kind, {})[row["model"]] = each, ran["weights"]
    hours, total = Counter(), Counter()
    for job in jobs:
        parts = [part for part in job.passes if not part.file.exists()]
        left = [shard for part in parts for shard in pending(make_shards(task, part))]
        examples, model = sum(len(shard.data.examples) for shard in left), job.model
        fetched = to_download(model) if left else 0
        total.update(models=1, failed=bool(job.error), shards=len(left), examples=examples, bytes=fetched)
        for kind, known in rates.items():
            rate = statistics.median(each / size for each, size in known.values())
            hours[kind] += known.get(model.name, (rate * model.weights,))[0] * examples / 3600
        todo = (
            f"cannot be measured: {job.error}"
            if job.error
            else f"{len(left)} shards of {examples:,} examples"
        )
        yield f"{model.name}  {todo}, {fetched / 1e6:,.1f} of {model.weights / 1e6:,.1f} MB to download"
    yield (
        f"{total['models']:,} models, {total['failed']:,} of them cannot be measured: {total['shards']:,} "
        f"shards of {total['examples']:,} examples, {total['bytes'] / 1e9:,.2f} GB to download"
    )
    for kind, known in rates.items():
        yield f"about {hours[kind]:,.2f} {kind}, by the rates of {len(known)} models measured before"
    if not rates:
        yield "how long it takes is not known: --results has no measurement to go by"
