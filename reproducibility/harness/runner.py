"""What does a model score? The chores that the three task scripts share; none of their science is here.

A task script hands a `Task` to `start`, which reads the arguments, chooses the models, runs each in a process
of its own and writes one row per model, split and protocol to `results/<FOLDER>/<task>.json`, and the raw
outputs to `predictions/<FOLDER>/*.parquet` (not in git). Run again, it does only what is not done yet.

    python reproducibility/sentiment_analysis.py MODEL --data FOLDER
"""

import argparse
import contextlib
import functools
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.checkpoint import (
    Model,
    describe_error,
    parse_model_argument,
    read_card,
    resolve,
)
from harness.cluster import cluster_flags, connected, run_on_cluster
from harness.plan import choose, estimate, plan_passes, saved_jobs, splits
from harness.process import run_in_process
from harness.rows import add_row, code_state, error_row, make_row, read_rows, row_key
from harness.task import CLAIM, Job, Run, StageError, Task
from ptm import PTM
from scored.cli import HelpFormatter, require_packages, run
from scored.files import ROOT, UserError, display_path

HERE = ROOT / "reproducibility"
DTYPES = ("float32", "float16", "bfloat16", "auto")


def machine_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say how much is measured, and on what machine; explain.py has them too."""

    def positive(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
        return int(text)

    def device(text: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
            raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda, cuda:N or mps, not {text!r}")
        return text

    add = parser.add_argument
    add("--limit", type=positive, metavar="N", help="only N examples, drawn with a fixed seed (default: all)")
    add("--batch-size", type=positive, metavar="N", help="halved on out-of-memory (default: by device)")
    add("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--dtype", choices=DTYPES, default="float32", help="auto is the checkpoint's own")
    add(
        "--timeout",
        type=positive,
        default=1800,
        metavar="S",
        help="seconds without progress after which to stop",
    )
    add("--force", action="store_true", help="measure again what is measured already")
    add("--predictions", type=Path, default=HERE / "predictions", metavar="DIR", help="folder of raw outputs")
    cluster_flags(parser)


def arguments(task: Task, words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f"Measures models of {task.name} on {task.dataset}.",
        epilog="Exit code: 0 all measured, 1 some model failed (its row says why), 2 wrong usage or no data.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="Hub id, id@revision or local folder (default: every model"
        f" in --modelinfo that claims something on {task.dataset} and is not in --ignore)")  # fmt: skip
    add("--data", type=Path, metavar="DIR", help=task.data_help)
    add(
        "--split",
        choices=task.splits,
        help=f"default: the protocol's; where it has none, {task.default_split}",
    )
    add("--protocol", action="append", choices=task.protocols, help="may be repeated (default: all)")
    add(
        "--from-predictions",
        action="store_true",
        help="load no model: score what lies in --predictions again",
    )
    add(
        "--plan",
        action="store_true",
        help="print what there is to do and how long it may take; measure nothing",
    )
    add("--results", type=Path, default=HERE / "results" / task.folder / f"{task.name}.json", metavar="FILE",
        help="rows")  # fmt: skip
    add("--modelinfo", type=Path, default=ROOT / "modelinfo.json", metavar="FILE", help="file of Hub records")
    add("--ignore", type=Path, default=ROOT / "ignore.json", metavar="FILE", help="models that cannot be had")
    machine_flags(parser)
    return parser.parse_args(words)


def measure(run: Run, job: Job) -> Iterator[dict]:
    """A row per pass and protocol; where the job or its process fails, one with the error is the last.

    After a cluster's work there is nothing left to do but the scores.
    """
    from tqdm import tqdm

    task, args, code = run.task, run.args, run.code
    options = {k: getattr(args, k) for k in ("device", "dtype", "batch_size")}
    options["force"] = args.force and not args.cluster
    bar = tqdm(desc=job.model.name[-50:], unit=" examples", leave=False, disable=None)
    try:
        if job.error:
            raise job.error
        if not job.passes:
            return
        for kind, *said in run_in_process(task, job.model, job.passes, options, args.timeout):
            if kind == "stage":
                bar.set_postfix_str(said[0])
            elif kind == "tick":
                bar.n, bar.total = said
                bar.refresh()
            elif kind == "scored":
                yield make_row(task, job.passes[said[0]], *said[1:], code)
            elif kind == "refused":
                why = StageError("score", said[2])
                yield error_row(task, job.model, why, code, job.passes[said[0]], said[1])
    except StageError as why:
        yield error_row(task, job.model, why, code)
    finally:
        bar.close()


def plan_job(run: Run, text: str, known: PTM | None, done: set) -> Job:
    """What is wanted of the model that `text` names, save rows with a key in `done`; or why nothing."""
    model, stage = Model(*parse_model_argument(text), (), None), "resolve"
    try:
        model = resolve(text)
        read = known if known and known.sha == model.revision else read_card(model)
        claims = [c for c in read.claims if c.dataset == run.task.dataset]
        if known and not known.sha and not claims:  # of an unknown revision, as those of the study
            claims = [c for c in known.claims if c.dataset == run.task.dataset]
        stage = "data"
        passes = plan_passes(run, model, claims)
    except Exception as why:
        return Job(model, error=StageError(stage, describe_error(why)))
    for part in passes:
        for name in [n for n, p in part.protocols.items() if row_key(part.record, n, p) in done]:
            del part.protocols[name]
    return Job(model, [part for part in passes if part.protocols])


def require_writable(flag: str, folder: Path) -> None:
    """Raises UserError for a folder that cannot be written to, rather than after a model's forward passes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as why:
        raise UserError(
            f"cannot write to {display_path(folder)}: {why.strerror}; choose another with {flag}"
        ) from why


