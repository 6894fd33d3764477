"""What does a sweep of the Hub cost? Requests, CPU seconds per 100,000 models, peak memory.

Serves records on loopback from a process of its own, made from the real ones in ../shared where they are.

    python tests/benchmarks/refresh.py --models 300000
"""

import argparse
import gzip
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/hub/models-2022-02.jsonl.gz"


def serve(count: int, address) -> None:
    """Serve `count` models: the real records again and again, each with its own id."""
    sys.path.insert(0, str(ROOT / "tests/support"))
    from fake_hub import FakeHub

    made_up = {"id": "user/model", "tags": ["pytorch"], "lastModified": "2022-01-01T00:00:00.000Z"}
    real = (
        list(map(json.loads, gzip.decompress(REAL.read_bytes()).splitlines())) if REAL.exists() else [made_up]
    )
    for record in real:
        for key in ("siblings", "config", "cardData"):
            record.pop(key, None)
    with FakeHub(
        {**real[n % len(real)], "id": f"{real[n % len(real)]['id']}-{n}"} for n in range(count)
    ) as hub:
        hub.frozen = True
        hub.page({"sort": ["createdAt"], "direction": ["1"]})
        address.send(hub.url)
        address.recv()
        address.send(len(hub.requests))


def measure_sweep(count: int) -> dict:
    """Sweep a Hub of `count` models; return a row of the table."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(count, there), daemon=True)
    server.start()
    url = here.recv()
    with tempfile.TemporaryDirectory() as folder:
        files = ["--output", f"{folder}/modelinfo.json", "--ignore", f"{folder}/ignore.json"]
        command = [sys.executable, str(ROOT / "modelinfo.py"), "--endpoint", url, *files]
        began = time.monotonic()
        with open(f"{folder}/log", "w+") as log:
            process = subprocess.Popen(command, stderr=log, env={**os.environ, "HF_TOKEN": ""})
            _, code, used = os.wait4(process.pid, 0)
            wall = time.monotonic() - began
            if code:
                log.seek(0)
                sys.exit(log.read())
        size = Path(files[1]).stat().st_size / 1e6
    here.send("stop")
    requests = here.recv()
    server.join()
    each, memory = (used.ru_utime + used.ru_stime) / count * 1e5, used.ru_maxrss / 1024
    return {
        "what": f"refresh of the metadata of {count:,} models",
        "ours": f"{requests:,} requests, {each:.2f} CPU s per 100,000 models, {memory:.0f} MB",
        "against": "",
        "ratio": None,
        "note": f"a Hub on loopback; {wall:.0f} s, a file of {size:.0f} MB",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    sizes = [300_000, 900_000]
    parser.add_argument("--models", type=int, nargs="+", default=sizes, help="default: 300000 900000")
    parser.add_argument("--json", type=Path, help="file that receives the results")
    args = parser.parse_args()
    rows = [measure_sweep(count) for count in args.models]
    for row in rows:
        print(f"{row['what']}: {row['ours']} ({row['note']})")
    if args.json:
        args.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
