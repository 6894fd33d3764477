"""Which model does a new worker load, and which shard does a worker compute next?

Knows nothing of Ray, so that it can be simulated (tests/benchmarks/cluster.py).
"""

import contextlib
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.task import StageError

MAX_TRIES = 3  # of one shard, before its model has failed


@dataclass
class ScheduledJob:
    """A job, its pending shards, and the number of workers that have loaded its model."""

    job: object
    shards: list
    resources: dict = field(default_factory=dict)  # what a worker takes of a node, by Ray's names
    workers: int = 0
    tries: Counter = field(default_factory=Counter)  # shard number -> attempts that crashed
    bad_nodes: set = field(default_factory=set)  # nodes on which it crashed
    error: StageError | None = None
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self):
        self.todo = deque(range(len(self.shards)))
        self.unfinished = len(self.shards)


class Scheduler:
    """Assigns jobs to workers.

    A new worker takes a job without workers, then a new job; once all have begun, it joins the job with the
    most shards per worker, if that has at least two: fewer are not worth another load of the model. `jobs`
    yields None while another run holds what is left, and may be asked again.
    """

    def __init__(self, jobs: Iterable[ScheduledJob | None]):
        self.jobs, self.has_more = iter(jobs), True
        self.active: list[ScheduledJob] = []
        self.finished: deque[ScheduledJob] = deque()

    def add_worker(self) -> ScheduledJob | None:
        """Assign one more worker; return its job, or None if no job needs one."""
        job = self._without_worker() or self._next_job() or self._most_behind()
        if job:
            job.workers += 1
        return job

    def _without_worker(self) -> ScheduledJob | None:
        for job in self.active:
            if job.todo and not job.workers:
                return job
        return None

    def _next_job(self) -> ScheduledJob | None:
        """Begin the next job with pending shards; those without are finished."""
        for job in self.jobs:
            if job is None:
                return None
            if job.unfinished:
                self.active.append(job)
                return job
            self.finished.append(job)
        self.has_more = False
        return None

    def _most_behind(self) -> ScheduledJob | None:
        """Return the job with the most shards per worker, if that is two or more."""
        if not self.active:
            return None
        job = max(self.active, key=lambda job: len(job.todo) / job.workers)
        return job if len(job.todo) >= 2 * job.workers else None

    def shard_done(self, job: ScheduledJob) -> None:
        """Note that a shard's raw outputs are on disk."""
        job.unfinished -= 1
        if not job.unfinished:
            self.finish(job)

    def shard_crashed(self, job: ScheduledJob, shard: int, error: StageError) -> None:
        """Put back a shard whose worker crashed or is lost; after MAX_TRIES the job has failed."""
        job.tries[shard] += 1
        if job.tries[shard] < MAX_TRIES:
            job.todo.appendleft(shard)
        else:
            self.finish(job, error)

    def finish(self, job: ScheduledJob, error: StageError | None = None) -> None:
        """Finish a job, with an error if it failed."""
        if job in self.active:
            job.error = error
            job.todo.clear()
            self.active.remove(job)
            self.finished.append(job)
