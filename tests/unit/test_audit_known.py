"""What was not taken is unknown: no count of the audit takes it for absent."""

import msgspec
import pytest

from hub_records import count_trends
from scored.audit_study import measured_verdicts, sum_by_verdict
from scored.comparisons import ComparisonFile


def taken(name, hub=None, card=None, **fields):
    """Make a record of which these groups were taken, and as of when."""
    dates = {group: date for group, date in (("hub", hub), ("card", card)) if date}
    return {"id": name, **fields, "taken": dates}


INDEX = [{"results": [{"dataset": {"type": "imdb"}, "metrics": [{"type": "accuracy", "value": 0.9123}]}]}]
RECORDS = [
    taken("a/listed", hub="2022-10-01", pipeline_tag="fill-mask", downloads=100, createdAt="2022-01-05T1"),
    taken("a/listed-without-downloads", hub="2022-07-02", pipeline_tag="fill-mask"),
    taken("a/both", "2022-10-01", "2022-02-15", pipeline_tag="fill-mask", downloads=10, tags=["license:mit"]),
    taken("a/claiming", "2022-10-01", "2022-02-15", downloads=1, tags=[], **{"model-index": INDEX}),
    taken("a/card", card="2022-07-05", tags=["pytorch", "dataset:imdb"]),
    taken("a/named"),
]


@pytest.fixture(scope="module")
def counted():
    return count_trends(RECORDS)


def test_claims_are_out_of_the_known_cards(counted):
    counts = counted["trends"]["claims_by_task"]
    assert (counts["models"], counts["known"], counts["with_claims"], counts["fraction"]) == (6, 3, 1, 1 / 3)
    rows = {task: (row["models"], row["known"], row["with_claims"]) for task, row in counts["tasks"].items()}
    assert rows == {
        "fill-mask": (3, 1, 0),
        "no task stated": (1, 1, 1),
        "task unknown": (2, 1, 0),
    }
    assert counted["trends"]["claim_quality"]["known"] == counted["trends"]["claim_contents"]["known"] == 3


def test_risks_are_out_of_the_models_that_show_them(counted):
    rows = counted["trends"]["artifacts_and_risks"]["properties"]
    counts = {name: (row["models"], row["known"], row["known_downloads"]) for name, row in rows.items()}
    assert counts["no license stated"] == (2, 3, 11)
    assert counts["pickle only"] == (1, 3, 11)
    assert counts["no task stated"] == (1, 4, 111)
    assert counts["gated"] == counts["no card data"] == (0, 0, 0)
    assert counted["trends"]["dependencies"]["datasets"]["known"] == 3


def test_downloads_by_claims_are_out_of_models_with_both(counted):
    counts = counted["trends"]["downloads"]
    assert (counts["known"], counts["downloads"]) == (3, 111)
    rows = {
        kind: (row["models"], row["downloads"], row["known"]) for kind, row in counts["by_claims"].items()
    }
    assert rows == {"verified claim": (0, 0, 2), "unverified claims only": (1, 1, 2), "no claim": (1, 10, 2)}


def test_months_are_out_of_the_dated_models(counted):
    counts = counted["trends"]["growth"]
    assert (counts["models"], counts["known"], counts["undated"]) == (6, 1, 5)
    assert counts["months"] == {
        "2022-01": {"models": 1, "known": 0, "with_claims": 0, "fraction": None, "claims": 0}
    }


def test_each_field_has_its_own_dates(counted):
    assert counted["about"] == {
        "models": 6,
        "known": 5,
        "without_metadata": 1,
        "as_of": "2022-10-01",
        "dates": {
            "cards": "2022-02-15 to 2022-07-05, mostly 2022-02-15",
            "tasks": "2022-07-02 to 2022-10-01, mostly 2022-10-01",
            "downloads": "2022-10-01",
            "creation dates": "2022-10-01",
        },
    }


def test_a_fetched_record_is_known_as_a_whole():
    counted = count_trends([*RECORDS, {"id": "b/fetched", "lastModified": "2026-05-01T00:00:00.000Z"}])
    rows = counted["trends"]["artifacts_and_risks"]["properties"]
    assert rows["no license stated"]["models"] == 3 and rows["no license stated"]["known"] == 4
    assert (rows["gated"]["models"], rows["gated"]["known"]) == (0, 1)
    assert counted["trends"]["claims_by_task"]["known"] == 4
    assert counted["about"]["dates"]["cards"] == "2022-02-15 to 2026-05-01"
    assert counted["about"]["as_of"] == "2026-05-01"


@pytest.mark.parametrize("dates", [None, {}, "2022", {"card": 7}, {"card": "\u202e"}, [1]])
def test_unreadable_dates_break_nothing(dates):
    counted = count_trends([{"id": "a/b", "tags": [], "taken": dates}])
    assert counted["about"]["models"] == 1
    assert counted["about"]["dates"]["cards"] == "an unknown date"


def uncounted(value, path=()):
    """List the objects with a count of models or claims that do not say what it is out of."""
    missing = []
    if isinstance(value, dict):
        counts = [value.get(key) for key in ("models", "claims", "downloads", "fraction")]
        has_count = any(type(count) in (int, float) for count in counts)
        if has_count and type(value.get("known")) is not int:
            missing.append(path)
        for key, inner in value.items():
            missing += uncounted(inner, (*path, key))
    return missing


def test_each_count_says_what_it_is_out_of(counted):
    for name, trend in counted["trends"].items():
        assert type(trend["known"]) is int, name
        assert uncounted(trend) == []


def test_tasks_known_to_one_side_only_are_not_compared(counted):
    sides = counted["trends"]["study_and_today"]["tasks"]
    assert sides["fill-mask"]["today"] == {"models": 3, "known": 1, "with_claims": 0, "fraction": 0}
    assert sides["translation"]["today"]["fraction"] is None
    assert sides["other"]["today"] == {"models": 3, "known": 2, "with_claims": 1, "fraction": 0.5}


def comparisons(*rows):
    """Make an err.json of (protocol, model, verdict, is_headline)."""
    summary = {
        "task": "t",
        "k": 0,
        "n": 0,
        "fraction": None,
        "interval": None,
        "verdicts": {},
        "left_out": {},
    }
    series = []
    for protocol, model, verdict, is_headline in rows:
        models = [{"model": model, "metric": "accuracy", "verdict": verdict, "headline": is_headline}]
        datasets = {"emotion": summary | {"superseded": 0, "models": models}}
        series.append({"source": "s", "protocol": protocol, "measured": "2026", "datasets": datasets})
    file = {"schema": 2, "threshold_points": 1.0, "series": series, "published": {}}
    return msgspec.convert(file, ComparisonFile)


def test_downloads_rest_on_claims_by_the_verdict_under_standard():
    file = comparisons(
        ("scored-2022", "a/both", "overstated", True),
        ("standard", "a/both", "close", True),
        ("scored-2022", "a/listed", "overstated", True),
        ("scored-2022", "a/gone", "overstated", True),
        ("scored-2022", None, "inconclusive", True),
        ("standard", "a/named", "close", False),
    )
    verdicts = measured_verdicts(file)
    assert verdicts == {"a/both": "close", "a/listed": "overstated", "a/gone": "overstated"}
    counts = sum_by_verdict(verdicts, {"a/both": 10, "a/listed": 90})
    assert (counts["models"], counts["known"], counts["downloads"]) == (3, 2, 100)
    shares = {verdict: row["fraction_of_downloads"] for verdict, row in counts["verdicts"].items()}
    assert shares == {"close": 0.1, "overstated": 0.9}
    assert measured_verdicts(None) == {}
