"""Compute shards on the machines of a Ray cluster (--cluster).

The driver resolves models, shards the data, writes files and computes scores as in a local run; only the raw
outputs of shards are computed elsewhere. A worker is an actor with a process (`process.py`) for one model,
which it loads once. `scheduler.py` says which shard is next; `nodes.py` connects to Ray.
"""

import contextlib
import importlib
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from harness.checkpoint import CannotMeasure, Model, describe_error, resolve
from harness.nodes import capacity, format_resources, worker_resources
from harness.process import ModelProcess
from harness.scheduler import ScheduledJob, Scheduler
from harness.shards import Shard, discard, make_shards, merge_shards, pending, read_metadata
from harness.task import ForwardPass, Job, Run, StageError, Task, versions
from scored.files import UserError, atomic_write, exclusive

# ── On the workers ────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """An actor that computes shards of one model, in a process of its own as in a local run."""

    def __init__(self, script: str, model: Model, options: dict, timeout: float):
        self.module, self.model, self.process = importlib.import_module(script), model, None
        self.options, self.timeout = options, timeout

    def compute(self, choices: dict, data) -> tuple:
        """Return ("done", host, bytes of the shard's file) or ("failed", node, stage, reason, crashed)."""
        import ray

        host, node = socket.gethostname(), ray.get_runtime_context().get_node_id()
        try:
            if self.process is None:
                self.start_process(host)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "shard.parquet")
                for _ in self.process.request("forward", self.module.Protocol(**choices), data, file):
                    pass
                return "done", host, file.read_bytes()
        except StageError as error:
            return "failed", node, error.stage, error.reason, error.crashed
        except (CannotMeasure, OSError) as error:
            is_machines_fault = isinstance(error, OSError)  # so another machine may succeed
            return "failed", node, "load", describe_error(error), is_machines_fault

    def start_process(self, host: str) -> None:
        """Start the model's process. Raises CannotMeasure if a local folder differs from the driver's."""
        if self.model.path and resolve(self.model.path).revision != self.model.revision:
            raise CannotMeasure(f"{self.model.path} on {host} holds another model than on the driver")
        self.process = ModelProcess(self.module.TASK, self.model, self.options, self.timeout)


# ── Jobs and their shards, on the driver ──────────────────────────────────────────────────────────────────


def lock_jobs(run: Run, jobs: Iterable[Job]) -> Iterator[ScheduledJob | None]:
    """Lock each job and yield it; jobs that another run holds come last, with None while it holds them."""
    busy, has_waited = deque(), False
    for job in jobs:
        scheduled = try_lock(run, job)
        if scheduled:
            yield scheduled
        else:
            busy.append(job)
    while busy:
        job = busy.popleft()
        scheduled = try_lock(run, job)
        if not scheduled:
            busy.append(job)
            if not has_waited:
                print(f"waiting for another run to release {job.model.name}", file=sys.stderr)
            has_waited = True
        yield scheduled


def try_lock(run: Run, job: Job) -> ScheduledJob | None:
    """Return a job with the locks on its files; None if another run holds one."""
    locks = contextlib.ExitStack()
    for forward_pass in job.passes:
        if not locks.enter_context(exclusive(forward_pass.file, wait=False)):
            locks.close()
            return None
    resources = worker_resources(run.args, job.model.weights)
    scheduled = ScheduledJob(job, pending_shards(run, job), resources, locks=locks)
    if all(forward_pass.file.exists() for forward_pass in job.passes):
        locks.close()  # nothing will be written; the locks of thousands of models are too many to hold
    return scheduled


def pending_shards(run: Run, job: Job) -> list[tuple[ForwardPass, Shard]]:
    """Return a job's shards without raw outputs."""
    shards = []
    for forward_pass in job.passes:
        if run.args.force:
            discard(forward_pass)
        if not forward_pass.file.exists():
            shards += [(forward_pass, shard) for shard in pending(make_shards(run.task, forward_pass))]
    return shards


def save_result(shard: Shard, host: str, content: bytes) -> None:
    """Write a shard's file as a worker made it. Raises UserError if the worker has other libraries."""
    with atomic_write(shard.file, "wb") as file:
        file.write(content)
    there, here = read_metadata(shard.file)["versions"], versions()
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if differing:
        shard.file.unlink()
        pairs = ", ".join(f"{name} {there.get(name)} (here {here.get(name)})" for name in differing)
        advice = "install the same requirements.txt on all machines of the cluster"
        raise UserError(f"{host} has {pairs}: {advice}")


