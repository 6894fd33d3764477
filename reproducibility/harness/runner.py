"""The command line that the task scripts share: choose models, measure each in its own process, write rows.

A task script passes a `Task` to `main`, which writes one row per model, split and protocol to
`results/<FOLDER>/<task>.json`, and the raw outputs to `predictions/<FOLDER>/*.parquet` (not in git). Run
again, it measures only what is missing.

    python reproducibility/sentiment_analysis.py MODEL --data FOLDER
"""

import argparse
import contextlib
import functools
import re
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.checkpoint import Model, describe_error, parse_model_argument, read_card, resolve
from harness.cluster import run_on_cluster
from harness.nodes import cluster_flags, connected
from harness.plan import (
    choose_models,
    describe_plan,
    passes_to_do,
    plan_passes,
    saved_jobs,
    splits_to_measure,
)
from harness.process import run_in_process
from harness.rows import add_row, code_state, error_row, make_row, read_rows
from harness.task import CLAIM, Job, Run, StageError, Task
from harness.verdicts import Outcome, format_row, format_verdict, plan_open_splits
from ptm import PTM
from scored.cli import HelpFormatter, require_packages, run
from scored.files import ROOT, UserError, display_path

HERE = ROOT / "reproducibility"
DTYPES = ("float32", "float16", "bfloat16", "auto")


# ── Arguments ─────────────────────────────────────────────────────────────────────────────────────────────


def positive(text: str) -> int:
    """Parse a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def device_name(text: str) -> str:
    """Check the name of a torch device."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda, cuda:N or mps, not {text!r}")
    return text


def absolute_path(text: str) -> Path:
    """Make a path absolute: rows name files relative to the project, not to where a script was started."""
    return Path(text).absolute()


def machine_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how much is measured, and on what machine; explain.py has them too."""
    add = parser.add_argument
    add("--limit", type=positive, metavar="N", help="only N examples, drawn with a fixed seed (default: all)")
    add("--batch-size", type=positive, metavar="N", help="halved on out-of-memory (default: by device)")
    add("--device", type=device_name, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--dtype", choices=DTYPES, default="float32", help="auto is the checkpoint's own")
    progress = "stop a model after S seconds without progress"
    add("--timeout", type=positive, default=1800, metavar="S", help=progress)
    add("--force", action="store_true", help="re-measure even if a result exists")
    add(
        "--predictions",
        type=absolute_path,
        default=HERE / "predictions",
        metavar="DIR",
        help="folder of raw outputs",
    )
    cluster_flags(parser)


def parse_arguments(task: Task, arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse a task script's command line."""
    parser = argparse.ArgumentParser(
        description=f"Evaluate {task.name} models on {task.dataset}.",
        epilog="Exit code: 0 all measured, 1 some model failed (its row says why), 2 wrong usage or no data.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    models = (
        "Hub id, id@revision or local folder (default: every model in --modelinfo that claims something on "
        f"{task.dataset}, in its metadata or, if tagged with data set and task, in its card's text, and "
        "is not in --ignore)"
    )
    results = HERE / "results" / task.folder / f"{task.name}.json"
    add("models", nargs="*", metavar="MODEL", help=models)
    add("--all", action="store_true", help="without MODEL: also measure tagged models without a claim")
    add("--data", type=Path, metavar="DIR", help=task.data_help)
    add("--split", choices=task.splits, help=f"default: the protocol's, or else {task.default_split}")
    add("--protocol", action="append", choices=task.protocols, help="may be repeated (default: all)")
    add("--from-predictions", action="store_true", help="re-score saved predictions; load no model")
    add("--plan", action="store_true", help="print the work and a time estimate; measure nothing")
    add("--results", type=Path, default=results, metavar="FILE", help="rows")
    add("--modelinfo", type=Path, default=ROOT / "modelinfo.json", metavar="FILE", help="file of Hub records")
    add("--ignore", type=Path, default=ROOT / "ignore.json", metavar="FILE", help="unavailable models")
    machine_flags(parser)
    args = parser.parse_args(arguments)
    if args.from_predictions:
        args.force = False  # there is nothing to run again
    return args


# ── Inputs are checked before a model is loaded ───────────────────────────────────────────────────────────


