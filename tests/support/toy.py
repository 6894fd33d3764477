"""A task script with nothing to it: its models say in config.json how they behave, its data are ten numbers.

The harness's tests run it as a user runs a real one.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "reproducibility"))
from harness.checkpoint import CannotMeasure, digest, refuse_remote_code
from harness.runner import main
from harness.task import CLAIM, Batch, Data, Task
from scored.files import UserError


@dataclass(frozen=True)
class Protocol:
    split: str | None
    add: int = 0  # changes the raw outputs
    double: bool = False  # does not


def load_data(path: Path | None, split: str) -> Data:
    try:
        numbers = json.loads((path / f"{split}.json").read_text())
    except (OSError, TypeError) as why:
        raise UserError(f"no {split}.json: {why}") from why
    return Data(split, f"sha256:{digest(numbers)}", "local folder", numbers, numbers, 10)


def load_model(folder: Path, device, dtype) -> dict:
    refuse_remote_code(folder)
    config = {"name": folder.name} | json.loads((folder / "config.json").read_text())
    with open(os.environ.get("TOY_LOADS", os.devnull), "a") as file:
        file.write(f"{folder.name} {os.getpid()}\n")
    if config.get("at", "load") == "load":
        behave(config)
    return config


def behave(config: dict) -> None:
    match config.get("behave"):
        case "raise":
            raise ValueError("two\nlines")
        case "hang":
            time.sleep(600)
        case "slow" if os.environ.get("TOY_SLOW"):
            time.sleep(600)
        case "crash":
            os.abort()
        case "crash once":
            with contextlib.suppress(FileExistsError):
                Path(os.environ["TOY_LOADS"]).with_name("crashed").touch(exist_ok=False)
                os.abort()
        case "greedy":
            import numpy  # its zeros take no memory until they are touched

            hoard = []
            while True:
                hoard.append(numpy.zeros(1 << 28, dtype=numpy.uint8))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)


def describe(model: dict) -> dict:
    return {"labels": [], "preprocessing": {"kind": "none"}}


def predict(model: dict, data: Data, protocol: Protocol, size: int) -> Iterator[Batch]:
    time.sleep(model.get("seconds", 0))
    with open(os.environ.get("TOY_GPUS", os.devnull), "a") as file:
        file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {time.time()}\n")
    with open(os.environ.get("TOY_ANSWERS", os.devnull), "a") as file:
        file.write(f"{model['name']} {protocol.add} {' '.join(map(str, data.examples))}\n")
    if model.get("at") == "predict":
        behave(model)
    order = list(range(len(data.examples)))[::-1]
    for start in range(0, len(order), size):
        places = order[start : start + size]
        if len(places) > model.get("memory", 1000):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if model.get("behave") == "short":
            places = places[1:]
        unread = [p for p in places if data.examples[p] in model.get("unread", [])]
        places = [p for p in places if p not in unread]
        values = [data.examples[p] + protocol.add for p in places]
        columns = {"hash": [str(v) for v in values], "value": values}
        yield Batch(places, columns, dict.fromkeys(unread, "cannot identify image file"))


def score(table, data: Data, protocol: Protocol, about: dict) -> dict:
    values = table["value"].to_pylist()
    assert [v - protocol.add for v in values] == list(data.examples)
    value = sum(values) / 100 * (2 if protocol.double else 1)
    if value > 1:
        raise CannotMeasure("its labels do not match")
    return {"metrics": {"accuracy": value}, "intervals": {"accuracy": [0.0, 1.0]}, "interval_method": {}}


TASK = Task(
    name="toy",
    dataset="emotion",
    protocols={
        "standard": Protocol(CLAIM),
        "scored-2022": Protocol("test"),
        "doubled": Protocol("test", double=True),
        "shifted": Protocol("test", add=1),
    },
    forward_fields=("add",),
    batch_size={"cpu": 8},
    shard_size=int(os.environ.get("TOY_SHARD", "10")),
    load_data=load_data,
    load_model=load_model,
    describe=describe,
    predict=predict,
    score=score,
    data_help="test.json and validation.json, ten numbers each",
)

if __name__ == "__main__":
    main(TASK)
