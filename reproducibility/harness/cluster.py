"""Who answers which shard? The work of a local run, spread over the machines of a Ray cluster.

The driver cuts, writes and scores as in a local run; only the raw outputs of shards are made elsewhere. A
worker is an actor with a room (`isolated.py`) for one model, which it loads once. A shard whose worker
crashed or was lost goes to another one, up to `TRIES` times. Used through `harness.py`; Ray is imported here
alone, and only with --cluster.
"""

import argparse
import contextlib
import functools
import importlib
import inspect
import math
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from harness.checkpoint import CannotMeasure, Model, describe_error, resolve
from harness.process import ModelProcess
from harness.shards import Shard, discard, make_shards, merge_shards, pending, read_metadata
from harness.task import ForwardPass, Job, Run, StageError, Task, versions
from scored.files import ROOT, UserError, atomic_write, exclusive

RAY = "ray==2.60.0"  # tests/requirements.txt pins the same
TRIES = 3  # of one shard, before its model is given up
GB = 1 << 30


def cluster_flags(parser: argparse.ArgumentParser) -> None:
    def share(text: str) -> float:
        number = float(text)
        if not (0 < number < 1 or (math.isfinite(number) and number == int(number) >= 0)):
            raise argparse.ArgumentTypeError(f"must be a whole number or a fraction below 1, not {text!r}")
        return number

    add = parser.add_argument
    add("--cluster", metavar="ADDRESS", help="work on a Ray cluster: host:port of its head, auto, or local"
        " for all GPUs or cores of this machine (default: one process here)")  # fmt: skip
    add("--gpus-per-model", type=share, metavar="N", help="of a worker; fractions share a GPU (default: 1, or"
        " 0 where there are none)")  # fmt: skip
    add("--cpus-per-model", type=share, metavar="N", help="of a worker (default: 1, or a GPU's share)")


# ── What is to be done next? Nothing here knows of Ray, so that it can be simulated ───────────────────────


@dataclass
class Work:
    """A job on the board: the shards that no earlier run has answered, the workers with its model."""

    job: object
    shards: list
    need: dict = field(default_factory=dict)  # what a worker takes of a node, in Ray's words
    workers: int = 0
    tries: Counter = field(default_factory=Counter)
    avoid: set = field(default_factory=set)  # nodes on which it crashed
    why: StageError | None = None
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self):
        self.todo, self.left = deque(range(len(self.shards))), len(self.shards)


class Board:
    """Which model does a new worker load, and what does a worker do next?

    A new worker takes a model that has none, then one that was not begun; when all are begun, it joins the
    one with the most shards a worker, if it has at least two: fewer are not worth another load of the model.
    `works` gives None when another run has what is left, and may be asked again; `more` says whether it may.
    """

    def __init__(self, works: Iterable[Work | None]):
        self.works, self.open, self.closed, self.more = iter(works), [], deque(), True

    def begin(self) -> Work | None:
        for work in self.works:
            return work
        self.more = False
        return None

    def hire(self) -> Work | None:
        """The work that one more worker would do best at; None if there is none."""
        work = next((w for w in self.open if w.todo and not w.workers), None)
        while not work and (begun := self.begin()):
            if begun.left:
                self.open.append(work := begun)
            else:
                self.closed.append(begun)
        if not work and self.open:
            work = max(self.open, key=lambda w: len(w.todo) / w.workers)
            work = work if len(work.todo) >= 2 * work.workers else None
        if work:
            work.workers += 1
        return work

    def answered(self, work: Work) -> None:
        work.left -= 1
        if not work.left:
            self.close(work)

    def lost(self, work: Work, shard: int, why: StageError) -> None:
        """Takes back a shard whose worker crashed or is gone; too often, and the job has failed."""
        work.tries[shard] += 1
        if work.tries[shard] < TRIES:
            work.todo.appendleft(shard)
        else:
            self.close(work, why)

    def close(self, work: Work, why: StageError | None = None) -> None:
        if work in self.open:
            work.why = why
            work.todo.clear()
            self.open.remove(work)
            self.closed.append(work)


# ── On the workers ────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """An actor: one model, in a process of its own as in a local run, that answers shards."""

    def __init__(self, script: str, model: Model, options: dict, timeout: float):
        self.module, self.model, self.room = importlib.import_module(script), model, None
        self.options, self.timeout = options, timeout

    def answer(self, choices: dict, data) -> tuple:
        """("answered", host, bytes of the shard's file) or ("failed", node, stage, reason, crashed)."""
        import ray

        host, node = socket.gethostname(), ray.get_runtime_context().get_node_id()
        try:
            if self.room is None:
                if self.model.path and resolve(self.model.path).revision != self.model.revision:
                    raise CannotMeasure(f"{self.model.path} on {host} holds another model than on the driver")
                self.room = ModelProcess(self.module.TASK, self.model, self.options, self.timeout)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "shard.parquet")
                for _ in self.room.ask("forward", self.module.Protocol(**choices), data, file):
                    pass
                return "answered", host, file.read_bytes()
        except StageError as why:
            return "failed", node, why.stage, why.reason, why.crashed
        except (CannotMeasure, OSError) as why:  # OSError: this machine's fault, so another one may do it
            return "failed", node, "load", describe_error(why), isinstance(why, OSError)


