"""A claim that leaves its split or average open: identified by its digits, else judged on all it may be."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claims_without_split import claim_of, judge, rows_on
from profiles import draw
from rows import make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.verdicts import agrees, judge_claim, misses, splits_left_open

BOTH = {"validation": 0.9025, "test": 0.8885}  # what emotion-tiny reaches
F1 = {"accuracy": 0.9025, "f1-macro": 0.7031, "f1-micro": 0.9025, "f1-weighted": 0.9031}


# ── The split ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "verdict", "rule", "split"),
    [
        (0.9025, "reproduced", "split identified", "validation"),
        (0.8885, "reproduced", "split identified", "test"),
        (0.9, "close", "split identified", None),  # one digit more than half of all models have
        (0.903, "close", "split identified", None),  # three digits: 0.9025 rounds to it
        (0.9175, "inconclusive", "possible splits", None),  # raised by 1.5 points
        (0.9026, "inconclusive", "possible splits", None),  # close to a split is no agreement
        (0.9825, "overstated", "possible splits", None),  # raised by 8 points
        (0.82, "understated", "possible splits", None),
    ],
)
def test_claim_without_a_split(value, verdict, rule, split):
    comparison = judge(claim_of(value), rows_on(**BOTH))
    identified = None if comparison.identified_split is msgspec.UNSET else comparison.identified_split
    assert (comparison.verdict, comparison.rule, identified) == (verdict, rule, split)
    places = {entry.split: entry.n for entry in comparison.possible}
    assert places == {"validation": 2000, "test": 2000, "another sample": 200}


def test_sentence_says_all():
    assert judge(claim_of(0.9025), rows_on(**BOTH)).sentence == (
        "claimed accuracy 0.9025; validation 0.9025 on all 2,000, test 0.8885: reproduced; "
        "split not stated, identified as validation"
    )
    raised = judge(claim_of(0.9175), rows_on(**BOTH))
    assert raised.why.startswith("split not stated; in points, validation misses it by -1.50, test by -2.90")
    low, high = raised.interval_points
    assert f"a sample of 200 by {low:+.2f} to {high:+.2f}" in raised.why and low < -2.9 < -1.5 < high
    coarse = judge(claim_of(0.9), rows_on(**BOTH))
    assert coarse.why.startswith(
        "agrees with validation, but two digits cannot tell (chance of coincidence 8"
    )


def test_value_beside_an_open_claim_is_that_of_the_nearest_split():
    comparison = judge(claim_of(0.93), rows_on(**BOTH))
    assert (comparison.measured, comparison.measured_split, comparison.discrepancy) == (
        0.9025,
        "validation",
        -2.75,
    )


def test_more_accurate_claims_are_more_often_coincidence():
    """On 200 examples, a model that errs on 5 in 100 makes the likeliest number of errors one time in 8."""
    rows = rows_on(validation=0.9505, test=0.93)
    comparison = judge(claim_of(0.9505), rows)
    assert comparison.verdict == "close" and 0.12 < comparison.chance < 0.14


def test_possible_split_that_was_not_measured_decides_nothing():
    only = rows_on(validation=0.9025)
    comparison = judge(claim_of(0.9825), only)
    assert comparison.verdict == "inconclusive" and "test was not measured" in comparison.why
    assert judge(claim_of(0.9025), only).verdict == "reproduced"
    assert splits_left_open([comparison, None], ("train", "validation", "test")) == ["test"]
    assert splits_left_open([comparison], ("train", "validation")) == []


def test_sample_that_nobody_named_must_differ_from_every_measured_split():
    far, near = {"validation": 0.80, "test": 0.9025}, {"validation": 0.9025, "test": 0.80}
    assert judge(claim_of(0.93), rows_on(**far)).verdict == "inconclusive"
    assert judge(claim_of(0.93), rows_on(**near)).verdict == "inconclusive"
    assert judge(claim_of(0.99), rows_on(**far)).verdict == "overstated"


def test_training_split_counts_only_where_the_trainer_wrote_it():
    rows = rows_on(**BOTH, train=0.97)
    assert judge(claim_of(0.97), rows).verdict == "overstated"  # no card would mean training examples
    trained = judge(claim_of(0.97, trainer=True), rows)
    assert (trained.verdict, trained.rule) == ("close", "split identified")  # two digits
    exact = judge(claim_of(0.9403125, trainer=True), rows_on(**BOTH, train=0.9403125))
    assert (exact.verdict, exact.identified_split) == ("reproduced", "train")


def test_trainers_train_is_measured_before_a_claim_is_overstated():
    claim = claim_of(0.9825, trainer=True)
    before = judge(claim, rows_on(**BOTH))
    assert before.verdict == "inconclusive" and splits_left_open([before], ("train", "test")) == ["train"]
    assert judge(claim, rows_on(**BOTH, train=0.941)).verdict == "overstated"
    near = judge(claim, rows_on(**BOTH, train=0.979))
    assert near.verdict == "inconclusive"  # it may be about train, which misses it by less than half a point
    assert splits_left_open([judge(claim_of(0.9025, trainer=True), rows_on(**BOTH))], ("train",)) == []


def test_k_of_n_excludes_the_training_split():
    comparison = judge(claim_of(0.9825123, trainer=True), rows_on(**BOTH))  # not k of 16,000
    (train,) = [entry for entry in comparison.possible if entry.split == "train"]
    assert comparison.verdict == "overstated" and train.excluded == "no k of 16,000 gives these digits"
    assert splits_left_open([comparison], ("train",)) == []


def test_card_that_names_two_splits_leaves_only_these_open():
    claim = claim_of(0.9825) | {"possible_splits": ("test", "train"), "split_note": "the card names both"}
    comparison = judge(claim, rows_on(**BOTH, train=0.941))
    assert [entry.split for entry in comparison.possible] == ["test", "train", "another sample"]


# ── One public split ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("dataset", "metric"), [("coco", "AP"), ("imagenet-1k", "accuracy")])
def test_only_public_split_is_judged_as_the_same_examples(dataset, metric):
    benchmark = all_benchmarks()[dataset]
    rows = {"validation": make_row("m", {metric: 0.397}, dataset=dataset)}

    def verdict(value, **fields) -> tuple:
        comparison = judge_claim(make_claim(value, metric, dataset) | fields, rows, benchmark)
        return comparison.verdict, comparison.rule

    assert verdict(0.397) == ("reproduced", "only public split")
    assert verdict(0.425) == ("overstated", "only public split")
    hint = {"possible_splits": ("test", "validation"), "split_note": "the card names test and validation"}
    assert verdict(0.425, **hint) == ("inconclusive", "possible splits")
    assert verdict(0.397, split="test")[1] == "two samples"


def test_metric_without_an_interval_gets_no_verdict_that_needs_one():
    """The digits need none on the same examples; a coincidence and another sample do."""
    benchmark, hint = all_benchmarks()["coco"], {"possible_splits": ("test", "validation")}
    rows = {"validation": make_row("m", {"AP": 0.3971})}
    named = judge_claim(make_claim(0.3971, split="validation"), rows, benchmark)
    assert (named.verdict, named.rule) == ("reproduced", "same examples")
    for value, verdict in ((0.3971, "close"), (0.9, "inconclusive"), (0.1, "inconclusive")):
        comparison = judge_claim(make_claim(value) | hint, rows, benchmark)
        assert comparison.verdict == verdict and "no interval is known" in comparison.why
        elsewhere = judge_claim(make_claim(value, split="test"), rows, benchmark)
        assert (elsewhere.verdict, elsewhere.rule) == ("inconclusive", "two samples")


def test_training_examples_say_nothing_about_others():
    for named, measured in (("train", BOTH), ("test", {"train": 0.97})):
        comparison = judge(claim_of(0.5, split=named), rows_on(**measured))
        assert (comparison.verdict, comparison.rule) == ("inconclusive", "two samples")


# ── Several metrics ───────────────────────────────────────────────────────────────────────────────────────


def test_metrics_of_a_result_are_identified_together():
    """An accuracy of two digits is a coincidence on its own, but not beside an F1 of four."""
    rows = rows_on(validation=F1, test={name: value - 0.0142 for name, value in F1.items()})
    accuracy, macro = claim_of(0.9), claim_of(0.7031, "f1-macro")
    assert judge(accuracy, rows).verdict == "close"
    assert judge(accuracy, rows, [macro]).verdict == "reproduced"
    assert judge(macro, rows, [accuracy]).verdict == "reproduced"


def test_metric_that_hardly_varies_is_a_coincidence_more_often():
    rows = rows_on(validation=F1, test={name: value - 0.0142 for name, value in F1.items()})
    claim = claim_of(0.7031, "f1-macro")
    assert judge(claim, rows).verdict == "reproduced"
    rows["validation"]["intervals"]["f1-macro"] = [0.7026, 0.7036]  # 0.01 points on 10,000 examples
    comparison = judge(claim, rows)
    assert comparison.verdict == "close" and comparison.chance == pytest.approx(0.34, abs=0.01)


def test_metric_that_contradicts_the_others_identifies_nothing():
    rows = rows_on(validation=F1, test={name: value - 0.0142 for name, value in F1.items()})
    accuracy, macro = claim_of(0.9025), claim_of(0.7199, "f1-macro")
    assert judge(accuracy, rows, [macro]).verdict == "inconclusive"


def test_metric_that_nearly_fits_joins_the_split_of_the_others():
    """It was computed a little differently: `close`, where the others' digits are no coincidence."""
    values = F1 | {"accuracy": 0.7025123}
    rows = rows_on(validation=values, test={name: value - 0.0142 for name, value in values.items()})
    accuracy, near = claim_of(0.7025123), claim_of(0.7036, "f1-macro")
    identified, beside_it = judge(accuracy, rows, [near]), judge(near, rows, [accuracy])
    assert (identified.verdict, identified.identified_split) == ("reproduced", "validation")
    assert (beside_it.verdict, beside_it.identified_split) == ("close", "validation")
    assert identified.chance == beside_it.chance < 0.1
    rows["validation"]["metrics"]["accuracy"] = 0.9025  # now either may have fitted: the chances add up
    accuracy = claim_of(0.9025)
    identified, beside_it = judge(accuracy, rows, [near]), judge(near, rows, [accuracy])
    assert (identified.verdict, beside_it.verdict) == ("close", "inconclusive") and identified.chance > 0.1


