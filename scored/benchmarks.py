"""Data sets on which models are measured: one entry each in `benchmarks.toml`, read and checked here."""

import functools
import tomllib
from pathlib import Path

import msgspec

from scored.files import ROOT, UserError, display_path

TABLE = ROOT / "scored" / "benchmarks.toml"
# COCO's twelve numbers, in the order in which pycocotools prints them
COCO_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
ADD_ENTRY = f"add an entry to {display_path(TABLE)}"


class Benchmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One data set, with the facts that benchmarks.toml explains."""

    name: str
    task: str
    hub_id: str
    folder: str
    headline: str
    splits: dict[str, int]
    public: tuple[str, ...]
    default: str
    config: str | None = None
    configs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    eval_tasks: tuple[str, ...] = ()
    study: str | None = None
    script: str | None = None
    hub_task: str | None = None
    labels: tuple[str, ...] = ()


def read_benchmarks(path: Path = TABLE) -> dict[str, Benchmark]:
    """Read a table of data sets: name -> Benchmark. Raises UserError that names the entry."""
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {display_path(path)}: {error}") from error
    benchmarks = {}
    for name, entry in entries.items():
        try:
            benchmark = msgspec.convert({"name": name, **entry}, Benchmark)
            _check(benchmark)
        except (TypeError, ValueError) as error:
            raise UserError(f"{display_path(path)}, entry {name!r}: {error}") from error
        benchmarks[name] = benchmark
    folders = [benchmark.folder for benchmark in benchmarks.values()]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(f"{display_path(path)}: two entries use the folder {folder!r}")
    return benchmarks


def _check(benchmark: Benchmark) -> None:
    """Raise ValueError for a split that the entry does not have."""
    for split in (*benchmark.public, benchmark.default):
        if split not in benchmark.splits:
            raise ValueError(f"split {split!r} is not one of {', '.join(benchmark.splits)}")
    if benchmark.default not in benchmark.public:
        raise ValueError(f"the labels of the default split {benchmark.default!r} are not public")


@functools.cache
def all_benchmarks() -> dict[str, Benchmark]:
    """Return the project's own table."""
    return read_benchmarks()


def benchmark_named(
    name: str, benchmarks: dict[str, Benchmark] | None = None, where: str | None = None
) -> Benchmark:
    """Return the data set of that name, of the project's table or another. Raises UserError for `where`."""
    benchmarks = benchmarks or all_benchmarks()
    if name not in benchmarks:
        message = f"unknown data set {name!r}; known are {', '.join(benchmarks)}; {ADD_ENTRY}"
        raise UserError(f"{where}: {message}" if where else message)
    return benchmarks[name]


def benchmark_in_folder(folder: str, benchmarks: dict[str, Benchmark] | None = None) -> Benchmark:
    """Return the data set whose results lie in that folder. Raises UserError for an unknown one."""
    by_folder = {}
    for benchmark in (benchmarks or all_benchmarks()).values():
        by_folder[benchmark.folder] = benchmark
    if folder not in by_folder:
        raise UserError(f"unknown results folder {folder!r}; known are {', '.join(by_folder)}; {ADD_ENTRY}")
    return by_folder[folder]


def benchmark_of(row: dict, benchmarks: dict[str, Benchmark], where: str) -> Benchmark:
    """Return the data set of a result row. Raises UserError if it or its task is unknown."""
    benchmark = benchmark_named(row["dataset"], benchmarks, where)
    if row["task"] != benchmark.task:
        task = benchmark.task
        raise UserError(f"{where}: unknown task {row['task']!r}; that of {benchmark.name} is {task!r}")
    return benchmark
