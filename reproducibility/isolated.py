"""What happens in a model's own process: download, load, forward pass, scores. And how its parent watches it.

A crash, a hang or an out-of-memory kill ends this process only; the parent (`harness.py`) gets a `Failure`
that names the stage. Reads the model's files and the data; writes one Parquet file of raw outputs per split.
Used through `harness.py`; has no command of its own.
"""

import collections
import contextlib
import gc
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from checkpoint import Model, Refused, best_device, download, one_line
from ptm import atomic
from task import Batch, Data, Failure, Pass, Task, versions

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


# ── In the parent ─────────────────────────────────────────────────────────────────────────────────────────


def run_apart(task: Task, model: Model, passes: list[Pass], options: dict, timeout: float) -> Iterator[tuple]:
    """Runs a model's passes in a new process and yields what it says; raises Failure when it fails.

    Yields ("stage", name), ("tick", done, all), ("scored", pass, protocol, record, scores) and ("refused",
    pass, protocol, reason). Seconds of silence beyond `timeout` are a failure too.
    """
    receive, send = (context := multiprocessing.get_context("spawn")).Pipe(duplex=False)
    child = context.Process(target=_work, args=(send, task, model, passes, options))
    child.start()
    send.close()
    stage, since = "start", time.monotonic()
    try:
        while True:
            if receive.poll(1.0):
                try:
                    kind, *said = receive.recv()
                except EOFError:
                    break
                since = time.monotonic()
                if kind == "failed":
                    raise Failure(*said)
                if kind == "stage":
                    stage = said[0]
                yield kind, *said
            elif not child.is_alive():
                break
            elif time.monotonic() - since > timeout:
                raise Failure(stage, f"no progress for {timeout:g} s; stopped (--timeout)")
        child.join()
        if child.exitcode:
            raise Failure(stage, _exit(child.exitcode))
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # with whatever workers it started
        child.kill()
        child.join()
        for left in {p.file.parent for p in passes}:
            for path in left.glob(f".*.{child.pid}.tmp"):
                path.unlink(missing_ok=True)


def _exit(code: int) -> str:
    if code > 0:
        return f"its process ended by itself with exit code {code}"
    name = signal.Signals(-code).name
    why = "; most likely out of memory: try a smaller --batch-size" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{why}"


# ── In the child ──────────────────────────────────────────────────────────────────────────────────────────


def _work(send, task: Task, model: Model, passes: list[Pass], options: dict) -> None:
    os.setsid()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads keep others from decoding
    os.environ |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "true"}
    stage = "start"

    def say(kind, *said):
        nonlocal stage
        stage = said[0] if kind == "stage" else stage
        send.send((kind, *said))

    try:
        loaded = None
        for number, part in enumerate(passes):
            if options["force"] or not part.file.exists():
                loaded = loaded or _load(task, model, options, say)
                _forward(task, loaded, part, options, say)
            say("stage", "score")
            table, record = predictions(part.file)
            index = list(part.data.index or range(len(part.data.examples)))
            if record["dataset_revision"] != part.data.revision or table["example"].to_pylist() != index:
                raise Refused(f"its raw outputs are for other data ({record['dataset_revision']})")
            for name, protocol in part.protocols.items():
                try:
                    scores = task.score(table, part.data, protocol, record["about"])
                    json.dumps(scores, allow_nan=False)
                    if wrong := {k: v for k, v in scores["metrics"].items() if not 0 <= v <= 1}:
                        raise Refused(f"impossible values: {wrong}")
                    say("scored", number, name, record, scores)
                except Exception as why:  # one protocol's fault: the others are scored all the same
                    say("refused", number, name, one_line(why))
    except BaseException as why:  # a panic in a library's Rust is no Exception
        say("failed", stage, one_line(why))


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


def _forward(task: Task, loaded: tuple, part: Pass, options: dict, say) -> None:
    """One forward pass, written as Parquet in the data's order. Raises Refused unless all are answered."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    net, about, device = loaded
    say("stage", "predict")
    protocol = next(iter(part.protocols.values()))
    batch = options["batch_size"] or task.batch_size.get(device.type, task.batch_size["cpu"])
    began, tables, unread = time.monotonic(), [], {}
    for table, missed, size in answers(task, net, part.data, protocol, batch):
        tables.append(table)
        batch = size
        unread |= missed
        say("tick", sum(map(len, tables)) + len(unread), len(part.data.examples))
    if unread:
        first, why = min(unread.items())
        n = len(part.data.examples)
        raise Refused(f"{len(unread)} of {n} examples not answered; example {first}: {why}")
    answered = sorted(i for table in tables for i in table["example"].to_pylist())
    if answered != list(part.data.index or range(len(part.data.examples))):
        raise Refused(f"{len(answered)} answers for {len(part.data.examples)} examples: not one each")
    table = pa.concat_tables([t for t in tables if len(t)]).sort_by("example")
    record = part.record | {
        "about": about,
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
    table = table.replace_schema_metadata({"scored": json.dumps(record)})
    with atomic(part.file, "wb") as file:
        pq.write_table(table, file, compression="zstd")


def answers(task: Task, net, data: Data, protocol, batch: int) -> Iterator[tuple]:
    """(table, {example: why unread}, batch size) of each batch; the size is halved on out-of-memory."""
    left = list(range(len(data.examples)))
    while left:
        part, done, full = data.take(left), set(), False
        try:
            for found in task.predict(net, part, protocol, batch):
                done |= {*found.places, *found.unread}
                unread = {int(part.index[i]): why for i, why in found.unread.items()}
                yield _table(found, part.index), unread, batch
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


def at_once(work: Callable, items: Iterable, device) -> Iterator:
    """`work(item)` for each item, in order; on a CPU several at once, with its threads shared out among them.

    One batch a core beats all cores on one batch, above all for small models and on a busy machine, and no
    result depends on how many cores there are.
    """
    import torch

    if device.type != "cpu":
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    workers = min(threads, 8)
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


def _table(batch: Batch, index: Sequence[int]):
    import numpy as np
    import pyarrow as pa

    columns = {"example": pa.array([int(index[i]) for i in batch.places], pa.int32())}
    for name, values in batch.columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            values = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        columns[name] = values
    return pa.table(columns)


def predictions(path: Path) -> tuple:
    """The raw outputs in a Parquet file, and the record of what made them."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return table, json.loads(table.schema.metadata[b"scored"])
