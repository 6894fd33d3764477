"""What err.py has to say, in sentences: for its figures, its output and the README."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import UNSET

from scored.claim_numbers import difference_in_points
from scored.comparisons import Comparison, Series, SideBySide, SplitReading, Summary
from scored.result_rows import STUDY
from scored.side_by_side import OURS, STANDARD
from scored.study_claims import APART

MODELS = {  # what the models of a task are called
    "object-detection": "detectors",
    "image-classification": "image classifiers",
    "sentiment-analysis": "sentiment classifiers",
}


@dataclass(frozen=True)
class Count:
    """`k` of `n` models are off, as somebody measured it."""

    k: int
    n: int
    label: str

    @property
    def text(self) -> str:
        """The count in words."""
        return f"{self.k} of {self.n}"


@dataclass(frozen=True)
class DatasetStory:
    """What there is to tell about one data set: the first measurement, and others of it."""

    dataset: str
    first: Count
    summary: Summary
    protocol: str
    others: tuple[Count, ...]

    @property
    def models(self) -> str:
        """What its models are called."""
        return MODELS.get(self.summary.task, f"models on {self.dataset}")


# ── Counts ────────────────────────────────────────────────────────────────────────────────────────────────


def tell(
    all_series: Sequence[Series], laboratories: Sequence[SideBySide], threshold: Decimal
) -> list[DatasetStory]:
    """Make one story per data set with compared models; the study's series comes first, else any."""
    ordered = in_order(all_series)
    names = []
    for series in ordered:
        names += [name for name, summary in series.datasets.items() if summary.n and name not in names]
    stories = []
    for name in names:
        having = [series for series in ordered if name in series.datasets and series.datasets[name].n]
        first = having[0]
        summary = first.datasets[name]
        label = f"{first.source}, {first.protocol}"
        if first.source == STUDY:
            label = f"the study, {first.measured}"
        others = []
        for series in having[1:]:
            if (series.source, series.protocol) == (OURS, STANDARD):
                own = series.datasets[name]
                others.append(Count(own.k, own.n, "ours, standard"))
        others += by_laboratory(name, summary, laboratories, threshold)
        stories.append(
            DatasetStory(name, Count(summary.k, summary.n, label), summary, first.protocol, tuple(others))
        )
    return sorted(stories, key=lambda story: -story.first.k / story.first.n)


def in_order(all_series: Sequence[Series]) -> list[Series]:
    """Order series: the study's, ours under `standard`, ours under others, other laboratories'."""

    def rank(series: Series) -> tuple:
        return series.source != STUDY, series.source != OURS, series.protocol != STANDARD

    return sorted(all_series, key=rank)


def by_laboratory(
    dataset: str, summary: Summary, laboratories: Sequence[SideBySide], threshold: Decimal
) -> list[Count]:
    """Count for each other laboratory how many of the models that are counted in `summary` are off."""
    counted = {comparison.model for comparison in summary.models if comparison.headline}
    off: dict[str, list[bool]] = {}
    for entry in laboratories:
        if entry.dataset != dataset or entry.model not in counted or entry.claimed is None:
            continue
        for value in entry.values:
            if value.source not in (STUDY, OURS):
                points = abs(difference_in_points(entry.claimed, value.value))
                off.setdefault(value.source, []).append(points > threshold)
    return [Count(sum(flags), len(flags), source) for source, flags in sorted(off.items())]


# ── Sentences ─────────────────────────────────────────────────────────────────────────────────────────────


def write_title(stories: Sequence[DatasetStory], threshold: Decimal, year: str) -> str:
    """Say what the figure finds: who missed their claim, and what others measured."""
    worst = [story for story in stories if 2 * story.first.k >= story.first.n] or stories[:1]
    if not worst:
        return "No model was compared with its claim"
    parts = [f"{story.first.text} {story.models}" for story in worst]
    text = f"In {year} {join(parts)} missed their claim by over {write_points(threshold)}"
    by_whom: dict[str, list[str]] = {}
    for story in worst:
        kind = story.models.rpartition(" ")[2]  # classifiers
        for other in story.others[:1]:
            by_whom.setdefault(other.label, []).append(f"{other.text} {kind}")
    clauses = [f"{describe_whom(label)} {join(counts)} do" for label, counts in by_whom.items()]
    return f"{text}; {'; '.join(clauses)}" if clauses else text


