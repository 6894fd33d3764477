"""Compare claims with measurements and draw the study's headline figure: how many models are off?

Reads `modelinfo.json` (claims) and `reproducibility/results.json` (measurements, from results.py); writes
`assets/data/err.json` and `err.csv`, `err.png` with its copy in `assets/figures/`, and
`assets/figures/discrepancies.png`.

    python err.py
"""

import argparse
from collections import Counter, defaultdict
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict, replace

from ptm import PTM
from scored.benchmarks import TABLE, Benchmark, benchmark_named, benchmark_of, read_benchmarks
from scored.cli import HelpFormatter, run
from scored.comparisons import ComparisonFile, Series, Summary
from scored.discrepancy_figure import draw_discrepancies
from scored.err_figures import draw_headline
from scored.err_sentences import OURS, describe_laboratories, describe_names
from scored.files import ROOT, UserError, atomic_write, display_path, read_json, write_json
from scored.matching import KnownClaims, summarize, verdict_under_standard
from scored.plots import printable, save_png
from scored.result_rows import PARTIAL, STUDY, is_whole
from scored.schema import SCHEMA, Differences, Explanation, check, check_row, read_versioned
from scored.side_by_side import compare_laboratories
from scored.study_claims import as_claim, read_card_claims
from scored.verdicts import STANDARD

RESULTS = ROOT / "reproducibility" / "results.json"
EXPLANATIONS = ROOT / "reproducibility" / "results" / "explanations.json"
PUBLISHED = ROOT / "assets" / "data" / "published.json"
COLUMNS = (
    "task dataset source protocol model revision metric claimed_as claimed claimed_split measured"
    " measured_split discrepancy off headline verdict rule why identified_split chance"
    " verdict_under_standard claim_from contradicts"
).split()


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────


def read_results(path: Path, benchmarks: dict[str, Benchmark]) -> dict:
    """Read results.json. Raises UserError that names the first row that cannot be compared."""
    command = "python reproducibility/results.py"
    results = read_versioned(path, f"Write it with: {command}")
    advice = f"regenerate it with: {command}"
    for part in ("rows", "discrepancies"):
        if not isinstance(results.get(part), list):
            raise UserError(f"{display_path(path)} lacks a list {part!r}; {advice}")
    for number, row in enumerate(results["rows"], 1):
        where = f"{display_path(path)}, row {number}"
        check_row(row, where, advice)
        benchmark_of(row, benchmarks, where)
    check(results["discrepancies"], list[Differences], display_path(path), advice)
    for entry in results["discrepancies"]:
        benchmark_of(entry, benchmarks, display_path(path))
    return results


def select(entries: list[dict], source: str | None, protocol: str | None) -> list[dict]:
    """Select the entries of a source and protocol; a row without a protocol failed under all of them."""
    selected = []
    for entry in entries:
        if source in (None, entry["source"]) and (not protocol or entry["protocol"] in (protocol, None)):
            selected.append(entry)
    return selected


def read_claims(path: Path, measured: set[str], rows: list[dict]) -> KnownClaims:
    """Read the claims of these models from Hub records; else from cards of 2022, else take the study's."""
    at_revision, at_any, on_cards = {}, {}, read_card_claims()
    for model in PTM.load(path):
        if model.id not in measured:
            continue
        claims = [asdict(claim) | {"from": path.name} for claim in model.claims]
        at_revision[model.id, None] = claims
        if model.sha:
            at_revision[model.id, model.sha] = claims
        else:
            at_any[model.id] = claims
    of_cards = defaultdict(list)
    for card in on_cards:
        if not at_any.get(card.model):
            of_cards[card.model].append(as_claim(card))
    at_any |= of_cards
    for row in rows:
        if row["source"] == STUDY and row.get("claims") and not at_any.get(row["model"]):
            at_any[row["model"]] = [claim | {"from": STUDY} for claim in row["claims"]]
    return KnownClaims(at_revision, at_any, on_cards)


def read_explanations(path: Path, benchmarks: dict[str, Benchmark]) -> list[dict]:
    """Read the explanations of whole splits, if there are any. Raises UserError."""
    if not path.exists():
        return []
    advice = "Write it with: python reproducibility/explain.py MODEL"
    entries = read_versioned(path, advice).get("explanations")
    check(entries, list[dict], display_path(path), advice)
    explanations = [entry for entry in entries if "error" not in entry]
    check(explanations, list[Explanation], display_path(path), advice)
    for explanation in explanations:
        benchmark_named(explanation["dataset"], benchmarks, display_path(path))
    whole = [explanation for explanation in explanations if is_whole(explanation.get("seen", {}))]
    if len(whole) < len(explanations):
        print(f"{len(explanations) - len(whole)} explanations left out: {PARTIAL}")
    return whole


