"""What verify.py says about a model: each claim with its verdict, the exit code, and at most five lines."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from scored.claim_values import show_value
from scored.claims import Claim
from scored.cli import to_line
from scored.verdicts import AVERAGES

FAILED = "failed to run"
ELSEWHERE = "not measured here"
UNDERSPECIFIED = "claim underspecified"
EXIT_CODES = {"reproduced": 0, "close": 0, "understated": 0, "overstated": 3, "inconclusive": 4, FAILED: 1}
WORST_FIRST = (1, 3, 4, 0)
MOST_CLAIMS = 6  # that the five lines show; --markdown and --junit show all


@dataclass(frozen=True)
class Judgment:
    """A claim, the verdict on it, why, and the causes where it was explained."""

    claim: Claim
    verdict: str
    why: str  # a sentence
    causes: str = ""  # a line


@dataclass(frozen=True)
class Verification:
    """What was measured of a model and how its claims stand."""

    model: str
    revision: str | None = None
    task: str | None = None
    dataset: str | None = None
    rows: dict[str, dict] = field(default_factory=dict)  # split -> row
    judgments: tuple[Judgment, ...] = ()  # the worst first
    error: str | None = None  # why it could not run
    note: str | None = None  # why there is nothing to judge


# ── Exit codes ────────────────────────────────────────────────────────────────────────────────────────────


def worst_code(codes: Iterable[int]) -> int:
    """Return the worst exit code; 4 if there is none."""
    return min(codes, key=WORST_FIRST.index, default=4)


def exit_code(verification: Verification) -> int:
    """Return a model's exit code. Claims that cannot be judged here count only if no other was."""
    if verification.error:
        return EXIT_CODES[FAILED]
    verdicts = [judgment.verdict for judgment in verification.judgments]
    return worst_code(EXIT_CODES[verdict] for verdict in verdicts if verdict in EXIT_CODES)


def sort_judgments(judgments: Iterable[Judgment]) -> tuple[Judgment, ...]:
    """Sort the worst first, and last the claims that cannot be judged here."""

    def rank(judgment: Judgment) -> int:
        code = EXIT_CODES.get(judgment.verdict)
        return len(WORST_FIRST) if code is None else WORST_FIRST.index(code)

    return tuple(sorted(judgments, key=rank))


# ── Words for a claim and a measurement ───────────────────────────────────────────────────────────────────


def place_of(claim: Claim) -> str:
    """Return where a claim stands: in the card's metadata, in a line of its text, or in --claim."""
    if claim.source == "card text":
        return f"card text line {claim.line}"
    if claim.source == "model-index":
        return f"card metadata and text line {claim.line}" if claim.line else "card metadata"
    return claim.source


def split_of(claim: Claim) -> str:
    """Return what a claim says about its split."""
    if claim.split:
        return f"split {claim.split}"
    if claim.possible_splits:
        return f"split in doubt: {' or '.join(claim.possible_splits)}"
    return "names no split"


def describe_claim(claim: Claim, dataset: str | None) -> str:
    """Describe a claim: metric, value as stated, data set unless it is the one measured, place, split."""
    value = claim.value if isinstance(claim.value, str) else show_value(claim.value, 40)
    metric = claim.metric or claim.metric_stated or "a value"
    parts = [to_line(metric, 60), to_line(value, 40)]
    if claim.dataset != dataset:
        parts.append(f"on {to_line(claim.dataset, 60)}")
    parts.append(f"({to_line(place_of(claim), 60)}, {to_line(split_of(claim), 80)})")
    return " ".join(parts)


def metrics_for(claim: Claim, row: dict) -> list[str]:
    """List the measured metrics that a claim may be about: the averages for a plain F1."""
    names = [claim.metric, *(f"{claim.metric}-{average}" for average in AVERAGES)]
    return [name for name in names if name in row["metrics"]]


def describe_value(row: dict, metric: str) -> str:
    """Describe a measured value, with its 95% interval if there is one."""
    interval = (row.get("intervals") or {}).get(metric)
    value = f"{row['split']} {row['metrics'][metric]:.4f}"
    return f"{value} [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else value


def describe_measured(verification: Verification) -> str:
    """Describe the measured values of the claimed metrics on each split, and why one has no interval."""
    values: dict[str, list[str]] = {}
    reasons: dict[str, None] = {}
    for judgment in verification.judgments:
        for row in verification.rows.values():
            for metric in metrics_for(judgment.claim, row):
                value = describe_value(row, metric)
                if value not in values.setdefault(metric, []):
                    values[metric].append(value)
                method = (row.get("interval_method") or {}).get(metric, "")
                if method.startswith("none: "):
                    reasons[method.removeprefix("none: ")] = None
    text = "; ".join(f"{metric} on {', '.join(parts)}" for metric, parts in values.items())
    if "[" in text:
        text += " (95% intervals)"
    return f"{text} (no interval: {'; '.join(reasons)})" if reasons else text


def describe_data(verification: Verification) -> str:
    """Describe the model, and the data that it was measured on."""
    revision = (verification.revision or "").removeprefix("sha256:")[:12]
    model = to_line(verification.model, 120) + (f" @ {revision}" if revision else "")
    if not verification.dataset:
        return model
    parts = []
    for row in verification.rows.values():
        evaluated, expected = row["examples"]["evaluated"], row["examples"]["expected"]
        size = f"{evaluated:,}" if evaluated == expected else f"{evaluated:,} of {expected:,}"
        parts.append(f"{row['split']} {size} examples")
    measured = ", ".join(parts) or "nothing measured"
    return f"{model}  {verification.task} on {verification.dataset}: {measured}"


# ── Five lines ────────────────────────────────────────────────────────────────────────────────────────────


def summarize_rest(judgments: tuple[Judgment, ...]) -> str:
    """Summarize the claims that are not shown."""
    counts = Counter(judgment.verdict for judgment in judgments)
    return f"{len(judgments)} more: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"


def number_items(texts: list[str]) -> str:
    """Join texts in one line, numbered if there are several; empty ones are left out."""
    if len(texts) == 1:
        return texts[0]
    return "  ".join(f"({number}) {text}" for number, text in enumerate(texts, 1) if text)


def format_lines(verification: Verification) -> list[str]:
    """Format at most five lines: model and data, claims, measured values, verdicts, causes."""
    shown, rest = verification.judgments[:MOST_CLAIMS], verification.judgments[MOST_CLAIMS:]
    claims = [describe_claim(judgment.claim, verification.dataset) for judgment in shown]
    verdicts = [f"{judgment.verdict}: {to_line(judgment.why, 400)}" for judgment in shown]
    fields = {
        "claimed": number_items(claims),
        "measured": describe_measured(verification),
        "verdict": number_items(verdicts) or f"nothing to judge: {to_line(verification.note or '', 400)}",
        "causes": number_items([to_line(judgment.causes, 400) for judgment in shown]),
    }
    if rest:
        fields["verdict"] += f"  … {summarize_rest(rest)}"
    if verification.error:
        fields["verdict"] = f"{FAILED}: {to_line(verification.error, 500)}"
    lines = [describe_data(verification)]
    for label, text in fields.items():
        if text:
            lines.append(f"  {label:8}  {text}")
    return lines
