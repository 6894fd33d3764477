"""The file explanations.json and its sentences: why claims are missed, one explanation per model and claim.

Written by explain.py and verify.py.
"""

import sys
from pathlib import Path

from harness import label_orders, waterfall
from harness.attribution import shapley, subsets
from harness.measurements import Measurements
from harness.search import LABELS, Search, answers
from harness.task import Task
from scored.files import UserError, display_path, exclusive, write_json
from scored.schema import SCHEMA, read_versioned

UNEXPLAINED = "unexplained"
SHOWN_LABELS = 6  # moved labels in a line of text; all are in the file
MIN_POINTS = 0.01  # points: what a cause must cost to be named
ADVICE = "Delete it and write it again with: python reproducibility/explain.py MODEL"


# ── An entry ──────────────────────────────────────────────────────────────────────────────────────────────


def describe_search(search: Search, observed: dict, repaired: dict) -> dict:
    """Describe what a search came to: points per cause, what remains, what was tried."""
    measurements, task = search.measurements, search.measurements.run.task
    points = points_per_choice(measurements, search.metric, observed, repaired)
    causes = []
    for choice in sorted(points, key=lambda choice: -abs(points[choice])):
        cause = {"factor": name_factor(task, choice), "points": points[choice]}
        cause |= {"faithful": repaired[choice], "seen": observed[choice]}
        causes.append({**cause, "p_value": search.counted[choice].p_value})
    unexplained = search.gap(repaired)
    possible = [choice for choice in search.possible if choice not in search.counted]
    return {
        "causes": causes,
        "unexplained_points": unexplained,
        "named": name_causes(causes, unexplained),
        "tried": [name_factor(task, choice) for choice in search.looked_at],
        "possible": [name_factor(task, choice) for choice in possible],
        **describe_labels(measurements, observed, repaired),
        "forward_passes": len(measurements.passes),
    }


def name_factor(task: Task, choice: str) -> str:
    """Name a choice in the task's words."""
    return task.choice_names.get(choice, choice)


def points_per_choice(measurements: Measurements, metric: str, observed: dict, repaired: dict) -> dict:
    """Compute the Shapley value of each choice in which the two differ, in points."""
    factors = [choice for choice in repaired if repaired[choice] != observed[choice]]
    combinations = {}
    for switched in subsets(factors):
        combinations[switched] = {**repaired, **{choice: observed[choice] for choice in switched}}
    measurements.rows_for(*combinations.values())
    return shapley(lambda switched: 100 * measurements.value(combinations[switched], metric), factors)


def name_causes(causes: list[dict], unexplained: float) -> list[str]:
    """Name the causes that cost more than MIN_POINTS, the largest first."""
    points = {cause["factor"]: cause["points"] for cause in causes}
    points[UNEXPLAINED] = unexplained
    named = [factor for factor in points if abs(points[factor]) > MIN_POINTS]
    return sorted(named, key=lambda factor: -abs(points[factor]))


def describe_labels(measurements: Measurements, observed: dict, repaired: dict) -> dict:
    """Say which labels moved to which class; or else, where it is plain, that the head learned nothing."""
    outputs = measurements.outputs(repaired)
    labels, names = outputs.model_facts["labels"], measurements.run.task.class_names(outputs.data)
    predicted, true, order = answers(measurements, repaired)
    moved = {}
    if repaired[LABELS] != observed[LABELS]:
        declared = answers(measurements, {**repaired, LABELS: observed[LABELS]})[2]
        for label, new, old in zip(labels, order, declared, strict=True):
            if new != old and new in names:
                moved[label] = names[new]
    finding = None if moved else label_orders.describe_head(predicted, true, order, labels)
    return {"moved": moved, "finding": finding}


def describe_ends(
    measurements: Measurements, metric: str, claim: dict | None, observed: dict, reference: dict
) -> dict:
    """Describe a model, a claim on it, and both ends of the gap, without causes yet."""
    task, model = measurements.run.task, measurements.model
    ends = [endpoint(measurements, metric, choices) for choices in (observed, reference)]
    return {
        "model": model.name,
        "revision": model.revision,
        "task": task.name,
        "dataset": task.dataset,
        "metric": metric,
        "claim": claim,
        "verdict": None,
        "seen": ends[0],
        "faithful": ends[1],
        "gap_points": 100 * (ends[0]["value"] - ends[1]["value"]),
        "causes": [],
        "unexplained_points": None,
        "named": [],
        "tried": [],
        "possible": [],
        "moved": {},
        "finding": None,
        "forward_passes": len(measurements.passes),
    }


def endpoint(measurements: Measurements, metric: str, choices: dict) -> dict:
    """Describe one end of the gap: its choices, value and interval, and what it was measured on."""
    (row,) = measurements.rows_for(choices)
    facts = {"choices": choices, "value": row["metrics"][metric], "interval": row["intervals"].get(metric)}
    for key in ("revision", "dataset_revision", "split", "examples", "measured_at", "code", "predictions"):
        facts[key] = row[key]
    for key in ("limit", "device"):
        facts[key] = row["settings"][key]
    return facts


