"""Does a cluster give the numbers of a local run, whatever is lost on the way? On real Ray, three nodes."""

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bench import Bench, failures
from harness.nodes import RAY
from harness.scheduler import MAX_TRIES
from harness.shards import read_predictions
from project import ROOT

# Ray's word for "loopback only": it would bind to the machine's address, and connect to no other.
ENV = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "TOY_SHARD": "2"}
STORE = 80 << 20  # bytes of each node's object store
COPIES = {"sentiment_analysis": ("emotion-tiny", 4), "image_classification": ("mobilenet-v2", 3),
          "detection": ("yolos-tiny-overfit", 3)}  # fmt: skip
DATA = {"sentiment_analysis": "emotion", "image_classification": "imagenet", "detection": "coco"}


# ── Ray ───────────────────────────────────────────────────────────────────────────────────────────────────


FOLDERS = []


def add_node(made, **has):
    """One more node, with a folder of its own as on a machine of its own; its sockets need a short path."""
    FOLDERS.append(tempfile.mkdtemp(prefix="ray"))
    return made.add_node(**{"num_cpus": 1} | has, object_store_memory=STORE, temp_dir=FOLDERS[-1])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A cluster of a head without cores and three nodes of one core each, all on 127.0.0.1."""
    folder = tmp_path_factory.mktemp("ray")
    env = ENV | {f"TOY_{name.upper()}": str(folder / name) for name in ("loads", "answers", "gpus")}
    before = dict(os.environ)
    os.environ |= env | {"HF_HUB_OFFLINE": "1"}  # nodes have it from here, workers from them
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    made = Cluster(initialize_head=True, head_node_args=head | {"object_store_memory": STORE})
    for _ in range(3):
        add_node(made)
    yield made, folder
    made.shutdown()
    for path in FOLDERS:
        shutil.rmtree(path, ignore_errors=True)
    os.environ.clear()
    os.environ |= before


@pytest.fixture
def bench(tmp_path, nodes):
    made, folder = nodes
    for name in ("loads", "answers", "crashed"):
        (folder / name).unlink(missing_ok=True)
    bench = Bench(tmp_path)
    bench.env = (
        os.environ
        | ENV
        | {f"TOY_{name.upper()}": str(folder / name) for name in ("loads", "answers", "gpus")}
    )
    lines = folder / "answers"
    bench.answers = lambda: lines.read_text().splitlines() if lines.exists() else []
    bench.cluster = ["--cluster", made.address, "--protocol", "scored-2022"]
    return bench


def workers() -> list[int]:
    """The processes of Ray below this one that answer shards at this moment."""
    found = subprocess.run(["pgrep", "-f", "^ray::Worker.compute"], capture_output=True, text=True)
    return [pid for pid in map(int, found.stdout.split()) if below(pid)]


def below(pid: int) -> bool:
    """Whether a process descends from this one: another test run may be at work on this machine."""
    try:
        while pid not in (0, os.getpid()):
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return pid != 0


def wait_for(what, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
    return found


def same(rows: list[dict]) -> list[dict]:
    """Rows without what may differ: host, device, time, and the hash of a file that tells of them."""
    kept = []
    for row in rows:
        row = {k: v for k, v in row.items() if k not in ("measured_at", "seconds")}
        if "settings" in row:
            there = ("device", "hardware", "threads")
            row["settings"] = {k: v for k, v in row["settings"].items() if k not in there}
            row["predictions"] = {**row["predictions"], "sha256": None, "file": None}
        kept.append(row)
    return kept


@pytest.mark.tried(
    "a model that crashes each of its workers, one that crashes once, one that cannot be loaded", 3,
    "the first is an error row after three tries, the second measured, the third an error row at once",
)  # fmt: skip
def test_crashes_are_tried_again_elsewhere_and_cost_one_model_at_most(bench):
    models = [
        bench.model("crashes", behave="crash", at="predict"),
        bench.model("once", behave="crash once", at="predict"),
        bench.model("raises", behave="raise"),
        bench.model("good"),
    ]
    done = bench.run(*models, *bench.cluster)
    assert done.returncode == 1 and "2 measured, 2 failed" in done.stderr, done.stderr
    assert failures(bench.rows()) == {
        "crashes": ("predict", "the process was killed by SIGABRT"),
        "raises": ("load", "ValueError: two lines"),
    }
    loads = (Path(bench.env["TOY_LOADS"])).read_text().split()[::2]
    loads = {name: loads.count(name) for name in set(loads)}
    # Five shards are worth two workers at once: two shards may be tried, or the work shared, before the end.
    assert loads.pop("crashes") in range(MAX_TRIES, 2 * MAX_TRIES + 1)
    assert loads.pop("once") in (2, 3) and loads.pop("good") in (1, 2)
    assert loads == {"raises": 1}
    answers = [line for line in bench.answers() if line.startswith("once ")]
    assert len(answers) == 6 and len(set(answers)) == 5  # only the shard in flight was lost
    assert bench.run(*models[1:2], models[3], "--protocol", "scored-2022").stderr.startswith("0 measured")


@pytest.mark.tried(
    "driver killed in the middle of a cluster's run", 1, "finished shards are kept, the rest is done"
)
def test_a_killed_driver_goes_on_with_the_shards_that_are_left(bench):
    model = bench.model("slow", seconds=1.5)
    run = subprocess.Popen(bench.command(model, *bench.cluster), env=bench.env, stderr=subprocess.DEVNULL)
    finished = wait_for(lambda: sorted((bench.folder / "p").rglob("*.shards/*.parquet")))
    run.kill()
    run.wait()
    kept = {path.name for path in finished}
    wait_for(lambda: not workers())  # they go with their driver
    answered = len(bench.answers())
    assert (
        bench.run(model, "--protocol", "scored-2022").returncode == 0
    )  # without the cluster: the same shards
    assert len(bench.answers()) - answered <= 5 - len(kept)
    (row,) = bench.rows()
    assert row["metrics"]["accuracy"] == 0.45 and row["examples"]["evaluated"] == 10


@pytest.mark.tried(
    "Ctrl-C and SIGTERM to a cluster's driver", 2, "one line, exit code 130 or 143, and its workers go"
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_driver_that_is_interrupted_says_so(bench, number, code):
    command = bench.command(bench.model("slow", seconds=1.5), *bench.cluster)
    unheard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job may ignore Ctrl-C
    run = subprocess.Popen(command, env=bench.env, stderr=subprocess.PIPE, text=True, preexec_fn=unheard)
    wait_for(workers)
    run.send_signal(number)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == code and "Traceback" not in said, said
    assert said.splitlines()[-1] == "toy.py: interrupted; run the same command again to go on"
    wait_for(lambda: not workers())


@pytest.mark.tried(
    "three runs at once of the same two models, two of them on a cluster", 3,
    "each waits for what another one has; each shard is answered once",
)  # fmt: skip
def test_runs_beside_each_other_answer_each_shard_once(bench):
    models = [bench.model(name, behave="slow", seconds=1) for name in ("one", "two")]
    local = ["--protocol", "scored-2022"]
    ways = [(models, bench.cluster), (models[::-1], bench.cluster), (models, local)]
    runs = [
        subprocess.Popen(bench.command(*chosen, *words), env=bench.env, stderr=subprocess.PIPE, text=True)
        for chosen, words in ways
    ]
    said = [run.communicate(timeout=180)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 3, said
    assert any("waiting for another run to release " in text for text in said)
    assert sorted(row["model"].rsplit("/", 1)[-1] for row in bench.rows()) == ["one", "two"]
    assert all(row["metrics"] == {"accuracy": 0.45} for row in bench.rows())
    assert len(bench.answers()) == len(set(bench.answers())) == 10


@pytest.mark.tried(
    "a worker's process and a whole node killed", 2, "only the shards in flight are answered again"
)
def test_a_lost_worker_and_a_lost_node_cost_the_shards_in_flight(bench, nodes):
    made, _ = nodes
    model = bench.model("slow", seconds=2)
    run = subprocess.Popen(
        bench.command(model, *bench.cluster), env=bench.env, stderr=subprocess.PIPE, text=True
    )
    os.kill(wait_for(workers)[0], signal.SIGKILL)
    wait_for(lambda: bench.folder.joinpath("p").exists() and len(bench.answers()) >= 2)
    made.remove_node(made.worker_nodes and sorted(made.worker_nodes, key=id)[0], allow_graceful=False)
    add_node(made)
    error = run.communicate(timeout=180)[1]
    assert run.returncode == 0, error
    lines = bench.answers()
    assert len(set(lines)) == 5 and len(lines) <= 5 + 2
    assert same(bench.rows())[0]["metrics"] == {"accuracy": 0.45}


@pytest.mark.shared
@pytest.mark.tried(
    "node and worker killed, node added, under ten real models", 3, "rows and raw outputs of a local run"
)
def test_ten_models_on_three_nodes_are_measured_as_in_a_local_run(shared, tmp_path, nodes):
    made, _ = nodes
    hurt = iter(["worker", "node", ""])
    for script, (name, count) in COPIES.items():
        copies = [
            str(shutil.copytree(shared / "models" / name, tmp_path / f"{name}-{i}")) for i in range(count)
        ]
        rows, tables = {}, {}
        for where in ("cluster", "local"):
            out = tmp_path / where / script
            words = ["--data", shared / DATA[script], "--results", out / "rows.json", "--predictions", out]
            words += ["--cluster", made.address] if where == "cluster" else []
            command = [sys.executable, ROOT / "reproducibility" / f"{script}.py", *copies, *words]
            run = subprocess.Popen(
                list(map(str, command)),
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},  # as many threads as a worker has cores
            )
            if where == "cluster":
                trouble(next(hurt), made)
            error = run.communicate(timeout=600)[1]
            assert run.returncode == 0, error
            rows[where] = json.loads((out / "rows.json").read_text())["rows"]
            files = sorted(out.rglob("*.parquet"))
            tables[where] = {path.name: read_predictions(path)[0].replace_schema_metadata() for path in files}
        assert len(rows["local"]) == 2 * count
        assert same(rows["cluster"]) == same(rows["local"])
        assert tables["cluster"] == tables["local"]  # to the bit


def trouble(kind: str, made) -> None:
    """In the middle of a run: a worker killed, or a node lost and another one added."""
    wait_for(workers)
    time.sleep(1)
    while kind == "worker":
        with contextlib.suppress(ProcessLookupError):  # it has just finished
            os.kill(wait_for(workers)[0], signal.SIGKILL)
            break
    if kind == "node":
        made.remove_node(sorted(made.worker_nodes, key=id)[0], allow_graceful=False)
        add_node(made)


@pytest.mark.shared
def test_explanations_from_a_cluster_are_those_of_a_local_run(shared, tmp_path, nodes):
    found = []
    for name, words in (("cluster", ["--cluster", nodes[0].address]), ("local", [])):
        out = tmp_path / name
        command = [
            sys.executable,
            ROOT / "reproducibility" / "explain.py",
            shared / "models" / "emotion-tiny",
        ]
        command += ["--data", shared / "emotion", "--output", out / "e.json", "--predictions", out, *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (one,) = json.loads((out / "e.json").read_text())["explanations"]
        for side in ("seen", "faithful"):
            one[side] = {
                k: v for k, v in one[side].items() if k not in ("measured_at", "predictions", "device")
            }
        found.append(one)
    assert found[0] == found[1]


def test_a_local_cluster_needs_no_setting_up_and_listens_to_this_machine_alone(bench):
    env = {k: v for k, v in bench.env.items() if not k.startswith("RAY_")}
    model = bench.model("slow", seconds=1)
    before, sockets = set(listening()), []
    run = subprocess.Popen(bench.command(model, "--cluster", "local", *bench.cluster[2:]), env=env,
                           stderr=subprocess.PIPE, text=True)  # fmt: skip
    while run.poll() is None:
        sockets += set(listening()) - before
        time.sleep(0.2)
    assert run.returncode == 0, run.stderr.read()
    assert bench.rows()[0]["metrics"] == {"accuracy": 0.45}
    assert sockets and {address for address, _ in sockets} == {"127.0.0.1"}


@pytest.mark.tried(
    "a cluster of Pythons whose path has a space and an ü",
    1,
    "workers start, though Ray leaves it to a shell",
)
def test_a_python_in_an_odd_place_starts_workers(bench):
    place = bench.folder / "späces ü"
    place.symlink_to(sys.prefix)
    env = {k: v for k, v in bench.env.items() if not k.startswith("RAY_")}
    words = bench.command(bench.model("good"), "--cluster", "local", *bench.cluster[2:])[1:]
    run = subprocess.Popen([place / "bin" / "python", *words], env=env, start_new_session=True)
    try:
        assert run.wait(timeout=120) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert bench.rows()[0]["metrics"] == {"accuracy": 0.45}


def listening() -> list[tuple[str, str]]:
    """(address, port) of every TCP socket of this machine that listens."""
    found = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    ends = [line.split()[3].rpartition(":")[::2] for line in found.splitlines()]
    return [(address.removeprefix("[::ffff:").rstrip("]"), port) for address, port in ends]


def test_models_share_gpus_as_the_flag_says(bench, nodes):
    """Of a node that says it has two: Ray shares them out unseen, and tells a worker which one it has."""
    made, folder = nodes
    models = [bench.model(f"m{number}", seconds=1) for number in range(4)]
    node = add_node(made, num_cpus=4, num_gpus=2)
    try:
        for words, gpus in (([], 1), (["--gpus-per-model", "0.5"], 0.5)):
            (folder / "gpus").unlink(missing_ok=True)
            bench.run(*models, *bench.cluster, "--force", *words, check=True)
            lines = [line.split() for line in (folder / "gpus").read_text().splitlines()]
            assert len(lines) == 20 and {name for name, _ in lines} == {"0", "1"}
            begun = sorted(float(moment) for name, moment in lines if name == "0")
            least = min(later - sooner for sooner, later in itertools.pairwise(begun))
            assert (least > 0.99) == (gpus == 1), (gpus, begun)  # a shard takes a second
    finally:
        made.remove_node(node)


# ── Flags ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_no_node_has_is_one_line(bench):
    good = bench.model("good")
    for words, says in {
        ("--gpus-per-model", "1"): r"no node has 1 GPUs, 1 CPUs and 2.0 GB of memory",
        ("--device", "cuda"): r"--gpus-per-model says how",
        ("--cpus-per-model", "9"): r"no node has 0 GPUs, 9 CPUs",
        ("--gpus-per-model", "1.5"): r"must be a whole number or a fraction below 1",
    }.items():
        done = bench.run(good, *bench.cluster, *words)
        assert done.returncode == 2 and re.search(says, done.stderr.splitlines()[-1]), done.stderr
        assert "Traceback" not in done.stderr


def test_a_cluster_that_is_not_there_is_one_line(bench):
    for address in ("127.0.0.1:1", "nonsense"):
        done = bench.run(bench.model("good"), "--cluster", address)
        assert done.returncode == 2 and "nothing answers there" in done.stderr.splitlines()[-1]


def test_without_the_flag_ray_is_not_needed(bench, tmp_path):
    (tmp_path / "lib" / "ray").mkdir(parents=True)
    (tmp_path / "lib" / "ray" / "__init__.py").write_text("raise ImportError('not installed')")
    env = {"PYTHONPATH": str(tmp_path / "lib")}
    assert bench.run(bench.model("good"), "--protocol", "scored-2022", env=env).returncode == 0
    done = bench.run(bench.model("good"), "--cluster", "local", env=env)
    assert done.returncode == 2 and f"pip install {RAY}" in done.stderr


def test_one_pin_of_ray():
    pins = [line for line in (ROOT / "tests/requirements.txt").read_text().splitlines() if "ray" in line]
    assert pins == [RAY] and f"pip install {RAY}" in (ROOT / "reproducibility" / "README.md").read_text()