def require_writable(flag: str, folder: Path) -> None:
    """Raise UserError for a folder that cannot be written to, rather than after a model's forward passes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot write to {display_path(folder)}: {error.strerror}"
        raise UserError(f"{reason}; choose another with {flag}") from error


def require_device(name: str) -> None:
    """Raise UserError for a device that this machine lacks."""
    if name in ("auto", "cpu"):
        return
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}") from error


def load_splits(run: Run) -> None:
    """Load the data of every split that the chosen protocols fix. Raises UserError for missing data."""
    task, split = run.task, run.args.split
    protocols = {name: task.protocols[name] for name in run.args.protocol or task.protocols}
    skipped = [name for name in protocols if not splits_to_measure(task, protocols[name], split, [])]
    if skipped:
        print(f"skipping {', '.join(skipped)}: not defined on split {split}", file=sys.stderr)
    if len(skipped) == len(protocols):
        raise UserError(f"--split {split}: none of the chosen protocols uses this split")
    for protocol in protocols.values():
        if protocol.split != CLAIM or split:
            for name in splits_to_measure(task, protocol, split, []):
                run.load(name)


def check_inputs(run: Run) -> None:
    """Raise UserError for a device, data, a split, a package or a folder that cannot be used."""
    task, args = run.task, run.args
    if args.data and not args.data.is_dir():
        raise UserError(f"--data: there is no folder {args.data}. It must hold: {task.data_help}")
    if not args.cluster:
        require_device(args.device)
    load_splits(run)
    if args.plan:
        return
    if not args.from_predictions:
        require_packages("torch", "transformers")  # else a model's process blames the model
    require_writable("--results", args.results.parent)
    require_writable("--predictions", args.predictions / task.folder)


# ── What is to be measured ────────────────────────────────────────────────────────────────────────────────


def claims_of(task: Task, model: Model, known: PTM | None) -> list:
    """Return what the model claims on the data set, at the revision that is measured.

    A record of an unknown revision, such as the study's, is used if the card claims nothing.
    """
    recorded = known.claims if known and known.sha == model.revision else None
    claims = [claim for claim in read_card(model, recorded).claims if claim.dataset == task.dataset]
    if not claims and known and not known.sha:
        claims = [claim for claim in known.claims if claim.dataset == task.dataset]
    return claims


def plan_job(run: Run, text: str, known: PTM | None, done: set[str]) -> Job | None:
    """Plan the model that `text` names, without the rows whose key is in `done`.

    None for a model that nobody named and whose card claims nothing on the data set, unless --all is given.
    """
    model, stage = Model(*parse_model_argument(text), (), None), "resolve"
    try:
        model = resolve(text)
        claims = claims_of(run.task, model, known)
        if not (claims or run.args.models or run.args.all):
            return None
        stage = "data"
        passes = plan_passes(run, model, claims)
    except Exception as error:  # of many kinds; it becomes the model's row
        return Job(model, error=StageError(stage, describe_error(error)))
    return Job(model, passes_to_do(passes, done), claims=claims)


def plan_jobs(run: Run, rows: list[dict]) -> tuple[Iterable[Job], int]:
    """Return the jobs, planned one by one as they are taken, and their number."""
    if run.args.from_predictions:
        jobs = list(saved_jobs(run))
        return jobs, len(jobs)
    done = set() if run.args.force else {row.get("key") for row in rows if "error" not in row}
    models = choose_models(run)
    return plan_claiming_models(run, models, done), len(models)


def plan_claiming_models(run: Run, models: list[tuple[str, PTM | None]], done: set[str]) -> Iterator[Job]:
    """Yield the job of each model, and list those without a claim on stderr once all are planned."""
    without_claim, planned = [], set()
    for text, known in models:
        job = plan_job(run, text, known, done)
        if job is None:
            without_claim.append(text)
            continue
        place = (job.model.name, job.model.revision)
        if job.error or place not in planned:  # else an old name of a model, or its id in other letter case
            planned.add(place)
            yield job
    if without_claim:
        summary = f"skipped {len(without_claim)} models without a claim on {run.task.dataset}"
        print(f"{summary} (--all measures them): {', '.join(without_claim)}", file=sys.stderr)


# ── Measuring ─────────────────────────────────────────────────────────────────────────────────────────────


def measure(run: Run, job: Job) -> Iterator[dict]:
    """Yield a row per pass and protocol; if the job or its process fails, the last row holds the error.

    After a cluster's work only the scores are left to compute.
    """
    from tqdm import tqdm

    if job.error:
        yield error_row(run, job.model, job.error)
        return
    if not job.passes:
        return
    args = run.args
    options = {
        "device": args.device,
        "dtype": args.dtype,
        "batch_size": args.batch_size,
        "force": args.force and not args.cluster,
    }
    bar = tqdm(desc=job.model.name[-50:], unit=" examples", leave=False, disable=None)
    try:
        for event in run_in_process(run.task, job.model, job.passes, options, args.timeout):
            match event:
                case ("stage", name):
                    bar.set_postfix_str(name)
                case ("progress", done, total):
                    bar.n, bar.total = done, total
                    bar.refresh()
                case ("scored", number, protocol, record, scores):
                    yield make_row(run, job.passes[number], protocol, record, scores)
                case ("refused", number, protocol, reason):
                    error = StageError("score", reason)
                    yield error_row(run, job.model, error, job.passes[number], protocol)
    except StageError as error:
        yield error_row(run, job.model, error)
    finally:
        bar.close()


def measure_all(run: Run, jobs: Iterable[Job]) -> Iterator[tuple[Job, Iterable[dict]]]:
    """Yield each job with its rows; on a cluster in the order in which the jobs are done."""
    if run.args.cluster and not run.args.from_predictions:
        yield from score_beside_cluster(run, jobs)
        return
    for job in jobs:
        yield job, measure(run, job)


def score_beside_cluster(run: Run, jobs: Iterable[Job]) -> Iterator[tuple[Job, list[dict]]]:
    """Score each job in a thread while the cluster works on the next ones."""
    waiting = deque()
    with ThreadPoolExecutor(2) as pool:
        try:
            with connected(run.task, run.args):
                for job in run_on_cluster(run, jobs):
                    waiting.append((job, pool.submit(list, measure(run, job))))
                    while waiting and (waiting[0][1].done() or len(waiting) > 8):
                        scored, rows = waiting.popleft()
                        yield scored, rows.result()
            for scored, rows in waiting:
                yield scored, rows.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # waits only for what has begun
            raise


# ── Output ────────────────────────────────────────────────────────────────────────────────────────────────


def write_rows(
    run: Run, measured: Iterable[tuple[Job, Iterable[dict]]], total: int, outcome: Outcome
) -> None:
    """Write and print each row as soon as it is measured, then the verdict; count the models by outcome."""
    from tqdm import tqdm

    for job, rows in tqdm(measured, desc=run.task.name, total=total, unit=" models", disable=None):
        result = "measured before"
        for row in rows:
            add_row(run.args.results, run.task, row)
            outcome.rows[row["model"]].append(row)
            has_failed = "error" in row
            line = format_row(row, run.task.benchmark)
            tqdm.write(line, file=sys.stderr if has_failed else sys.stdout)
            if has_failed or result != "failed":
                result = "failed" if has_failed else "measured"
        outcome.count(job.model, result)
        job_left = plan_open_splits(run, job, outcome.rows_of(job.model), outcome.done)
        if job_left:
            outcome.left_open.append(job_left)
        elif result != "measured before":
            verdict = format_verdict(outcome.rows_of(job.model), run.task.benchmark)
            if verdict:
                tqdm.write(verdict, file=sys.stdout)


def run_task(task: Task) -> int:
    """Measure what the command line says; return the exit code."""
    args = parse_arguments(task)
    if args.cluster and args.data:
        args.data = args.data.resolve()  # workers have other working directories
    load = functools.cache(lambda split: task.load_data(args.data, split))
    this_run = Run(task, args, code_state(task), load)
    check_inputs(this_run)
    rows = read_rows(args.results, task)
    jobs, total = plan_jobs(this_run, rows)
    if args.plan:
        print(*describe_plan(this_run, jobs, rows), sep="\n")
        return 0
    outcome = Outcome(rows)
    with contextlib.closing(measure_all(this_run, jobs)) as measured:
        write_rows(this_run, measured, total, outcome)
    if outcome.left_open:
        jobs, outcome.left_open = outcome.left_open, []
        with contextlib.closing(measure_all(this_run, jobs)) as measured:
            write_rows(this_run, measured, len(jobs), outcome)
    counts = Counter(outcome.results.values())
    summary = ", ".join(f"{counts[name]} {name}" for name in ("measured", "failed", "measured before"))
    print(f"{summary}; rows in {display_path(args.results)}", file=sys.stderr)
    return 1 if counts["failed"] else 0


def main(task: Task) -> None:
    """Run a task script and exit."""
    run(lambda: run_task(task))
