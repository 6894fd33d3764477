"""Models that fail, hang or crash, runs that are killed: one row per model, nothing lost or done twice."""

import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench import failures
from fake_hub import FakeHub


def test_each_way_to_fail_costs_one_row_and_the_run_goes_on(bench):
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
        "crashes": ("predict", "the process was killed by SIGABRT"),
        "killed": (
            "load",
            "the process was killed by SIGKILL; most likely out of memory: try a smaller --batch-size",
        ),
        "leaves": ("predict", "the process exited with code 3"),
        "short": ("predict", "7 predictions for 9 examples"),
        "unreadable": ("predict", "2 of 9 examples are unreadable; example 4: cannot identify image file"),
        "code": (
            "load",
            "it needs remote code, which is never executed: auto_map in its config.json:"
            " {'AutoConfig': 'evil.Config'}",
        ),
        "data": ("resolve", "it has no config.json, so it is not a model in transformers format"),
        "model": ("resolve", "neither a local folder nor a model id of the Hub"),
    }
    assert [Path(r["model"]).name for r in bench.rows() if "metrics" in r] == ["good"]
    assert not list(bench.folder.rglob("*.tmp"))

    bench.model("raises")  # fixed: its error row goes
    assert bench.run(models[0], "--protocol", "scored-2022").returncode == 0
    assert "raises" not in failures(bench.rows())


def test_hang_is_stopped_after_the_timeout(bench):
    done = bench.run(bench.model("hangs", behave="hang"), "--protocol", "scored-2022", "--timeout", "15")
    assert done.returncode == 1
    assert failures(bench.rows()) == {"hangs": ("load", "no progress for 15 s; stopped (--timeout)")}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_leaves_valid_files_and_continues_where_it_was(bench, how):
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


def test_full_disk_keeps_the_files_whole(bench):
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


def test_run_by_id_leaves_no_semaphore(bench):
    """The model's process is killed in the end; what it would have to clean up is not made."""
    with FakeHub(models={"ann/good": Path(bench.model("good"))}) as hub:
        done = bench.run("ann/good", env={"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"})
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr and "semaphore" not in done.stderr
