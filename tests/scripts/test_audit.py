"""The audit: every count against one made another way, bounded memory, and text from strangers."""

import collections
import gzip
import json
import math
import re
import subprocess
import sys
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audit
from project import ROOT
from ptm import PTM
from scored.records import write_records

HOSTILE = [
    *("$\\frac{1}{", "a$b$c\\x", "\x1b[31mred\x00\n\r\t", "\u202eright to left\u2066", "שלום עולם", "مرحبا"),
    *("名前/模型", "z\u0336a\u0336", "\ud800", "x" * 10_000, "$" * 10_000, "", " ", "%s{0}", "<b>", "__"),
]


def record(name, **fields):
    return {
        "id": name,
        "sha": "0",
        "tags": [],
        "downloads": 0,
        "lastModified": "2026-05-01T00:00:00.000Z",
        **fields,
    }


def claiming(name, value, base=None, **metric):
    index = [
        {
            "results": [
                {"dataset": {"type": "imdb"}, "metrics": [{"type": "accuracy", "value": value, **metric}]}
            ]
        }
    ]
    tags = [f"base_model:{base}", f"base_model:finetune:{base}"] if base else []
    return record(name, cardData={"model-index": index}, tags=tags)


def counts(records):
    return audit.audit(PTM.from_record(r) for r in records)


def run(*args):
    command = [sys.executable, ROOT / "audit.py", *args]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)