# ── On the driver ─────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def connected(task: Task | None, args) -> Iterator[None]:
    """The connection to the cluster of --cluster, if that is given, with this code on all its machines.

    Settles what a worker takes of a node. Raises UserError where there is no such cluster.
    """
    if not args.cluster:
        yield
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report home
    if args.cluster == "local":  # Ray's switch for "listen on 127.0.0.1 alone", read when it is imported
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as why:
        raise UserError(f"--cluster needs Ray on every machine: pip install {RAY}") from why
    host, _, port = args.cluster.removeprefix("ray://").rpartition(":")
    if args.cluster not in ("auto", "local"):
        try:
            socket.create_connection((host, int(port)), 10).close()
        except (OSError, ValueError, OverflowError) as why:
            raise UserError(
                f"--cluster {args.cluster}: nothing answers there ({why}); see `ray status`"
            ) from why
    with tempfile.TemporaryDirectory() as folder:
        ship(task, Path(folder))
        here = (
            {"_node_ip_address": "127.0.0.1", "include_dashboard": False} if args.cluster == "local" else {}
        )
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        code = {"working_dir": folder, "env_vars": {"PYTHONPATH": "reproducibility"}}
        if (python := shlex.quote(sys.executable)) != sys.executable:
            code["py_executable"] = python  # Ray gives it to a shell as it is (ray-project/ray#5288)
        before = signal.getsignal(signal.SIGTERM)  # Ray would end the script with a code of its own
        try:
            ray.init(args.cluster, runtime_env=code, **quiet, **here)
        except (ConnectionError, RuntimeError, ValueError) as why:
            raise UserError(f"--cluster {args.cluster}: {describe_error(why)}") from why
        finally:
            signal.signal(signal.SIGTERM, before)
        try:
            settle(args)
            yield
        finally:
            ray.shutdown()


def ship(task: Task | None, folder: Path) -> None:
    """Copies the code that workers run, as it is here, into a folder that Ray brings to them."""
    for path in [
        *ROOT.glob("*.py"),
        *ROOT.glob("scored/*.py"),
        *ROOT.glob("scored/*.toml"),
        *ROOT.glob("reproducibility/**/*.py"),
        *ROOT.glob("assets/data/*.json"),
    ]:
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    if task:
        shutil.copy(inspect.getsourcefile(task.score), folder / "reproducibility")


@functools.lru_cache(1)
def _nodes(moment: int) -> list[dict]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def nodes() -> list[dict]:
    """The resources of the nodes that are alive, as of a second or two ago."""
    return _nodes(int(time.monotonic() / 2))


def settle(args) -> None:
    """What a worker takes of a node where the flags leave it open. Raises UserError if no node has so much."""
    shares = [node.get("CPU", 0) / node["GPU"] for node in nodes() if node.get("GPU")]  # cores of each GPU
    if args.gpus_per_model is None:
        args.gpus_per_model = 1 if shares and args.device != "cpu" else 0
    if args.cpus_per_model is None:
        args.cpus_per_model = max(1, int(args.gpus_per_model * min(shares, default=0)))
    if ":" in args.device or (args.device == "cuda" and not args.gpus_per_model):
        raise UserError(
            f"--device {args.device} on a cluster: Ray shares out the GPUs; --gpus-per-model says how"
        )
    if not slots(needs(args)):
        raise UserError(f"--cluster {args.cluster}: no node has {words(needs(args))}; see `ray status`")


def needs(args, weights: int = 0) -> dict:
    """What a worker takes of a node: GPUs and cores by the flags, memory by the bytes of its model's weights.

    Three times the weights (as stored, in float32, and what is computed) and 2 GB for the libraries.
    """
    memory = 2 * GB + 3 * weights
    return {"num_gpus": args.gpus_per_model, "num_cpus": args.cpus_per_model, "memory": memory}


def words(need: dict) -> str:
    return f"{need['num_gpus']:g} GPUs, {need['num_cpus']:g} CPUs and {need['memory'] / GB:.1f} GB of memory"


def slots(need: dict) -> int:
    """How many workers with these needs the nodes that are alive can hold."""
    names = {"num_gpus": "GPU", "num_cpus": "CPU", "memory": "memory"}
    wanted = {names[key]: amount for key, amount in need.items() if amount}
    return sum(int(min(node.get(key, 0) / amount for key, amount in wanted.items())) for node in nodes())