def describe_whom(label: str) -> str:
    """Say by whose measurements a count is."""
    return "by our own measurements" if label.startswith("ours") else f"by {label}'s measurements"


def write_points(threshold: Decimal) -> str:
    """Write a threshold in words: a point, 0.5 points."""
    return "a point" if threshold == 1 else f"{threshold.normalize():f} points"


def join(parts: Sequence[str]) -> str:
    """Join with commas and a last "and"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def write_direction(summary: Summary) -> str:
    """Say on which side of their claims the named models lie, and how far."""
    if summary.splits is not UNSET:
        return write_splits(summary.splits)
    values = [entry.discrepancy for entry in summary.models if entry.headline and entry.model is not None]
    below, above = [v for v in values if v < 0], [v for v in values if v > 0]
    if not values:
        return ""
    if len(below) == len(values):
        return f"all below the claim, by {-max(values):.1f} to {-min(values):.1f} points"
    if len(above) == len(values):
        return f"all above the claim, by {min(values):.1f} to {max(values):.1f} points"
    return (
        f"{len(below)} below the claim, {len(above)} above: {min(values):+.1f} to {max(values):+.1f} points"
    )


def write_splits(splits: SplitReading) -> str:
    """Say on which side of the study's values the known claims lie; what it suggests is a question."""
    n = splits.above + splits.below + splits.equal
    mean = f"{splits.mean_points:+.2f} points on average"
    return f"{splits.above} of {n} known claims above the test value, {mean}: claimed on validation?"


def write_verdicts(story: DatasetStory) -> str:
    """Say how many claims got which verdict, why some are open, and what they get under `standard`."""
    counted = [entry for entry in story.summary.models if entry.headline]
    under = "" if story.protocol == STANDARD else f" under {story.protocol}"
    parts = []
    for verdict, count in Counter(entry.verdict for entry in counted).most_common():
        word = inflect(verdict.removesuffix(under), count)
        parts.append(f"{count} {word}{why_open(verdict, counted)}")
    text = f"verdicts{under}: {', '.join(parts)}"
    return f"{text}; under {STANDARD} {write_standard(counted)}" if under else text


def write_standard(counted: Sequence[Comparison]) -> str:
    """Say which verdicts the same claims get under `standard`, as far as their models are measured."""
    known = Counter()
    for entry in counted:
        if entry.model is not None and not str(entry.verdict_under_standard or "not").startswith("not"):
            known[entry.verdict_under_standard] += 1
    if not known:
        return "not judged yet"
    parts = [f"{count} {verdict}" for verdict, count in known.most_common()]
    return f"{', '.join(parts)} so far"


def inflect(verdict: str, count: int) -> str:
    """Inflect a verdict: one differs, several differ."""
    return {"differs": "differ", "agrees": "agree"}.get(verdict, verdict) if count != 1 else verdict


def why_open(verdict: str, counted: Sequence[Comparison]) -> str:
    """Say why claims are inconclusive: no name, no split; nothing for another verdict."""
    if verdict != "inconclusive":
        return ""
    entries = [entry for entry in counted if entry.verdict == verdict]
    unnamed = sum(entry.model is None for entry in entries)
    no_split = sum(entry.model is not None and entry.claimed_split is None for entry in entries)
    reasons = []
    if unnamed:
        reasons.append(f"{unnamed} without a name")
    if no_split:
        reasons.append(f"{no_split} without a split on the card")
    return f" ({', '.join(reasons)})" if reasons else ""