# ── The average ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "split", "verdict", "metric"),
    [
        (0.7031, "validation", "reproduced", "f1-macro"),
        (0.9031, "validation", "reproduced", "f1-weighted"),
        (0.7031, None, "reproduced", "f1-macro"),
        (0.7, "validation", "close", "f1-macro"),
        (0.9, "validation", "claim underspecified", None),  # micro and weighted both round to it
        (0.8889, "validation", "claim underspecified", None),  # hit on another split only
        (0.95, None, "claim underspecified", None),
    ],
)
def test_plain_f1_is_the_average_that_it_equals(value, split, verdict, metric):
    rows = rows_on(validation=F1, test={name: value - 0.0142 for name, value in F1.items()})
    comparison = judge(claim_of(value, "f1", split), rows)
    identified = None if comparison.identified_metric is msgspec.UNSET else comparison.identified_metric
    assert (comparison.metric, comparison.verdict, identified) == ("f1", verdict, metric)


def test_two_averages_on_two_splits_are_inconclusive():
    other = F1 | {"f1-macro": 0.65, "f1-weighted": 0.7031, "f1-micro": 0.83}
    comparison = judge(claim_of(0.7031, "f1"), rows_on(validation=F1, test=other))
    assert comparison.verdict == "inconclusive" and "f1-macro and f1-weighted" in comparison.why


