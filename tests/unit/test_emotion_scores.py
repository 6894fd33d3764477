"""Scores of sentiment_analysis.py: equal to scikit-learn's; labels mapped or refused; texts read or named."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

import sentiment_analysis as sentiment
from harness.checkpoint import CannotMeasure
from harness.task import Data
from scored.files import UserError
from scored.intervals import wilson

LABELS = sentiment.LABELS


def sklearn_scores(true, predicted) -> dict:
    averages = {f"f1-{how}": f1_score(true, predicted, average=how) for how in ("macro", "micro", "weighted")}
    return {"accuracy": accuracy_score(true, predicted)} | averages


def test_scores_equal_scikit_learns_also_where_classes_are_absent():
    draw = np.random.default_rng(1)
    for size, classes in [(2000, 6), (50, 6), (7, 6), (9, 2), (1, 6), (300, 3)]:
        true, predicted = draw.integers(0, classes, (2, size))
        ours = sentiment.metrics_of(confusion_matrix(true, predicted, labels=range(6)))
        assert ours == pytest.approx(sklearn_scores(true, predicted), abs=1e-15), (size, classes)


def test_intervals_are_those_of_a_bootstrap_over_texts():
    draw = np.random.default_rng(2)
    true = draw.integers(0, 6, 400)
    predicted = np.where(draw.random(400) < 0.8, true, draw.integers(0, 6, 400))
    table = {"logits": np.eye(6)[predicted], "truncated": np.zeros(400, bool)}
    data = Data("test", "", "", [""] * 400, true.tolist(), 400)
    result = sentiment.score(Columns(table), data, sentiment.PROTOCOLS["standard"], {"labels": LABELS})
    drawn = [draw.integers(0, 400, 400) for _ in range(1000)]
    for name, how in (("f1-macro", "macro"), ("f1-weighted", "weighted")):
        values = [f1_score(true[i], predicted[i], average=how) for i in drawn]
        assert result["intervals"][name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.008)
        assert "bootstrap" in result["interval_method"][name]
    assert result["intervals"]["accuracy"] == wilson(int((true == predicted).sum()), 400)
    assert result["interval_method"]["accuracy"] == "Wilson"


class Columns(dict):
    """As much of an Arrow table as `score` reads."""

    def __getitem__(self, name):
        values = super().__getitem__(name)
        return type("Column", (), {"to_pylist": lambda _: values.tolist()})()


def test_labels_are_matched_by_name_then_by_index_or_not_at_all():
    assert sentiment.map_labels(["Joy", "SADNESS", "fear ", "love", "anger", "surprise"], "by name") == (
        [1, 0, 4, 2, 3, 5],
        "by name",
    )
    order, how = sentiment.map_labels([f"LABEL_{i}" for i in range(6)], "by name")
    assert order == [0, 1, 2, 3, 4, 5] and how.startswith("by index: the model calls")
    assert sentiment.map_labels(["?"] * 6, "by index")[0] == [0, 1, 2, 3, 4, 5]
    for names in (["joy"] * 6, ["happy", *LABELS[1:]], [f"LABEL_{i}" for i in (1, 0, 2, 3, 4, 5)]):
        with pytest.raises(CannotMeasure, match="are not those of emotion"):
            sentiment.map_labels(names, "by name")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "cannot read"),
        ("", "is empty"),
        ('{"text": "a", "label": 0}\n{"text": "b", "label": 6}', "line 2"),
        ('{"text": "a"}', "line 1"),
        ("[1, 2]", "line 1"),
        ("not json", "line 1"),
        ('{"text": 3, "label": 1}', "line 1"),
    ],
)
def test_unreadable_texts_are_named_with_what_to_do(tmp_path, lines, message):
    if lines is not None:
        (tmp_path / "test.jsonl").write_text(lines)
    with pytest.raises(UserError, match=message) as error:
        sentiment.load_data(tmp_path, "test")
    assert "train.jsonl, validation.jsonl and test.jsonl" in str(error.value)


def test_revision_depends_on_texts_and_labels_only(tmp_path):
    file = tmp_path / "test.jsonl"

    def revision(*rows: dict) -> str:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return sentiment.load_data(tmp_path, "test").revision

    first = revision({"text": "a", "label": 0}, {"text": "b", "label": 1})
    assert first == revision({"label": 0, "text": "a"}, {"text": "b", "label": 1, "label_text": "joy"})
    other = revision({"text": "a", "label": 1}, {"text": "b", "label": 1})
    assert len({first, other, revision({"text": "a", "label": 0})}) == 3
