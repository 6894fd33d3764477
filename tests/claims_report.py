"""Measure how well the claims in card text are read, against what a careful reader finds there.

    python tests/claims_report.py ../shared/cards

Lists every miss and every wrong claim, counts as `score.py` of that folder does, and ends with one line:
`precision 0.988 recall 0.871`. Claims are counted before they are merged with those of the metadata.
"""

import argparse
import collections
import gzip
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scored.card_text import TextClaim, read_claims  # noqa: E402

COUNTED = re.compile(
    r"accuracy(-top\d+|-balanced)?|AP|AP50|AP75|(f1|precision|recall)(-(macro|micro|weighted))?"
)


def read_lines(path: Path) -> list[dict]:
    """Read a file of one JSON object per line, compressed or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def half_unit(written: str) -> float:
    """Return half a unit of the last digit of a value as written, as a fraction."""
    number = written.rstrip("% ")
    unit = 0.5 * 10 ** -len(number.partition(".")[2])
    is_percent = written.endswith("%") or float(number) > 2
    return 1.001 * (unit / 100 if is_percent else unit)


def is_value_of(claim: TextClaim, true: dict) -> bool:
    """Say whether a claim is this metric and value, in any of the places where it stands."""
    if claim.metric != true["metric"] or claim.fraction is None:
        return False
    places = [true, *true.get("also", [])]
    return any(abs(claim.fraction - true["fraction"]) <= half_unit(at["value_as_written"]) for at in places)


def compare(truth: dict, claims: list[TextClaim]) -> tuple[collections.Counter, list[str]]:
    """Count right, wrong and missed claims of one card, and the right splits; describe the faults."""
    counts: collections.Counter = collections.Counter()
    faults = []
    missing, matched = list(truth["claims"]), []
    for claim in claims:
        if not COUNTED.fullmatch(claim.metric or "") or claim.dataset != truth["dataset"]:
            continue
        true = next((true for true in missing if is_value_of(claim, true)), None)
        if true is not None:
            missing.remove(true)
            matched.append(true)
            counts["right"] += 1
            is_split_right = claim.split in true.get("split_ok", [true["split"]])
            counts["split right"] += is_split_right
            if not is_split_right:
                faults.append(f"SPLIT  {truth['id']} {claim.metric} {claim.split}, not {true['split']}")
        elif not any(is_value_of(claim, true) for true in matched + truth.get("optional", [])):
            counts["wrong"] += 1
            faults.append(f"WRONG  {truth['id']} {claim.metric} {claim.value} line {claim.line}")
    for true in missing:
        counts["missed"] += 1
        faults.append(f"MISSED {truth['id']} {true['metric']} {true['value_as_written']} line {true['line']}")
    return counts, faults


def measure(folder: Path) -> tuple[dict[str, collections.Counter], list[str], dict[str, list]]:
    """Read every card of a folder; return counts by kind, the faults, and what was rejected by model."""
    texts = {card["id"]: card["text"] for card in read_lines(folder / "cards.jsonl.gz")}
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    faults, rejections = [], {}
    for truth in read_lines(folder / "truth.jsonl"):
        claims, rejections[truth["id"]] = read_claims(texts[truth["id"]], truth["id"])
        of_card, faults_of_card = compare(truth, claims)
        counts[truth["kind"]] += of_card
        faults.extend(faults_of_card)
    return counts, faults, rejections


def precision_and_recall(counts: collections.Counter) -> tuple[float, float]:
    """Return both; 1 where nothing was read or nothing was there."""
    right, wrong, missed = counts["right"], counts["wrong"], counts["missed"]
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / (right + missed) if right + missed else 1.0
    return precision, recall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="holds cards.jsonl.gz and truth.jsonl")
    parser.add_argument(
        "--rejected", action="store_true", help="also list what was not taken, with the reason"
    )
    arguments = parser.parse_args()
    for name in ("cards.jsonl.gz", "truth.jsonl"):
        if not (arguments.folder / name).is_file():
            parser.error(f"{arguments.folder} has no {name}")
    counts, faults, rejections = measure(arguments.folder)
    if arguments.rejected:
        for model_id, rejected in rejections.items():
            for item in rejected:
                print(
                    "NOT TAKEN",
                    model_id,
                    f"line {item.stated['line']}:",
                    item.reason,
                    "|",
                    item.stated["text"],
                )
    for fault in faults:
        print(fault)
    for kind, of_kind in [*counts.items(), ("all", sum(counts.values(), collections.Counter()))]:
        precision, recall = precision_and_recall(of_kind)
        print(
            f"{kind}: right {of_kind['right']}, wrong {of_kind['wrong']}, missed {of_kind['missed']}, "
            f"splits right {of_kind['split right']} of {of_kind['right']}"
        )
    print(f"precision {precision:.3f} recall {recall:.3f}")


if __name__ == "__main__":
    main()
