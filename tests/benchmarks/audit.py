"""Time the audit of a registry, beside `json.load` and pandas on the same file.

Makes a file of records from the real ones in `../shared/hub/`, numbered so that ids differ, and runs each way
in its own process: CPU seconds, seconds by the clock, and the peak memory of the process.

    python tests/benchmarks/audit.py [--records 300000] [--repeat 3] [--only audit] [--json FILE]
"""

import argparse
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
from run import machine  # noqa: E402

from scored.cli import HelpFormatter  # noqa: E402

END = """
seconds = time.perf_counter() - start
print(time.process_time(), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
AUDIT = """
import resource, sys, time
sys.path.insert(0, sys.argv[2])
start = time.perf_counter()
from pathlib import Path
import audit
audit.audit(audit.PTM.load(Path(sys.argv[1])))
"""
# What a notebook would do for trends 1 to 4 and 6 to 8; it judges a claim only by its number.
PANDAS = """
import resource, sys, time
start = time.perf_counter()
import json
import pandas as pd
with open(sys.argv[1], encoding="utf-8") as file:
    frame = pd.DataFrame(json.load(file))
def readable(r):
    kinds = isinstance(r, dict) and isinstance(r.get("dataset"), dict) and isinstance(r.get("metrics"), list)
    return kinds and all(isinstance(m, dict) for m in r["metrics"])
cards = [(name, index) for name, index in zip(frame["id"], frame["model-index"]) if isinstance(index, list)]
results = [{"id": name, **r} for name, index in cards for e in index
           if isinstance(e, dict) for r in e.get("results") or [] if readable(r)]
meta = ["id", *(["dataset", key] for key in ("type", "name", "config", "split", "revision"))]
claims = pd.json_normalize(results, "metrics", meta, errors="ignore", record_prefix="metric.")
datasets, metrics = claims["dataset.type"].value_counts(), claims["metric.type"].value_counts()
each = claims.groupby("id").size().value_counts()
claims["number"] = pd.to_numeric(claims["metric.value"], errors="coerce")
quality = claims[["number", "dataset.split", "dataset.revision"]].isna().sum()
units = pd.cut(claims["number"], [0, 1, 2, 100]).value_counts()
same = ["dataset.type", "dataset.config", "dataset.split", "metric.type", "number"]
equal = claims.groupby(same, dropna=False)["id"].nunique().gt(1).sum()
of_models = claims.groupby("id").size().reindex(frame["id"]).fillna(0).to_numpy()
by_claims = frame["downloads"].groupby(of_models > 0).agg(["sum", "size"])
by_task = frame["id"].isin(claims["id"]).groupby(frame["pipeline_tag"], dropna=False).agg(["sum", "size"])
loads = frame["downloads"].fillna(0).sort_values(ascending=False)
lorenz = loads.cumsum() / loads.sum()
month = pd.to_datetime(frame["lastModified"]).dt.strftime("%Y-%m")
months = frame.assign(n=of_models).groupby(month)["n"].agg(["sum", "size"])
tags = frame[["id", "tags", "downloads"]].explode("tags")
kinds = ["safetensors", "pytorch", "gguf", "onnx", "custom_code"]
formats = tags[tags["tags"].isin(kinds)].groupby("tags")["downloads"].agg(["sum", "size"])
licenses = frame["id"].isin(tags[tags["tags"].str.startswith("license:", na=False)]["id"]).sum()
rest = [tags["tags"][tags["tags"].str.startswith(p, na=False)].value_counts() for p in ("dataset:", "base_m")]
"""
LOAD = """
import resource, sys, time
start = time.perf_counter()
import json
with open(sys.argv[1], encoding="utf-8") as file:
    json.load(file)
"""
COMPILED = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # both ways start from compiled modules
WAYS = {"audit": AUDIT, "json.load + pandas": PANDAS, "json.load only": LOAD}


def make(path: Path, count: int) -> None:
    """Write `count` records, one per line: the real ones over and over, each with its own id."""
    real = []
    for source in sorted((ROOT.parent / "shared" / "hub").glob("*.jsonl.gz")):
        with gzip.open(source) as file:
            real += [line.strip() for line in file]
    with open(path, "wb") as file:
        file.write(b"[\n")
        for number, line in enumerate(itertools.islice(itertools.cycle(real), count)):
            file.write(b",\n" if number else b"")
            file.write(re.sub(rb'"id": ?"', b'"id": "%d-' % (number // len(real)), line, count=1))
        file.write(b"\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=HelpFormatter)
    parser.add_argument("--records", type=int, default=300_000, help="records in the file")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each way in turns; the fastest counts")
    parser.add_argument(
        "--only", choices=WAYS, help="only this way; pandas needs 10 times the file in memory"
    )
    parser.add_argument("--json", type=Path, help="file that receives the result")
    args = parser.parse_args()
    if args.json and args.only:
        parser.error("--json needs both ways; leave --only out")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "modelinfo.json"
        make(path, args.records)
        size = path.stat().st_size / 1e6
        print(machine())
        print(f"{args.records:,} records, {size:,.0f} MB; the fastest of {args.repeat} by CPU time\n")
        ways = {name: script for name, script in WAYS.items() if args.only in (None, name)}
        runs = {name: [] for name in ways}
        subprocess.run([sys.executable, "-c", "import audit, pandas"], check=True, cwd=ROOT, env=COMPILED)
        for _, (name, script) in itertools.product(range(args.repeat), ways.items()):  # in turns
            command = [sys.executable, "-c", script + END, str(path), str(ROOT)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=COMPILED)
            runs[name].append([float(number) for number in done.stdout.split()])
    print(f"{'way':20} {'CPU s':>8} {'wall s':>8} {'peak MB':>8} {'us/record':>10} {'CPU ratio':>10}")
    first = min(next(iter(runs.values())))[0]
    for name, measurements in runs.items():
        cpu, wall, memory = min(measurements)
        each = cpu / args.records * 1e6
        print(f"{name:20} {cpu:8.1f} {wall:8.1f} {memory:8,.0f} {each:10.1f} {cpu / first:10.1f}")
    if args.only:
        return
    ours, theirs = runs["audit"], runs["json.load + pandas"]
    turns = ", ".join(f"{b[0] / a[0]:.1f}" for a, b in zip(ours, theirs, strict=True))
    print(f"ratio of each turn: {turns}")
    if args.json:
        row = {
            "what": f"audit of {args.records:,} records, {size:,.0f} MB",
            "ours": f"{min(ours)[0]:.1f} CPU s, {min(ours)[2]:,.0f} MB",
            "against": f"`json.load` and pandas: {min(theirs)[0]:.1f} CPU s, {min(theirs)[2]:,.0f} MB",
            "ratio": min(theirs)[0] / min(ours)[0],
            "note": f"turn by turn {turns}",
        }
        args.json.write_text(json.dumps([row]), encoding="utf-8")


if __name__ == "__main__":
    main()
