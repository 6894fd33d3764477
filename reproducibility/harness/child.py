"""What happens in a model's process: download, load, forward pass, scores.

Reads the model's files and the data; writes one Parquet file of raw outputs per shard. Started by
`process.py`.
"""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.checkpoint import CannotMeasure, Model, best_device, describe_error, download
from harness.shards import as_table, read_predictions, save_shard
from harness.task import Data, ForwardPass, Task, versions
from scored.cli import NO_TELEMETRY, RedactedLogRecord

OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


@dataclass
class _Loaded:
    """A loaded model, the facts about it, and the batch size that memory has allowed so far."""

    net: object
    facts: dict
    device: object
    batch_size: int


class Server:
    """Carries out the parent's requests; the model is loaded when the first shard is computed."""

    def __init__(self, task: Task, model: Model, options: dict, send_event: Callable):
        self.task, self.model, self.options = task, model, options
        self.send_event, self.stage, self.loaded = send_event, "start", None

    def send(self, kind: str, *content) -> None:
        """Send an event to the parent and remember the current stage."""
        if kind == "stage":
            (self.stage,) = content
        self.send_event((kind, *content))

    def answer(self, request: tuple) -> None:
        """Carry out a request; send ("done",) or ("failed", stage, reason, whether the machine failed)."""
        try:
            match request:
                case ("score", forward_pass):
                    _score(self.task, forward_pass, self.send)
                case ("forward", protocol, data, file):
                    self.loaded = self.loaded or _load(self.task, self.model, self.options, self.send)
                    _forward(self.task, self.loaded, protocol, data, file, self.send)
            self.send("done")
        except BaseException as error:  # a panic in a library's Rust code is not an Exception
            self.send("failed", self.stage, describe_error(error), isinstance(error, OSError))


def serve(connection, task: Task, model: Model, options: dict) -> None:
    """Carry out requests until the parent closes the connection."""
    _set_up_child()
    server = Server(task, model, options, connection.send)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        server.answer(request)


def _set_up_child() -> None:
    """Leave the terminal's process group, end with the parent, set the environment of libraries."""
    from tqdm import tqdm

    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # so that `terminate` works
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    for name, value in NO_TELEMETRY.items():  # on a cluster, the parent is not one of our scripts
        os.environ.setdefault(name, value)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads keep others from decoding
    os.environ |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "true"}
    logging.setLogRecordFactory(RedactedLogRecord)
    # tqdm's own lock is a semaphore that the system would have to clean up after this process is killed.
    tqdm.set_lock(threading.RLock())


def _die_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _score(task: Task, forward_pass: ForwardPass, send: Callable) -> None:
    """Score every protocol from the pass's raw outputs."""
    send("stage", "score")
    table, record = read_predictions(forward_pass.file)
    data = forward_pass.data
    if record["dataset_revision"] != data.revision or table["example"].to_pylist() != list(data.indices):
        raise CannotMeasure(f"its saved predictions belong to other data ({record['dataset_revision']})")
    for name, protocol in forward_pass.protocols.items():
        try:
            scores = task.score(table, data, protocol, record["about"])
            json.dumps(scores, allow_nan=False)
            impossible = {key: value for key, value in scores["metrics"].items() if not 0 <= value <= 1}
            if impossible:
                raise CannotMeasure(f"impossible values: {impossible}")
            send("scored", name, record, scores)
        except Exception as error:  # the other protocols are scored all the same
            send("refused", name, describe_error(error))


def _load(task: Task, model: Model, options: dict, send: Callable) -> _Loaded:
    """Download and load a model."""
    send("stage", "download")
    folder = Path(model.path) if model.path else download(model, send)
    send("stage", "load")
    import huggingface_hub.constants
    import torch

    huggingface_hub.constants.HF_HUB_OFFLINE = True  # loading fetches nothing
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    device = best_device(options["device"])
    dtype = options["dtype"] if options["dtype"] == "auto" else getattr(torch, options["dtype"])
    net = task.load_model(folder, device, dtype)
    batch_size = options["batch_size"] or task.batch_size.get(device.type, task.batch_size["cpu"])
    return _Loaded(net, task.describe(net), device, batch_size)


def _forward(task: Task, loaded: _Loaded, protocol, data: Data, file: Path, send: Callable) -> None:
    """Predict a shard's examples and write their raw outputs."""
    import torch

    send("stage", "predict")
    device = loaded.device
    start, tables, unreadable = time.monotonic(), [], {}
    for table, failed in predict_with_backoff(task, loaded, data, protocol):
        tables.append(table)
        unreadable |= failed
        send("progress", sum(map(len, tables)) + len(unreadable))
    facts = {
        "about": loaded.facts,
        "unreadable": unreadable,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": time.monotonic() - start,
        "ran": {
            "device": str(device),
            "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else os.uname().machine,
            "threads": torch.get_num_threads(),
            "batch_size": loaded.batch_size,
        },
        "versions": versions(),
    }
    save_shard(file, data, tables, facts)


def predict_with_backoff(task: Task, loaded: _Loaded, data: Data, protocol) -> Iterator[tuple]:
    """Yield (Arrow table of raw outputs, {index: why it is unreadable}); halve batches if memory runs out."""
    remaining = list(range(len(data.examples)))
    while remaining:
        part, done = data.take(remaining), set()
        try:
            for batch in task.predict(loaded.net, part, protocol, loaded.batch_size):
                done |= {*batch.indices, *batch.unreadable}
                unreadable = {int(part.indices[i]): reason for i, reason in batch.unreadable.items()}
                yield as_table(batch, part.indices), unreadable
            return
        except (MemoryError, RuntimeError) as error:
            ran_out = isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error))
            if loaded.batch_size == 1 or not ran_out:
                raise
        remaining = [i for position, i in enumerate(remaining) if position not in done]
        loaded.batch_size //= 2
        gc.collect()
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()