# ── Other protocols ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "split", "verdict"),
    [
        (0.9025, "validation", "agrees under scored-2022"),
        (0.9, None, "agrees under scored-2022"),
        (0.95, "validation", "differs under scored-2022"),
        (0.9825, None, "differs under scored-2022"),
        (0.9175, None, "inconclusive"),
    ],
)
def test_value_under_another_protocol_agrees_or_differs(value, split, verdict):
    comparison = judge(claim_of(value, split=split), rows_on("scored-2022", **BOTH))
    assert comparison.verdict == verdict
    assert (agrees(comparison), misses(comparison)) == (
        verdict.startswith("agrees"),
        verdict.startswith("differs"),
    )


# ── What holds for all claims ─────────────────────────────────────────────────────────────────────────────


COUNTS = st.integers(1, 1999)
F1_VALUES = st.integers(1, 99_999).map(lambda k: k / 100_000)


@st.composite
def measured_splits(draw):
    """Values on validation, test and, where it was measured, train."""
    values = {}
    splits = ["validation", "test", "train"] if draw(st.booleans()) else ["validation", "test"]
    for split in splits:
        accuracy = draw(COUNTS) / 2000
        f1 = {name: draw(F1_VALUES) for name in ("f1-macro", "f1-weighted")}
        values[split] = {"accuracy": accuracy, "f1-micro": accuracy, **f1}
    return values


@draw(1000)
@given(
    values=measured_splits(),
    digits=st.integers(2, 7),
    metric=st.sampled_from(["accuracy", "f1-macro", "f1"]),
    average=st.sampled_from(["f1-macro", "f1-micro", "f1-weighted"]),
    place=st.integers(0, 2),
    is_joint=st.booleans(),
)
def test_naming_the_split_of_a_true_claim_changes_only_what_was_left_open(
    values, digits, metric, average, place, is_joint
):
    """No verdict but `inconclusive` changes, and `close` where the digits cannot tell which split it is."""
    split = list(values)[place % len(values)]
    true = values[split]
    claim = claim_of(round(true[average if metric == "f1" else metric], digits), metric)
    other = claim_of(round(true["f1-weighted"], digits), "f1-weighted")
    rows, trainer = rows_on(**values), "train" in values
    verdicts = []
    for named in (None, split):
        facts = claim_of(0.5, split=named, trainer=trainer and named is None)
        split_facts = {key: facts.get(key) for key in ("split", "possible_splits", "split_note")}
        verdicts.append(judge(claim | split_facts, rows, [other | split_facts] if is_joint else []))
    unnamed, named = verdicts
    if metric != "f1":
        assert named.verdict == "reproduced"
    if unnamed.verdict == "close" != named.verdict:
        assert named.verdict == "reproduced" and (unnamed.chance is msgspec.UNSET or unnamed.chance > 0.1)
    elif unnamed.verdict != "inconclusive":
        assert unnamed.verdict == named.verdict
