"""The study's differences, named by cards of 2022; and what other laboratories measured beside the study."""

import json
from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace

from project import ROOT
from rows import make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.comparisons import read_comparisons
from scored.matching import KnownClaims
from scored.result_rows import STUDY
from scored.side_by_side import compare_laboratories
from scored.study_claims import (
    CardClaim,
    HubValue,
    as_claim,
    compare_cards,
    name_differences,
    read_card_claims,
    read_splits,
)

BENCHMARKS = all_benchmarks()
EMOTION, IMAGENET = BENCHMARKS["emotion"], BENCHMARKS["imagenet-1k"]
RESULTS = json.loads((ROOT / "reproducibility" / "results.json").read_text())
ROWS = [row for row in RESULTS["rows"] if row["source"] == STUDY]
VALUES = RESULTS["discrepancies"][0]["values"]
SERIES = read_comparisons(ROOT / "assets" / "data" / "err.json").series
ONE = Decimal(1)


def of_study(dataset: str):
    (series,) = (entry for entry in SERIES if entry.source == STUDY)
    return series.datasets[dataset]


# ── Claims of cards ───────────────────────────────────────────────────────────────────────────────────────


def test_each_claim_is_read_from_what_the_card_states():
    cards = read_card_claims()
    assert len(cards) == 86
    for card in cards:
        claim = as_claim(card)
        assert (claim["dataset"], claim["metric"]) == (card.dataset, card.metric)
        assert claim["fraction"] == card.fraction, card


@pytest.mark.shared
def test_the_shipped_claims_are_the_recorded_ones(shared):
    name = "claims-2022.json"
    assert (ROOT / "assets/data" / name).read_bytes() == (shared / "reference" / name).read_bytes()


def test_67_of_69_claims_are_an_entry_of_the_published_list_each_used_once():
    compared = compare_cards(read_card_claims(), ROWS, EMOTION)
    named = name_differences(VALUES, compared)
    names = [entry.model for entry in named if entry is not None]
    assert (len(compared), len(names), len(set(names)), named.count(None)) == (69, 67, 67, 72)
    unnamed = {entry.model for entry in compared} - set(names)
    assert unnamed == {"Jorgeutd/sagemaker-roberta-base-emotion", "Emanuel/bertweet-emotion-base"}
    for value, entry in zip(VALUES, named, strict=True):
        if entry is not None:
            assert abs(abs(entry.discrepancy) - 100 * value) < 1e-9
            assert entry.discrepancy == pytest.approx(100 * (entry.measured - entry.claimed))


def test_what_the_named_claims_say_about_splits():
    cards = read_card_claims()
    compared = compare_cards(cards, ROWS, EMOTION)
    splits = read_splits(compared, name_differences(VALUES, compared), cards, EMOTION)
    assert (splits.above, splits.below, splits.equal) == (53, 5, 9)
    assert round(splits.mean_points, 2) == 0.43
    assert splits.sign_test_p == pytest.approx(3.4965e-11, rel=1e-4)  # 2 · P(X <= 5), X ~ B(58, 1/2)
    assert [name.partition("/")[0] for name in splits.apart] == ["Hardeep", "lewtun"]
    assert splits.beyond_sampling == ["Emanuel/bertweet-emotion-base"]
    assert (splits.hub_on_test, splits.hub_on_other_split) == ([3, 3], [1, 1])


def test_no_model_counts_twice_and_the_published_counts_stay():
    assert [(of_study(name).k, of_study(name).n) for name in ("coco", "imagenet-1k", "emotion")] == [
        (8, 8),
        (3, 4),
        (17, 139),
    ]
    for name in BENCHMARKS:
        models = Counter(entry.model for entry in of_study(name).models if entry.headline and entry.model)
        assert not models or max(models.values()) == 1
    emotion = of_study("emotion")
    off = [entry for entry in emotion.models if entry.headline and entry.off]
    assert (len(off), sum(entry.model is not None for entry in off)) == (17, 8)
    assert sum(emotion.left_out.values()) + emotion.n == 225


def test_four_more_classifiers_have_claims_on_their_cards():
    more = [
        entry for entry in of_study("imagenet-1k").models if entry.metric == "accuracy" and not entry.headline
    ]
    values = {entry.model: (entry.claimed, entry.measured) for entry in more}
    assert values == {
        "facebook/deit-base-distilled-patch16-224": (0.834, 0.83322),
        "deepmind/vision-perceiver-conv": (0.821, 0.4985),
        "deepmind/vision-perceiver-fourier": (0.79, 0.7812),
        "deepmind/vision-perceiver-learned": (0.727, 0.69738),
    }


# ── By hand ───────────────────────────────────────────────────────────────────────────────────────────────


def card_of(model: str, stated, fraction: float, **fields) -> CardClaim:
    return CardClaim(model, "emotion", "accuracy", stated, fraction, None, **fields)


