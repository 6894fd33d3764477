"""The task scripts' common command line, with a toy task: rows, predictions, splits, claims, wrong usage."""

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pyarrow.parquet
import pytest

import toy
from bench import CARD, failures
from fake_hub import FakeHub
from harness import runner
from harness.checkpoint import CannotMeasure, resolve
from harness.shards import read_predictions
from harness.verdicts import format_row, format_verdict

FILES = ("config.json", "model.safetensors")


def test_one_load_serves_all_protocols_and_a_second_run_measures_nothing(bench):
    good = bench.model("good", CARD.format("dev"))
    done = bench.run(good, "--batch-size", "3")
    assert done.returncode == 0, done.stderr
    assert bench.loads() == ["good"]
    rows = {row["protocol"]: row for row in bench.rows()}
    assert {name: (row["split"], row["metrics"]["accuracy"]) for name, row in rows.items()} == {
        "standard": ("validation", 0.95),  # the split that the claim calls dev
        "scored-2022": ("test", 0.45),
        "doubled": ("test", 0.9),
        "shifted": ("test", 0.55),
    }
    files = {name: row["predictions"]["file"] for name, row in rows.items()}
    assert files["scored-2022"] == files["doubled"] and len(set(files.values())) == 3
    for row in rows.values():
        content = Path(row["predictions"]["file"]).read_bytes()
        assert row["predictions"]["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["examples"] == {"expected": 10, "evaluated": 10}
        assert row["settings"]["batch_size"] == 3 and row["settings"]["limit"] is None
        assert row["versions"]["torch"] and row["code"]["hash"] and row["measured_at"].endswith("Z")
        assert row["revision"].startswith("sha256:") and row["dataset_revision"].startswith("sha256:")
    before = bench.results.read_bytes()
    assert bench.call(good).returncode == 0
    assert bench.results.read_bytes() == before and bench.loads() == ["good"]


def test_row_is_reused_only_for_same_model_data_settings_and_code(bench):
    good = bench.model("good")
    one = ["--protocol", "scored-2022"]

    def loads_after(*words: object) -> int:
        assert bench.call(good, *one, *words).returncode == 0
        return len(bench.loads())

    assert loads_after() == 1
    assert loads_after("--limit", "4") == 2
    assert loads_after("--limit", "10") == 2  # all there are: no limit
    assert loads_after("--dtype", "float16") == 3
    assert loads_after("--force") == 4
    assert len(bench.rows()) == 3  # whole, limited, float16
    (bench.folder / "data" / "test.json").write_text("[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]")
    assert loads_after() == 5
    bench.model("good", note="another revision")
    assert loads_after() == 6
    assert len(bench.rows()) == 5 and len({row["revision"] for row in bench.rows()}) == 2
    rows = bench.rows()
    for row in rows:
        row["key"] = "measured with other code"
    bench.results.write_text(json.dumps({"schema": 2, "task": "toy", "rows": rows}))
    bench.call(good, *one)  # measured again, here from the saved outputs, which fit
    assert len(bench.loads()) == 6 and [r["key"] for r in bench.rows()] != [r["key"] for r in rows]


def test_out_of_memory_halves_the_batch_and_loses_no_example(bench):
    done = bench.call(bench.model("big", memory=3), "--protocol", "scored-2022")
    assert done.returncode == 0, done.stderr
    (row,) = bench.rows()
    assert row["settings"]["batch_size"] == 2 and row["metrics"]["accuracy"] == 0.45
    done = bench.call(bench.model("huge", memory=0), "--protocol", "scored-2022")
    assert failures(bench.rows()) == {
        "huge": ("predict", "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB")
    }


def test_saved_predictions_are_scored_again_without_the_model(bench):
    good = bench.model("good")
    assert bench.call(good, "--protocol", "scored-2022").returncode == 0
    (first,) = bench.rows()
    for name in ("config.json", "model.safetensors"):
        (Path(good) / name).unlink()
    bench.results.unlink()
    assert bench.call("--from-predictions").returncode == 0
    rows = {row["protocol"]: row for row in bench.rows()}
    assert rows["scored-2022"] == first and rows["doubled"]["metrics"]["accuracy"] == 0.9
    assert "shifted" not in rows and bench.loads() == ["good"]  # its raw outputs are others
    done = bench.call("someone/else", "--from-predictions")
    assert done.returncode == 2 and "no saved predictions" in done.stderr

    (bench.folder / "data" / "test.json").write_text("[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]")
    done = bench.call("--from-predictions")
    assert done.returncode == 1 and "its saved predictions belong to other data" in done.stderr
    assert bench.rows()  # the measurements made on the data as they were stay


def test_models_of_a_hub(bench):
    good = bench.model("good", CARD.format("test"))
    pickled = Path(bench.model("pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for name in ("evil.py", "flax_model.msgpack", "rust_model.ot", "train_data.json", "pytorch_model.bin"):
        Path(good, name).write_text("not wanted")
    (Path(good) / "onnx").mkdir()
    (Path(good) / "onnx" / "config.json").write_text("not wanted")
    models = {"ann/good": Path(good), "ann/pickled": pickled, "ann/behind": Path(good)}
    with FakeHub(models=models, gated={"ann/behind", "ann/gated"}) as hub:
        asked = [
            "ann/good",
            "ann/pickled",
            "ann/good@v9",
            "ann/none",
            "ann/gated",
            "ann/behind",
            "../../no",
        ]
        done = bench.call(*asked, "a\nb", "--protocol", "standard", hub=hub.url)
        assert done.returncode == 1
        rows = {row["model"]: row for row in bench.rows() if "metrics" in row}
        assert {name: row["revision"] for name, row in rows.items()} == {
            "ann/good": hub.sha("models", "ann/good"),
            "ann/pickled": hub.sha("models", "ann/pickled"),
        }
        failed = [row for row in bench.rows() if "error" in row]
        assert {(row["model"], row["revision"], row["stage"]): row["error"][:30] for row in failed} == {
            ("ann/good", "v9", "resolve"): "the Hub has no such revision o",
            ("ann/none", None, "resolve"): "the Hub has no such model, or ",
            ("ann/gated", None, "resolve"): "gated: ask for access on its p",
            ("ann/behind", hub.sha("models", "ann/behind"), "resolve"): "gated: ask for access on its p",
            ("../../no", None, "resolve"): "neither a local folder nor a m",
            ("a\nb", None, "resolve"): "neither a local folder nor a m",
        }
        got = {path.rsplit("/", 1)[1] for path in hub.requests if path.startswith("GET ann/good/resolve")}
        assert got == {"README.md", "config.json", "model.safetensors"}
        hub.requests.clear()
        sha = hub.sha("models", "ann/good")
        assert bench.call(f"ann/good@{sha}", "--protocol", "doubled", hub=hub.url).returncode == 0
        assert not [path for path in hub.requests if "model.safetensors" in path]  # the cache has it
    outside = {path.name for path in bench.folder.iterdir()}
    assert outside == {"data", "models", "out", "p", "hf", "loads"}
    assert all(path.parent.name == "EMOTION" for path in (bench.folder / "p").rglob("*.parquet"))


@pytest.mark.parametrize("sha", [None, "", "/../../../x", "a.b", "x" * 40])
def test_missing_commit_creates_no_file(monkeypatch, sha):
    import huggingface_hub

    info = SimpleNamespace(
        id="ann/good", sha=sha, siblings=[SimpleNamespace(rfilename=n, size=1) for n in FILES]
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    if sha == "x" * 40:
        assert resolve("ann/good").revision == sha
    else:
        with pytest.raises(CannotMeasure, match="the Hub reports no commit for it"):
            resolve("ann/good")


@pytest.mark.parametrize(("change", "code", "says"), [
    ({"inputs": {"gone": 1}}, 0, "0 measured"), ({"code": {}}, 2, "which code produced it"),
])  # fmt: skip
def test_saved_predictions_of_another_version_do_not_stop_a_run(bench, change, code, says):
    import pyarrow.parquet as parquet

    assert bench.call(bench.model("good"), "--protocol", "standard").returncode == 0
    (path,) = (bench.folder / "p").rglob("*.parquet")
    table = parquet.read_table(path)
    made = json.loads(table.schema.metadata[b"scored"]) | change
    parquet.write_table(table.replace_schema_metadata({b"scored": json.dumps(made)}), path)
    done = bench.call("--from-predictions")
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_without_models_all_that_claim_something_and_are_not_ignored_are_measured(bench):
    index = [
        {
            "name": "x",
            "results": [
                {
                    "task": {"type": "text-classification"},
                    "dataset": {"type": "dair-ai/emotion", "name": "emotion", "split": "validation"},
                    "metrics": [{"type": "accuracy", "value": 0.9}],
                }
            ],
        }
    ]
    records = [{"id": f"ann/{name}", "cardData": {"model-index": index}} for name in ("good", "ignored")]
    records.append({"id": "ann/silent", "cardData": {}})
    (bench.folder / "modelinfo.json").write_text(json.dumps(records))
    (bench.folder / "ignore.json").write_text('{"ann/ignored": {"reason": "gone", "since": "2026-01-01"}}')
    words = ["--modelinfo", bench.folder / "modelinfo.json", "--ignore", bench.folder / "ignore.json"]
    with FakeHub(models={"ann/good": Path(bench.model("good"))}) as hub:
        done = bench.call(*words, "--protocol", "standard", hub=hub.url)
    assert done.returncode == 0, done.stderr
    assert "1 models of" in done.stderr and "1 others are ignored" in done.stderr
    (row,) = bench.rows()
    assert (row["model"], row["split"], row["notes"]["split"]) == ("ann/good", "validation", "the claim's")


TEXT_CARD = """---
datasets: [emotion]
---
# good

It achieves the following results on the evaluation set:
- Accuracy: 0.95
"""


def test_tagged_models_are_measured_if_their_card_claims_something(bench):
    """A claim in the text counts; the others are listed, and measured only with --all."""
    tags = ["dataset:emotion"]
    records = [
        {"id": "ann/text", "pipeline_tag": "text-classification", "tags": tags},
        {"id": "ann/silent", "pipeline_tag": "text-classification", "tags": tags},
        {"id": "ann/other-task", "pipeline_tag": "fill-mask", "tags": tags},
        {"id": "ann/untagged", "pipeline_tag": "text-classification"},
    ]
    (bench.folder / "modelinfo.json").write_text(json.dumps(records))
    arguments = ["--modelinfo", bench.folder / "modelinfo.json", "--protocol", "scored-2022"]
    models = {"ann/text": bench.model("text", TEXT_CARD), "ann/silent": bench.model("silent", "# silent")}
    with FakeHub(models={name: Path(folder) for name, folder in models.items()}) as hub:
        plan = bench.call(*arguments, "--plan", hub=hub.url)
        requested = [path for path in hub.requests if "safetensors" in str(path)]
        done = bench.call(*arguments, hub=hub.url)
        rows = bench.rows()
        everything = bench.call(*arguments, "--all", hub=hub.url)
    assert "ann/text" in plan.stdout and "ann/silent" not in plan.stdout and requested == []
    assert "skipped 1 models without a claim on emotion" in done.stderr and "ann/silent" in done.stderr
    (row,) = rows
    (claim,) = row["claims"]
    assert (row["model"], claim["source"], claim["line"], claim["fraction"]) == (
        "ann/text",
        "card text",
        7,
        0.95,
    )
    assert everything.returncode == 0
    assert {row["model"] for row in bench.rows()} == {"ann/text", "ann/silent"}


def test_claims_are_those_of_the_measured_revision(bench):
    """A record of another revision yields to the card; it stands where the card claims nothing (above)."""
    data = {"type": "emotion", "split": "validation"}
    index = [{"results": [{"dataset": data, "metrics": [{"type": "accuracy", "value": 0.7}]}]}]
    file = bench.folder / "modelinfo.json"
    with FakeHub(models={"ann/good": Path(bench.model("good", CARD.format("test")))}) as hub:
        for sha, split, claimed in ((hub.sha("models", "ann/good"), "validation", 0.7), ("old", "test", 0.9)):
            file.write_text(json.dumps([{"id": "ann/good", "sha": sha, "model-index": index}]))
            words = ["--modelinfo", file, "--protocol", "standard"]
            assert bench.call(*words, hub=hub.url).returncode == 0
            (row,) = bench.rows()
            assert (row["split"], [claim["value"] for claim in row["claims"]]) == (split, [claimed])
            bench.results.unlink()


def test_split_that_is_measured(bench):
    models = [bench.model(str(n), CARD.format(s)) for n, s in enumerate(("validation", "test", "unsplit"))]
    assert bench.call(*models, "--protocol", "standard", "--protocol", "scored-2022").returncode == 0
    rows = {
        (row["model"][-1], row["protocol"]): (row["split"], row["notes"]["split"]) for row in bench.rows()
    }
    assert rows == {
        ("0", "standard"): ("validation", "the claim's"),
        ("0", "scored-2022"): ("test", "the protocol's"),
        ("1", "standard"): ("test", "the claim's"),
        ("1", "scored-2022"): ("test", "the protocol's"),
        ("2", "standard"): ("test", "the claim's, 'unsplit', is not one of train, validation, test"),
        ("2", "scored-2022"): ("test", "the protocol's"),
    }
    assert bench.loads() == ["0", "1", "2"]
    done = bench.call(models[1], "--split", "validation")
    assert "skipping scored-2022, doubled, shifted: not defined on split validation" in done.stderr
    assert [r["split"] for r in bench.rows() if r["model"].endswith("/1")] == ["test", "test", "validation"]


TRAINED = CARD.replace("---\nmodel", "---\ntags: [generated_from_trainer]\nmodel", 1).format("train")


def splits_of(bench, protocol: str = "standard") -> list[str]:
    """List the splits that were measured under a protocol."""
    return [row["split"] for row in bench.rows() if row["protocol"] == protocol]


def test_claim_without_a_split_is_measured_on_each_labelled_evaluation_split(bench):
    card = CARD.replace(", split: {}", "").replace("{{", "{").replace("}}", "}")
    done = bench.call(bench.model("open", card))
    assert done.returncode == 0, done.stderr
    assert splits_of(bench) == ["test", "validation"] and splits_of(bench, "scored-2022") == ["test"]
    assert {row["notes"]["split"] for row in bench.rows()} == {"the claim names none", "the protocol's"}
    *_, verdict = done.stdout.splitlines()
    assert "claimed accuracy 0.9; validation 0.9500 on all 10, test 0.4500: inconclusive; split" in verdict


def test_training_split_is_measured_only_if_the_verdict_depends_on_it(bench):
    (bench.folder / "data" / "train.json").write_text(json.dumps([9] * 10))
    trained = bench.model("trained", TRAINED)
    done = bench.call(trained, "--protocol", "standard")
    assert done.returncode == 0 and "1 measured, 0 failed" in done.stderr
    assert splits_of(bench) == ["test", "train", "validation"] and bench.loads() == ["trained", "trained"]
    *_, verdict = done.stdout.splitlines()
    assert done.stdout.count("claimed") == 1 and "reproduced" not in verdict
    assert verdict.split("train ")[1].startswith(
        "0.9000: close; agrees with train, but two digits cannot tell"
    )
    again = bench.call(trained, "--protocol", "standard")
    assert "0 measured, 0 failed, 1 measured before" in again.stderr and bench.loads() == [
        "trained",
        "trained",
    ]
    found = bench.model("found", TRAINED.replace("0.9}", "0.95}"))
    assert bench.call(found, "--protocol", "standard").returncode == 0  # on validation
    assert splits_of(bench) == ["test", "validation", "test", "train", "validation"]


def test_without_the_training_split_the_verdict_stays_open(bench):
    done = bench.call(bench.model("trained", TRAINED), "--protocol", "standard")
    assert done.returncode == 0 and "trained  train is not measured: no train.json" in done.stderr
    assert splits_of(bench) == ["test", "validation"]
    assert "inconclusive" in done.stdout and "train was not measured" in done.stdout


def test_limited_run_takes_the_same_examples_each_time_and_says_so(bench):
    assert bench.call(bench.model("good"), "--protocol", "scored-2022", "--limit", "4").returncode == 0
    (row,) = bench.rows()
    assert row["settings"]["limit"] == 4 and row["examples"] == {"expected": 10, "evaluated": 4}
    table, record = read_predictions(row["predictions"]["file"])
    drawn = [0, 2, 6, 9]  # sorted(random.Random(0).sample(range(10), 4)), fixed here for ever
    assert table["example"].to_pylist() == drawn and record["limit"] == 4
    assert row["metrics"]["accuracy"] == sum(drawn) / 100


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "nowhere"], "It must hold: test.json and validation.json, ten numbers each"),
        (["--data", "."], "no test.json"),
        (["--split", "unsplit"], "invalid choice: 'unsplit'"),
        (["--limit", "0"], "must be a whole number from 1 on"),
        (["--gpus-per-model", "inf"], "must be a whole number or a fraction below 1"),
        (["--device", "tpu"], "must be auto, cpu, cuda"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--split", "validation", "--protocol", "doubled"], "none of the chosen protocols uses this split"),
        (["--results", "other.json"], "holds no rows of toy"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(bench, monkeypatch, words, says):
    monkeypatch.chdir(bench.folder)
    (bench.folder / "other.json").write_text('{"schema": 2, "task": "object-detection", "rows": []}')
    done = bench.call(bench.model("good"), *words)
    assert done.returncode == 2 and says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not bench.loads()


def test_older_row_file_is_refused_with_the_command_that_rewrites_it(bench):
    bench.results.parent.mkdir()
    bench.results.write_text('{"task": "toy", "rows": []}')
    done = bench.call(bench.model("good"))
    assert done.returncode == 2 and "has schema 1, not 2" in done.stderr
    assert "python toy.py --from-predictions --results NEW_FILE" in done.stderr
    assert bench.results.read_text() == '{"task": "toy", "rows": []}' and not bench.loads()


def test_failed_model_is_a_row_and_the_next_one_is_measured(bench):
    done = bench.call(bench.model("raises", behave="raise"), bench.model("good"), "--protocol", "scored-2022")
    assert done.returncode == 1 and "1 measured, 1 failed" in done.stderr
    assert failures(bench.rows()) == {"raises": ("load", "ValueError: two lines")}
    assert "raises  failed at load: ValueError: two lines" in done.stderr
    assert [Path(row["model"]).name for row in bench.rows() if "metrics" in row] == ["good"]


def test_a_card_with_nan_costs_its_claim_and_not_the_run(bench):
    card = CARD.format("test").replace("value: 0.9}", "value: {accuracy: 0.9, x: .nan}}")
    done = bench.call(bench.model("odd", card), bench.model("good"), "--protocol", "scored-2022")
    assert done.returncode == 0, done.stderr
    assert {Path(row["model"]).name: row["claims"] for row in bench.rows()} == {"odd": [], "good": []}


def test_predictions_of_an_earlier_run_are_compared_with_the_card_as_it_is_read_now(bench):
    """The same outputs, a claim that was read otherwise when they were made."""
    model = bench.model("good", CARD.format("test"))
    assert bench.call(model, "--protocol", "standard").returncode == 0
    (row,) = bench.rows()
    file = bench.folder / row["predictions"]["file"]
    table = pyarrow.parquet.read_table(file)
    facts = json.loads(table.schema.metadata[b"scored"])
    facts["claims"][0]["fraction"] = 0.1
    pyarrow.parquet.write_table(table.replace_schema_metadata({"scored": json.dumps(facts)}), file)
    bench.results.unlink()
    assert bench.call(model, "--protocol", "standard").returncode == 0
    assert [claim["fraction"] for claim in bench.rows()[0]["claims"]] == [0.9]


def test_printed_row_fits_120_columns_and_holds_the_verdict(bench):
    done = bench.call(bench.model("good", CARD.format("test")), "--protocol", "standard")
    line, verdict = done.stdout.splitlines()
    assert line.endswith("/models/good  test  standard  accuracy 0.4500 [0.0000, 1.0000]")
    sentence = "claimed accuracy 0.9 on test; test 0.4500 on all 10: overstated; 45.00 points apart"
    assert verdict.endswith(f"/models/good  {sentence} on the same examples")
    (row,) = bench.rows()
    row |= {
        "model": "organization/" + 20 * "long-" + "name",
        "protocol": "scored-2022",
        "split": "validation",
    }
    row["claims"][0]["config"] = "other"
    line = format_row(row, toy.TASK.benchmark)
    assert len(line) == 120 and line.startswith("…")
    assert line.endswith("-name  validation  scored-2022  accuracy 0.4500 [0.0000, 1.0000]")
    assert "claim underspecified; unknown configuration" in format_verdict([row], toy.TASK.benchmark)
    row |= {"claims": [], "metrics": {}, "intervals": {}, "model": "a\nb"}
    assert format_verdict([row], toy.TASK.benchmark) is None
    assert format_row(row, toy.TASK.benchmark) == "a?b  validation  scored-2022  accuracy undefined"


def test_plan_counts_what_is_left_and_estimates_the_time(bench):
    models = [bench.model("first"), bench.model("second")]
    words = [*models, "--protocol", "scored-2022"]
    with mock.patch.object(toy, "TASK", replace(toy.TASK, shard_size=2)):
        lines = bench.call(*words, "--plan").stdout.splitlines()
        assert not bench.results.exists()
        assert "5 shards of 10 examples" in lines[0] and "2 models, 0 of them cannot" in lines[2]
        assert "10 shards of 20 examples" in lines[2] and lines[3] == "no time estimate: --results is empty"
        assert bench.call(*words[1:]).returncode == 0
        rows = bench.rows()
        rows[0] |= {"seconds": 7200.0}
        rows[0]["settings"] |= {"threads": [2, 4], "hardware": "abacus"}  # from workers of two kinds
        failed = {**rows[0], "model": "other", "error": "failed"}
        bench.results.write_text(json.dumps({"schema": 2, "task": "toy", "rows": [*rows, failed]}))
        lines = bench.call(*words, "--plan").stdout.splitlines()
    assert "0 shards of 0 examples" in lines[1] and "5 shards of 10 examples" in lines[2]
    assert lines[3] == "about 8.00 core hours on abacus, by the rates of 1 models measured before"


def test_scores_beside_a_cluster_come_with_their_job(monkeypatch):
    monkeypatch.setattr(runner, "connected", lambda task, args: contextlib.nullcontext())
    monkeypatch.setattr(runner, "run_on_cluster", lambda run, jobs: iter(jobs))
    monkeypatch.setattr(runner, "measure", lambda run, job: iter([{"model": job}]))
    args = SimpleNamespace(cluster="auto", from_predictions=False)
    pairs = list(runner.measure_all(SimpleNamespace(args=args, task=None), "abcdefghijkl"))
    assert pairs == [(job, [{"model": job}]) for job in "abcdefghijkl"]
