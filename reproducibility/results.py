"""Gather every result under `results/` into one table.

Reads the study's files as it laid them out (`COCO/<model>.txt`, the lists under EMOTION and IMAGENET) and the
rows that the task scripts write; writes `results.json` and `results.csv`. The study's rows and new ones stay
apart by `source` and `protocol`. Running it twice changes nothing.

    python reproducibility/results.py
    python reproducibility/results.py --import results-imagenet.csv    # another laboratory's results
    python reproducibility/results.py --check    # score saved predictions once more, write nothing
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from harness import reference
from harness.rows import safe_name
from scored.benchmarks import (
    TABLE,
    Benchmark,
    all_benchmarks,
    benchmark_in_folder,
    benchmark_of,
    read_benchmarks,
)
from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.laboratories import import_results
from scored.publishing import eval_results, model_index, parse_benchmark, publishable_rows, write_yaml
from scored.result_rows import STUDY
from scored.schema import SCHEMA, check, check_row
from scored.study import read_study_text, study_differences, study_row, study_rows

RESULTS = ROOT / "reproducibility" / "results"
COLUMNS = (
    "task dataset split protocol source model revision metric value low high evaluated expected error".split()
)
ROW_ORDER = ("task", "dataset", "source", "protocol", "split", "model", "measured_at")
IMPORTED_KEY = ("model", "revision", "split", "protocol")  # of which a laboratory has one row
COUNTED_BY = ["dataset", "source", "protocol", "state"]
ADVICE = "fix or remove it"
CHECK_HELP = (
    "score saved predictions once more, with scikit-learn and pycocotools: print a line per row, exit with 1 "
    "if a metric differs, and write nothing"
)
IMPORT_HELP = (
    "add another laboratory's results first: timm's results-imagenet.csv, results_*.json of "
    "lm-evaluation-harness, or JSON of Every Eval Ever; may be repeated"
)
BENCHMARK_HELP = (
    "write .eval_results for this benchmark of the Hub, too: its headline metric; may be repeated, such as "
    "dair-ai/emotion:default"
)
DATA_HELP = "data for --check if predictions hold no labels (coco, imagenet-1k); may be repeated"


@dataclass
class Results:
    """What was read so far: rows, differences without model names, and models that the study listed."""

    rows: list[dict] = field(default_factory=list)
    differences: list[dict] = field(default_factory=list)
    candidates: dict[str, tuple[Benchmark, str]] = field(default_factory=dict)  # model -> data set, citation


def read_file(path: Path, benchmarks: dict[str, Benchmark], results: Results) -> None:
    """Add what one file under a data set's folder holds to `results`."""
    benchmark = benchmark_in_folder(path.parent.name, benchmarks)
    if path.suffix == ".txt":
        results.rows += read_study_text(path, benchmark)
        return
    value = read_json(path, dict, "Take the file from the repository again, or remove it.")
    if "rows" in value:
        check(value["rows"], list, display_path(path), ADVICE)
        for number, row in enumerate(value["rows"], 1):
            where = f"{display_path(path)}, row {number}"
            check_row(row, where, ADVICE)
            benchmark_of(row, benchmarks, where)
        results.rows += value["rows"]
    elif "candidates" in value:
        for model in value["candidates"]:
            results.candidates[model] = (benchmark, value["source"])
    elif "discrepancies" in value:
        results.differences.append(study_differences(value, benchmark))
    else:
        results.rows += study_rows(value, benchmark)


def gather(folder: Path, benchmarks: dict[str, Benchmark]) -> dict:
    """Read everything under `folder`, sorted. Raises UserError that names a bad file or unknown folder."""
    results = Results()
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        benchmark_in_folder(place.name, benchmarks)
        for path in sorted(place.iterdir()):
            if path.suffix not in (".txt", ".json"):
                continue
            try:
                read_file(path, benchmarks, results)
            except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
                reason = f"no {error}" if isinstance(error, KeyError) else error
                raise UserError(f"{display_path(path)} does not hold results: {reason}; {ADVICE}") from error
    measured = {row["model"] for row in results.rows if row["source"] == STUDY}
    for model, (benchmark, citation) in results.candidates.items():
        if model not in measured:
            error = "listed by the study, no result published"
            results.rows.append(study_row(benchmark, model, {}, {}, citation, error))
    results.rows.sort(key=lambda row: [str(row.get(key)) for key in ROW_ORDER])
    return {"schema": SCHEMA, "rows": results.rows, "discrepancies": results.differences}


# ── Other laboratories ────────────────────────────────────────────────────────────────────────────────────


def import_file(path: Path, folder: Path, benchmarks: dict[str, Benchmark]) -> None:
    """Add another laboratory's results to `folder`, one file per source; a row replaces an older one."""
    imported = import_results(path)
    by_file: dict[Path, list[dict]] = {}
    for row in imported.rows:
        check_row(row, f"--import {display_path(path)}, {row['model']}", ADVICE)
        file = folder / benchmarks[row["dataset"]].folder / f"{safe_name(row['source'])}.json"
        by_file.setdefault(file, []).append(row)
    for file, new_rows in by_file.items():
        old_rows = read_json(file, dict, ADVICE)["rows"] if file.exists() else []
        rows = {}
        for row in [*old_rows, *new_rows]:
            rows[tuple(str(row[key]) for key in IMPORTED_KEY)] = row
        ordered = [rows[key] for key in sorted(rows)]
        write_json(file, {"schema": SCHEMA, "rows": ordered})
        print(f"{len(new_rows)} rows of {new_rows[0]['source']} in {display_path(file)}")
    for reason, count in sorted(imported.skipped.items()):
        print(f"{count} results skipped: {reason}")
    if not imported.rows:
        print(f"{display_path(path)} holds no result on a data set of {display_path(TABLE)}")


