"""The verdict on one claim: exact to the digit on its own split, by an interval on another."""

import itertools

import pytest
from msgspec.structs import asdict

from ptm import PTM
from rows import EMOTION, make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.claim_numbers import difference_in_points, stated_precision
from scored.comparisons import Comparison
from scored.matching import compare_model
from scored.result_rows import is_whole, latest_rows

BENCHMARK = all_benchmarks()["emotion"]


def judge_stated(value, measured, claimed_split, metric="accuracy", interval=None) -> Comparison:
    """Judge a claim as a card states it by a measurement on emotion's validation split."""
    data = {"type": "emotion", "split": claimed_split}
    index = [{"results": [{"dataset": data, "metrics": [{"type": metric, "value": value}]}]}]
    claims = [asdict(claim) for claim in PTM.from_record({"id": "m", "model-index": index}).claims]
    metrics = measured if isinstance(measured, dict) else {metric: measured}
    intervals = {metric: interval} if interval else {}
    row = {**make_row("m", metrics), **EMOTION, "split": "validation", "intervals": intervals}
    comparisons, _ = compare_model([row], claims, BENCHMARK)
    return comparisons[0]


@pytest.mark.parametrize(
    ("claimed", "measured", "points"),
    [
        (0.931, 0.941, "1"),  # 0.010000000000000009 as doubles, exactly one point as decimals
        (0.941, 0.931, "-1"),
        (0.29, 0.28, "-1"),
        (0.5, 0.5100001, "1.00001"),
        (0.9, 0.9, "0"),
    ],
)
def test_differences_are_exact(claimed, measured, points):
    assert f"{difference_in_points(claimed, measured).normalize():f}" == points


@pytest.mark.parametrize(
    ("value", "unit", "points"),
    [
        (0.9025, "fraction", 0.005),
        (0.9, "fraction", 0.5),  # never coarser than half a point
        ("92.7%", "percent", 0.05),
        ("92,70", "percent", 0.005),
        (93, "percent", 0.5),
        (0.9251012149383893, "fraction", 1e-9),  # the noise of summing in another order
    ],
)
def test_precision_is_half_a_unit_of_the_last_digit(value, unit, points):
    assert stated_precision({"value": value, "unit": unit}) == pytest.approx(points)


@pytest.mark.parametrize(
    ("value", "measured", "expected"),
    [
        (0.9025, 0.9025, "reproduced"),
        (0.927, 0.9275, "reproduced"),  # stated to 0.1 point: agrees within 0.05
        (0.927, 0.9276, "close"),
        ("92.7%", 0.9265, "reproduced"),
        ("92.70", 0.9265, "close"),  # stated to 0.01 point
        (93, 0.9265, "reproduced"),  # stated to a point: within half a point
        (93, 0.9245, "overstated"),
        (0.9, 0.905, "reproduced"),
        (0.90, 0.9051, "understated"),  # half a point is the most that a coarse claim may be off
        (0.9025, 0.9075, "close"),  # half a point exactly
        (0.9025, 0.9076, "understated"),
        (0.9025, 0.8974, "overstated"),
        (0.9251012149383893, 0.9251012149383893, "reproduced"),
        (0.9251012149383893, 0.9251012149383904, "reproduced"),  # the noise of summing in another order
    ],
)
def test_on_the_claimed_split_the_digits_decide(value, measured, expected):
    comparison = judge_stated(value, measured, "val")
    assert (comparison.verdict, comparison.rule) == (expected, "same examples")


@pytest.mark.parametrize(
    ("value", "measured", "expected"),
    [(0.9025, 0.8885, "inconclusive"), (0.95, 0.90, "overstated"), (0.90, 0.95, "understated")],
)
def test_on_another_split_an_interval_decides(value, measured, expected):
    comparison = judge_stated(value, measured, "test")
    sizes = comparison.n_claimed, comparison.n_measured
    assert (comparison.verdict, *sizes) == (expected, 2000, 2000)
    low, high = comparison.interval_points
    assert low < comparison.discrepancy < high