def check_inputs(run: Run) -> None:
    """Raises UserError for a device, data or a split that are not there, before any model is loaded."""
    task, args = run.task, run.args
    if args.data and not args.data.is_dir():
        raise UserError(f"--data: there is no folder {args.data}. It must hold: {task.data_help}")
    if args.cluster:
        args.data = args.data and args.data.resolve()  # workers have other working directories
    elif args.device not in ("auto", "cpu"):
        import torch

        try:
            torch.empty(1, device=args.device)
        except (RuntimeError, AssertionError) as why:
            raise UserError(f"--device {args.device}: {str(why).splitlines()[0]}") from why
    wanted = {name: task.protocols[name] for name in args.protocol or task.protocols}
    if args.split and (out := [n for n, p in wanted.items() if not splits(task, p, args.split, [])]):
        print(f"left out: {', '.join(out)}, which is not measured on {args.split}", file=sys.stderr)
        if len(out) == len(wanted):
            raise UserError(f"--split {args.split}: no protocol asked for is measured on it")
    for protocol in wanted.values():
        if protocol.split != CLAIM or args.split:
            for split in splits(task, protocol, args.split, []):
                run.load(split)
    if not args.plan and not args.from_predictions:
        require_packages("torch", "transformers")  # else a model's process blames the model
    if not args.plan:
        require_writable("--results", args.results.parent)
        require_writable("--predictions", args.predictions / task.folder)


def show(row: dict) -> None:
    """A row as a line: measurements to stdout, failures to stderr."""
    from tqdm import tqdm

    where = "  ".join(filter(None, [row["model"], row["split"], row["protocol"]]))
    where = "".join(c if c.isprintable() else "?" for c in where)  # a name may hold anything
    if "error" in row:
        tqdm.write(f"{where}  failed at {row['stage']}: {row['error']}", file=sys.stderr)
        return
    values = [
        f"{k} {v:.4f} [{', '.join(f'{x:.4f}' for x in row['intervals'].get(k, []))}]"
        for k, v in row["metrics"].items()
    ]
    tqdm.write(f"{where}  {'  '.join(values)}", file=sys.stdout)


def measure_all(run: Run, jobs: Iterable[Job]) -> Iterator[Iterable[dict]]:
    """The rows of each job; on a cluster in the order in which they are done, scored while it works on."""
    if not run.args.cluster or run.args.from_predictions:
        yield from (measure(run, job) for job in jobs)
        return
    waiting = deque()
    with ThreadPoolExecutor(2) as pool:
        try:
            with connected(run.task, run.args):
                for job in run_on_cluster(run, jobs):
                    waiting.append(pool.submit(list, measure(run, job)))
                    while waiting and (waiting[0].done() or len(waiting) > 8):
                        yield waiting.popleft().result()
            yield from (scored.result() for scored in waiting)  # while the cluster's processes end
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what has begun is waited for, no more
            raise


def run_task(task: Task) -> int:
    from tqdm import tqdm

    args = arguments(task)
    load = functools.cache(lambda split: task.load_data(args.data, split))
    this_run = Run(task, args, code_state(task), load)
    check_inputs(this_run)
    done = set() if args.force else {r.get("key") for r in read_rows(args.results, task) if "error" not in r}
    if args.from_predictions:
        args.force = False  # there is nothing to run again
        jobs = list(saved_jobs(this_run))
        count = len(jobs)
    else:
        chosen = choose(this_run)
        count = len(chosen)
        jobs = (plan_job(this_run, text, known, done) for text, known in chosen)
    if args.plan:
        print(*estimate(task, jobs, read_rows(args.results, task)), sep="\n")
        return 0
    counts = {"measured": 0, "failed": 0, "measured before": 0}
    with contextlib.closing(measure_all(this_run, jobs)) as measured:
        for rows in tqdm(measured, desc=task.name, total=count, unit=" models", disable=None):
            failed = made = 0
            for row in rows:
                add_row(args.results, task, row)
                show(row)
                made, failed = made + 1, failed + ("error" in row)
            counts["failed" if failed else "measured" if made else "measured before"] += 1
    said = ", ".join(f"{n} {what}" for what, n in counts.items())
    print(f"{said}; rows in {display_path(args.results)}", file=sys.stderr)
    return 1 if counts["failed"] else 0


def main(task: Task) -> None:
    """Runs a task script."""
    run(lambda: run_task(task))
