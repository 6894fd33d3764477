"""Count trends over all records of the registry, in one pass.

Reads `modelinfo.json` one line at a time and the study's numbers in `assets/data/`; writes
`assets/data/audit.json`, and one figure per trend, drawn from these counts, to `assets/figures/`.

    python audit.py                     all trends, the figures and a short table
    python audit.py MODEL_ID ...        one page per model
    python audit.py --compare OLD.json  what changed since an earlier audit.json or modelinfo.json
"""

import argparse
import gc
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from ptm import PTM
from scored import trends
from scored.audit_figures import TrendFigure, compose_figures, draw_figure
from scored.audit_pages import compare, model_page, table
from scored.audit_study import (
    DATA,
    compare_registries,
    compare_with_study,
    measured_verdicts,
    read_study,
    sum_by_verdict,
)
from scored.claim_trends import ClaimContents, ClaimQuality, ClaimsByTask
from scored.cli import HelpFormatter, run
from scored.comparisons import ComparisonFile, read_comparisons
from scored.families import Dependencies, Families
from scored.files import ROOT, UserError, display_path, read_json, write_json
from scored.growth import Growth
from scored.plots import printable, save_png
from scored.records import read_records
from scored.schema import SCHEMA

BATCH = 100  # models given to the trends at a time: few enough for the processor's cache


def make_counters(ids: Collection[str]) -> dict:
    """Make the counters of all trends, and of the downloads of some models."""
    quality = ClaimQuality()
    return {
        "about": trends.Registry(),
        "claims_by_task": ClaimsByTask(),
        "claim_contents": ClaimContents(),
        "claim_quality": quality,
        "downloads": trends.Downloads(),
        "growth": Growth(),
        "artifacts_and_risks": trends.ArtifactsAndRisks(),
        "dependencies": Dependencies(),
        "families": Families(quality.shared.claims_of),
        "downloads_of": trends.DownloadsOf(ids),
    }


def count_models(models: Iterable[PTM], counters: dict) -> dict:
    """Give all models to these counters, in one pass; return the result of each."""
    models = iter(models)
    gc.disable()  # there are no cycles to collect, and the search for them takes 40% of the time
    try:
        chunk = list(islice(models, BATCH))
        while chunk:
            batch = trends.Batch(chunk)
            for counter in counters.values():
                counter.add(batch)
            chunk = list(islice(models, BATCH))
    finally:
        gc.enable()
    return {name: counter.result() for name, counter in counters.items()}


def audit(models: Iterable[PTM]) -> dict:
    """Count all trends: what audit.json holds."""
    study, comparisons = read_study(), read_err()
    verdicts = measured_verdicts(comparisons)
    results = count_models(models, make_counters({*study["Hugging Face"]["packages"], *verdicts}))
    about, downloads_of = results.pop("about"), results.pop("downloads_of")
    results["registries"] = compare_registries(study, results["downloads"])
    results["study_and_today"] = compare_with_study(study, results, downloads_of, comparisons)
    results["downloads_by_verdict"] = sum_by_verdict(verdicts, downloads_of)
    return {"schema": SCHEMA, "about": about, "trends": results}


# ── Reading and writing ───────────────────────────────────────────────────────────────────────────────────


def read_models(path: Path) -> Iterable[PTM]:
    """Read the models of a file, with a progress bar where stderr is a terminal."""
    from tqdm import tqdm

    return tqdm(PTM.load(path), unit=" models", unit_scale=True, mininterval=1, disable=None)


def read_err() -> ComparisonFile | None:
    """Read what err.py compared; None where it has not run. Raises UserError."""
    path = DATA / "err.json"
    return read_comparisons(path) if path.exists() else None


def read_earlier(path: Path) -> dict:
    """Read an earlier audit.json, or audit an earlier file of records. Raises UserError for an old schema."""
    earlier = {}
    with suppress(OSError, UserError), open(path, "rb") as file:  # the reader of records says what is wrong
        if file.read(1) == b"{":  # an audit, or records without brackets around them
            earlier = read_json(path, dict)
    if not isinstance(earlier.get("trends"), dict) or not isinstance(earlier.get("about"), dict):
        return audit(read_models(path))
    if earlier.get("schema") != SCHEMA:
        raise UserError(
            f"{display_path(path)} has schema {earlier.get('schema', 1)}, not {SCHEMA}; rewrite it with: "
            f"python audit.py --modelinfo RECORDS --output {display_path(path)}"
        )
    return earlier


def read_pages(path: Path, ids: list[str]) -> list[str]:
    """Make the pages of these models in one pass of the records. Raises UserError for an unknown id."""
    downloads, models = Counter(), {}
    for record in read_records(path):
        if type(record.get("downloads")) is int:
            downloads[record["downloads"]] += 1
        name = record.get("id") or record.get("modelId")
        if name in ids:
            models[name] = PTM.from_record(record)
    missing = [printable(name, 120) for name in ids if name not in models]
    if missing:
        raise UserError(
            f"{display_path(path)} has no model {', '.join(missing)}; check the id, upper and lower case too"
        )
    lines, comparisons = [], read_err()
    for name in dict.fromkeys(ids):
        own = models[name].downloads or 0
        rank = 1 + sum(count for value, count in downloads.items() if value > own)
        lines += model_page(models[name], rank, downloads.total(), comparisons)
    return lines


def write_audit(result: dict, figures: list[TrendFigure], output: Path, folder: Path) -> None:
    """Write audit.json and a PNG of each figure with data; remove that of a figure without."""
    write_json(output, result)
    for figure in figures:
        path = folder / f"{figure.name}.png"
        if figure.panels:
            save_png(path, draw_figure(figure))
        else:
            path.unlink(missing_ok=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=HelpFormatter)
    flag, default_figures = parser.add_argument, ROOT / "assets" / "figures"
    flag("models", nargs="*", metavar="MODEL_ID", help="print a page about each of these and write nothing")
    flag("--modelinfo", type=Path, default=ROOT / "modelinfo.json", help="Hub records, plain or gzipped")
    flag(
        "--compare",
        type=Path,
        metavar="OLD",
        help="print what changed since this audit.json or modelinfo.json",
    )
    flag("--output", type=Path, default=DATA / "audit.json", help="file that receives the counts")
    flag("--figures", type=Path, default=default_figures, help="folder that receives one PNG per trend")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.models:
        print(*read_pages(arguments.modelinfo, arguments.models), sep="\n")
        return 0
    earlier = read_earlier(arguments.compare) if arguments.compare else None
    result = audit(read_models(arguments.modelinfo))
    if earlier:
        print(*compare(earlier, result), sep="\n")
        return 0
    figures = compose_figures(result)
    write_audit(result, figures, arguments.output, arguments.figures)
    print(*table(result["about"], figures), sep="\n")
    return 0


if __name__ == "__main__":
    run(main)
