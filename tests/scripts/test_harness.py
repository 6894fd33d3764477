"""Does the harness keep its word? One row a model, whatever it does; nothing lost, nothing done twice."""

import hashlib
import json
import resource
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy.stats import binomtest

from bench import CARD, failures
from fake_hub import FakeHub
from harness.checkpoint import CannotMeasure, resolve
from harness.shards import read_predictions
from scored.intervals import wilson

FILES = ("config.json", "model.safetensors")


def test_one_load_serves_all_protocols_and_a_second_run_does_nothing(bench):
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
    assert bench.run(good).returncode == 0
    assert bench.results.read_bytes() == before and bench.loads() == ["good"]


def test_a_row_is_reused_only_while_model_data_settings_and_code_are_the_same(bench):
    good = bench.model("good")
    one = ["--protocol", "scored-2022"]

    def loads_after(*words: object) -> int:
        assert bench.run(good, *one, *words).returncode == 0
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
    bench.results.write_text(json.dumps({"task": "toy", "rows": rows}))
    bench.run(good, *one)  # measured again, here from the saved outputs, which fit
    assert len(bench.loads()) == 6 and [r["key"] for r in bench.rows()] != [r["key"] for r in rows]


def test_every_way_to_fail_costs_one_row_and_the_run_goes_on(bench):
    models = [
        bench.model("raises", behave="raise"),
        bench.model("crashes", behave="crash", at="predict"),
        bench.model("killed", behave="kill"),
        bench.model("leaves", behave="exit", at="predict"),
        bench.model("short", behave="short"),
        bench.model("unreadable", unread=[4, 9]),
        bench.model("code", auto_map={"AutoConfig": "evil.Config"}),
        str(bench.folder / "data"),
        "no such/../model",
        bench.model("good", card="---\n[broken: yaml\n---\n"),
    ]
    done = bench.run(*models, "--protocol", "scored-2022", "--limit", "9")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "1 measured, 9 failed" in done.stderr
    assert failures(bench.rows()) == {
        "raises": ("load", "ValueError: two lines"),
        "crashes": ("predict", "its process was killed by SIGABRT"),
        "killed": (
            "load",
            "its process was killed by SIGKILL; most likely out of memory: try a smaller --batch-size",
        ),
        "leaves": ("predict", "its process ended by itself with exit code 3"),
        "short": ("predict", "7 answers for 9 examples: not one each"),
        "unreadable": ("predict", "2 of 9 examples not answered; example 4: cannot identify image file"),
        "code": (
            "load",
            "it needs remote code, which is never run: auto_map in its config.json:"
            " {'AutoConfig': 'evil.Config'}",
        ),
        "data": ("resolve", "it has no config.json, so it is not a model in transformers format"),
        "model": ("resolve", "neither a folder here nor a model id of the Hub"),
    }
    assert [Path(r["model"]).name for r in bench.rows() if "metrics" in r] == ["good"]
    assert not list(bench.folder.rglob("*.tmp"))

    bench.model("raises")  # mended: its error row goes
    assert bench.run(models[0], "--protocol", "scored-2022").returncode == 0
    assert "raises" not in failures(bench.rows())


def test_a_hang_is_stopped_after_the_timeout_and_its_process_is_gone(bench):
    done = bench.run(bench.model("hangs", behave="hang"), "--protocol", "scored-2022", "--timeout", "15")
    assert done.returncode == 1
    assert failures(bench.rows()) == {"hangs": ("load", "no progress for 15 s; stopped (--timeout)")}


def test_out_of_memory_halves_the_batch_and_loses_no_example(bench):
    done = bench.run(bench.model("big", memory=3), "--protocol", "scored-2022")
    assert done.returncode == 0, done.stderr
    (row,) = bench.rows()
    assert row["settings"]["batch_size"] == 2 and row["metrics"]["accuracy"] == 0.45
    done = bench.run(bench.model("huge", memory=0), "--protocol", "scored-2022")
    assert failures(bench.rows()) == {
        "huge": ("predict", "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB")
    }