def opened(run: Run, jobs: Iterable[Job]) -> Iterator[Work | None]:
    """Each job as work on the board, locked; what another run has comes last, and None while it has it."""
    fresh, waiting, said = iter(jobs), deque(), False
    while (job := next(fresh, None)) or waiting:
        late = job is None
        job, locks = job or waiting.popleft(), contextlib.ExitStack()
        if all(locks.enter_context(exclusive(part.file, wait=False)) for part in job.passes):
            work = Work(job, unfinished(run, job), needs(run.args, job.model.weights), locks=locks)
            if all(part.file.exists() for part in job.passes):
                locks.close()  # there is nothing to write; of thousands of models these are too many to hold
            yield work
            continue
        locks.close()
        waiting.append(job)
        if late:
            if not said:
                print(f"waiting for another run, which has {job.model.name}", file=sys.stderr)
            said = True
            yield None


def unfinished(run: Run, job: Job) -> list[tuple[ForwardPass, Shard]]:
    """The shards of a job that no earlier run has answered."""
    found = []
    for part in job.passes:
        if run.args.force:
            discard(part)
        if not part.file.exists():
            found += [(part, shard) for shard in pending(make_shards(run.task, part))]
    return found


def accept(shard: Shard, host: str, content: bytes) -> None:
    """Writes a shard's file as a worker made it. Raises UserError if that worker has other libraries."""
    with atomic_write(shard.file, "wb") as file:
        file.write(content)
    theirs, ours = read_metadata(shard.file)["versions"], versions()
    if odd := [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]:
        shard.file.unlink()
        found = ", ".join(f"{name} {theirs.get(name)} (here {ours.get(name)})" for name in odd)
        raise UserError(
            f"{host} has {found}: install the same requirements.txt on all machines of the cluster"
        )


def completed(task: Task, work: Work) -> Job:
    """The job of a closed work: its shards joined, or why it failed."""
    why = work.job.error or work.why
    try:
        for part in work.job.passes if not why else ():
            if not part.file.exists():
                merge_shards(part, make_shards(task, part))
    except (
        CannotMeasure,
        UserError,
        OSError,
    ) as problem:  # OSError: another run has thrown them away meanwhile
        why = StageError("predict", describe_error(problem))
    finally:
        work.locks.close()
    return replace(work.job, error=why)


def run_on_cluster(run: Run, jobs: Iterable[Job]) -> Iterator[Job]:
    """Has the cluster answer all shards; yields each job once its raw outputs are complete, or as failed."""
    import ray
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

    task, args = run.task, run.args
    script = Path(inspect.getsourcefile(task.score)).stem
    options = {name: getattr(args, name) for name in ("device", "dtype", "batch_size")}
    options |= {} if args.gpus_per_model else {"device": "cpu"}
    actor, calls = ray.remote(max_restarts=0, max_task_retries=0)(Worker), {}
    board = Board(opened(run, jobs))

    def start(work: Work):
        where = "SPREAD"
        if work.avoid:
            where = NodeLabelSchedulingStrategy({}, soft={"ray.io/node-id": NotIn(*work.avoid)})
        worker = actor.options(scheduling_strategy=where, **work.need)
        return worker.remote(script, work.job.model, options, args.timeout)

    def give(worker, work: Work) -> None:
        """The worker's next shard; without one it goes."""
        if not work.todo:
            return leave(worker, work)
        part, shard = work.shards[number := work.todo.popleft()]
        choices = asdict(next(iter(part.protocols.values())))
        calls[worker.answer.remote(choices, shard.data)] = worker, work, number

    def leave(worker, work: Work) -> None:
        work.workers -= 1
        ray.kill(worker)

    def hear(call) -> None:
        """What came of a call: a shard's file, a failure, or nothing since the worker is lost."""
        worker, work, number = calls.pop(call)
        try:
            kind, where, *said = ray.get(call)
        except ray.exceptions.RayError as why:
            kind, where, said = "failed", None, ("start", f"its worker was lost: {describe_error(why)}", True)
        if kind == "answered":
            if not work.why:
                accept(work.shards[number][1], where, *said)
                board.answered(work)
            return give(worker, work)
        leave(worker, work)
        why = StageError(*said)
        work.avoid |= {where} - {None}
        return board.lost(work, number, why) if why.crashed else board.close(work, why)

    def hire() -> None:
        """As many workers as there is room and use for."""
        while work := board.hire():
            if len(calls) < slots(work.need):
                give(start(work), work)
                continue
            work.workers -= 1
            if slots(work.need) or not slots(work.need | {"memory": 0}):
                return  # once a worker leaves, or a node comes
            board.close(work, StageError("start", f"it needs {words(work.need)}, and no node has so much"))

    try:
        while True:
            hire()
            while board.closed:
                yield completed(task, board.closed.popleft())
            if not (calls or board.open or board.more):
                return
            for call in ray.wait(list(calls), timeout=1)[0] if calls else time.sleep(1) or ():
                hear(call)
    finally:
        for worker, *_ in calls.values():
            ray.kill(worker)
        for work in (*board.open, *board.closed):
            work.locks.close()
