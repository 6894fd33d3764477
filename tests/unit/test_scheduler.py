"""Which model a new worker loads, and which shards are repeated."""

from harness.scheduler import MAX_TRIES, ScheduledJob, Scheduler
from harness.task import StageError


def jobs_with(*counts: int) -> list[ScheduledJob]:
    """Jobs named 0, 1, … with so many shards."""
    return [ScheduledJob(name, list(range(n))) for name, n in enumerate(counts)]


def test_worker_takes_a_new_model_before_it_joins_another():
    scheduler = Scheduler(jobs_with(4, 0, 4, 9))
    assigned = [scheduler.add_worker() for _ in range(3)]
    assert [job.job for job in assigned] == [0, 2, 3]
    assert [job.job for job in scheduler.finished] == [1]  # nothing to do
    for job in assigned:
        job.todo.popleft()
    # 3, 3 and 8 shards left; the one with the most a worker is joined while it has two or more for each
    assert [scheduler.add_worker().job for _ in range(6)] == [3, 3, 0, 2, 3, 3]
    assert scheduler.add_worker() is None


def test_lost_shard_is_repeated_three_times_at_most():
    scheduler = Scheduler(jobs_with(2))
    job = scheduler.add_worker()
    for tries in range(1, MAX_TRIES + 1):
        assert job.todo.popleft() == 0
        scheduler.shard_crashed(job, 0, StageError("load", "gone", True))
        assert bool(scheduler.finished) == (tries == MAX_TRIES)
    assert job.error.reason == "gone" and not job.todo and scheduler.add_worker() is None


def test_model_without_workers_precedes_a_new_one():
    scheduler = Scheduler(jobs_with(3, 3))
    job = scheduler.add_worker()
    number = job.todo.popleft()
    job.workers -= 1  # its node is lost
    scheduler.shard_crashed(job, number, StageError("start", "lost", True))
    assert scheduler.add_worker() is job


def test_job_of_another_run_is_tried_again():
    busy, free = jobs_with(2, 2)
    scheduler = Scheduler(iter([free, None, None, busy]))
    assert scheduler.add_worker() is free
    free.todo.clear()
    assert scheduler.add_worker() is None and scheduler.add_worker() is None and scheduler.has_more
    assert scheduler.add_worker() is busy
    busy.todo.clear()
    assert scheduler.add_worker() is None and not scheduler.has_more