def test_saved_predictions_are_scored_again_without_the_model(bench):
    good = bench.model("good")
    assert bench.run(good, "--protocol", "scored-2022").returncode == 0
    (first,) = bench.rows()
    for name in ("config.json", "model.safetensors"):
        (Path(good) / name).unlink()
    bench.results.unlink()
    assert bench.run("--from-predictions").returncode == 0
    rows = {row["protocol"]: row for row in bench.rows()}
    assert rows["scored-2022"] == first and rows["doubled"]["metrics"]["accuracy"] == 0.9
    assert "shifted" not in rows and bench.loads() == ["good"]  # its raw outputs are others
    done = bench.run("someone/else", "--from-predictions")
    assert done.returncode == 2 and "no saved predictions" in done.stderr

    (bench.folder / "data" / "test.json").write_text("[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]")
    done = bench.run("--from-predictions")
    assert done.returncode == 1 and "other data" in done.stderr
    assert bench.rows()  # the measurements made on the data as they were stay


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_leaves_valid_files_and_goes_on_where_it_was(bench, how):
    models = [bench.model("first"), bench.model("second", behave="slow"), bench.model("third")]
    words = bench.command(*models, "--protocol", "scored-2022")
    run = subprocess.Popen(
        words,
        env=bench.env | {"TOY_SLOW": "1"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job would ignore it
    )
    deadline = time.monotonic() + 120
    while bench.loads() != ["first", "second"]:
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.1)
    run.send_signal(how)
    error = run.communicate(timeout=60)[1]
    if how == signal.SIGINT:
        assert run.returncode == 130 and "run the same command again" in error and "Traceback" not in error
    assert [Path(row["model"]).name for row in bench.rows()] == ["first"]
    child = int((bench.folder / "loads").read_text().split()[-1])
    while Path(f"/proc/{child}").exists():  # the model's process goes with its parent
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert bench.run(*models, "--protocol", "scored-2022").returncode == 0
    assert bench.loads() == ["first", "second", "second", "third"]
    assert len(bench.rows()) == 3 and not any("error" in row for row in bench.rows())


def test_a_full_disk_keeps_the_files_whole(bench):
    good, other = bench.model("good"), bench.model("other")
    assert bench.run(good, "--protocol", "scored-2022").returncode == 0
    before = bench.results.read_bytes()

    def nearly_full():  # no file may grow beyond this, as on a disk with no room left
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    done = bench.run(other, "--protocol", "scored-2022", preexec_fn=nearly_full)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("toy.py: cannot write")
    assert bench.results.read_bytes() == before and not list(bench.folder.rglob("*.tmp"))
    (bench.folder / "p" / "EMOTION").rename(bench.folder / "p" / "moved")
    (bench.folder / "p" / "EMOTION").write_text("a file where the folder for predictions should be")
    done = bench.run(other, "--protocol", "scored-2022")
    assert done.returncode == 2 and done.stderr.endswith("File exists; choose another with --predictions\n")


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
        env = {"HF_ENDPOINT": hub.url}
        asked = [
            "ann/good",
            "ann/pickled",
            "ann/good@v9",
            "ann/none",
            "ann/gated",
            "ann/behind",
            "../../no",
        ]
        done = bench.run(*asked, "a\nb", "--protocol", "standard", env=env)
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
            ("../../no", None, "resolve"): "neither a folder here nor a mo",
            ("a\nb", None, "resolve"): "neither a folder here nor a mo",
        }
        got = {path.rsplit("/", 1)[1] for path in hub.requests if path.startswith("GET ann/good/resolve")}
        assert got == {"README.md", "config.json", "model.safetensors"}
        hub.requests.clear()
        sha = hub.sha("models", "ann/good")
        assert bench.run(f"ann/good@{sha}", "--protocol", "doubled", env=env).returncode == 0
        assert not [path for path in hub.requests if "model.safetensors" in path]  # the cache has it
    outside = {path.name for path in bench.folder.iterdir()}
    assert outside == {"data", "models", "out", "p", "hf", "loads"}
    assert all(path.parent.name == "EMOTION" for path in (bench.folder / "p").rglob("*.parquet"))


@pytest.mark.parametrize("sha", [None, "", "/../../../x", "a.b", "x" * 40])
def test_a_commit_that_is_none_becomes_no_files_name(monkeypatch, sha):
    import huggingface_hub

    info = SimpleNamespace(sha=sha, siblings=[SimpleNamespace(rfilename=n, size=1) for n in FILES])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    if sha == "x" * 40:
        assert resolve("ann/good").revision == sha
    else:
        with pytest.raises(CannotMeasure, match="the Hub names no commit of it"):
            resolve("ann/good")