# ── Comparing ─────────────────────────────────────────────────────────────────────────────────────────────


def compare(
    results: dict,
    known: KnownClaims,
    published: dict,
    threshold: Decimal,
    benchmarks: dict[str, Benchmark],
) -> list[Series]:
    """Compare everything: one series per source and protocol, with a summary per data set."""
    all_series = []
    for source, protocol in sources_and_protocols(results["rows"]):
        rows = [row for row in results["rows"] if row["source"] == source]
        rows = [row for row in rows if row["protocol"] in (protocol, None)]  # None: failed under each
        datasets = {}
        for name, benchmark in benchmarks.items():
            rows_here = [row for row in rows if row["dataset"] == name]
            unnamed = differences_of(results, name, source, protocol)
            if rows_here or unnamed:
                datasets[name] = summarize(benchmark, rows_here, unnamed, known, threshold)
        if source == STUDY:
            datasets = add_published(datasets, published)
        measured = max(str(row.get("measured_at") or "")[:10] for row in rows)
        all_series.append(Series(source=source, protocol=protocol, measured=measured, datasets=datasets))
    return add_standard_verdicts(all_series)


def differences_of(results: dict, dataset: str, source: str, protocol: str) -> list[dict]:
    """Select the differences without model names that belong to a data set in one series."""
    selected = []
    for entry in results["discrepancies"]:
        if (entry["dataset"], entry["source"], entry["protocol"]) == (dataset, source, protocol):
            selected.append(entry)
    return selected


def add_published(datasets: dict[str, Summary], published: dict) -> dict[str, Summary]:
    """Add to each of the study's summaries what the paper printed."""
    printed = published["off_by_more_than_1_percent"]
    return {name: replace(summary, published=printed.get(name)) for name, summary in datasets.items()}


def sources_and_protocols(rows: list[dict]) -> list[tuple[str, str]]:
    """List the pairs of source and protocol; a source where all models failed has "none reached"."""
    pairs = {(row["source"], row["protocol"]) for row in rows if row["protocol"]}
    sources = {source for source, _ in pairs}
    pairs |= {(row["source"], "none reached") for row in rows if row["source"] not in sources}
    return sorted(pairs)


def add_standard_verdicts(all_series: list[Series]) -> list[Series]:
    """Add to each comparison under another protocol the verdict on its claim under `standard`."""
    standard = defaultdict(list)
    for series in all_series:
        if series.protocol == "standard":
            for name, summary in series.datasets.items():
                for comparison in summary.models:
                    standard[name, comparison.model, comparison.metric].append(comparison)
    completed = []
    for series in all_series:
        datasets = {}
        for name, summary in series.datasets.items():
            models = []
            for comparison in summary.models:
                if series.protocol != "standard":
                    candidates = standard[name, comparison.model, comparison.metric]
                    verdict = verdict_under_standard(comparison, candidates, series.protocol)
                    comparison = replace(comparison, verdict_under_standard=verdict)
                models.append(comparison)
            datasets[name] = replace(summary, models=models)
        completed.append(replace(series, datasets=datasets))
    return completed


def points_by_cause(explanations: list[dict]) -> dict[str, dict[str, float]]:
    """Add up the absolute points of each cause, by data set."""
    points, models = defaultdict(Counter), Counter()
    for explanation in sorted(explanations, key=lambda explanation: explanation["dataset"]):
        name, unexplained = explanation["dataset"], explanation["unexplained_points"]
        if unexplained is None:  # there was nothing to explain
            continue
        models[name] += 1
        for cause in explanation["causes"]:
            points[name][cause["factor"]] += abs(cause["points"])
        points[name]["unexplained"] += abs(unexplained)
    return {f"{name}\n{models[name]} explained": points[name] for name in points}


# ── Writing ───────────────────────────────────────────────────────────────────────────────────────────────


def comparisons_table(all_series: list[Series]) -> str:
    """Format every comparison as CSV, one line each."""
    import pandas

    lines = []
    for series in all_series:
        for name, summary in series.datasets.items():
            about = {"task": summary.task, "dataset": name}
            about |= {"source": series.source, "protocol": series.protocol}
            lines += [about | msgspec.to_builtins(comparison) for comparison in summary.models]
    return pandas.DataFrame(lines, columns=COLUMNS, dtype=object).to_csv(index=False, lineterminator="\n")


