"""Is B as good as A? Compare saved predictions of the same examples, such as a quantized copy's.

Reads files of predictions that the task scripts wrote; prints the examples that flipped, and for each B the
difference, its 90% paired interval and a verdict. Exit code 0: equivalent or better, 3: worse, 4: undecided,
2: other examples, or usage.

    python reproducibility/compare.py A.parquet B.parquet
    python reproducibility/compare.py ORG/MODEL ORG/MODEL@REVISION
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.checkpoint import CannotMeasure, parse_model_argument
from harness.pairs import Examples, Saved, compare_boxes, compare_classes
from harness.plan import reason_to_score
from harness.reference import load_targets
from harness.shards import read_complete_metadata, read_metadata, read_predictions
from harness.task import task_for
from scored.cli import HelpFormatter, run
from scored.files import ROOT, UserError, display_path
from scored.paired import PairedDifference, judge_differences

PREDICTIONS = ROOT / "reproducibility" / "predictions"
SAME = ("dataset", "dataset_revision", "split", "limit")  # of two records about the same examples
EXIT_CODES = {"equivalent": 0, "better": 0, "not worse": 0, "undecided": 4, "worse": 3}


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────


def find_file(text: str, folder: Path) -> Path:
    """Find the file of predictions that an argument names: a path, or MODEL[@REVISION]. Raises UserError."""
    if text.endswith(".parquet"):
        if not Path(text).is_file():
            raise UserError(f"there is no file {text}; name predictions that a task script wrote, or a model")
        return Path(text)
    model, revision = parse_model_argument(text)
    files = []
    for path in sorted(folder.glob("*/[!.]*.parquet")):
        record = read_metadata(path)
        has_revision = record["revision"].removeprefix("sha256:").startswith(revision or "")
        if record["model"] == model and has_revision:
            files.append(path)
    if len(files) != 1:
        names = ": " + ", ".join(display_path(path) for path in files[:5]) if files else ""
        place = display_path(folder)
        raise UserError(f"{len(files)} files in {place} hold predictions of {text}{names}; name one file")
    return files[0]


def read_saved(path: Path) -> Saved:
    """Read a file of predictions. Raises UserError for another file."""
    record = read_metadata(path)
    record = read_complete_metadata(path, task_for(str(record.get("dataset"))))
    return Saved(path, read_predictions(path)[0], record)


def check_same_examples(first: Saved, second: Saved) -> None:
    """Raise UserError unless two files are about the same examples."""
    for key in SAME:
        ours, theirs = first.record[key], second.record[key]
        if ours != theirs:
            raise other_examples(first, second, f"{key} {ours} and {theirs}")
    for column in ("example", "hash"):
        if not first.table[column].equals(second.table[column]):
            raise other_examples(first, second, f"the column {column} differs")


def other_examples(first: Saved, second: Saved, reason: str) -> UserError:
    """Return the error for two files about different examples."""
    files = f"{display_path(first.path)} and {display_path(second.path)}"
    return UserError(f"{files} are about other examples: {reason}; measure both on the same data")


def read_examples(args: argparse.Namespace, saved: Sequence[Saved]) -> Examples:
    """Load what all files are compared on. Raises UserError if the protocol needs other raw outputs."""
    record, table = saved[0].record, saved[0].table
    task = task_for(record["dataset"])
    if args.protocol not in task.protocols:
        raise UserError(f"no protocol {args.protocol!r}; there are {', '.join(task.protocols)}")
    protocol = task.protocols[args.protocol]
    for entry in saved:
        if not reason_to_score(protocol, entry.record):
            raise UserError(f"{display_path(entry.path)} cannot be scored under {args.protocol}")
    if args.data is None and "label" not in table.column_names:
        raise UserError(f"predictions on {task.dataset} hold no labels: give --data, {task.data_help}")
    data = load_targets(task, table, record, args.data)
    return Examples(task, data, protocol, args.metric or task.benchmark.headline, args.margin / 100)


# ── Output ────────────────────────────────────────────────────────────────────────────────────────────────


def print_comparison(
    first: Saved, second: Saved, difference: PairedDifference, verdict: str, examples: Examples
) -> None:
    """Print one comparison in three lines."""
    low, high = (100 * end for end in difference.interval)
    print(f"{second.name} against {first.name}: {verdict}")
    n, task, split = len(examples.data.examples), examples.task, examples.data.split
    values = f"{examples.metric} {difference.second:.4f} against {difference.first:.4f}"
    print(f"  {values} on {n} examples of {task.dataset}, {split}")
    test = "McNemar" if examples.metric.startswith("accuracy") else "bootstrap"
    print(
        f"  difference {100 * difference.difference:+.2f} points, 90% interval {low:+.2f} to {high:+.2f}"
        f" (margin ±{100 * examples.margin:g}); {test} p = {difference.p_difference:.3g}"
    )


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Is B as good as A?", formatter_class=HelpFormatter)
    add = parser.add_argument
    add("first", metavar="A", help="predictions (.parquet), or MODEL[@REVISION] where one file fits")
    add("others", metavar="B", nargs="+", help="the same, of what A is compared with")
    add("--margin", type=float, default=1.0, metavar="POINTS", help="a smaller difference does not matter")
    add("--metric", help="metric to compare (default: the data set's headline metric)")
    add("--protocol", default="standard", help="protocol under which both are scored")
    add("--data", type=Path, help="the data, where predictions hold no labels (images)")
    add("--predictions", type=Path, default=PREDICTIONS, help="folder in which models are looked up")
    args = parser.parse_args()
    if not 0 < args.margin < 100:
        raise UserError(f"--margin must be a number of points between 0 and 100, not {args.margin:g}")
    return args


def main() -> int:
    args = parse_arguments()
    paths = [find_file(text, args.predictions) for text in (args.first, *args.others)]
    first, *others = [read_saved(path) for path in paths]
    for other in others:
        check_same_examples(first, other)
    examples = read_examples(args, [first, *others])
    compare = compare_boxes if examples.task.dataset == "coco" else compare_classes
    try:
        compared = [compare(first, other, examples) for other in others]
    except CannotMeasure as error:
        raise UserError(f"cannot be compared: {error}") from error
    verdicts = judge_differences([difference for difference, _ in compared])
    for other, (difference, flips), verdict in zip(others, compared, verdicts, strict=True):
        for line in flips:
            print(line)
        print_comparison(first, other, difference, verdict, examples)
    return max((EXIT_CODES[verdict] for verdict in verdicts), key=(0, 4, 3).index)


if __name__ == "__main__":
    run(main)
