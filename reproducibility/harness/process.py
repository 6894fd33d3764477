"""What happens in a model's own process: download, load, forward pass, scores. And how its parent watches it.

A crash, a hang or an out-of-memory kill ends this process only; the parent (`harness.py`) gets a `Failure`
that names the stage. Reads the model's files and the data; writes a Parquet file of raw outputs per shard.
Used through `harness.py`; has no command of its own.
"""

import collections
import contextlib
import ctypes
import gc
import json
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path

from harness.checkpoint import CannotMeasure, Model, best_device, describe_error, download
from harness.shards import as_table, discard, make_shards, merge_shards, pending, read_predictions, save
from harness.task import Data, ForwardPass, StageError, Task, versions
from scored.cli import NO_TELEMETRY, RedactedLogRecord
from scored.files import UserError, exclusive

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


# ── In the parent ─────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ctrl-C and SIGTERM are heard after this, and never by a child that starts in it: its parent ends it."""
    heard, signals = [], {signal.SIGINT, signal.SIGTERM}
    resource_tracker.ensure_running()  # it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # for the child; we may have other threads
    ours = signals if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in ours}
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for number in heard:
            signal.raise_signal(number)


class ModelProcess:
    """A process for one model, which it loads when first needed; closing it ends the process."""

    def __init__(self, task: Task, model: Model, options: dict, timeout: float):
        context = multiprocessing.get_context("spawn")
        self.timeout, self.stage = timeout, "start"
        self.connection, theirs = context.Pipe()
        self.child = context.Process(target=_work, args=(theirs, task, model, options))
        try:
            with _signals_kept():
                self.child.start()
        except BaseException:
            if self.child.pid:
                self.close()
            raise
        theirs.close()

    def ask(self, *words) -> Iterator[tuple]:
        """Has the process do something and yields what it says meanwhile; raises Failure when it fails.

        ("forward", protocol, data, file) writes a shard's raw outputs and yields ("stage", name) and ("tick",
        examples done). ("score", pass) yields ("scored", protocol, record, scores) and ("refused", protocol,
        reason). Seconds of silence beyond the timeout are a failure too.
        """
        since = time.monotonic()
        with contextlib.suppress(OSError):  # it has died, and of what is asked below
            self.connection.send(words)
        while True:
            if self.connection.poll(1.0):
                try:
                    kind, *said = self.connection.recv()
                except (EOFError, OSError):
                    break
                since = time.monotonic()
                if kind == "done":
                    return
                if kind == "failed":
                    raise StageError(*said)
                if kind == "stage":
                    self.stage = said[0]
                yield kind, *said
            elif not self.child.is_alive():
                break
            elif time.monotonic() - since > self.timeout:
                raise StageError(self.stage, f"no progress for {self.timeout:g} s; stopped (--timeout)")
        self.child.join(5)
        raise StageError(self.stage, _exit(self.child.exitcode), crashed=True)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)  # with whatever workers it started
        self.child.kill()
        self.child.join()
        self.connection.close()


def run_in_process(
    task: Task, model: Model, passes: list[ForwardPass], options: dict, timeout: float
) -> Iterator[tuple]:
    """Runs a model's passes in a new process and yields what it says; raises Failure when it fails.

    Yields ("stage", name), ("tick", done, all), ("scored", pass, protocol, record, scores) and ("refused",
    pass, protocol, reason).
    """
    with contextlib.closing(ModelProcess(task, model, options, timeout)) as room:
        for number, part in enumerate(passes):
            with exclusive(part.file):  # else a run beside this one takes its shards for rubbish
                if options["force"]:
                    discard(part)
                if not part.file.exists():
                    yield from _answer(room, task, part)
            for kind, *said in room.ask("score", part):
                yield (kind, number, *said) if kind != "stage" else (kind, *said)


def _answer(room: ModelProcess, task: Task, part: ForwardPass) -> Iterator[tuple]:
    """Has a room answer what no earlier run has answered, and joins the shards."""
    shards, protocol = make_shards(task, part), next(iter(part.protocols.values()))
    todo = pending(shards)
    done = len(part.data.examples) - sum(len(shard.data.examples) for shard in todo)
    try:
        for shard in todo:
            for kind, said in room.ask("forward", protocol, shard.data, shard.file):
                yield (kind, said) if kind == "stage" else (kind, done + said, len(part.data.examples))
            done += len(shard.data.examples)
        merge_shards(part, shards)
    except (CannotMeasure, UserError) as why:
        raise StageError("predict", describe_error(why)) from why
    finally:
        for path in shards[0].file.parent.glob(f".*.{room.child.pid}.tmp"):
            path.unlink(missing_ok=True)


def _exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended by itself with exit code {code}"
    name = signal.Signals(-code).name
    why = "; most likely out of memory: try a smaller --batch-size" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{why}"


# ── In the child ──────────────────────────────────────────────────────────────────────────────────────────


