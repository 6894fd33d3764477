"""The trends of the audit: each count against one made in another way."""

import collections
import functools
import gzip
import json
import math
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import audit
from hub_records import claiming, count_trends, record
from project import SHARED
from ptm import PTM
from scored import claim_trends, trends
from scored.audit_study import claims_in_text
from scored.comparisons import ComparisonFile

REAL = ["models-2022-02.jsonl.gz", "models-2022-07-top1000.jsonl.gz"]


@functools.cache
def read_records(name):
    with gzip.open(SHARED / "hub" / name) as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module", params=REAL)
def real(request):
    """Real records, and the audit's trends of them."""
    return read_records(request.param), audit.audit(PTM.load(SHARED / "hub" / request.param))["trends"]


def has_claim(raw):
    """Whether a raw record states a number for a named data set and metric."""
    index = (raw.get("cardData") or {}).get("model-index") or raw.get("model-index") or []
    for entry in index:
        results = (entry.get("results") or []) if isinstance(entry, dict) else []
        for result in results:
            data = result.get("dataset") if isinstance(result, dict) else None
            if not isinstance(data, dict) or not (data.get("type") or data.get("name")):
                continue
            for metric in result.get("metrics") or []:
                number = re.match(r"\(?[-+]?[\d.,]*\d", str(metric.get("value")).strip())
                is_text = re.search(r"[a-df-z]", str(metric.get("value")))
                if number and not is_text and (metric.get("type") or metric["name"]):
                    return True
    return False


@pytest.mark.shared
def test_claims_by_task_equal_a_simple_count_of_real_records(real):
    records, counts = real
    models, claiming_models = collections.Counter(), collections.Counter()
    for raw in records:
        task = raw.get("pipeline_tag") or "no task stated"
        models[task] += 1
        claiming_models[task] += has_claim(raw)
    tasks = counts["claims_by_task"]
    rows = {**tasks["folded"], **{task: row for task, row in tasks["tasks"].items() if task != "other"}}
    assert {task: (row["models"], row["with_claims"]) for task, row in rows.items()} == {
        task: (n, claiming_models[task]) for task, n in models.items()
    }
    assert tasks["with_claims"] == claiming_models.total() > 20
    assert sum(row["models"] for row in tasks["tasks"].values()) == len(records)


@pytest.mark.shared
def test_downloads_equal_a_simple_count_of_real_records(real):
    records, counts = real
    counts = counts["downloads"]
    downloads = [raw["downloads"] for raw in records if type(raw.get("downloads")) is int]
    downloads = np.sort(np.array(downloads, dtype=float))
    n, rank = len(downloads), np.arange(1, len(downloads) + 1)
    assert counts["downloads"] == downloads.sum()
    gini = ((2 * rank - n - 1) * downloads).sum() / (n * downloads.sum())
    assert counts["gini"] == pytest.approx(gini, abs=1e-12)
    for part, divisor in (("1%", 100), ("10%", 10)):
        best = downloads[n - math.ceil(n / divisor) :].sum()
        assert counts["share_of_top"][part]["downloads"] == best
    assert sum(row["downloads"] for row in counts["by_claims"].values()) == downloads.sum()
    assert list(counts["top"].values()) == downloads[::-1][:20].tolist()


@pytest.mark.shared
def test_licenses_datasets_and_months_equal_a_simple_count_of_real_records(real):
    records, counts = real
    risks = counts["artifacts_and_risks"]["properties"]
    unlicensed = []
    datasets, months = collections.Counter(), collections.Counter()
    for raw in records:
        has_tag = any(tag.startswith("license:") for tag in raw["tags"])
        if not has_tag and not (raw.get("cardData") or {}).get("license"):
            unlicensed.append(raw)
        datasets.update({tag[8:] for tag in raw["tags"] if tag.startswith("dataset:")})
        if raw.get("lastModified"):
            months[raw["lastModified"][:7]] += 1
    assert risks["no license stated"]["models"] == len(unlicensed)
    assert risks["no license stated"]["downloads"] == sum(raw.get("downloads") or 0 for raw in unlicensed)
    assert risks["no card data"]["models"] == sum(not raw.get("cardData") for raw in records)
    most = sorted(datasets.items(), key=lambda item: (-item[1], item[0]))[:20]
    assert counts["dependencies"]["datasets"]["top"] == dict(most)
    counted = counts["growth"]["months"]
    assert {month: row["models"] for month, row in counted.items() if row["models"]} == months