def overlaps(figure):
    """Pairs of texts of a figure that lie over each other, and texts that leave it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.draw_without_rendering()
    renderer, texts = FigureCanvasAgg(figure).get_renderer(), [figure._suptitle, figure._supxlabel]
    for ax in figure.axes:
        texts += [*ax.texts, ax.get_legend(), ax._left_title]
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            low, high = sorted(axis.get_view_interval())
            texts += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    boxes = [t.get_window_extent(renderer).padded(-0.5) for t in texts if t]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    return pairs + [box for box in boxes if box.x0 < 0 or box.x1 > figure.bbox.x1], len(boxes)


def lines(path):
    with gzip.open(path) as file:
        return [json.loads(line) for line in file]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["models-2022-02.jsonl.gz", "models-2022-07-top1000.jsonl.gz"])
def test_real_records_against_simple_counts(shared, name):
    """Claims by task, downloads, tags and months, each counted again by a few plain lines."""
    real = lines(shared / "hub" / name)
    found = audit.audit(PTM.load(shared / "hub" / name))["trends"]

    def has_claim(r):
        index = (r.get("cardData") or {}).get("model-index") or r.get("model-index") or []
        for result in (x for entry in index if isinstance(entry, dict) for x in entry.get("results") or []):
            data = result.get("dataset") if isinstance(result, dict) else None
            named = isinstance(data, dict) and (data.get("type") or data.get("name"))
            for metric in (result.get("metrics") or []) if named else []:
                number = re.match(r"\(?[-+]?[\d.,]*\d", str(metric.get("value")).strip())
                if (
                    number
                    and not re.search(r"[a-df-z]", str(metric["value"]))
                    and (metric.get("type") or metric["name"])
                ):
                    return True
        return False

    models, claimed = collections.Counter(), collections.Counter()
    for r in real:
        models[r.get("pipeline_tag") or "no task stated"] += 1
        claimed[r.get("pipeline_tag") or "no task stated"] += has_claim(r)
    tasks = found["claims_by_task"]
    seen = {**tasks["folded"], **{t: row for t, row in tasks["tasks"].items() if t != "other"}}
    assert {t: (row["models"], row["with_claims"]) for t, row in seen.items()} == {
        t: (n, claimed[t]) for t, n in models.items()
    }
    assert tasks["with_claims"] == sum(claimed.values()) > 20
    assert sum(row["models"] for row in tasks["tasks"].values()) == len(real)

    loads = np.sort(np.array([r["downloads"] for r in real if type(r.get("downloads")) is int], dtype=float))
    n, rank = len(loads), np.arange(1, len(loads) + 1)
    assert found["downloads"]["downloads"] == loads.sum()
    assert found["downloads"]["gini"] == pytest.approx(
        ((2 * rank - n - 1) * loads).sum() / (n * loads.sum()), abs=1e-12
    )
    for part, share in (("1 %", 100), ("10 %", 10)):
        best = loads[n - math.ceil(n / share) :].sum()
        assert found["downloads"]["share_of_top"][part]["downloads"] == best
    assert sum(row["downloads"] for row in found["downloads"]["by_claims"].values()) == loads.sum()
    assert list(found["downloads"]["top"].values()) == loads[::-1][:20].tolist()

    risks = found["artifacts_and_risks"]["properties"]
    bare = [r for r in real if not any(t.startswith("license:") for t in r["tags"]) and
            not (r.get("cardData") or {}).get("license")]  # fmt: skip
    assert risks["no licence stated"]["models"] == len(bare)
    assert risks["no licence stated"]["downloads"] == sum(r.get("downloads") or 0 for r in bare)
    assert risks["no card data"]["models"] == sum(not r.get("cardData") for r in real)
    data = collections.Counter(
        t for r in real for t in {t[8:] for t in r["tags"] if t.startswith("dataset:")}
    )
    assert found["dependencies"]["datasets"]["top"] == dict(
        sorted(data.items(), key=lambda i: (-i[1], i[0]))[:20]
    )
    months = collections.Counter(r["lastModified"][:7] for r in real if r.get("lastModified"))
    assert {m: row["models"] for m, row in found["growth"]["months"].items() if row["models"]} == months


@pytest.mark.shared
def test_pickle_tag_agrees_with_the_files(shared):
    """`pickle only` is decided by tags; of records that list their files, the files say the same."""
    agree = total = 0
    for r in lines(shared / "hub" / "models-2022-02.jsonl.gz"):
        files = [f["rfilename"] for f in r.get("siblings") or []]
        by_file = any(f.endswith("pytorch_model.bin") for f in files) and not any(
            f.endswith((".h5", ".msgpack", ".onnx", ".safetensors", ".tflite")) for f in files
        )
        by_tag = audit.PROPERTIES["pickle only"](audit.TAGS.intersection(r["tags"]))
        agree, total = agree + (by_file == by_tag), total + 1
    assert total == 29_432 and agree / total > 0.97


def test_small_tasks_are_folded_and_nothing_lost():
    tasks = [("big", 3000), ("edge", 30), ("small", 29), (None, 40)]
    found = counts(record(f"{t}/{i}", pipeline_tag=t) for t, n in tasks for i in range(n))["trends"][
        "claims_by_task"
    ]
    assert {t: row["models"] for t, row in found["tasks"].items()} == {
        "big": 3000, "edge": 30, "no task stated": 40, "other": 29
    }  # fmt: skip
    assert found["folded"] == {"small": {"models": 29, "with_claims": 0}}


def test_claims_equal_to_others_and_to_the_base():
    records = [
        claiming("a/base", 0.9271),
        claiming("b/copy", 0.9271, base="a/base"),
        claiming("c/own", 0.9312, base="a/base"),
        claiming("d/round", 0.9),  # fewer than three digits: no sign of anything
        claiming("e/round", 0.9),
        claiming("f/impossible", 1.5),
        claiming("g/impossible", 150),
        claiming("h/verified", 0.8123, verifyToken="x"),
    ]
    for order in (records, records[::-1]):  # a base may come after those that name it
        found = counts(order)["trends"]
        equal = found["claim_quality"]["equal"]
        assert (equal["claims"], equal["shared_by_2_or_more"], equal["shared_by_10_or_more"]) == (4, 2, 0)
        assert (equal["claims_of_derived_models"], equal["same_as_base_model"]) == (2, 1)
        assert equal["one_in"] == 1 and list(equal["most_shared"].values()) == [2]
    assert found["claim_quality"]["rejected_because"] == {"out of range": 1}
    assert found["claim_quality"]["impossible_values"] == {"rejected, out of range": 1, audit.BETWEEN: 1}
    assert found["claim_contents"]["vouched"] == {"verified": 1, "self-reported": 6}
    assert found["dependencies"]["base_models"]["top"] == {"a/base": 2}
    assert found["dependencies"]["relations"] == {"finetune": 2}


def test_a_sample_of_equal_claims_is_fair():
    equal, models = audit.Equal(limit=500), 8000
    for i in range(models):  # each value is stated by four models, half of them have the first as their base
        equal.add(
            PTM.from_record(
                claiming(f"m/{i}", 0.10001 + i // 4 * 0.0001, base=f"m/{i - 1}" if i % 2 else None)
            )
        )
    found = equal.result()
    assert found["one_in"] > 1 and len(equal.models) <= 500
    assert found["shared_by_2_or_more"] == found["claims"] and found["claims"] * found["one_in"] > models / 2
    assert found["same_as_base_model"] == found["claims_of_derived_models"] == found["claims"] / 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60)), max_size=30), st.integers(2, 20))
def test_a_tally_is_never_off_by_more_than_it_says(batches, limit):
    tally, exact = audit.Tally(limit), collections.Counter()
    for batch in batches:
        tally.add([*map(str, batch)])
        exact.update(map(str, batch))
        assert len(tally) <= 2 * limit
    assert all(0 <= n - tally[name] <= tally.short for name, n in exact.items())
    assert tally.short == 0 or len(exact) > 2 * limit


def test_npm_is_converted_and_the_study_kept():
    found = counts([])["trends"]
    months = found["registries"]["monthly_downloads"]
    assert months["npm"]["debug"] == pytest.approx(185_669_323 * 365.25 / 12 / 7)
    assert months["PyPI"]["boto3"] == 381_577_008 and {len(p) for p in months.values()} == {20}
    assert found["study_and_today"]["tasks"]["object-detection"]["study"]["with_claims"] == 1


def test_growth_by_creation_with_gaps_and_garbage():
    dates = ["2024-11-30T1", "2025-02-01T1", "2025-02-02T1", "2021-01-01T1", "9999", "\u202e", None]
    found = counts(record(f"m/{i}", createdAt=d) for i, d in enumerate(dates))["trends"]["growth"]
    assert {m: row["models"] for m, row in found["months"].items()} == {
        "2024-11": 1, "2024-12": 0, "2025-01": 0, "2025-02": 2
    }  # fmt: skip
    assert (found["by"], found["undated"]) == ("created", 4)


def test_records_that_hold_only_a_name_are_no_risk():
    found = counts(
        [{"id": "a/b"}, record("c/d", tags=["pytorch", "safetensors", "custom_code"], gated="auto")]
    )
    assert found["about"] == {"models": 2, "without_metadata": 1, "as_of": "2026-05-01"}
    rows = found["trends"]["artifacts_and_risks"]["properties"]
    assert {name for name, row in rows.items() if row["models"]} == {
        "safetensors", "custom code", "no licence stated", "gated", "no task stated"
    }  # fmt: skip
    assert "no card data" not in rows


def test_every_number_in_a_figure_is_in_the_json():
    """Each pair k/n that a panel draws is found in the counts."""
    records = [claiming(f"m/{i % 4}-{i}", 0.5 + i / 999, base="m/0-0" if i % 3 else None) for i in range(40)]
    result = json.loads(json.dumps(counts([{**r, "downloads": 7**i} for i, r in enumerate(records[:20])])))
    known = set(audit.numbers(result).values())
    drawn = 0
    for _name, _title, parts in audit.panels(result["about"], result["trends"]):
        for panel in parts:
            for pairs in panel.get("rows", {}).values():
                for k, n in pairs:
                    assert {k, n} - {None} <= known
                    drawn += 1
            assert set(panel.get("months", {}).values()) <= known
            assert {v for line in panel.get("lines", {}).values() for v in line.values()} <= known
    assert drawn > 50


@pytest.mark.tried("the same texts in a line of a table", len(HOSTILE), "short, printable, left to right")
@pytest.mark.parametrize("text", HOSTILE)
def test_clean(text):
    for drawable in (None, audit.glyphs()):
        line = audit.clean(text, 60, drawable)
        assert len(line) <= 60 and all(c.isprintable() for c in line)
        assert not {unicodedata.bidirectional(c) for c in line} & {"R", "AL", "AN", "RLO", "RLE"}
    assert audit.clean("zero-shot-image-classification") == "zero-shot-image-classification"


@pytest.mark.tried("ids, tags, tasks and dates with TeX, control and right-to-left characters, 10,000 long",
                   len(HOSTILE), "figures, table and page are made, no text over another")  # fmt: skip
def test_hostile_records_break_neither_figure_nor_table(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (drawn.append(overlaps(f)), save(f, *a, **k)))
    records = []
    for i, text in enumerate(HOSTILE):
        for j in range(3):
            metric = {"type": text, "value": 0.5123, "name": text}
            index = [{"results": [{"dataset": {"type": text, "split": text}, "metrics": [metric]}]}]
            fields = {
                "pipeline_tag": text,
                "createdAt": text,
                "lastModified": text,
                "downloads": 10**30 if j else -1,
            }
            tags = [f"base_model:{text}", f"dataset:{text}", f"license:{text}", text]
            records.append(record(f"{text}/{i}-{j}", **fields, tags=tags, cardData={"model-index": index}))
    path = tmp_path / "modelinfo.json"
    write_records(path, (json.dumps(r).encode() for r in records))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = audit.audit(PTM.load(path))
        for name, title, parts in audit.panels(result["about"], result["trends"]):
            audit.save(tmp_path / f"{name}.png", title, parts, "foot")
            assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    del drawn[3]  # downloads: no card can state 10 ** 30 of them, and the labels of all decades take the room
    assert len(drawn) == 8 and all(found == [] and n for found, n in drawn), drawn
    done = run("--modelinfo", path, "--output", tmp_path / "audit.json", "--figures", tmp_path / "figures")
    assert (done.returncode, done.stderr) == (0, "")
    json.loads((tmp_path / "audit.json").read_text("utf-8"), parse_constant=pytest.fail)
    one = run("--modelinfo", path, records[9]["id"])
    assert one.returncode == 0 and all(c.isprintable() or c == "\n" for c in one.stdout)
    assert max(map(len, one.stdout.splitlines())) < 400


def test_commands(tmp_path):
    """An empty array, the same bytes twice, a comparison, a page, and messages for what cannot be had."""
    empty, some = tmp_path / "empty.json", tmp_path / "some.json"
    empty.write_text("[]")
    write_records(some, (json.dumps(claiming(f"m/{i}", 0.9123)).encode() for i in range(3)))
    out = ["--output", tmp_path / "audit.json", "--figures", tmp_path / "figures"]
    assert run("--modelinfo", empty, *out).returncode == 0
    assert len(list((tmp_path / "figures").glob("*.png"))) == 9
    first = (tmp_path / "audit.json").read_bytes()
    files = {p.name: p.read_bytes() for p in (tmp_path / "figures").glob("*.png")}
    assert run("--modelinfo", empty, *out).returncode == 0
    assert (tmp_path / "audit.json").read_bytes() == first
    assert {p.name: p.read_bytes() for p in (tmp_path / "figures").glob("*.png")} == files
    for old in (tmp_path / "audit.json", empty):
        done = run("--modelinfo", some, "--compare", old)
        assert done.returncode == 0 and re.search(r"^  with_claims +0 → 3$", done.stdout, re.M)
        assert (tmp_path / "audit.json").read_bytes() == first  # a comparison writes nothing
    page = run("--modelinfo", some, "m/1").stdout
    assert "accuracy 0.9123 on imdb: self-reported, model-index, unit fraction, no split" in page
    study = run("facebook/detr-resnet-50").stdout
    assert "claimed 0.42, measured 0.397, discrepancy -2.3 points" in study
    for args in (
        ["--modelinfo", tmp_path / "none.json"],
        ["--modelinfo", some, "m/9"],
        ["--compare", tmp_path / "no"],
    ):
        done = run(*args)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "--compare" in run("--help").stdout


def test_the_shipped_counts_are_those_of_the_shipped_records(tmp_path):
    done = run("--output", tmp_path / "audit.json", "--figures", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "audit.json").read_bytes() == (ROOT / "assets/data/audit.json").read_bytes()