def write_data(folder: Path, comparisons: ComparisonFile) -> None:
    """Write err.json and err.csv."""
    write_json(folder / "err.json", msgspec.to_builtins(comparisons))
    with atomic_write(folder / "err.csv") as file:
        file.write(comparisons_table(comparisons.series))


def write_figures(output: Path, comparisons: ComparisonFile, causes: dict, threshold: Decimal) -> None:
    """Write err.png, its copy, and discrepancies.png."""
    figures, series = output / "assets" / "figures", comparisons.series
    save_png(output / "err.png", draw_headline(series, comparisons.laboratories, causes, threshold))
    with atomic_write(figures / "err.png", "wb") as file:
        file.write((output / "err.png").read_bytes())
    save_png(figures / "discrepancies.png", draw_discrepancies(series, threshold))


def print_comparisons(comparisons: ComparisonFile) -> None:
    """Print k of n for each series and data set, who was left out, and where laboratories differ."""
    compared = []
    for series in comparisons.series:
        is_ours = series.source in (STUDY, OURS)
        if is_ours or any(summary.n for summary in series.datasets.values()):
            compared.append(series)
    for series in compared:
        measured = f", measured {series.measured}" if series.measured else ""
        print(f"{series.source}, protocol {series.protocol}{measured}")
        for name, summary in series.datasets.items():
            low, high = summary.interval or (0, 1)
            share = f"{summary.k}/{summary.n}"
            paper = f"  the paper printed {summary.published}" if summary.published else ""
            print(f"  {name:<22}{share:>8} off  95% interval {low:6.1%} to {high:6.1%}{paper}")
            for reason, count in summary.left_out.items():
                print(f"    {count} left out: {reason}")
            if summary.superseded:
                print(f"    {summary.superseded} older or partial measurements skipped")
            for line in describe_names(summary):
                print(f"    {line}")
            if series.protocol == STANDARD:
                print_verdicts(summary)
    rest = len(comparisons.series) - len(compared)
    if rest:
        print(f"{rest} more series of other laboratories, without a model whose claim is known")
    for line in describe_laboratories(comparisons.laboratories):
        print(line)


def print_verdicts(summary: Summary) -> None:
    """Print how the claim of each model stands, in one sentence."""
    for comparison in summary.models:
        if comparison.headline and comparison.sentence is not UNSET:
            print(f"    {printable(comparison.model, 96)}  {comparison.sentence}")


# ── The command ───────────────────────────────────────────────────────────────────────────────────────────


def threshold_type(text: str) -> Decimal:
    """Parse a number of points."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of points such as 1 or 0.5")
    return value


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare claims with measurements and draw err.png.", formatter_class=HelpFormatter
    )
    add = parser.add_argument
    add("--modelinfo", type=Path, default=ROOT / "modelinfo.json", help="file of Hub records")
    add("--results", type=Path, default=RESULTS, help="table from results.py")
    add("--explanations", type=Path, default=EXPLANATIONS, help="causes from explain.py, if any")
    add("--datasets", type=Path, default=TABLE, metavar="FILE", help="table of data sets")
    add("--threshold", type=threshold_type, default="1", help="off means by more than this, in points")
    add("--source", help="only measurements from this source, e.g. study-2022")
    add("--protocol", help="only measurements under this protocol, e.g. scored-2022")
    add("--output", type=Path, default=ROOT, help="folder that receives err.png and assets/")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    benchmarks = read_benchmarks(args.datasets)
    results = read_results(args.results, benchmarks)
    all_rows = results["rows"]
    selected = {part: select(results[part], args.source, args.protocol) for part in ("rows", "discrepancies")}
    if not selected["rows"]:
        raise UserError(
            f"{display_path(args.results)} has no row of that --source and --protocol; results.py lists them"
        )
    known = read_claims(args.modelinfo, {row["model"] for row in selected["rows"]}, all_rows)
    published = read_json(PUBLISHED, dict)
    explanations = read_explanations(args.explanations, benchmarks)
    all_series = compare(selected, known, published, args.threshold, benchmarks)
    laboratories = []
    for benchmark in benchmarks.values():
        laboratories += compare_laboratories(selected["rows"], benchmark, known, args.threshold)
    comparisons = ComparisonFile(
        schema=SCHEMA,
        threshold_points=float(args.threshold),
        series=all_series,
        published=published,
        laboratories=laboratories,
    )
    write_data(args.output / "assets" / "data", comparisons)
    write_figures(args.output, comparisons, points_by_cause(explanations), args.threshold)
    print_comparisons(comparisons)
    return 0


if __name__ == "__main__":
    run(main)
