"""What does the cluster path cost, and how would a thousand models fare on 64 workers?

First the same model on the same cores, as a local run and with --cluster local: wall-clock seconds of both
commands, start of Ray included. Then a SIMULATION of 1,000 models of 50 shards each on 64 workers: the
project's own board decides what is done next, loads and shards take the seconds that were just measured
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


def simulate(kinds: list[tuple[float, float]], args, seed: int) -> tuple[float, float, dict]:
    """(seconds until all is done, ideal seconds, counts) of one simulated run; times vary by a tenth."""
    from harness.cluster import Board, Work
    from harness.task import StageError

    draw, counts = random.Random(seed), {"crashes": 0, "nodes lost": 0, "loads": 0, "failed models": 0}
    times = [draw.choice(kinds) for _ in range(args.models)]
    board = Board(Work(i, list(range(args.shards))) for i in range(args.models))
    home = {worker: worker // (args.workers // args.nodes) for worker in range(args.workers)}
    events, busy, idle, spent, now, tokens = [], {}, set(home), 0.0, 0.0, itertools.count()

    def begin(worker: int, work=None) -> None:
        """The worker's next shard; of another model, after loading it, where its own has none left."""
        load = 0.0
        if not work or not work.todo:
            if work:
                work.workers -= 1
            if not (work := board.hire()):
                idle.add(worker)
                return
            load = times[work.job][0]
            counts["loads"] += 1
        number, seconds = work.todo.popleft(), times[work.job][1] * draw.uniform(0.9, 1.1)
        busy[worker] = work, number, seconds, next(tokens)
        heapq.heappush(events, (now + load + seconds, "shard", worker, busy[worker][-1]))

    def drop(worker: int, why: str) -> None:
        work, number, *_ = busy.pop(worker)
        work.workers -= 1
        board.lost(work, number, StageError("predict", why, True))

    for node in range(args.nodes):
        heapq.heappush(events, (draw.expovariate(1 / args.node_lost), "lost", node, 0))
    while True:
        for worker in [*idle]:
            idle.discard(worker)
            begin(worker)
        if not busy and not board.open:
            break
        now, kind, who, token = heapq.heappop(events)
        if kind == "shard" and who in busy and busy[who][-1] == token:
            work, _, seconds, _ = busy[who]
            if draw.random() < args.crash:
                counts["crashes"] += 1
                drop(who, "crash")
                idle.add(who)
                continue
            del busy[who]
            spent += seconds
            if not work.why:
                board.answered(work)
            begin(who, work)
        elif kind == "lost":
            counts["nodes lost"] += 1
            for worker in [w for w, node in home.items() if node == who]:
                idle.discard(worker)
                if worker in busy:
                    drop(worker, "node lost")
            heapq.heappush(events, (now + args.node_back, "back", who, 0))
        elif kind == "back":
            idle |= {w for w, node in home.items() if node == who and w not in busy}
            heapq.heappush(events, (now + draw.expovariate(1 / args.node_lost), "lost", who, 0))
    counts["failed models"] = sum(work.why is not None for work in board.closed)
    return now, spent / args.workers, counts


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
        taken, ideal, counts = simulate(kinds, args, seed)
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
