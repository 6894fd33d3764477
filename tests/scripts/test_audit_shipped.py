"""The audit of the shipped records: each of its numbers against a count made in another way, with pandas."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from project import ROOT


@pytest.fixture(scope="module")
def counted():
    return json.loads((ROOT / "assets/data/audit.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def frame():
    """The shipped records, one per row; `card` and `hub` are the dates of what was taken, or missing."""
    with open(ROOT / "modelinfo.json", encoding="utf-8") as file:
        records = json.load(file)
    frame = pd.DataFrame(records)
    for group in ("card", "hub"):
        frame[group] = [raw["taken"].get(group) if "taken" in raw else "fetched" for raw in records]
    frame["has_card"], frame["has_hub"] = frame["card"].notna(), frame["hub"].notna()
    frame["claims"] = [claims_of(raw) for raw in records]
    frame["tags"] = [tags if isinstance(tags, list) else [] for tags in frame["tags"]]
    return frame


def claims_of(raw):
    """List (metric, data set) of each number that a model-index states for a named metric and data set."""
    claims = []
    for entry in raw.get("model-index") or []:
        for result in (entry.get("results") or []) if isinstance(entry, dict) else []:
            data = result.get("dataset") if isinstance(result, dict) else None
            if not isinstance(data, dict) or not (data.get("type") or data.get("name")):
                continue
            for metric in result.get("metrics") or []:
                value = str(metric.get("value")).strip()
                is_number = re.match(r"\(?[-+]?[\d.,]*\d", value) and not re.search(r"[a-df-z]", value)
                if is_number and (metric.get("type") or metric.get("name")):
                    claims.append((metric.get("type"), data.get("type")))
    return claims


def test_claims(frame, counted):
    known = frame[frame["has_card"]]
    with_claims = known["claims"].str.len() > 0
    counts = counted["trends"]["claims_by_task"]
    assert (counts["models"], counts["known"]) == (len(frame), len(known)) == (77_316, 29_533)
    assert counts["with_claims"] == with_claims.sum() == 1_113
    tasks = known["pipeline_tag"].fillna("no task stated")
    table = with_claims.groupby(tasks).agg(["size", "sum"])
    rows = {**counts["tasks"], **counts["folded"]}
    for task, row in table.iterrows():
        assert (rows[task]["known"], rows[task]["with_claims"]) == (row["size"], row["sum"]), task
    listed = frame[frame["has_hub"]]["pipeline_tag"].fillna("no task stated").value_counts()
    assert {task: rows[task]["models"] for task in listed.index} == listed.to_dict()
    per_model = known["claims"].str.len()
    contents = counted["trends"]["claim_contents"]
    assert contents["claims"] == counted["trends"]["claim_quality"]["claims"] == per_model.sum()
    ranges = pd.cut(per_model[per_model > 0], [0, 1, 2, 5, 10, 100, np.inf]).value_counts(sort=False)
    names = ("1", "2", "3–5", "6–10", "11–100", "over 100")
    assert [contents["claims_per_model"][name] for name in names] == ranges.tolist()


def test_study_and_today(frame, counted):
    rows = counted["trends"]["study_and_today"]["tasks"]
    study = json.loads((ROOT / "assets/data/claims_by_task.json").read_text("utf-8"))["tasks"]
    known = frame[frame["has_card"]]
    tasks = known["pipeline_tag"].where(known["pipeline_tag"].isin(list(study)), "other")
    table = (known["claims"].str.len() > 0).groupby(tasks).agg(["size", "sum"])
    assert {task: (row["today"]["known"], row["today"]["with_claims"]) for task, row in rows.items()} == {
        task: (row["size"], row["sum"]) for task, row in table.iterrows()
    }
    for task, row in study.items():
        side = rows[task]["study"]
        assert side["with_claims"] == row["with_claims"]
        assert side["models"] == side["known"] == row["models"]


def test_downloads(frame, counted):
    counts = counted["trends"]["downloads"]
    known = frame[frame["has_hub"] & frame["downloads"].notna()]
    downloads = known["downloads"].astype(int)
    assert (counts["known"], counts["downloads"]) == (len(known), downloads.sum())
    assert len(known) == 76_971
    ordered = np.sort(downloads.to_numpy())
    n, rank = len(ordered), np.arange(1, len(ordered) + 1)
    assert counts["gini"] == pytest.approx(
        ((2 * rank - n - 1) * ordered).sum() / (n * ordered.sum()), abs=1e-12
    )
    for part, row in counts["share_of_top"].items():
        models = int(np.ceil(round(n * float(part[:-1]) / 100, 6)))
        assert row["downloads"] == ordered[n - models :].sum(), part
    digits = downloads.astype(str).str.len().where(downloads > 0, 0).value_counts()
    for name, models in counts["models_by_downloads"].items():
        lowest = name.partition("–")[0].replace(",", "")
        assert models == digits.get(len(lowest) if lowest != "0" else 0, 0), name
    both = known[known["has_card"]]
    table = both["downloads"].groupby(both["claims"].str.len() > 0).agg(["size", "sum"])
    rows = counts["by_claims"]
    assert [rows[kind]["models"] for kind in ("no claim", "unverified claims only")] == table["size"].tolist()
    assert [rows[kind]["downloads"] for kind in ("no claim", "unverified claims only")] == table[
        "sum"
    ].tolist()
    assert rows["verified claim"]["models"] == 0 and rows["verified claim"]["known"] == len(both)
    best = known.sort_values("downloads", ascending=False).head(20)
    assert sorted(counts["top"].values(), reverse=True) == best["downloads"].tolist()


def test_licenses_formats_and_tasks(frame, counted):
    rows = counted["trends"]["artifacts_and_risks"]["properties"]
    known = frame[frame["has_card"]]
    tags = known["tags"].explode()
    licensed = tags[tags.str.startswith("license:", na=False)]
    has_license = known.index.isin(licensed.index)
    safe = {"safetensors", "gguf", "onnx", "tf", "jax", "flax", "tflite", "openvino", "coreml"}
    holds = {
        "no license stated": ~has_license,
        "license unknown or other": known.index.isin(
            licensed[licensed.isin(["license:unknown", "license:other"])].index
        ),
        "ONNX": known.index.isin(tags[tags == "onnx"].index),
        "pickle only": known.index.isin(tags[tags == "pytorch"].index)
        & ~known.index.isin(tags[tags.isin(safe)].index),
    }
    for name, mask in holds.items():
        row = rows[name]
        assert (row["models"], row["known"]) == (mask.sum(), len(known)), name
        assert row["downloads"] == known["downloads"][mask].sum(), name
        assert row["known_downloads"] == known["downloads"].sum(), name
    assert rows["no license stated"]["fraction_of_models"] == pytest.approx(0.744, abs=0.0005)
    listed = frame[frame["has_hub"]]
    assert rows["no task stated"]["models"] == listed["pipeline_tag"].isna().sum()
    assert rows["no task stated"]["known"] == len(listed)
    assert rows["gated"]["known"] == rows["no card data"]["known"] == 0


def test_datasets_and_families(frame, counted):
    counts = counted["trends"]["dependencies"]["datasets"]
    tags = frame[frame["has_card"]]["tags"].explode().dropna()
    datasets = tags[tags.str.startswith("dataset:")].reset_index().drop_duplicates()
    names = datasets["tags"].str.slice(8).value_counts()
    assert (counts["models"], counts["links"]) == (datasets["index"].nunique(), len(datasets))
    assert counts["distinct"] == len(names)
    assert sorted(counts["top"].values(), reverse=True) == names.head(20).tolist()
    assert counted["trends"]["families"]["models"] == tags.str.startswith("base_model:").sum() == 0


def test_growth(frame, counted):
    counts = counted["trends"]["growth"]
    dated = frame[frame["has_hub"] & frame["createdAt"].notna()]
    months = dated["createdAt"].str.slice(0, 7)
    assert {month: row["models"] for month, row in counts["months"].items() if row["models"]} == (
        months.value_counts().to_dict()
    )
    assert (counts["known"], counts["undated"], counts["before"]) == (len(dated), len(frame) - len(dated), 0)
    assert sum(row["models"] for month, row in counts["months"].items() if month < "2022") == 24_058
    carded = dated[dated["has_card"]]
    table = (
        carded["claims"].str.len().groupby(months[carded.index]).agg(["size", "sum", lambda n: (n > 0).sum()])
    )
    for month, (known, claims, models) in zip(table.index, table.to_numpy(), strict=True):
        row = counts["months"][month]
        assert (row["known"], row["claims"], row["with_claims"]) == (known, claims, models)


def test_dates_and_names(frame, counted):
    about = counted["about"]
    only_named = ~frame["has_card"] & ~frame["has_hub"]
    assert (about["models"], about["without_metadata"]) == (len(frame), only_named.sum())
    fields = {
        "cards": frame["card"].dropna(),
        "tasks": frame["hub"].dropna(),
        "downloads": frame["hub"][frame["downloads"].notna()],
        "creation dates": frame["hub"][frame["createdAt"].notna()],
    }
    for field, dates in fields.items():
        stated = re.findall(r"\d{4}-\d\d-\d\d", about["dates"][field])
        assert {stated[0], stated[-1], *stated} >= {dates.min(), dates.max(), dates.mode()[0]}, field
    assert about["as_of"] == frame["hub"].dropna().max()


def test_the_studys_models_today(frame, counted):
    downloads = dict(zip(frame["id"], frame["downloads"], strict=True))
    for name, sides in counted["trends"]["study_and_today"]["downloads"].items():
        assert sides["today"] == downloads.get(name)
    err = json.loads((ROOT / "assets/data/err.json").read_text("utf-8"))
    measured = {}
    for series in err["series"]:
        for summary in series["datasets"].values():
            for row in summary["models"]:
                if row["model"] and row.get("headline") and row["model"] not in measured:
                    measured[row["model"]] = row["verdict"]
    counts = counted["trends"]["downloads_by_verdict"]
    known = {model: verdict for model, verdict in measured.items() if downloads.get(model, np.nan) >= 0}
    assert (counts["models"], counts["known"]) == (len(measured), len(known))
    sums = pd.Series({model: downloads[model] for model in known}).groupby(pd.Series(known)).sum()
    assert {verdict: row["downloads"] for verdict, row in counts["verdicts"].items()} == sums.to_dict()