def _work(connection, task: Task, model: Model, options: dict) -> None:
    os.setsid()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    for name, value in NO_TELEMETRY.items():  # on a cluster, its parent is no script of ours
        os.environ.setdefault(name, value)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads keep others from decoding
    os.environ |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "true"}
    logging.setLogRecordFactory(RedactedLogRecord)
    loaded, batch, stage = None, options["batch_size"], "start"

    def say(kind, *said):
        nonlocal stage
        stage = said[0] if kind == "stage" else stage
        connection.send((kind, *said))

    while True:
        try:
            kind, *given = connection.recv()
        except EOFError:
            return
        try:
            if kind == "score":
                _score(task, *given, say)
            else:
                loaded = loaded or _load(task, model, options, say)
                device = loaded[-1]
                batch = batch or task.batch_size.get(device.type, task.batch_size["cpu"])
                batch = _forward(task, loaded, *given, batch, say)
            say("done")
        except BaseException as why:  # a panic in a library's Rust is no Exception
            say(
                "failed", stage, describe_error(why), isinstance(why, OSError)
            )  # perhaps this machine's fault


def _score(task: Task, part: ForwardPass, say) -> None:
    """Every protocol's scores, from the pass's raw outputs."""
    say("stage", "score")
    table, record = read_predictions(part.file)
    index = list(part.data.indices)
    if record["dataset_revision"] != part.data.revision or table["example"].to_pylist() != index:
        raise CannotMeasure(f"its raw outputs are for other data ({record['dataset_revision']})")
    for name, protocol in part.protocols.items():
        try:
            scores = task.score(table, part.data, protocol, record["about"])
            json.dumps(scores, allow_nan=False)
            if wrong := {k: v for k, v in scores["metrics"].items() if not 0 <= v <= 1}:
                raise CannotMeasure(f"impossible values: {wrong}")
            say("scored", name, record, scores)
        except Exception as why:  # one protocol's fault: the others are scored all the same
            say("refused", name, describe_error(why))


def _die_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _load(task: Task, model: Model, options: dict, say) -> tuple:
    """Downloads and loads a model; gives it with the facts about it and the settings it runs under."""
    say("stage", "download")
    folder = Path(model.path) if model.path else download(model, say)
    say("stage", "load")
    import huggingface_hub.constants
    import torch

    huggingface_hub.constants.HF_HUB_OFFLINE = (
        True  # all it needs is here: loading fetches nothing, runs nothing
    )
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    device = best_device(options["device"])
    dtype = options["dtype"] if options["dtype"] == "auto" else getattr(torch, options["dtype"])
    net = task.load_model(folder, device, dtype)
    return net, task.describe(net), device


def _forward(task: Task, loaded: tuple, protocol, data: Data, file: Path, batch: int, say) -> int:
    """Answers a shard and writes its raw outputs; returns the batch size that memory allowed."""
    import torch

    net, about, device = loaded
    say("stage", "predict")
    began, tables, unread = time.monotonic(), [], {}
    for table, missed, size in answers(task, net, data, protocol, batch):
        tables.append(table)
        batch = size
        unread |= missed
        say("tick", sum(map(len, tables)) + len(unread))
    facts = {
        "about": about,
        "unread": unread,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": time.monotonic() - began,
        "ran": {
            "device": str(device),
            "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else os.uname().machine,
            "threads": torch.get_num_threads(),
            "batch_size": batch,
        },
        "versions": versions(),
    }
    save(file, data, tables, facts)
    return batch


def answers(task: Task, net, data: Data, protocol, batch: int) -> Iterator[tuple]:
    """(table, {example: why unread}, batch size) of each batch; the size is halved on out-of-memory."""
    left = list(range(len(data.examples)))
    while left:
        part, done, full = data.take(left), set(), False
        try:
            for found in task.predict(net, part, protocol, batch):
                done |= {*found.indices, *found.unreadable}
                unread = {int(part.indices[i]): why for i, why in found.unreadable.items()}
                yield as_table(found, part.indices), unread, batch
        except (MemoryError, RuntimeError) as why:
            full = batch > 1 and (isinstance(why, MemoryError) or bool(NO_MEMORY.search(str(why))))
            if not full:
                raise
        if not full:
            return
        left, batch = [i for place, i in enumerate(left) if place not in done], batch // 2
        gc.collect()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()


def map_in_threads(work: Callable, items: Iterable, device, most: int = 8) -> Iterator:
    """`work(item)` for each item, in order; on a CPU up to `most` at once, its threads shared out among them.

    One batch a core beats all cores on one batch, above all for small models and on a busy machine. What
    comes of a batch does not depend on how many cores there are, up to eight.
    """
    import torch

    if device.type != "cpu":
        yield from map(work, items)
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt  # keep what a batch frees: the next one needs it, and page faults
        mallopt(-3, 1 << 25), mallopt(-1, 1 << 29)  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    threads = torch.get_num_threads()
    workers = min(threads, most)
    torch.set_num_threads(threads // workers)
    try:
        with ThreadPoolExecutor(workers) as pool:
            waiting = collections.deque()
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)
