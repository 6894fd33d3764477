"""Sentences about verdicts: the reason of a verdict, and the line that says all about one claim."""

import math

from msgspec import UNSET

from scored.comparisons import OTHER_SAMPLE, Comparison

DIGITS = ("no", "one digit", "two digits", "three digits", "four digits")


def explain_same_examples(comparison: Comparison) -> str:
    """Explain a verdict by the same examples."""
    size = abs(comparison.discrepancy)
    apart = "equal to the stated digits"
    if size > comparison.precision_points:
        apart = f"{size:.2f} points apart on the same examples"
    if comparison.rule == "only public split":
        return f"split not stated, only {comparison.measured_split} is public; {apart}"
    return apart


def explain_close(comparison: Comparison, name: str, chance: float | None) -> str:
    """Explain why equal digits identify nothing."""
    if chance is None:
        return f"agrees with {name}, but no interval is known that would exclude a coincidence"
    decimals = round(-math.log10(comparison.precision_points / 50))
    digits = DIGITS[decimals] if decimals < len(DIGITS) else "its digits"
    return f"agrees with {name}, but {digits} cannot tell (chance of coincidence {chance:.0%})"


def explain_misses(comparison: Comparison, interval: list[float] | None) -> str:
    """Explain a verdict by all possible splits: by how much each misses the claim."""
    missed, parts = [], []
    for entry in comparison.possible:
        if entry.excluded is not UNSET:
            parts.append(f"{entry.split} is excluded ({entry.excluded})")
        elif entry.misses_points is not UNSET:
            verb = "" if missed else "misses it "
            missed.append(f"{entry.split} {verb}by {entry.misses_points:+.2f}")
        elif entry.split != OTHER_SAMPLE:
            parts.append(f"{entry.split} was not measured")
    if interval is None:
        parts.append("no interval is known for this metric")
    else:
        low, high = interval
        missed.append(f"a sample of {comparison.n_claimed} by {low:+.2f} to {high:+.2f}")
    if missed:
        parts.insert(0, f"in points, {', '.join(missed)}")
    return f"split not stated; {'; '.join(parts)}"


# ── The whole line ────────────────────────────────────────────────────────────────────────────────────────


def write_sentence(comparison: Comparison) -> str:
    """Say what is claimed, what was measured, the verdict and its reason."""
    on = f" on {comparison.claimed_split}" if comparison.claimed_split else ""
    text = f"claimed {comparison.metric} {format_claim(comparison)}{on}"
    measured = format_measured(comparison)
    if measured:
        text = f"{text}; {measured}"
    text = f"{text}: {comparison.verdict}"
    if comparison.why is not UNSET:
        text = f"{text}; {comparison.why}"
    return "".join(c if c.isprintable() else "?" for c in text)  # cards may hold anything


def format_claim(comparison: Comparison) -> str:
    """Write a claim as its card does; what holds several values, as a fraction."""
    stated = comparison.claimed_as
    if isinstance(stated, (dict, list)):
        stated = comparison.claimed
    return f"{stated}"[:40]


def format_measured(comparison: Comparison) -> str:
    """Write the value on each possible split, or the one measured; the first with its examples."""
    values = []
    if comparison.possible is not UNSET:
        measured = [entry for entry in comparison.possible if entry.value is not UNSET]
        values = [(entry.split, entry.n, entry.value) for entry in measured]
    elif comparison.measured is not UNSET:
        values = [(comparison.measured_split, comparison.n_measured, comparison.measured)]
    parts = []
    for split, n, value in values:
        count = "" if parts else f" on all {n:,}"
        parts.append(f"{split} {value:.4f}{count}")
    return ", ".join(parts)
