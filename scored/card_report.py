"""What a card claims, and what a reader of it would still have to guess, as lines of text."""

from scored.cards import ModelCard
from scored.claims import Claim, Rejected
from scored.plots import printable

AVERAGED = ("f1", "precision", "recall")  # of several classes, so that the average must be stated
OWN_AVERAGE = ("question-answering", "token-classification")  # whose usual F1 leaves no choice


def missing_facts(claim: Claim) -> list[str]:
    """Return what a claim must state and does not: split, unit, average."""
    missing = []
    if claim.split is None:
        missing.append("split")
    if claim.unit == "ambiguous":
        missing.append("unit")
    if claim.metric in AVERAGED and claim.task not in OWN_AVERAGE:
        missing.append("average")
    return missing


def describe_card(card: ModelCard) -> list[str]:
    """Describe a card's claims, then the entries and values that were not read as claims."""
    lines = []
    for claim in card.claims:
        lines += describe_claim(claim)
    if not card.claims:
        lines.append("no claim")
    if card.rejected:
        lines.append("not read as claims:")
    for rejected in card.rejected:
        lines.append(f"  {describe_rejected(rejected)}")
    if any(claim.revision is None for claim in card.claims):
        lines.append("note: claims without a revision of their data set")
    return lines


def describe_rejected(rejected: Rejected) -> str:
    """Describe an entry of the metadata, or a value in the text with its line."""
    reason, stated = printable(rejected.reason, 60), rejected.stated
    if isinstance(stated, dict) and set(stated) == {"line", "text"}:
        return f"line {stated['line']}, {reason}: {printable(stated['text'], 60)}"
    return f"metadata, {reason}: {printable(rejected.text, 60)}"


def describe_claim(claim: Claim) -> list[str]:
    """Describe a claim in one line, and below it what it leaves open."""
    data = claim.dataset if claim.config is None else f"{claim.dataset} ({claim.config})"
    split = f", split {printable(claim.split, 30)}" if claim.split else ""
    place = claim.source if claim.line is None else f"{claim.source}, line {claim.line}"
    if claim.line is not None and claim.source != "card text":
        place = f"{claim.source} and text, line {claim.line}"
    value, metric = printable(claim.value, 24), printable(claim.metric or "no metric", 40)
    lines = [f"{metric} {value} on {printable(data, 60)}{split}  ({place})"]
    missing = missing_facts(claim)
    if missing:
        lines.append(f"  missing: {', '.join(missing)}")
    if claim.split_note:
        lines.append(f"  split unknown: {printable(claim.split_note, 120)}")
    if claim.bound:
        lines.append("  a bound, compared with nothing")
    if claim.contradicts is not None:
        lines.append(f"  contradicted elsewhere in the card: {printable(claim.contradicts, 24)}")
    return lines