def describe_names(summary: Summary) -> list[str]:
    """Say in lines which differences have a name and what they tell, for the terminal."""
    if summary.splits is UNSET:
        return []
    splits, off = summary.splits, [entry for entry in summary.models if entry.headline and entry.off]
    named_off = sum(entry.model is not None for entry in off)
    n = splits.above + splits.below + splits.equal
    return [
        f"{splits.named} of {splits.named + splits.unnamed} differences named by cards of 2022, "
        f"{named_off} of the {len(off)} off",
        f"of {n} claims {splits.above} above the measured value, {splits.below} below, {splits.equal} equal; "
        f"mean {splits.mean_points:+.2f} points, sign test p = {splits.sign_test_p:.0e}",
        f"{len(splits.apart)} more stand apart, more than {APART} points off",
        write_hub(splits),
        f"inference: {splits.inference}",
    ]


def write_hub(splits: SplitReading) -> str:
    """Say how often the Hub's own evaluator got the study's value on its split, and the card's on another."""
    same, n = splits.hub_on_test
    others, m = splits.hub_on_other_split
    study = f"the Hub's evaluator got the study's value {same} of {n} times"
    return f"{study}, the card's on another split {others} of {m}"


def describe_study(
    all_series: Sequence[Series], laboratories: Sequence[SideBySide], threshold: Decimal
) -> str:
    """Tell in a paragraph what the study measured, what its named models say, and what others measured."""
    stories = [story for story in tell(all_series, laboratories, threshold) if story.protocol != STANDARD]
    counts = join([f"{story.first.text} {story.models}" for story in stories])
    sentences = [f"measured {counts} more than {write_points(threshold)} away from what their cards claim."]
    for story in stories:
        sentences += describe_others(story, laboratories, threshold)
        if story.summary.splits is not UNSET:
            sentences.append(describe_splits(story.summary.splits, story))
    return " ".join(sentences)


def describe_splits(splits: SplitReading, story: DatasetStory) -> str:
    """Say which differences have a name, on which side they lie, and what that suggests."""
    n = splits.above + splits.below + splits.equal
    return (
        f"Dated copies of cards name {splits.named} of the {story.first.n} {story.models}: of {n} claims,"
        f" {splits.above} lie above the measured value and {splits.below} below, {splits.mean_points:+.2f}"
        f" points on average, as if {splits.inference} (an inference)."
    )


def describe_others(story: DatasetStory, laboratories: Sequence[SideBySide], threshold: Decimal) -> list[str]:
    """Say how many of the same models are off by another laboratory's values."""
    sentences = []
    for other in story.others:
        if not other.label.startswith("ours"):
            kind = story.models.rpartition(" ")[2]
            copied = off_by_the_studys_claims(story, laboratories, other.label, threshold)
            note = f" ({copied} by the claims that the study used)" if copied != other.k else ""
            sentences.append(f"By {other.label}'s values of the same weights, {other.text} {kind} are{note}.")
    return sentences


def off_by_the_studys_claims(
    story: DatasetStory, laboratories: Sequence[SideBySide], source: str, threshold: Decimal
) -> int:
    """Count a laboratory's values that are off by the claims that the study compared with."""
    values = {}
    for entry in laboratories:
        for value in entry.values:
            if value.source == source and entry.dataset == story.dataset:
                values[entry.model] = value.value
    off = 0
    for entry in story.summary.models:
        if entry.headline and entry.model in values:
            off += abs(difference_in_points(entry.claimed, values[entry.model])) > threshold
    return off


def describe_laboratories(laboratories: Sequence[SideBySide]) -> list[str]:
    """Say in lines where laboratories differ by more than the nearest of them misses the claim."""
    lines = [f"{len(laboratories)} models measured by several laboratories"] if laboratories else []
    for entry in laboratories:
        if entry.is_finding:
            values = " → ".join(f"{value.source} {100 * value.value:.2f}" for value in entry.values)
            lines.append(f"  {entry.model}: {values}, claimed {100 * entry.claimed:.1f}")
    return lines
