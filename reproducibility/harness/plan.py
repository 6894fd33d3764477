"""What is to be measured: from models and their claims to the forward passes that the protocols need.

Reads `modelinfo.json`, `ignore.json` and saved predictions; writes nothing.
"""

import random
import statistics
import sys
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace

from msgspec.structs import asdict

from harness.checkpoint import Model, digest, parse_model_argument, to_download
from harness.rows import row_key, safe_name
from harness.shards import make_shards, pending, read_complete_metadata
from harness.task import CLAIM, Data, ForwardPass, Job, Run, Task, versions
from ptm import PTM
from scored.claims import dataset_name
from scored.files import UserError, display_path, read_json
from scored.split_identification import candidate_splits
from scored.verdict_rules import named_split


def choose_models(run: Run) -> list[tuple[str, PTM | None]]:
    """Return the candidates: the models named, or all that claim something on the data set or are tagged
    with it and its task, unless they are ignored. Whether a tagged one claims something, its card says.
    """
    task, args = run.task, run.args
    if args.models:
        return [(name, None) for name in dict.fromkeys(args.models)]
    ignored = read_json(args.ignore, dict | list) if args.ignore.exists() else {}
    claiming, tagged, skipped = [], [], 0
    for model in PTM.load(args.modelinfo):
        has_claim = any(claim.dataset == task.dataset for claim in model.claims)
        if not has_claim and not is_tagged(model, task):
            continue
        if model.id in ignored:
            skipped += 1
        else:
            (claiming if has_claim else tagged).append((model.id, model))
    print(
        f"{len(claiming)} models of {display_path(args.modelinfo)} claim something on {task.dataset}, "
        f"{len(tagged)} more are tagged with it ({skipped} others are ignored: {display_path(args.ignore)})",
        file=sys.stderr,
    )
    return claiming + tagged


def is_tagged(model: PTM, task: Task) -> bool:
    """Tell whether a model's tags name the data set, and its task is the data set's."""
    if model.task not in (task.name, task.benchmark.hub_task):
        return False
    return any(dataset_name(tag) == task.dataset for tag in model.tags_after("dataset:"))


def splits_to_measure(task: Task, protocol, requested: str | None, claims: Iterable[dict]) -> dict[str, str]:
    """Return the splits on which a protocol is measured, with the reason; {} if it forbids `requested`."""
    if protocol.split not in (None, CLAIM):
        allowed = requested in (None, protocol.split)
        return {protocol.split: "the protocol's"} if allowed else {}
    if requested:
        return {requested: "--split"}
    reasons = {}
    if protocol.split == CLAIM:
        for claim in claims:
            for split, reason in splits_of_claim(task, claim).items():
                reasons.setdefault(split, reason)
    return reasons or {task.default_split: "the default"}


def splits_of_claim(task: Task, claim: dict) -> dict[str, str]:
    """Return the splits that a claim needs, with the reason: the one it names, or all that it may be about.

    The training split is measured only where it is named, or where the verdict is found to depend on it.
    """
    named = named_split(claim, task.benchmark)
    if named in task.splits:
        return {named: "the claim's"}
    if named:
        return {task.default_split: f"the claim's, {named!r}, is not one of {', '.join(task.splits)}"}
    possible = [split for split in candidate_splits(claim, task.benchmark) if split != "train"]
    return dict.fromkeys(possible or [task.default_split], "the claim names none")


def subset(data: Data, limit: int | None) -> Data:
    """Return the data, or `limit` examples of it: always the same ones, in the data's order."""
    positions = range(len(data.examples))
    if limit and limit < len(positions):
        positions = sorted(random.Random(0).sample(positions, limit))
    return data.take(positions)


def plan_passes(run: Run, model: Model, claims: list) -> list[ForwardPass]:
    """Return the forward passes that the protocols need: those with equal split and inputs share one."""
    task, passes = run.task, {}
    claimed = [asdict(claim) for claim in claims]
    for name in run.args.protocol or task.protocols:
        protocol = task.protocols[name]
        for split, reason in splits_to_measure(task, protocol, run.args.split, claimed).items():
            forward_pass = make_pass(run, model, claims, protocol, split)
            forward_pass = passes.setdefault(forward_pass.record["key"], forward_pass)
            forward_pass.protocols[name] = protocol
            forward_pass.split_reason[name] = reason
    return list(passes.values())


def make_pass(run: Run, model: Model, claims: list, protocol, split: str) -> ForwardPass:
    """Return the forward pass of a protocol on a split, without protocols yet.

    Its key hashes all that its raw outputs depend on.
    """
    task, args = run.task, run.args
    full = run.load(split)
    data = subset(full, args.limit)
    inputs = {
        "model": model.name,
        "revision": model.revision,
        "dataset": task.dataset,
        "dataset_revision": data.revision,
        "split": split,
        "limit": args.limit if len(data.examples) < len(full.examples) else None,
        "dtype": args.dtype,
        "inputs": {name: getattr(protocol, name) for name in task.forward_fields},
    }
    libraries = versions()
    key = digest(inputs, run.code["hash"], args.device, libraries.get("torch"), libraries.get("transformers"))
    record = {
        **inputs,
        "key": key,
        "weights": model.weights,
        "task": task.name,
        "claims": [asdict(claim) for claim in claims],
        "examples": {"expected": data.expected, "evaluated": len(data.examples)},
        "code": run.code,
    }
    if model.note:
        record["revision_note"] = model.note
    revision = model.revision.split(":")[-1][:12]
    file = f"{safe_name(model.name)}@{revision}.{split}.{key[:16]}.parquet"
    return ForwardPass(record, data, {}, {}, args.predictions / task.folder / file)


