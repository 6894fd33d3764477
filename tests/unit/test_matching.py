"""Claims beside rows: what is compared, what counts, and nobody left out without a reason."""

import itertools
from decimal import Decimal

import pytest

from rows import EMOTION, known_claims, make_claim, make_row
from scored.benchmarks import all_benchmarks
from scored.comparisons import Summary
from scored.matching import KnownClaims, claims_for, compare_model, is_same_claim, summarize
from scored.result_rows import SURPLUS


def summarize_coco(rows, claims, unnamed=(), threshold="1") -> Summary:
    known = claims if isinstance(claims, KnownClaims) else known_claims(claims)
    return summarize(all_benchmarks()["coco"], rows, list(unnamed), known, Decimal(threshold))


@pytest.mark.parametrize(
    ("claimed", "measured", "off"),
    [
        (0.931, 0.941, False),  # 0.010000000000000009 as doubles, exactly one point as decimals
        (0.941, 0.931, False),
        (0.29, 0.28, False),
        (0.5, 0.51, False),
        (0.5, 0.5100001, True),
        (0.42, 0.397, True),
        (0.9, 0.9, False),
    ],
)
def test_a_model_is_off_by_exact_differences(claimed, measured, off):
    summary = summarize_coco([make_row("m", {"AP": measured})], {"m": [make_claim(claimed)]})
    assert (summary.k, summary.n) == (int(off), 1)


def test_everyone_left_out_has_a_reason():
    rows = [
        make_row("none", {"AP": 0.3}),
        make_row("elsewhere", {"AP": 0.3}),
        make_row("otherwise", {"AP": 0.3}),
        make_row("unclear", {"AP": 0.3}),
        make_row("broken", {}, error="KeyError: 'weights'", stage="load"),
        make_row("part", {"AP": 0.3}, examples={"expected": 5000, "evaluated": 40}),
        make_row("fine", {"AP": 0.3}),
    ]
    claims = {
        "elsewhere": [make_claim(0.3, dataset="lvis")],
        "otherwise": [make_claim(0.3, metric="AR7")],
        "unclear": [make_claim(None)],
        "part": [make_claim(0.3)],
        "fine": [make_claim(0.3)],
    }
    summary = summarize_coco(rows, claims)
    assert (summary.k, summary.n) == (0, 1)
    assert summary.left_out == {
        "no claim": 1,
        "no claim on this data set": 1,
        "claim on another metric": 1,
        "claim underspecified": 1,
        "failed (load)": 1,
        "measured on a part of the data set only": 1,
    }


def test_a_model_counts_once_on_the_split_that_it_claims():
    rows = [make_row("m", {"AP": 0.3}, split="test"), make_row("m", {"AP": 0.4}, split="validation")]
    summary = summarize_coco(
        rows, {"m": [make_claim(0.4, split="validation"), make_claim(0.1, split="train")]}
    )
    assert (summary.k, summary.n) == (0, 1)
    (counted,) = (comparison for comparison in summary.models if comparison.headline)
    assert (counted.measured_split, counted.claimed_split) == ("validation", "validation")
    assert len(summary.models) == 2


def test_of_several_rows_on_one_split_the_latest_whole_row_in_float32_counts():
    def row_of(day: int, value: float, dtype="float32", evaluated=5000) -> dict:
        examples = {"expected": 5000, "evaluated": evaluated}
        settings = {"dtype": dtype}
        when = f"2026-01-0{day}"
        return make_row("m", {"AP": value}, measured_at=when, settings=settings, examples=examples)

    rows = [row_of(1, 0.3), row_of(2, 0.4), row_of(3, 0.1, "float16"), row_of(4, 0.2, evaluated=40)]
    for ordered in itertools.permutations(rows):
        summary = summarize_coco(list(ordered), {"m": [make_claim(0.4)]})
        assert (summary.k, summary.n, summary.superseded) == (0, 1, 3)
    later = {**row_of(5, 0.0), "metrics": {}, "error": "gone", "stage": "score", "settings": None}
    summary = summarize_coco([row_of(3, 0.4, "float16"), later], {"m": [make_claim(0.4)]})
    assert (summary.k, summary.n, summary.superseded) == (0, 1, 0)  # an error supersedes no measurement


def test_more_examples_than_the_split_has_are_not_the_split():
    row = make_row("m", {"AP": 0.3}, examples={"expected": 5000, "evaluated": 118287})
    assert summarize_coco([row], {"m": [make_claim(0.3)]}).left_out == {SURPLUS: 1}


def test_without_claims_on_its_card_a_model_is_compared_with_known_ones():
    row = make_row("m", {"AP": 0.3}, claims=[], revision="new")
    claim = [make_claim(0.3)]
    assert summarize_coco([row], {"m": claim}).n == 1
    for revision, n in (("new", 1), ("old", 0)):
        assert summarize_coco([row], KnownClaims({("m", revision): claim}, {})).n == n
    card_first = row | {"claims": [make_claim(0.1)]}
    assert summarize_coco([card_first], {"m": claim}).k == 1
    study = row | {"source": "study-2022"}
    assert summarize_coco([study], {"m": claim}).n == 0  # the study compared nothing


def test_a_failed_model_is_compared_with_claims_of_any_revision():
    claim = [make_claim(0.3)]
    known = KnownClaims({("m", "old"): claim, ("m", None): claim}, {})
    row = make_row("m", {"AP": 0.3}, revision="new")
    assert claims_for(row, known) == []
    assert claims_for(row | {"error": "gated"}, known) == claim


