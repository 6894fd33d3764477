"""What does the cluster path cost, and how would a thousand models fare on 64 workers?

First the same model on the same cores, as a local run and with --cluster local: wall-clock seconds of both
commands, start of Ray included. Then a SIMULATION of 1,000 models of 50 shards each on 64 workers: the
project's own scheduler decides what is done next, loads and shards take the seconds that were just measured
here, workers crash and nodes are lost at random. The ideal is the shards' seconds divided by 64.

    python tests/benchmarks/cluster.py [--images 4000] [--repeat 2]
"""

import argparse
import heapq
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
sys.path[:0] = [str(ROOT), str(ROOT / "reproducibility")]
from harness.scheduler import ScheduledJob, Scheduler  # noqa: E402
from harness.task import StageError  # noqa: E402

MODELS = {
    "sentiment_analysis": ("emotion-tiny", "emotion"),
    "image_classification": ("mobilenet-v2", "imagenet"),
    "detection": ("yolos-tiny-overfit", "coco"),
}


def run(script: str, models: list[Path], data: Path, *words: object) -> tuple[float, list[dict]]:
    """Seconds of a task script's command, and the rows it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--results", f"{folder}/rows.json", "--predictions", folder]
        command = [
            sys.executable,
            ROOT / "reproducibility" / f"{script}.py",
            *models,
            "--data",
            data,
            *out,
            *words,
        ]
        began = time.perf_counter()
        env = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        subprocess.run(list(map(str, command)), check=True, capture_output=True, env=env)
        return time.perf_counter() - began, json.loads(Path(folder, "rows.json").read_text())["rows"]


def many_images(folder: Path, count: int) -> Path:
    """A validation set of `count` images: links to the sample images, over and over."""
    real = sorted((SHARED / "imagenet" / "val").glob("*/*.JPEG"))
    for number in range(count):
        file = real[number % len(real)]
        (folder / file.parent.name).mkdir(exist_ok=True)
        (folder / file.parent.name / f"{number}-{file.name}").symlink_to(file)
    return folder


def overhead(images: int, repeat: int) -> dict:
    """Local and cluster runs in turns; the fastest of each counts."""
    model, times = SHARED / "models" / "mobilenet-v2", {"local": [], "cluster": []}
    ways = {"local": [], "cluster": ["--cluster", "local", "--cpus-per-model", str(os.cpu_count())]}
    with tempfile.TemporaryDirectory() as folder:
        data = many_images(Path(folder), images)
        for _ in range(repeat):
            for way, words in ways.items():
                taken, rows = run("image_classification", [model], data, "--protocol", "standard", *words)
                times[way].append(taken)
                times.setdefault("accuracy", rows[0]["metrics"]["accuracy"])
                assert times["accuracy"] == rows[0]["metrics"]["accuracy"], "the numbers differ"
    local, cluster = min(times["local"]), min(times["cluster"])
    ratio = f"{cluster / local - 1:+.1%}"
    print(f"{images:,} images: local {local:.1f} s, the same cores through Ray {cluster:.1f} s: {ratio}")
    return {
        "what": f"local cluster, {images:,} images",
        "ours": f"`--cluster local`: {cluster:.0f} s, start of Ray included",
        "against": f"one process: {local:.0f} s",
        "ratio": local / cluster,
        "note": "one worker with all cores",
    }


def measured() -> list[tuple[float, float]]:
    """(seconds to start and load, seconds of a shard) of each shared model, as they are on this machine."""
    import importlib

    found = []
    for script, (name, data) in MODELS.items():
        words = ["--protocol", "scored-2022", "--device", "cpu"]
        taken, rows = run(script, [SHARED / "models" / name], SHARED / data, *words)
        shard = importlib.import_module(script).TASK.shard_size
        each = rows[0]["seconds"] / rows[0]["examples"]["evaluated"]
        found.append((taken - rows[0]["seconds"], each * shard))
        print(
            f"{name}: start and load {found[-1][0]:.1f} s, a shard of {shard:,} examples {each * shard:.1f} s"
        )
    return found


class Simulation:
    """One simulated run: the project's scheduler, workers and nodes that fail at random.

    Times vary by a tenth. `kinds` are (seconds to load, seconds of a shard), drawn for each model.
    """

    def __init__(self, kinds: list[tuple[float, float]], args, seed: int):
        self.args, self.draw = args, random.Random(seed)
        self.counts = {"crashes": 0, "nodes lost": 0, "loads": 0, "failed models": 0}
        self.times = [self.draw.choice(kinds) for _ in range(args.models)]
        self.scheduler = Scheduler(ScheduledJob(i, list(range(args.shards))) for i in range(args.models))
        self.node_of = {worker: worker // (args.workers // args.nodes) for worker in range(args.workers)}
        self.events, self.busy, self.idle = [], {}, set(self.node_of)
        self.computed, self.now, self.tokens = 0.0, 0.0, itertools.count()

    def after(self, seconds: float, *event) -> None:
        heapq.heappush(self.events, (self.now + seconds, *event))

    def assign(self, worker: int, job: ScheduledJob | None = None) -> None:
        """Give a worker its next shard, after loading another model if its own has none left."""
        load = 0.0
        if not job or not job.todo:
            if job:
                job.workers -= 1
            job = self.scheduler.add_worker()
            if not job:
                self.idle.add(worker)
                return
            load = self.times[job.job][0]
            self.counts["loads"] += 1
        number, seconds = job.todo.popleft(), self.times[job.job][1] * self.draw.uniform(0.9, 1.1)
        token = next(self.tokens)
        self.busy[worker] = job, number, seconds, token
        self.after(load + seconds, "shard", worker, token)

    def lose(self, worker: int, reason: str) -> None:
        job, number, *_ = self.busy.pop(worker)
        job.workers -= 1
        self.scheduler.shard_crashed(job, number, StageError("predict", reason, True))

    def end_shard(self, worker: int) -> None:
        job, _, seconds, _ = self.busy[worker]
        if self.draw.random() < self.args.crash:
            self.counts["crashes"] += 1
            self.lose(worker, "crash")
            self.idle.add(worker)
            return
        del self.busy[worker]
        self.computed += seconds
        if not job.error:
            self.scheduler.shard_done(job)
        self.assign(worker, job)

    def lose_node(self, node: int) -> None:
        self.counts["nodes lost"] += 1
        for worker, its_node in self.node_of.items():
            if its_node != node:
                continue
            self.idle.discard(worker)
            if worker in self.busy:
                self.lose(worker, "node lost")
        self.after(self.args.node_back, "back", node, 0)

    def lose_later(self, node: int) -> None:
        self.after(self.draw.expovariate(1 / self.args.node_lost), "lost", node, 0)

    def run(self) -> tuple[float, float, dict]:
        """(seconds until all is done, ideal seconds, counts)."""
        for node in range(self.args.nodes):
            self.lose_later(node)
        while True:
            for worker in [*self.idle]:
                self.idle.discard(worker)
                self.assign(worker)
            if not self.busy and not self.scheduler.active:
                break
            self.now, kind, who, token = heapq.heappop(self.events)
            if kind == "shard" and who in self.busy and self.busy[who][-1] == token:
                self.end_shard(who)
            elif kind == "lost":
                self.lose_node(who)
            elif kind == "back":
                self.idle |= {w for w, node in self.node_of.items() if node == who and w not in self.busy}
                self.lose_later(who)
        self.counts["failed models"] = sum(job.error is not None for job in self.scheduler.finished)
        return self.now, self.computed / self.args.workers, self.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--images", type=int, default=4000, help="of the local and the cluster run (default: 4000)")
    add("--repeat", type=int, default=2, help="runs of each; the fastest counts (default: 2)")
    add("--models", type=int, default=1000, help="of the simulation (default: 1000)")
    add("--shards", type=int, default=50, help="of each model (default: 50)")
    add("--workers", type=int, default=64, help="(default: 64)")
    add("--nodes", type=int, default=8, help="that the workers are on (default: 8)")
    add("--crash", type=float, default=0.001, help="of a worker, probability a shard (default: 0.001)")
    add(
        "--node-lost",
        type=float,
        default=4 * 3600,
        help="mean seconds until a node is lost (default: 4 hours)",
    )
    add("--node-back", type=float, default=600, help="seconds until it is back (default: 600)")
    add("--json", type=Path, help="file that receives the ratios")
    args = parser.parse_args()
    lines = [overhead(args.images, args.repeat)] if args.images else []
    kinds = measured()
    print(f"\nSIMULATION: {args.models:,} models of {args.shards} shards on {args.workers} workers of "
          f"{args.nodes} nodes; a shard crashes with p = {args.crash:g}, a node is lost every "
          f"{args.node_lost / 3600:g} h and back after {args.node_back:g} s")  # fmt: skip
    found = []
    for seed in range(3):
        taken, ideal, counts = Simulation(kinds, args, seed).run()
        said = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        found.append((ideal / taken, taken / 3600, ideal / 3600, said))
        print(f"   {taken / 3600:.2f} h, ideal {ideal / 3600:.2f} h, {taken / ideal - 1:+.1%}; {said}")
    ratio, taken, ideal, said = min(found)
    lines.append(
        {
            "what": f"SIMULATION: {args.models:,} models of {args.shards} shards on {args.workers} workers",
            "ours": f"{taken:.2f} h",
            "against": f"ideal, without loads and losses: {ideal:.2f} h",
            "ratio": ratio,
            "note": f"the worst of three, from times measured here; {said}",
        }
    )
    if args.json:
        args.json.write_text(json.dumps(lines))


if __name__ == "__main__":
    main()
