"""How often do the 95% intervals of COCO's twelve numbers cover the value of the whole population?

Populations of ten times val2017's sizes are generated (support/coco_population.py); sets of images are drawn
from them, and each gets the intervals that detection.py would give it. Speed is not measured.

    python tests/benchmarks/coverage.py [--sets N] [--images N …] [--json FILE] [--readme]
"""

import argparse
import json
import re
import sys
from pathlib import Path

from runners import ROOT

sys.path[:0] = [str(ROOT / "reproducibility"), str(ROOT / "tests" / "support")]
COUNTS = ROOT.parent / "shared" / "coco" / "val2017-counts.json"
README = ROOT / "tests" / "benchmarks" / "README.md"


def table(results: list[dict]) -> str:
    """Format the results as a table in Markdown: a row per detector and size, and one of all detectors."""
    names = list(results[0]["covered"])
    lines = [f"| images | detector | sets | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for n in dict.fromkeys(result["images"] for result in results):
        of_size = [result for result in results if result["images"] == n]
        total = sum(result["sets"] for result in of_size)
        for result in of_size:
            cells = [f"{100 * result['covered'][name]:.0f}%" for name in names]
            title = f"{result['detector']}, AP {result['true']['AP']:.2f}"
            lines.append(f"| {n:,} | {title} | {result['sets']} | {' | '.join(cells)} |")
        cells = []
        for name in names:
            share = sum(result["sets"] * result["covered"][name] for result in of_size) / total
            cells.append(f"**{100 * share:.0f}%**")
        lines.append(f"| {n:,} | all | {total} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the study for each size and detector; print the table, or write it into the README."""
    from coco_population import DETECTORS, interval_coverage, read_counts

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", type=int, default=60, help="per detector (default: 60)")
    parser.add_argument("--images", type=int, nargs="+", default=[5000], help="per set (default: 5000)")
    parser.add_argument("--halves", type=int, default=200, help="draws of half of a set (default: 200)")
    parser.add_argument("--json", type=Path, help="file to write the results to, and to go on from")
    parser.add_argument(
        "--readme", action="store_true", help="write the table into tests/benchmarks/README.md"
    )
    args = parser.parse_args()
    results = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    counts = read_counts(COUNTS)
    done = {(result["images"], result["detector"]) for result in results}
    for n in args.images:
        for number, detector in enumerate(DETECTORS):
            if (n, detector.name) in done:
                continue
            results.append(interval_coverage(counts, detector, n, args.sets, args.halves, seed=number))
            print(json.dumps(results[-1]), flush=True)
            if args.json:
                args.json.write_text(json.dumps(results, indent=1))
    print(table(results))
    if args.readme:
        text = README.read_text(encoding="utf-8")
        block = f"<!-- coverage -->\n{table(results)}\n<!-- /coverage -->"
        README.write_text(re.sub(r"<!-- coverage -->.*<!-- /coverage -->", lambda _: block, text, flags=re.S))
    return 0


if __name__ == "__main__":
    sys.exit(main())