def passes_to_do(passes: Iterable[ForwardPass], done: Container[str]) -> list[ForwardPass]:
    """Return the passes without the protocols that were measured: those whose row's key is in `done`."""
    remaining = []
    for forward_pass in passes:
        protocols = {}
        for name, protocol in forward_pass.protocols.items():
            if row_key(forward_pass.record, name, protocol) not in done:
                protocols[name] = protocol
        if protocols:
            remaining.append(replace(forward_pass, protocols=protocols))
    return remaining


# ── Saved predictions ─────────────────────────────────────────────────────────────────────────────────────


def saved_jobs(run: Run) -> Iterator[Job]:
    """Yield the saved predictions of the models named, or of all; the newest last, so that its row stays.

    Raises UserError if there are none.
    """
    task, args = run.task, run.args
    folder = args.predictions / task.folder
    requested = {parse_model_argument(text) for text in args.models}
    chosen = []
    for path in sorted(folder.glob("[!.]*.parquet")):
        record = read_complete_metadata(path, task)
        names = {(record["model"], None), (record["model"], record["revision"])}
        if (not requested or names & requested) and args.split in (None, record["split"]):
            chosen.append((path, record))
    if not chosen:
        raise UserError(f"no saved predictions of these models in {display_path(folder)}")
    chosen.sort(key=lambda item: item[1]["measured_at"])
    for path, record in chosen:
        data = subset(run.load(record["split"]), record["limit"])
        forward_pass = ForwardPass(record, data, {}, {}, path)
        for name in args.protocol or task.protocols:
            reason = reason_to_score(task.protocols[name], record)
            if reason:
                forward_pass.protocols[name] = task.protocols[name]
                forward_pass.split_reason[name] = reason
        yield Job(Model(record["model"], record["revision"], (), None), [forward_pass])


def reason_to_score(protocol, record: dict) -> str | None:
    """Return why a protocol is scored from saved predictions; None if it needs other raw outputs."""
    if protocol.split not in (None, CLAIM, record["split"]):
        return None
    for name, value in record["inputs"].items():
        if getattr(protocol, name, ...) != value:
            return None
    return "the saved predictions'" if protocol.split in (None, CLAIM) else "the protocol's"


# ── Estimate for --plan ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class Rates:
    """What earlier measurements took on one kind of hardware."""

    unit: str  # "core hours on x86_64"
    seconds: dict[str, float] = field(default_factory=dict)  # model -> seconds per example, times cores
    per_byte: dict[str, float] = field(default_factory=dict)  # model -> the same per byte of its weights

    def estimate(self, model: Model, examples: int) -> float:
        """Estimate the hours for a model: by itself if it was measured, else by the bytes of its weights."""
        typical = statistics.median(self.per_byte.values()) * model.weights
        return self.seconds.get(model.name, typical) * examples / 3600


def measured_rates(rows: list[dict]) -> dict[str, Rates]:
    """Return what earlier measurements took, by unit. Core hours count all threads of a process."""
    rates = {}
    for row in rows:
        settings, examples = row.get("settings") or {}, row.get("examples") or {}
        evaluated, weights = examples.get("evaluated"), settings.get("weights")
        if "error" in row or not evaluated or not weights:  # a failure, or from another source
            continue
        is_cpu, threads = settings["device"] == "cpu", settings["threads"]
        if isinstance(threads, list):  # from workers of several kinds
            threads = max(threads)
        unit = f"{'core' if is_cpu else 'GPU'} hours on {settings['hardware']}"
        seconds = (threads if is_cpu else 1) * row["seconds"] / evaluated
        known = rates.setdefault(unit, Rates(unit))
        known.seconds[row["model"]] = seconds
        known.per_byte[row["model"]] = seconds / weights
    return rates


@dataclass(frozen=True)
class Remaining:
    """What is left to do for a model."""

    model: Model
    shards: int
    examples: int
    download: int  # bytes
    error: Exception | None


def remaining_work(run: Run, job: Job) -> Remaining:
    """Count the pending shards and their examples, and the bytes to download for them."""
    todo = []
    for forward_pass in job.passes:
        if not forward_pass.file.exists():
            todo += pending(make_shards(run.task, forward_pass))
    examples = sum(len(shard.data.examples) for shard in todo)
    return Remaining(job.model, len(todo), examples, to_download(job.model) if todo else 0, job.error)


def describe_plan(run: Run, jobs: Iterable[Job], rows: list[dict]) -> Iterator[str]:
    """Yield what there is to do, one line per model, then the totals and the hours expected."""
    rates = measured_rates(rows)
    models = []
    for job in jobs:
        left = remaining_work(run, job)
        models.append(left)
        todo = f"{left.shards} shards of {left.examples:,} examples"
        if left.error:
            todo = f"cannot be measured: {left.error}"
        size = f"{left.download / 1e6:,.1f} of {left.model.weights / 1e6:,.1f} MB to download"
        yield f"{left.model.name}  {todo}, {size}"
    failed = sum(1 for left in models if left.error)
    shards, examples = sum(left.shards for left in models), sum(left.examples for left in models)
    yield (
        f"{len(models):,} models, {failed:,} of them cannot be measured: {shards:,} shards of "
        f"{examples:,} examples, {sum(left.download for left in models) / 1e9:,.2f} GB to download"
    )
    for unit, known in rates.items():
        hours = sum(known.estimate(left.model, left.examples) for left in models)
        yield f"about {hours:,.2f} {unit}, by the rates of {len(known.seconds)} models measured before"
    if not rates:
        yield "no time estimate: --results is empty"