def row_of(model: str, value: float) -> dict:
    fields = {"task": "sentiment-analysis", "dataset": "emotion", "split": "test", "source": STUDY}
    fields["examples"] = {"expected": 2000, "evaluated": None}
    return make_row(model, {"accuracy": value}, protocol="scored-2022") | fields


def test_an_entry_has_one_name_and_fractions_come_first():
    cards = [card_of("a", 94.1, 0.941), card_of("b", 0.927, 0.927), card_of("c", 0.9, 0.9)]
    rows = [row_of("a", 0.931), row_of("b", 0.917), row_of("c", 0.905), row_of("d", 0.5)]
    compared = compare_cards(cards, rows, EMOTION)
    named = name_differences([0.010000000000000009, 0.0050000000000000044, 0.3], compared)
    assert [entry and (entry.model, entry.discrepancy) for entry in named] == [("b", -1.0), ("c", 0.5), None]
    named = name_differences([0.01, 0.01], compared)
    assert [entry.model for entry in named] == ["b", "a"]


def test_claims_on_both_sides_and_far_off_are_counted_apart():
    cards = [
        card_of("above", 0.92, 0.92, verified_by_hub=(HubValue("test", 0.91), HubValue("validation", 0.5))),
        card_of("below", 0.9, 0.9),
        card_of("equal", 0.9, 0.9),
        card_of("apart", 0.9, 0.9),
    ]
    values = {"above": 0.91, "below": 0.905, "equal": 0.9, "apart": 0.1}
    compared = compare_cards(cards, [row_of(*item) for item in values.items()], EMOTION)
    splits = read_splits(compared, [], cards, EMOTION)
    assert (splits.above, splits.below, splits.equal, splits.apart) == (1, 1, 1, ["apart"])
    assert splits.mean_points == pytest.approx((1 - 0.5 + 0) / 3)
    assert (splits.sign_test_p, splits.hub_on_test, splits.hub_on_other_split) == (1, [1, 1], [0, 1])


# ── Laboratories ──────────────────────────────────────────────────────────────────────────────────────────


def imagenet_row(source: str, value: float, **fields) -> dict:
    row = make_row("x/deit", {"accuracy": value}, source=source) | {"dataset": "imagenet-1k"}
    return (
        row | {"task": "image-classification", "examples": {"expected": 50000, "evaluated": 50000}} | fields
    )


def compared_with(claimed: float | None, *rows) -> list:
    claims = {} if claimed is None else {"x/deit": [make_claim(claimed, "accuracy", "imagenet-1k")]}
    return compare_laboratories(rows, IMAGENET, KnownClaims({}, claims), ONE)


def test_a_difference_between_laboratories_larger_than_the_nearest_miss_is_a_finding():
    rows = (imagenet_row("timm", 0.82), imagenet_row(STUDY, 0.80, protocol="scored-2022"))
    (entry,) = compared_with(0.818, *rows)
    assert [value.source for value in entry.values] == [STUDY, "timm"]
    assert (entry.spread_points, entry.nearest_points, entry.is_finding) == (2.0, 0.2, True)
    for claimed, value, is_finding in (
        (0.85, 0.82, False),  # both miss the claim by more than they differ
        (0.818, 0.81, False),  # within the threshold
        (None, 0.82, False),
    ):
        (entry,) = compared_with(claimed, imagenet_row("timm", value), rows[1])
        assert entry.is_finding is is_finding


def test_only_whole_measurements_of_several_sources_are_put_side_by_side():
    timm = imagenet_row("timm", 0.82)
    part = imagenet_row("measured", 0.8, examples={"expected": 50000, "evaluated": 200})
    assert compared_with(0.8, timm, part) == []
    assert compared_with(0.8, timm, imagenet_row("timm", 0.81, protocol="other")) == []
    assert compared_with(0.8, timm, imagenet_row("measured", 0.8, split="train")) == []
    ours = [imagenet_row("measured", 0.8, protocol=name) for name in ("scored-2022", "standard")]
    (entry,) = compared_with(0.8, timm, *ours)
    assert [(value.source, value.protocol) for value in entry.values] == [
        ("measured", "standard"),
        ("measured", "scored-2022"),
        ("timm", "standard"),
    ]


def test_of_the_shipped_measurements_three_are_findings():
    shipped = read_comparisons(ROOT / "assets" / "data" / "err.json").laboratories
    findings = [entry.model for entry in shipped if entry.is_finding]
    assert (len(shipped), findings) == (
        14,
        [f"facebook/deit-{size}-patch16-224" for size in ("base", "small", "tiny")],
    )
    by_model = {entry.model: entry for entry in shipped}
    off = [
        model for model in findings if abs(by_model[model].values[1].value - by_model[model].claimed) > 0.01
    ]
    assert off == []
    small = by_model["facebook/deit-small-patch16-224"]
    assert small.claimed == 0.799  # by its card; the study compared with 0.755
    assert abs(small.values[1].value - 0.755) > 0.01
    assert replace(small, claimed=None).values == small.values