@pytest.mark.shared
def test_pickle_tag_agrees_with_the_files():
    """`pickle only` is decided by tags; of records that list their files, the files say the same."""
    agree = total = 0
    for raw in read_records(REAL[0]):
        files = [file["rfilename"] for file in raw.get("siblings") or []]
        by_file = any(file.endswith("pytorch_model.bin") for file in files) and not any(
            file.endswith((".h5", ".msgpack", ".onnx", ".safetensors", ".tflite")) for file in files
        )
        _, is_pickle_only = trends.PROPERTIES["pickle only"]
        agree += by_file == is_pickle_only(trends.RISK_TAGS.intersection(raw["tags"]))
        total += 1
    assert total == 29_432 and agree / total > 0.97


def test_small_tasks_are_folded_and_nothing_lost():
    tasks = [("big", 3000), ("edge", 30), ("small", 29), (None, 40)]
    records = []
    for task, n in tasks:
        records += [record(f"{task}/{i}", pipeline_tag=task) for i in range(n)]
    counts = count_trends(records)["trends"]["claims_by_task"]
    models = {task: row["models"] for task, row in counts["tasks"].items()}
    assert models == {"big": 3000, "edge": 30, "no task stated": 40, "other": 29}
    assert counts["folded"] == {"small": {"models": 29, "known": 29, "with_claims": 0, "fraction": 0}}


def test_claims_equal_to_others_and_to_the_base():
    records = [
        claiming("a/base", 0.9271),
        claiming("b/copy", 0.9271, base="a/base"),
        claiming("c/own", 0.9312, base="a/base"),
        claiming("d/round", 0.9),  # fewer than three digits: may be equal by chance
        claiming("e/round", 0.9),
        claiming("f/impossible", 1.5),
        claiming("g/impossible", 150),
        claiming("h/verified", 0.8123, verifyToken="x"),
    ]
    for order in (records, records[::-1]):  # a base may come after those that name it
        counts = count_trends(order)["trends"]
        equal = counts["claim_quality"]["equal"]
        assert (equal["claims"], equal["shared_by_2_or_more"], equal["shared_by_10_or_more"]) == (4, 2, 0)
        assert list(equal["most_shared"].values()) == [2]
        claims = counts["families"]["claims"]
        assert (claims["known"], claims["same_as_base_model"]) == (2, 1)
    quality, impossible = counts["claim_quality"], claim_trends.IMPOSSIBLE
    assert quality["rejected_because"] == {"out of range": 1}
    assert quality["impossible_values"] == {"rejected, out of range": 1, impossible: 1}
    assert counts["claim_contents"]["verification"] == {"verified": 1, "self-reported": 6}
    assert counts["dependencies"]["base_models"]["top"] == {"a/base": 2}
    assert counts["dependencies"]["relations"] == {"finetune": 2}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 40)), max_size=40))
def test_shared_claims_equal_a_count_over_all_pairs(models):
    records = []
    stated = [0.1001 + value / 10_000 for value, _ in models]
    bases = [base if 0 <= base < len(models) else None for _, base in models]
    for i, value in enumerate(stated):
        base = None if bases[i] is None else f"m/{bases[i]}"
        records.append(claiming(f"m/{i}", value, base=base))
    counted = count_trends(records)["trends"]
    counts, families = counted["claim_quality"]["equal"], counted["families"]["claims"]
    assert counts["claims"] == len(models)
    assert counts["shared_by_2_or_more"] == sum(stated.count(value) > 1 for value in stated)
    assert counts["shared_by_10_or_more"] == sum(stated.count(value) > 9 for value in stated)
    derived = [i for i, base in enumerate(bases) if base is not None]
    assert families["known"] == len(derived)
    assert families["same_as_base_model"] == sum(stated[i] == stated[bases[i]] for i in derived)


def test_a_config_is_not_taken_for_a_split():
    shared = claim_trends.SharedClaims()
    for key in ("config", "split"):
        raw = claiming(f"m/{key}", 0.9123)
        raw["cardData"]["model-index"][0]["results"][0]["dataset"][key] = "test"
        shared.add(PTM.from_record(raw))
    assert shared.result()["claims"] == 2 and shared.result()["shared_by_2_or_more"] == 0