@pytest.mark.parametrize(
    ("half", "expected"),
    [
        (0.0141 / 2, "reproduced"),  # 100 · 0.00705 · √2 = 0.997: inside ±1 point
        (0.0142 / 2, "inconclusive"),  # 1.004: reaches out of it
    ],
)
def test_an_interval_within_one_point_reproduces(half, expected):
    comparison = judge_stated(0.9, 0.9, "test", metric="f1-macro", interval=[0.9 - half, 0.9 + half])
    assert comparison.verdict == expected
    assert comparison.interval_points == pytest.approx([-100 * half * 2**0.5, 100 * half * 2**0.5])


@pytest.mark.parametrize(("shift", "expected"), [(0.0130, "overstated"), (0.0128, "inconclusive")])
def test_an_interval_outside_of_one_point_contradicts(shift, expected):
    """A half-width of 0.2 points each gives 0.283: the interval ends at -1.017 or -0.997."""
    interval = [0.898 - shift, 0.902 - shift]
    comparison = judge_stated(0.9, 0.9 - shift, "test", metric="f1-macro", interval=interval)
    assert comparison.verdict == expected


def test_without_an_interval_another_split_decides_nothing():
    comparison = judge_stated(0.9, 0.5, "test", metric="f1-macro")
    assert (comparison.verdict, comparison.rule) == ("inconclusive", "two samples")
    assert comparison.why.endswith("no interval is known for this metric")


def test_a_split_that_the_data_set_does_not_have_counts_as_a_sample_of_200():
    assert judge_stated(0.95, 0.90, "my own").n_claimed == 200


@pytest.mark.parametrize(
    ("value", "metric", "measured", "why"),
    [
        (1.5, "accuracy", 0.9, "fraction or a percentage"),
        (0.9, "f1", {"f1-macro": 0.9, "f1-micro": 0.9}, "averaged"),
    ],
)
def test_an_underspecified_claim_says_why(value, metric, measured, why):
    comparison = judge_stated(value, measured, "val", metric=metric)
    assert comparison.verdict == "claim underspecified" and why in comparison.why


@pytest.mark.parametrize(
    ("change", "why"),
    [({"config": "my-own"}, "configuration 'my-own'"), ({"dataset": "imagefolder"}, "not a data set")],
)
def test_an_unknown_configuration_or_data_set_is_underspecified(change, why):
    row = {**make_row("m", {"accuracy": 0.9}), **EMOTION}
    (comparison,), reason = compare_model(
        [row], [{**make_claim(0.9, "accuracy", "emotion"), **change}], BENCHMARK
    )
    assert comparison.verdict == reason == "claim underspecified" and why in comparison.why
    (usual,), _ = compare_model(
        [row], [{**make_claim(0.9, "accuracy", "emotion"), "config": "default"}], BENCHMARK
    )
    assert usual.verdict != "claim underspecified"


def test_a_failed_model_is_said_to_have_failed():
    row = {**make_row("m", {}, error="no weights", stage="load"), **EMOTION}
    (comparison,), reason = compare_model([row], [make_claim(0.9, "accuracy", "emotion")], BENCHMARK)
    assert (comparison.verdict, comparison.why, reason) == ("failed to run", "no weights", "failed (load)")


def test_latest_rows_are_whole_then_in_float32_then_new():
    def row_of(day: int, dtype="float32", evaluated=5000) -> dict:
        examples = {"expected": 5000, "evaluated": evaluated}
        settings = {"dtype": dtype}
        return make_row("m", {}, measured_at=f"2026-01-0{day}", settings=settings, examples=examples)

    rows = [row_of(1), row_of(2), row_of(3, "float16"), row_of(4, evaluated=40)]
    for ordered in itertools.permutations(rows):
        assert latest_rows(list(ordered)) == [rows[1]]
    failed = row_of(5) | {"error": "gone"}
    assert latest_rows([rows[2], failed]) == [rows[2], failed]  # an error supersedes nothing


def test_rows_of_two_data_sets_are_both_latest():
    rows = [make_row("m", {"accuracy": 0.9}, dataset=name, split="validation") for name in ("a", "b")]
    assert latest_rows(rows) == rows


@pytest.mark.parametrize(("evaluated", "whole"), [(5000, True), (None, True), (40, False), (5001, False)])
def test_a_whole_row_is_about_each_example(evaluated, whole):
    assert is_whole({"examples": {"expected": 5000, "evaluated": evaluated}}) is whole
