"""Run a model in its own process, and watch it.

A crash, a hang or an out-of-memory kill ends that process only; its parent gets a StageError that names the
stage. Parent and child exchange tuples: requests go down, events come up. `child.py` is the other end.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker

from harness.checkpoint import CannotMeasure, Model, describe_error
from harness.child import serve
from harness.shards import discard, make_shards, merge_shards, pending
from harness.task import ForwardPass, StageError, Task
from scored.files import UserError, exclusive


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM while a child starts: it inherits this, so that only its parent ends it."""
    resource_tracker.ensure_running()  # started later, it would unblock them
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class ModelProcess:
    """A process for one model, which it loads when first needed; `close` ends the process."""

    def __init__(self, task: Task, model: Model, options: dict, timeout: float):
        context = multiprocessing.get_context("spawn")
        self.timeout, self.stage = timeout, "start"
        self.connection, child_end = context.Pipe()
        # daemon: it ends with this process also where `close` is not reached
        self.child = context.Process(target=serve, args=(child_end, task, model, options), daemon=True)
        try:
            with defer_signals():
                self.child.start()
        except BaseException:
            if self.child.pid:
                self.close()
            raise
        child_end.close()

    def request(self, *message) -> Iterator[tuple]:
        """Send a request and yield the process's events until it is done. Raises StageError when it fails.

        ("forward", protocol, data, file) writes a shard's raw outputs; it yields ("stage", name) and
        ("progress", examples done). ("score", forward pass) yields ("scored", protocol, record, scores) and
        ("refused", protocol, reason). Silence for longer than the timeout is a failure, too.
        """
        last_event = time.monotonic()
        with contextlib.suppress(OSError):  # it has died, which is noticed below
            self.connection.send(message)
        while True:
            if self.connection.poll(1.0):
                try:
                    event = self.connection.recv()
                except (EOFError, OSError):
                    break
                last_event = time.monotonic()
                match event:
                    case ("done",):
                        return
                    case ("failed", stage, reason, crashed):
                        raise StageError(stage, reason, crashed)
                    case ("stage", name):
                        self.stage = name
                yield event
            elif not self.child.is_alive():
                break
            elif time.monotonic() - last_event > self.timeout:
                raise StageError(self.stage, f"no progress for {self.timeout:g} s; stopped (--timeout)")
        self.child.join(5)
        raise StageError(self.stage, _exit_reason(self.child.exitcode), crashed=True)

    def close(self) -> None:
        """Kill the process and the workers that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.kill()
        self.child.join()
        self.connection.close()


def run_in_process(
    task: Task, model: Model, passes: list[ForwardPass], options: dict, timeout: float
) -> Iterator[tuple]:
    """Run a model's passes in a new process and yield its events. Raises StageError when it fails.

    Yields ("stage", name), ("progress", done, total), ("scored", pass number, protocol, record, scores) and
    ("refused", pass number, protocol, reason).
    """
    with contextlib.closing(ModelProcess(task, model, options, timeout)) as process:
        for number, forward_pass in enumerate(passes):
            with exclusive(forward_pass.file):  # or another run could replace the shards meanwhile
                if options["force"]:
                    discard(forward_pass)
                if not forward_pass.file.exists():
                    yield from _run_pending_shards(process, task, forward_pass)
            for event in process.request("score", forward_pass):
                match event:
                    case ("stage", _):
                        yield event
                    case (kind, *content):
                        yield (kind, number, *content)


def _run_pending_shards(process: ModelProcess, task: Task, forward_pass: ForwardPass) -> Iterator[tuple]:
    """Run the pending shards and merge all of them."""
    shards = make_shards(task, forward_pass)
    protocol = next(iter(forward_pass.protocols.values()))
    todo = pending(shards)
    total = len(forward_pass.data.examples)
    done = total - sum(len(shard.data.examples) for shard in todo)
    try:
        for shard in todo:
            for event in process.request("forward", protocol, shard.data, shard.file):
                match event:
                    case ("stage", _):
                        yield event
                    case ("progress", in_shard):
                        yield "progress", done + in_shard, total
            done += len(shard.data.examples)
        merge_shards(forward_pass, shards)
    except (CannotMeasure, UserError) as error:
        raise StageError("predict", describe_error(error)) from error


def _exit_reason(code: int | None) -> str:
    """Describe a process's unexpected end by its exit code; a negative one is a signal's number."""
    if code is None or code >= 0:
        return f"the process exited with code {code}"
    name = signal.Signals(-code).name
    advice = "; most likely out of memory: try a smaller --batch-size" if name == "SIGKILL" else ""
    return f"the process was killed by {name}{advice}"