def test_each_of_many_names_is_counted():
    names = [f"base/{i % 1000}" for i in range(3000)] + ["x" * 10_000, "x" * 10_001]
    counts = count_trends(record(f"m/{i}", tags=[f"base_model:{name}"]) for i, name in enumerate(names))
    counts = counts["trends"]["dependencies"]["base_models"]
    assert (counts["models"], counts["links"], counts["distinct"]) == (3002, 3002, 1002)
    assert list(counts["top"].values()) == [3] * 20


def test_long_names_are_shortened_and_stay_apart():
    short, first, second = "a" * 200, "a" * 201, "a" * 200 + "b"
    counts = trends.top({short: 1, first: 2, second: 3})
    assert list(counts.values()) == [3, 2, 1] and len(counts) == 3
    assert short in counts and all(len(name) <= 200 for name in counts)


def test_npm_is_converted_to_months_and_the_study_stays():
    counts = count_trends([])["trends"]
    months = counts["registries"]["monthly_downloads"]
    assert months["npm"]["debug"] == pytest.approx(185_669_323 * 365.25 / 12 / 7)
    assert months["PyPI"]["boto3"] == 381_577_008
    assert {len(packages) for packages in months.values()} == {20}
    assert counts["study_and_today"]["tasks"]["object-detection"]["study"]["with_claims"] == 1


def test_growth_by_creation_with_gaps_and_garbage():
    dates = ["2021-12-30T1", "2022-03-01T1", "2022-03-02T09:28:19.000Z", "9999", "\u202e", None]
    dates += ["2022-03-02T23:29:04.000Z", "2022-03-02T23:29:05.000Z"]  # the Hub's, of everything older
    records = [record(f"m/{i}", createdAt=date) for i, date in enumerate(dates)]
    counts = count_trends(records)["trends"]["growth"]
    months = {month: row["models"] for month, row in counts["months"].items()}
    assert months == {"2021-12": 1, "2022-01": 0, "2022-02": 0, "2022-03": 2}
    assert (counts["by"], counts["before"], counts["undated"], counts["known"]) == ("created", 2, 3, 5)


def test_records_with_only_a_name_are_not_risks():
    tags = ["pytorch", "safetensors", "custom_code"]
    named = {"id": "a/b", "taken": {"name": "2022-08-15"}}
    counts = count_trends([named, record("c/d", tags=tags, gated="auto")])
    about = {key: counts["about"][key] for key in ("models", "known", "without_metadata", "as_of")}
    assert about == {"models": 2, "known": 1, "without_metadata": 1, "as_of": "2026-05-01"}
    rows = counts["trends"]["artifacts_and_risks"]["properties"]
    assert {name for name, row in rows.items() if row["models"]} == {
        "safetensors",
        "custom code",
        "no license stated",
        "gated",
        "no task stated",
    }
    known = {name: row["known"] for name, row in rows.items()}
    assert known.pop("no card data") == 0 and set(known.values()) == {1}


def test_downloads_of_the_studys_models_stand_beside_today():
    counts = count_trends([record("gpt2", downloads=7), record("a/b", downloads=9)])["trends"]
    downloads = counts["study_and_today"]["downloads"]
    assert downloads["gpt2"] == {"study": 13_100_000, "today": 7}
    assert downloads["roberta-base"]["today"] is None


def test_claims_of_the_text_are_counted_where_they_were_read():
    """Twice measured, a claim counts once; a claim of the metadata does not count."""
    rows = []
    for claim_from in ("card text, line 3", "card text, line 3", "card text, line 9", "card"):
        rows.append({"model": "a/m", "metric": "accuracy", "verdict": "close", "claim_from": claim_from})
    summary = {
        "task": "t",
        "k": 0,
        "n": 0,
        "fraction": None,
        "interval": None,
        "verdicts": {},
        "left_out": {},
    }
    series = {"source": "measured", "protocol": "standard", "measured": "2026"}
    datasets = {"emotion": summary | {"superseded": 0, "models": rows}}
    file = {
        "schema": 2,
        "threshold_points": 1.0,
        "series": [series | {"datasets": datasets}],
        "published": {},
    }
    comparisons = msgspec.convert(file, ComparisonFile)
    assert claims_in_text(comparisons) == 2
