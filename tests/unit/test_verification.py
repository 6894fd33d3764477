"""Exit codes, lines and reports of verify.py, from verdicts made by hand."""

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from markdown_it import MarkdownIt
from msgspec.structs import replace

from harness.reports import write_junit, write_markdown
from harness.verification import (
    Judgment,
    Verification,
    describe_claim,
    exit_code,
    format_lines,
    sort_judgments,
    worst_code,
)
from scored.claims import read_model_index

HOSTILE = '<b>"x"</b> | `a` ``b`` [l](http://h) @team #1 \x1b[31m\x00\u202e\ud800\n# title\n```\n- ]]> &amp;'


def claim(metric="accuracy", value=0.9, dataset="emotion", split=None):
    dataset = {"type": dataset, "name": dataset, "split": split}
    (entry,) = read_model_index(
        [{"results": [{"dataset": dataset, "metrics": [{"type": metric, "value": value}]}]}]
    )
    return entry


def verification(*verdicts: str, **fields) -> Verification:
    judgments = sort_judgments(Judgment(claim(), verdict, "why") for verdict in verdicts)
    return Verification(
        "ann/tiny", "0123456789abcdef", "sentiment-analysis", "emotion", {}, judgments, **fields
    )


# ── Exit codes ────────────────────────────────────────────────────────────────────────────────────────────

CODES = {
    "reproduced": 0,
    "close": 0,
    "understated": 0,
    "overstated": 3,
    "inconclusive": 4,
    "claim underspecified": 4,
    "not measured here": 4,
    "failed to run": 1,
}


@pytest.mark.parametrize(("verdict", "code"), CODES.items())
def test_exit_code_of_a_single_claim(verdict, code):
    assert exit_code(verification(verdict)) == code


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["reproduced", "overstated"], 3),
        (["inconclusive", "overstated"], 3),
        (["inconclusive", "reproduced"], 4),
        (["understated", "close"], 0),
        (["reproduced", "claim underspecified"], 0),
        (["reproduced", "not measured here", "not measured here"], 0),
        (["overstated", "claim underspecified"], 3),
        (["inconclusive", "not measured here"], 4),
        (["claim underspecified", "not measured here"], 4),
        (["failed to run", "overstated"], 1),
        (["reproduced", "inconclusive", "overstated", "failed to run"], 1),
        ([], 4),
    ],
)
def test_worst_of_several_claims_counts(verdicts, code):
    for order in itertools.permutations(verdicts):
        assert exit_code(verification(*order)) == code


def test_model_that_could_not_run_is_worst():
    assert exit_code(Verification("x", error="no weights")) == 1
    assert exit_code(verification("reproduced", error="no weights")) == 1


@pytest.mark.parametrize(
    ("codes", "worst"),
    [([0, 3], 3), ([4, 3], 3), ([0, 4], 4), ([1, 3], 1), ([3, 4, 0, 1], 1), ([0, 0], 0), ([], 4)],
)
def test_worst_of_several_models_counts(codes, worst):
    for order in itertools.permutations(codes):
        assert worst_code(order) == worst


# ── Five lines ────────────────────────────────────────────────────────────────────────────────────────────


def measured_row(split: str, **metrics: float) -> dict:
    intervals = {"accuracy": [metrics["accuracy"] - 0.01, metrics["accuracy"] + 0.01]}
    examples = {"expected": 2000, "evaluated": 2000}
    return {"split": split, "metrics": metrics, "intervals": intervals, "examples": examples}


def test_lines_say_claim_place_value_verdict_and_cause():
    judgments = (Judgment(claim(value=0.95), "overstated", "it misses by 4.5 points", "label order -4.5"),)
    rows = {split: measured_row(split, accuracy=0.905) for split in ("validation", "test")}
    lines = format_lines(
        Verification("ann/tiny", "0123456789abcdef", "sentiment-analysis", "emotion", rows, judgments)
    )
    assert lines == [
        "ann/tiny @ 0123456789ab  sentiment-analysis on emotion: validation 2,000 examples, "
        "test 2,000 examples",
        "  claimed   accuracy 0.95 (card metadata, names no split)",
        "  measured  accuracy on validation 0.9050 [0.8950, 0.9150], test 0.9050 [0.8950, 0.9150] "
        "(95% intervals)",
        "  verdict   overstated: it misses by 4.5 points",
        "  causes    label order -4.5",
    ]


