"""The Ray cluster that --cluster names: its flags, the connection to it, what a worker takes of its nodes."""

import argparse
import contextlib
import functools
import math
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.checkpoint import describe_error
from harness.task import Task
from scored.files import ROOT, UserError

RAY = "ray==2.60.0"  # tests/requirements.txt pins the same
GB = 1 << 30
CODE = ("*.py", "scored/*.py", "scored/*.toml", "reproducibility/**/*.py", "assets/data/*.json")


def cluster_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a run on a cluster."""

    def share(text: str) -> float:
        number = float(text)
        is_whole = math.isfinite(number) and number == int(number) >= 0
        if not is_whole and not 0 < number < 1:
            raise argparse.ArgumentTypeError(f"must be a whole number or a fraction below 1, not {text!r}")
        return number

    cluster = (
        "work on a Ray cluster: host:port of its head, auto, or local for all GPUs or cores of this machine "
        "(default: one process here)"
    )
    gpus = "GPUs per worker; a fraction shares one (default: 1, or 0 without GPUs)"
    cpus = "CPU cores per worker (default: 1, or a GPU's share)"
    parser.add_argument("--cluster", metavar="ADDRESS", help=cluster)
    parser.add_argument("--gpus-per-model", type=share, metavar="N", help=gpus)
    parser.add_argument("--cpus-per-model", type=share, metavar="N", help=cpus)


@contextlib.contextmanager
def connected(task: Task | None, args) -> Iterator[None]:
    """Connect to the cluster of --cluster, if that is given, and bring this code to all its machines.

    Sets what a worker takes of a node. Raises UserError without such a cluster.
    """
    if not args.cluster:
        yield
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report home
    if args.cluster == "local":  # Ray's switch for "listen on 127.0.0.1 only", read when it is imported
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--cluster needs Ray on every machine: pip install {RAY}") from error
    require_reachable(args.cluster)
    with tempfile.TemporaryDirectory() as folder:
        stage_code(task, Path(folder))
        start_ray(args.cluster, folder)
        try:
            resolve_resources(args)
            yield
        finally:
            ray.shutdown()


def require_reachable(address: str) -> None:
    """Raise UserError if nothing listens at the address of a cluster's head."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), 10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"--cluster {address}: nothing answers there ({error}); see `ray status`") from error


def start_ray(address: str, folder: str) -> None:
    """Connect to a cluster, or start a local one, whose workers run the code in `folder`."""
    import ray

    code = {"working_dir": folder, "env_vars": {"PYTHONPATH": "reproducibility"}}
    if shlex.quote(sys.executable) != sys.executable:
        code["py_executable"] = shlex.quote(sys.executable)  # passed to a shell as is (ray-project/ray#5288)
    options = {"logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        options |= {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    handler = signal.getsignal(signal.SIGTERM)  # Ray would end the script with another exit code
    try:
        ray.init(address, runtime_env=code, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--cluster {address}: {describe_error(error)}") from error
    finally:
        signal.signal(signal.SIGTERM, handler)


def stage_code(task: Task | None, folder: Path) -> None:
    """Copy the code that workers run, as it is here, into a folder that Ray brings to them."""
    for pattern in CODE:
        for path in ROOT.glob(pattern):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    if task:
        shutil.copy(task.script, folder / "reproducibility")


@functools.lru_cache(1)
def _live_nodes(moment: int) -> list[dict]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def live_nodes() -> list[dict]:
    """Return the resources of the nodes that are alive, at most two seconds old."""
    return _live_nodes(int(time.monotonic() / 2))


def resolve_resources(args) -> None:
    """Set what a worker takes of a node where the flags leave it open. Raises UserError if no node has it."""
    cores_per_gpu = [node.get("CPU", 0) / node["GPU"] for node in live_nodes() if node.get("GPU")]
    if args.gpus_per_model is None:
        args.gpus_per_model = 1 if cores_per_gpu and args.device != "cpu" else 0
    if args.cpus_per_model is None:
        args.cpus_per_model = max(1, int(args.gpus_per_model * min(cores_per_gpu, default=0)))
    if ":" in args.device or (args.device == "cuda" and not args.gpus_per_model):
        reason = "Ray assigns the GPUs; --gpus-per-model says how"
        raise UserError(f"--device {args.device} on a cluster: {reason}")
    resources = worker_resources(args)
    if not capacity(resources):
        reason = f"no node has {format_resources(resources)}"
        raise UserError(f"--cluster {args.cluster}: {reason}; see `ray status`")


def worker_resources(args, weights: int = 0) -> dict:
    """Return what a worker takes of a node: GPUs and cores by the flags, memory by its model's bytes.

    Memory is three times the weights (as stored, in float32, activations) and 2 GB for the libraries.
    """
    memory = 2 * GB + 3 * weights
    return {"num_gpus": args.gpus_per_model, "num_cpus": args.cpus_per_model, "memory": memory}


def format_resources(resources: dict) -> str:
    """Format a worker's resources for a message."""
    memory = resources["memory"] / GB
    return f"{resources['num_gpus']:g} GPUs, {resources['num_cpus']:g} CPUs and {memory:.1f} GB of memory"


def capacity(resources: dict) -> int:
    """Return how many workers with these resources fit on the nodes that are alive."""
    names = {"num_gpus": "GPU", "num_cpus": "CPU", "memory": "memory"}
    needed = {names[key]: amount for key, amount in resources.items() if amount}
    workers = 0
    for node in live_nodes():
        workers += int(min(node.get(name, 0) / amount for name, amount in needed.items()))
    return workers