def test_differences_without_names_stand_for_measured_models_without_claims():
    rows = [make_row(name, {"AP": 0.3}) for name in "abc"]
    unnamed = {"metric": "AP", "values": [0.010000000000000009, 0.02], "note": "why"}
    summary = summarize_coco(rows, {}, [unnamed])
    assert (summary.k, summary.n, summary.left_out, summary.note) == (1, 2, {"no claim": 1}, "why")
    both = summarize_coco(rows, {}, [unnamed, unnamed | {"values": [0.03], "note": "more"}])
    assert (both.k, both.n, both.left_out, both.note) == (2, 3, {}, "why; more")


def test_the_threshold_selects():
    rows, claims = [make_row("m", {"AP": 0.3})], {"m": [make_claim(0.33)]}
    assert [summarize_coco(rows, claims, threshold=text).k for text in ("2.9", "3", "3.1")] == [1, 0, 0]


def test_a_claim_is_the_same_if_rounding_can_explain_the_difference():
    def comparison_of(value):
        row = {**make_row("m", {"accuracy": 0.9}), **EMOTION}
        claims = {"m": [make_claim(value, "accuracy", "emotion")]}
        return summarize(all_benchmarks()["emotion"], [row], [], known_claims(claims), Decimal(1)).models[0]

    assert is_same_claim(comparison_of(0.9265), comparison_of(0.927))
    assert not is_same_claim(comparison_of(0.9264), comparison_of(0.927))
    assert is_same_claim(comparison_of(None), comparison_of(None))
    assert not is_same_claim(comparison_of(None), comparison_of(0.9))


def test_a_claim_of_the_text_is_shown_with_its_line():
    claim = make_claim(0.42) | {"source": "card text", "line": 12}
    summary = summarize_coco([make_row("m", {"AP": 0.42}, claims=[claim])], {})
    assert [row.claim_from for row in summary.models] == ["card text, line 12"]


def test_a_value_inside_an_object_has_the_digits_of_its_number():
    claim = make_claim(0.83, split="validation") | {"value": {"AP": 0.83}}
    (row,) = summarize_coco([make_row("m", {"AP": 0.834}, claims=[claim])], {}).models
    assert (row.claimed_as, row.verdict) == ({"AP": 0.83}, "reproduced")


def test_a_bound_is_compared_with_nothing():
    claim = make_claim(None) | {"value": ">42", "bound": ">", "unit": "none"}
    summary = summarize_coco([make_row("m", {"AP": 0.4}, claims=[claim])], {})
    assert (summary.models, summary.left_out) == ([], {"only a bound is claimed": 1})


def test_a_contradiction_on_the_card_is_shown_beside_both_claims():
    claims = [make_claim(0.42) | {"contradicts": "40.0"}, make_claim(0.4) | {"contradicts": 0.42}]
    summary = summarize_coco([make_row("m", {"AP": 0.42}, claims=claims)], {})
    assert {row.claimed: row.contradicts for row in summary.models} == {0.42: "40.0", 0.4: 0.42}


# ── Several claims and rows of a model ────────────────────────────────────────────────────────────────────


def emotion_rows(**values: float) -> list[dict]:
    """Rows of one model on emotion: its accuracy by split, and an F1 that is 0.2 lower."""
    rows = []
    for split, value in values.items():
        f1 = round(value - 0.2, 4)
        intervals = {"f1-macro": [f1 - 0.02, f1 + 0.02]}
        metrics = {"accuracy": value, "f1-macro": f1}
        rows.append({**make_row("m", metrics, intervals=intervals), **EMOTION, "split": split})
    return rows


def verdicts_of(rows: list[dict], claims: list[dict]) -> list[str]:
    comparisons, _ = compare_model(rows, claims, all_benchmarks()["emotion"])
    return [comparison.verdict for comparison in comparisons]


def test_claims_of_one_result_share_their_split():
    rows = emotion_rows(validation=0.9025, test=0.8885)
    accuracy, f1 = make_claim(0.9, "accuracy", "emotion"), make_claim(0.7025, "f1-macro", "emotion")
    assert verdicts_of(rows, [accuracy]) == ["close"]
    assert verdicts_of(rows, [accuracy, f1]) == ["reproduced", "reproduced"]
    for apart in ({"split": "test"}, {"source": "card text", "line": 3}, {"config": "default"}):
        assert verdicts_of(rows, [accuracy, f1 | apart])[0] == "close"


def test_results_that_state_a_metric_twice_are_judged_claim_by_claim():
    """True claims on validation and on test at once, of which the card names neither."""
    rows = emotion_rows(validation=0.9025, test=0.8885)
    claims = [make_claim(value, "accuracy", "emotion") for value in (0.9025, 0.8885)]
    claims.append(make_claim(0.7025, "f1-macro", "emotion"))
    assert verdicts_of(rows, claims) == ["reproduced"] * 3


def test_rows_of_different_revisions_are_not_judged_together():
    old = emotion_rows(validation=0.95)[0] | {"revision": "old", "measured_at": "2026-01-01"}
    new = emotion_rows(test=0.8885)[0] | {"revision": "new", "measured_at": "2026-01-02"}
    claims = {"m": [make_claim(0.9501, "accuracy", "emotion")]}
    for rows in ([old, new], [new, old]):
        emotion = all_benchmarks()["emotion"]
        (comparison,) = summarize(emotion, rows, [], known_claims(claims), Decimal(1)).models
        assert (comparison.revision, comparison.measured_split) == ("new", "test")


def test_model_that_failed_on_one_split_is_judged_by_the_other():
    failed = {**emotion_rows(test=0.5)[0], "error": "gone", "stage": "load", "metrics": {}}
    rows = [failed, *emotion_rows(validation=0.9025)]
    assert verdicts_of(rows, [make_claim(0.9025, "accuracy", "emotion")]) == ["reproduced"]
    assert verdicts_of([failed], [make_claim(0.9025, "accuracy", "emotion")]) == ["failed to run"]