def test_missing_interval_is_explained():
    row = measured_row("validation", accuracy=0.905) | {
        "interval_method": {"accuracy": "none: too few images"}
    }
    row["intervals"] = {}
    judgments = (Judgment(claim(), "inconclusive", "why"),)
    lines = format_lines(Verification("x", rows={"validation": row}, judgments=judgments))
    assert "  measured  accuracy on validation 0.9050 (no interval: too few images)" in lines


def test_many_claims_still_take_five_lines_and_the_worst_come_first():
    verdicts = ["not measured here"] * 30 + ["reproduced"] * 5 + ["overstated"]
    lines = format_lines(verification(*verdicts))
    assert len(lines) <= 5
    (line,) = [line for line in lines if line.startswith("  verdict")]
    assert line.startswith("  verdict   (1) overstated: why  (2) reproduced: why")
    assert line.endswith("… 30 more: 30 not measured here")


def test_failure_and_nothing_to_judge_are_said():
    assert format_lines(Verification("x", error="no weights"))[-1] == "  verdict   failed to run: no weights"
    lines = format_lines(verification(note="the card states no value on emotion"))
    assert lines[-1] == "  verdict   nothing to judge: the card states no value on emotion"


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        (claim(split="validation"), "accuracy 0.9 (card metadata, split validation)"),
        (claim(value="90.25 %", dataset="imdb"), "accuracy 90.25 % on imdb (card metadata, names no split)"),
        (
            claim(metric="ROC AUC", value={"roc_auc": 0.9}),
            'roc-auc {"roc_auc": 0.9} (card metadata, names no split)',
        ),
    ],
)
def test_claim_is_described_as_stated(stated, text):
    assert describe_claim(stated, "emotion") == text


# ── What a stranger's card holds ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hostile() -> Verification:
    stated = replace(claim(), metric=HOSTILE, value=HOSTILE, dataset=HOSTILE, source=HOSTILE, split=HOSTILE)
    verdicts = ("overstated", "inconclusive", "reproduced", "failed to run")
    judgments = tuple(Judgment(stated, verdict, HOSTILE, HOSTILE) for verdict in verdicts)
    return Verification(HOSTILE, HOSTILE, "sentiment-analysis", "emotion", {}, judgments, note=HOSTILE)


def test_hostile_card_cannot_break_the_lines(hostile):
    lines = format_lines(hostile)
    assert len(lines) <= 5 and all(line.isprintable() for line in lines)


def test_hostile_card_cannot_inject_into_junit(hostile, tmp_path):
    path = tmp_path / "junit.xml"
    write_junit(path, [hostile, Verification(HOSTILE, error=HOSTILE), Verification(HOSTILE, note=HOSTILE)])
    root = ElementTree.parse(path).getroot()
    tags = {element.tag for element in root.iter()}
    assert tags == {"testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"}
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "2",
        "skipped": "2",
    }


def test_hostile_card_cannot_inject_into_markdown(hostile, tmp_path):
    path = tmp_path / "report.md"
    write_markdown(path, [hostile, Verification(HOSTILE, error=HOSTILE), Verification("```", note=HOSTILE)])
    tokens = (
        MarkdownIt("commonmark", {"linkify": False}).enable("table").parse(path.read_text(encoding="utf-8"))
    )
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == 1 and kinds.count("tr_open") == 1 + 4 + 2
    assert kinds.count("fence") == 1 and kinds[-1] == "fence"
    assert not {"heading_open", "html_block", "bullet_list_open", "paragraph_open"} & set(kinds)
    inline = {child.type for token in tokens if token.type == "inline" for child in token.children}
    assert inline == {"text", "code_inline"}
    cells = [
        child.content
        for token in tokens
        if token.type == "inline"
        for child in token.children
        if child.type == "text"
    ]
    assert set(cells) == {
        "model",
        "claim",
        "verdict",
        "overstated",
        "inconclusive",
        "reproduced",
        "failed to run",
        "nothing to judge",
    }


def test_each_claim_is_a_test_case(tmp_path):
    path = tmp_path / "junit.xml"
    write_junit(path, [verification("overstated", "reproduced", "not measured here", "inconclusive")])
    (suite,) = ElementTree.parse(path).getroot()
    assert [case[0].tag for case in suite] == ["failure", "skipped", "system-out", "skipped"]
    assert suite[0].get("name") == "accuracy 0.9 (card metadata, names no split)"
    assert suite[0][0].get("message") == "overstated: why"