# ── The file ──────────────────────────────────────────────────────────────────────────────────────────────


def read_explanations(path: Path) -> list[dict]:
    """Read the explanations of earlier runs; none if there is no file yet. Raises UserError."""
    explanations = read_versioned(path, ADVICE).get("explanations") if path.exists() else []
    is_list = isinstance(explanations, list)
    if not is_list or not all(isinstance(entry, dict) and "model" in entry for entry in explanations):
        raise UserError(f"{display_path(path)} does not hold explanations. {ADVICE}")
    return explanations


def is_fuller(old: dict, new: dict) -> bool:
    """Whether an explanation covers more than a newer one, which failed or is of a part of the data."""
    return _coverage(old) > _coverage(new)


def _coverage(explanation: dict) -> int:
    try:
        examples = explanation["seen"]["examples"]
        return 2 if examples["evaluated"] == examples["expected"] else 1
    except (KeyError, TypeError):  # it failed, or another program wrote it
        return 0


def store(path: Path, explanation: dict) -> bool:
    """Write an explanation in place of the earlier one of the claim; False if that is fuller."""
    with exclusive(path):
        others = []
        for old in read_explanations(path):
            if not _replaces(explanation, old):
                others.append(old)
            elif is_fuller(old, explanation):
                return False
        explanations = [*others, explanation]
        explanations.sort(
            key=lambda entry: (str(entry["model"]), str(entry.get("dataset")), _claim_key(entry))
        )
        write_json(path, {"schema": SCHEMA, "explanations": explanations})
    return True


def _replaces(new: dict, old: dict) -> bool:
    """Whether a new explanation takes an old one's place: of the same claim, or of another card."""
    if old["model"] != new["model"]:
        return False
    if None in (old.get("dataset"), new.get("dataset")):  # it failed before the data set was known
        return True
    if old["dataset"] != new["dataset"]:
        return False
    is_same_card = old.get("revision") == new.get("revision")
    return not (is_same_card and _claim_key(old) and _claim_key(new)) or _claim_key(old) == _claim_key(new)


def _claim_key(explanation: dict) -> str:
    """Return what tells a model's claims on a data set apart; "" without a claim."""
    claim = explanation.get("claim")
    if not isinstance(claim, dict):
        return ""
    return " ".join(str(claim.get(name)) for name in ("metric", "split", "fraction"))


# ── Sentences ─────────────────────────────────────────────────────────────────────────────────────────────


def describe_causes(explanation: dict) -> list[str]:
    """Say what explains the gap, one line per cause, then what remains and what else is known."""
    if explanation["unexplained_points"] is None:
        return [f"nothing to explain: {explanation['why']}"]
    lines = []
    for cause in explanation["causes"]:
        lines.append(f"{cause['factor']} {cause['points']:+.2f} ({waterfall.format_change(cause)})")
    tried = ", ".join(explanation["tried"]) or "nothing"
    lines.append(f"{UNEXPLAINED} {explanation['unexplained_points']:+.2f} (tried: {tried})")
    if explanation["possible"]:
        examples = explanation["seen"]["examples"]["evaluated"]
        lines.append(f"possible, not shown on {examples:,} examples: {', '.join(explanation['possible'])}")
    if explanation["finding"]:
        lines.append(explanation["finding"])
    if explanation["moved"]:
        moved = [f"{label!r} is {name!r}" for label, name in explanation["moved"].items()]
        more = f", … {len(moved) - SHOWN_LABELS:,} more" if len(moved) > SHOWN_LABELS else ""
        lines.append(f"labels are permuted: {', '.join(moved[:SHOWN_LABELS])}{more}")
    return lines


def format_causes(explanation: dict) -> str:
    """Format the causes of a missed claim as one line."""
    return "; ".join(line for line in describe_causes(explanation) if not line.startswith("labels are"))


def show(explanation: dict) -> None:
    """Print an explanation to stdout, a failure to stderr."""
    if "error" in explanation:
        print(f"{explanation['model']}  failed: {explanation['error']}", file=sys.stderr)
        return
    claim, seen = explanation["claim"], explanation["seen"]
    claimed = "no claim"
    if claim:
        split = f" on {claim['split']}" if claim["split"] else ""
        claimed = f"claimed {100 * claim['fraction']:.2f}{split}"
    measured = f"measured {100 * seen['value']:.2f} on {seen['split']}"
    verdict = explanation["verdict"]
    examples = seen["examples"]
    if claim and examples["evaluated"] < examples["expected"]:
        part = f"{examples['evaluated']:,} of {examples['expected']:,} examples"
        verdict = f"{verdict} on these {part}; a part judges no claim"
    print(f"{explanation['model']}  {explanation['metric']}: {claimed}, {measured}: {verdict}")
    for line in describe_causes(explanation):
        print(f"  {line}")