def complete_job(task: Task, scheduled: ScheduledJob) -> Job:
    """Merge a finished job's shards and release its locks; return it, with the error if it failed."""
    job, error = scheduled.job, scheduled.job.error or scheduled.error
    try:
        if not error:
            for forward_pass in job.passes:
                if not forward_pass.file.exists():
                    merge_shards(forward_pass, make_shards(task, forward_pass))
    except (CannotMeasure, UserError, OSError) as problem:  # OSError: another run has deleted them meanwhile
        error = StageError("predict", describe_error(problem))
    finally:
        scheduled.locks.close()
    return replace(job, error=error)


# ── The run ───────────────────────────────────────────────────────────────────────────────────────────────


class ClusterRun:
    """The workers of a run on a cluster and what they are computing."""

    def __init__(self, run: Run, jobs: Iterable[Job]):
        import ray

        args = run.args
        self.run, self.scheduler = run, Scheduler(lock_jobs(run, jobs))
        self.actor = ray.remote(max_restarts=0, max_task_retries=0)(Worker)
        self.calls = {}  # Ray's reference of a call -> (worker, job, shard number)
        self.options = {
            "device": args.device if args.gpus_per_model else "cpu",
            "dtype": args.dtype,
            "batch_size": args.batch_size,
        }

    def add_workers(self) -> None:
        """Start as many workers as there is room and work for."""
        while True:
            job = self.scheduler.add_worker()
            if not job:
                return
            room = capacity(job.resources)
            if len(self.calls) < room:
                self.assign(self.start_worker(job), job)
                continue
            job.workers -= 1
            if room or not capacity(job.resources | {"memory": 0}):
                return  # until a worker is released, or a node comes
            reason = f"it needs {format_resources(job.resources)}, and no node has so much"
            self.scheduler.finish(job, StageError("start", reason))

    def start_worker(self, job: ScheduledJob):
        """Start an actor with the job's model, if possible on a node on which it has not crashed."""
        from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

        strategy = "SPREAD"
        if job.bad_nodes:
            strategy = NodeLabelSchedulingStrategy({}, soft={"ray.io/node-id": NotIn(*job.bad_nodes)})
        actor = self.actor.options(scheduling_strategy=strategy, **job.resources)
        return actor.remote(self.run.task.script.stem, job.job.model, self.options, self.run.args.timeout)

    def assign(self, worker, job: ScheduledJob) -> None:
        """Give a worker its next shard, or release it if there is none."""
        if not job.todo:
            self.release(worker, job)
            return
        number = job.todo.popleft()
        forward_pass, shard = job.shards[number]
        protocol = next(iter(forward_pass.protocols.values()))
        self.calls[worker.compute.remote(asdict(protocol), shard.data)] = worker, job, number

    def release(self, worker, job: ScheduledJob) -> None:
        """End a worker."""
        import ray

        job.workers -= 1
        ray.kill(worker)

    def handle_result(self, call) -> None:
        """Handle a call that has ended: a shard's file, a failure, or a lost worker."""
        import ray

        worker, job, number = self.calls.pop(call)
        try:
            result = ray.get(call)
        except ray.exceptions.RayError as error:
            reason = f"its worker was lost: {describe_error(error)}"
            result = "failed", None, "start", reason, True
        match result:
            case ("done", host, content):
                if not job.error:
                    save_result(job.shards[number][1], host, content)
                    self.scheduler.shard_done(job)
                self.assign(worker, job)
            case ("failed", node, stage, reason, crashed):
                self.release(worker, job)
                if node:
                    job.bad_nodes.add(node)
                error = StageError(stage, reason)
                if crashed:
                    self.scheduler.shard_crashed(job, number, error)
                else:
                    self.scheduler.finish(job, error)

    def wait(self) -> list:
        """Return the calls that have ended within a second."""
        import ray

        if self.calls:
            return ray.wait(list(self.calls), timeout=1)[0]
        time.sleep(1)  # another run holds what is left, or a node must come
        return []

    def close(self) -> None:
        """End all workers and release all locks."""
        import ray

        for worker, *_ in self.calls.values():
            ray.kill(worker)
        for job in (*self.scheduler.active, *self.scheduler.finished):
            job.locks.close()


def run_on_cluster(run: Run, jobs: Iterable[Job]) -> Iterator[Job]:
    """Compute all shards on the cluster; yield each job once its raw outputs are complete, or as failed."""
    cluster = ClusterRun(run, jobs)
    scheduler = cluster.scheduler
    with contextlib.closing(cluster):
        while True:
            cluster.add_workers()
            while scheduler.finished:
                yield complete_job(run.task, scheduler.finished.popleft())
            if not (cluster.calls or scheduler.active or scheduler.has_more):
                return
            for call in cluster.wait():
                cluster.handle_result(call)