@pytest.mark.parametrize(("change", "code", "says"), [
    ({"inputs": {"gone": 1}}, 0, "0 measured"), ({"code": {}}, 2, "by which code"),
])  # fmt: skip
def test_saved_predictions_of_another_version_end_no_run(bench, change, code, says):
    import pyarrow.parquet as parquet

    assert bench.run(bench.model("good"), "--protocol", "standard").returncode == 0
    (path,) = (bench.folder / "p").rglob("*.parquet")
    table = parquet.read_table(path)
    made = json.loads(table.schema.metadata[b"scored"]) | change
    parquet.write_table(table.replace_schema_metadata({b"scored": json.dumps(made)}), path)
    done = bench.run("--from-predictions")
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_without_names_all_that_claim_something_and_are_not_ignored_are_measured(bench):
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
        done = bench.run(*words, "--protocol", "standard", env={"HF_ENDPOINT": hub.url})
    assert done.returncode == 0, done.stderr
    assert "1 models of" in done.stderr and "1 more are left out" in done.stderr
    (row,) = bench.rows()
    assert (row["model"], row["split"], row["notes"]["split"]) == ("ann/good", "validation", "the claim's")


def test_claims_are_those_of_the_revision_that_is_measured(bench):
    """A record of another revision yields to the card; it stands where the card claims nothing (above)."""
    data = {"type": "emotion", "split": "validation"}
    index = [{"results": [{"dataset": data, "metrics": [{"type": "accuracy", "value": 0.7}]}]}]
    file = bench.folder / "modelinfo.json"
    with FakeHub(models={"ann/good": Path(bench.model("good", CARD.format("test")))}) as hub:
        for sha, split, claimed in ((hub.sha("models", "ann/good"), "validation", 0.7), ("old", "test", 0.9)):
            file.write_text(json.dumps([{"id": "ann/good", "sha": sha, "model-index": index}]))
            words = ["--modelinfo", file, "--protocol", "standard"]
            assert bench.run(*words, env={"HF_ENDPOINT": hub.url}).returncode == 0
            (row,) = bench.rows()
            assert (row["split"], [claim["value"] for claim in row["claims"]]) == (split, [claimed])
            bench.results.unlink()


def test_the_split_measured(bench):
    models = [bench.model(str(n), CARD.format(s)) for n, s in enumerate(("validation", "test", "unsplit"))]
    assert bench.run(*models, "--protocol", "standard", "--protocol", "scored-2022").returncode == 0
    rows = {
        (row["model"][-1], row["protocol"]): (row["split"], row["notes"]["split"]) for row in bench.rows()
    }
    assert rows == {
        ("0", "standard"): ("validation", "the claim's"),
        ("0", "scored-2022"): ("test", "the protocol's"),
        ("1", "standard"): ("test", "the claim's"),
        ("1", "scored-2022"): ("test", "the protocol's"),
        ("2", "standard"): ("test", "the claim's, 'unsplit', is none of train, validation, test"),
        ("2", "scored-2022"): ("test", "the protocol's"),
    }
    assert bench.loads() == ["0", "1", "2"]
    done = bench.run(models[1], "--split", "validation")
    assert "left out: scored-2022, doubled, shifted" in done.stderr
    assert [r["split"] for r in bench.rows() if r["model"].endswith("/1")] == ["test", "test", "validation"]


def test_a_limited_run_takes_the_same_examples_each_time_and_says_so(bench):
    assert bench.run(bench.model("good"), "--protocol", "scored-2022", "--limit", "4").returncode == 0
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
        (["--split", "validation", "--protocol", "doubled"], "no protocol asked for is measured on it"),
        (["--results", "other.json"], "holds no rows of toy"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(bench, words, says):
    (bench.folder / "other.json").write_text('{"task": "object-detection", "rows": []}')
    done = bench.run(bench.model("good"), *words, cwd=bench.folder)
    assert done.returncode == 2 and says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not bench.loads()


def test_wilson_is_scipys():
    for hits, n in [(0, 10), (10, 10), (1777, 2000), (1, 3)]:
        expected = binomtest(hits, n).proportion_ci(0.95, "wilson")
        assert wilson(hits, n) == pytest.approx([expected.low, expected.high], abs=1e-12)