# ── Tables ────────────────────────────────────────────────────────────────────────────────────────────────


def results_table(rows: list[dict]) -> str:
    """Format rows as CSV, one line per metric; a failed model has one line with its error."""
    import pandas

    lines = []
    for row in rows:
        intervals = row.get("intervals") or {}
        metrics = row.get("metrics") or {None: None}
        for metric, value in sorted(metrics.items()):
            low, high = intervals.get(metric) or (None, None)
            line = {**row, **(row.get("examples") or {}), "metric": metric}
            lines.append(line | {"value": value, "low": low, "high": high})
    table = pandas.DataFrame(lines, columns=COLUMNS, dtype=object)
    return table.to_csv(index=False, lineterminator="\n")


def publish(
    rows: list[dict], folder: Path, named: list[str], benchmarks: dict[str, Benchmark], source_url: str
) -> None:
    """Write per model a `model-index` block and, for the benchmarks named, the Hub's `.eval_results`."""
    tasks = {}
    for text in named:
        dataset, task = parse_benchmark(text, benchmarks)
        tasks.setdefault(dataset, []).append(task)
    for model, model_rows in publishable_rows(rows).items():
        block = model_index(model, model_rows, benchmarks, source_url)
        write_yaml(folder / f"{safe_name(model)}.model-index.yaml", block)
        entries = []
        for dataset, names in tasks.items():
            entries += eval_results(model_rows, benchmarks[dataset], names, source_url)
        if entries:
            write_yaml(folder / f"{safe_name(model)}.yaml", entries)


def print_counts(results: dict) -> None:
    """Print how many rows there are of each data set, source and protocol."""
    import pandas

    table = pandas.DataFrame(
        results["rows"], columns=["dataset", "source", "protocol", "error"], dtype=object
    )
    table["protocol"] = table["protocol"].map(str)
    table["state"] = table["error"].map(lambda error: "failed" if isinstance(error, str) else "measured")
    counts = table.groupby(COUNTED_BY).size()
    lines = [(*group, count) for group, count in counts.items()]
    for entry in results["discrepancies"]:
        group = (entry["dataset"], entry["source"], entry["protocol"], "differences")
        lines.append((*group, len(entry["values"])))
    for dataset, source, protocol, state, count in lines:
        print(f"{dataset:<13}  {source:<12}  {protocol:<14}  {state:<11}  {count:>5}")


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def parse_data(text: str) -> tuple[str, Path]:
    """Parse DATASET=DIR."""
    dataset, _, folder = text.partition("=")
    if not folder or dataset not in all_benchmarks() or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"must be DATASET=DIR of a data set and a folder, not {text!r}")
    return dataset, Path(folder)


def parse_arguments() -> argparse.Namespace:
    """Parse and check the command line. Raises UserError."""
    parser = argparse.ArgumentParser(
        description="Gather every result into results.json and results.csv.", formatter_class=HelpFormatter
    )
    add = parser.add_argument
    add("--results", type=Path, default=RESULTS, help="folder of results")
    add("--output", type=Path, default=RESULTS.parent, help="folder for the two tables")
    add("--datasets", type=Path, default=TABLE, metavar="FILE", help="table of data sets")
    add("--import", type=Path, action="append", dest="imports", metavar="FILE", help=IMPORT_HELP)
    add("--eval-results", type=Path, metavar="DIR", help="folder for YAML for the Hub: model-index blocks")
    add("--benchmark", action="append", default=[], metavar="DATASET:TASK", help=BENCHMARK_HELP)
    add("--source-url", metavar="URL", help="where these results are published, for --eval-results")
    add("--check", action="store_true", help=CHECK_HELP)
    add("--predictions", type=Path, metavar="DIR", help="raw outputs for --check (default: as the rows say)")
    add("--data", type=parse_data, action="append", metavar="DATASET=DIR", help=DATA_HELP)
    args = parser.parse_args()
    if args.eval_results and not (args.source_url or "").startswith(("https://", "http://")):
        raise UserError("--eval-results needs --source-url, the address where these results are published")
    if args.benchmark and not args.eval_results:
        raise UserError("--benchmark needs --eval-results, the folder to write to")
    if not args.results.is_dir():
        raise UserError(f"--results {display_path(args.results)} is not a folder; run from a whole checkout")
    return args


def main() -> int:
    args = parse_arguments()
    benchmarks = read_benchmarks(args.datasets)
    for path in args.imports or ():
        import_file(path, args.results, benchmarks)
    results = gather(args.results, benchmarks)
    if args.check:
        return reference.report(results["rows"], args.predictions, dict(args.data or ()))
    write_json(args.output / "results.json", results)
    with atomic_write(args.output / "results.csv") as file:
        file.write(results_table(results["rows"]))
    if args.eval_results:
        publish(results["rows"], args.eval_results, args.benchmark, benchmarks, args.source_url)
    print_counts(results)
    return 0


if __name__ == "__main__":
    run(main)
