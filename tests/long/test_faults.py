"""A signal, a full disk, a second run, a Hub in trouble, a jumping clock: nothing half-written or lost."""

import json
import multiprocessing
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import explain
import fake_hub
from bench import CARD, Bench, failures
from harness import checkpoint, explanations, rows
from harness.rows import add_row
from namespaces import NAMESPACE, need_namespaces
from project import ROOT

INJECT = {"PYTHONPATH": str(ROOT / "tests" / "support" / "inject"), "HF_TOKEN": "", "NO_PROXY": "127.0.0.1"}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
GOES_ON = "interrupted; run the same command again to go on"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def a_user():
    """In a child, before it becomes a script: a background job would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(command, **env) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, command)]
    env = os.environ | INJECT | env
    return subprocess.run(command, env=env, capture_output=True, text=True, preexec_fn=a_user, cwd="/")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; a lock, which is empty, is none."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# ── Signals ───────────────────────────────────────────────────────────────────────────────────────────────

WHERE = {  # script -> the acts on its files before which it is signalled, of how many
    "modelinfo.py": (range(1, 10), 9),
    "audit.py": ((17,), 34),
    "reproducibility/results.py": (range(1, 7), 6),
    "err.py": ((8,), 15),
}
SIGNALLED = 2 * sum(len(acts) for acts, _ in WHERE.values())


def commands(script: str, folder: Path, url: str) -> list:
    return {
        "modelinfo.py": [ROOT / script, "--endpoint", url, "--output", folder / "m.json", "--ignore",
                         folder / "i.json"],
        "audit.py": [ROOT / script, "--output", folder / "audit.json", "--figures", folder],
        "reproducibility/results.py": [ROOT / script, "--output", folder],
        "err.py": [ROOT / script, "--output", folder],
    }[script]  # fmt: skip


@pytest.mark.tried(
    "Ctrl-C and SIGTERM before acts on files: modelinfo.py, audit.py, results.py, err.py",
    SIGNALLED,
    "one line, exit code 130 or 143; each file is either old or new; the same command completes them",
)
def test_signal_before_each_file_operation(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "work"
    records = [{"id": f"user/m{n}", "lastModified": "2024-01-01T00:00:00.000Z"} for n in range(9)]
    tried = 0
    with fake_hub.FakeHub(records) as hub:
        for script, (acts, last) in WHERE.items():
            for path in (whole, folder):
                shutil.rmtree(path, ignore_errors=True)
            assert run(commands(script, whole, hub.url)).returncode == 0
            new = contents(whole)
            old = {name: b"what an earlier run wrote" for name in new if script != "modelinfo.py"}
            for number in (signal.SIGINT, signal.SIGTERM):
                for name, content in old.items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(content)
                for at in acts:
                    done = run(commands(script, folder, hub.url), FAULT=f"{int(number)} {at} {folder}")
                    tried += 1
                    where = f"{script}, {number.name} before act {at}: {done.stderr}"
                    assert done.returncode == CODES[number], where
                    assert done.stderr.splitlines()[-1].endswith(f"{Path(script).name}: {GOES_ON}"), where
                    assert "Traceback" not in done.stderr, where
                    for name, content in contents(folder).items():
                        assert "journal" in name or content in (old.get(name), new[name]), where
                done = run(commands(script, folder, hub.url), FAULT=f"{int(number)} {last + 1} {folder}")
                assert done.returncode == 0 and contents(folder) == new, done.stderr
                shutil.rmtree(folder)
    assert tried == SIGNALLED


TERMINAL = 16


def signal_group(arguments: list, number: int, delay: float, env: dict) -> tuple[int, str]:
    """Signal a command's process group, as a terminal does, `delay` seconds after its model's process began.

    Returns the exit code and stderr, once that process has ended, too.
    """
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(arguments, env=env, preexec_fn=a_user, start_new_session=True, **pipes)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) < 2:  # multiprocessing's own, and the model's
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.0002)
    child = Path("/proc") / children.read_text().split()[-1]
    time.sleep(delay)
    os.killpg(process.pid, number)
    stderr, deadline = process.communicate(timeout=60)[1], time.monotonic() + 60
    while child.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process.returncode, stderr


@pytest.mark.tried(
    "Ctrl-C and SIGTERM to a runner and its model's process at random instants",
    TERMINAL,
    "one line, exit code 130 or 143; no row lost or wrong; the same command continues",
)
def test_signal_to_the_process_group_of_a_runner(bench):
    models = [bench.model(name) for name in ("first", "second")]
    arguments = bench.command(*models, "--protocol", "scored-2022")
    rng, tried = random.Random(0), 0
    for delay in [rng.uniform(0, longest) for longest in (0.2, 1.5) for _ in range(TERMINAL // 2)]:
        number = (signal.SIGINT, signal.SIGTERM)[tried % 2]
        code, stderr = signal_group(arguments, number, delay, bench.env)
        tried += 1
        assert code == CODES[number], stderr
        assert stderr.splitlines()[-1] == f"toy.py: {GOES_ON}" and "Traceback" not in stderr, stderr
        rows = bench.rows() if bench.results.exists() else []
        assert not any("error" in row for row in rows)
        bench.results.unlink(missing_ok=True)
        shutil.rmtree(bench.folder / "p", ignore_errors=True)
    assert tried == TERMINAL
    assert bench.run(*models, "--protocol", "scored-2022").returncode == 0
    assert [row["metrics"] for row in bench.rows()] == 2 * [{"accuracy": 0.45}]


AT_START = [
    (number, delay) for delay in (0, 0.03, 0.1, 0.3, 0.6) for number in (signal.SIGINT, signal.SIGTERM)
]


@pytest.mark.tried(
    "Ctrl-C and SIGTERM to explain.py and its model's process, from its first moment on",
    len(AT_START),
    "one line; the same command gives the undisturbed result",
)
def test_signal_to_the_process_group_of_explain(zoo, tmp_path):
    lines = '{"text": "i feel happy", "label": 1}\n{"text": "and sad", "label": 0}\n'
    (tmp_path / "test.jsonl").write_text(lines)
    script, env = ROOT / "reproducibility" / "explain.py", os.environ | INJECT
    places = {name: tmp_path / name for name in ("e.json", "predictions", "figures")}
    model = shutil.copytree(zoo / "text", tmp_path / "model")
    (model / "README.md").write_text(CARD.format("test"))  # without a missed claim nothing is explained
    arguments = [sys.executable, script, model, "--data", tmp_path, "--device", "cpu"]
    for flag, path in zip(("--output", "--predictions", "--figures"), places.values(), strict=True):
        arguments += [flag, path]

    def told() -> dict:
        (item,) = json.loads(places["e.json"].read_text())["explanations"]
        for side in ("seen", "faithful"):  # times, and the hash of a file that tells them
            del item[side]["measured_at"], item[side]["predictions"]
        return item

    def explained() -> dict:
        assert run(arguments[1:]).returncode == 0
        assert len(list(places["figures"].iterdir())) == 1
        return told()

    undisturbed = explained()
    for path in places.values():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for number, delay in AT_START:  # each goes on with what the one before has left
        code, stderr = signal_group(arguments, number, delay, env)
        assert code == CODES[number], stderr
        # a model's process that has only just begun may also print that it was cut off
        assert f"explain.py: {GOES_ON}" in stderr.splitlines(), stderr
        assert not places["e.json"].exists()
    assert explained() == undisturbed


# ── A second run beside the first ─────────────────────────────────────────────────────────────────────────

WRITERS, EACH = 4, 15


def slowly(module) -> None:
    """Leaves time for another writer between what is read and what is written."""
    write = module.write_json
    module.write_json = lambda *arguments: (time.sleep(0.01), write(*arguments))


def add(path: Path, writer: int) -> None:
    slowly(rows)
    task = SimpleNamespace(name="toy", dataset="emotion", format_text=None, script=Path("toy.py"))
    for number in range(EACH):
        row = {"model": f"w{writer}/m{number}", "revision": "1", "split": "test", "protocol": "standard"}
        row |= {"task": "toy", "dataset": "emotion", "source": "measured", "metrics": {}}
        row |= {
            "dataset_revision": "1",
            "settings": {"limit": None},
            "examples": {"expected": 1, "evaluated": 1},
        }
        add_row(path, task, row)


def explained(path: Path, writer: int) -> None:
    slowly(explanations)
    explain.explain_model = lambda text, args, load: [{"model": text, "error": "not the matter here"}]
    sys.argv = ["explain.py", *(f"w{writer}/m{n}" for n in range(EACH)), "--output", str(path)]
    sys.argv += ["--predictions", str(path.parent)]
    sys.exit(explain.main())


@pytest.mark.parametrize(("work", "code", "kind"), [(add, 0, "rows"), (explained, 1, "explanations")])
@pytest.mark.tried(
    "four runs that write the same file of rows or explanations",
    2 * WRITERS * EACH,
    "no row is lost",
)
def test_concurrent_runs_lose_nothing(tmp_path, work, code, kind):
    path = tmp_path / "out.json"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=work, args=(path, writer)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [code] * WRITERS
    result = [item["model"] for item in json.loads(path.read_text())[kind]]
    assert sorted(result) == sorted(f"w{w}/m{n}" for w in range(WRITERS) for n in range(EACH))
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.tried(
    "two runs at once of a runner, of results.py and of err.py, on the same files",
    3,
    "both succeed, and the files are those of a single run",
)
def test_same_command_twice_at_once(bench):
    models = [bench.model(name) for name in ("first", "second", "third")]
    out = bench.folder / "two"
    results = [sys.executable, str(ROOT / "reproducibility/results.py"), "--output", str(out)]
    err = [sys.executable, str(ROOT / "err.py"), "--output", str(out / "err")]
    for command in (bench.command(*models, "--protocol", "standard"), results, err):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        both = [subprocess.Popen(command, env=bench.env, **pipes) for _ in range(2)]
        stderr = [process.communicate()[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], stderr
    assert [Path(row["model"]).name for row in bench.rows()] == ["first", "second", "third"]
    assert all(row["metrics"] == {"accuracy": 0.45} for row in bench.rows())
    for name in ("results.json", "results.csv"):
        assert (out / name).read_bytes() == (ROOT / "reproducibility" / name).read_bytes()
    written = (out / "err/assets/data/err.json").read_bytes()
    assert written == (ROOT / "assets" / "data" / "err.json").read_bytes()
    assert not [path for path in bench.folder.rglob("*.tmp")]


# ── No room ───────────────────────────────────────────────────────────────────────────────────────────────


FULL = {  # script -> files that were there before
    "modelinfo.py": ["m.json"],
    "audit.py": ["audit.json"],
    "reproducibility/results.py": ["results.json", "results.csv"],
    "err.py": ["assets/data/err.json"],
}


@pytest.mark.tried(
    "a disk with at most 16 KB left under each script",
    len(FULL) + 1,
    "one line that names the file, exit code 2; earlier files are untouched",
)
def test_full_disk_leaves_old_files_whole(bench):
    need_namespaces()
    disk, after = bench.folder / "disk", bench.folder / "after"
    records = [{"id": f"user/m{n}", "tags": ["a" * 100]} for n in range(2000)]
    good = bench.model("good")
    disk.mkdir()
    bench.results = disk / "rows.json"
    with fake_hub.FakeHub(records) as hub:
        cases = {script: [sys.executable, *commands(script, disk, hub.url)] for script in FULL}
        cases["toy.py"] = bench.command(good, "--protocol", "scored-2022")
        for script, command in cases.items():
            old = FULL.get(script, ["rows.json"])
            shutil.rmtree(after, ignore_errors=True)
            makes = "".join(f'mkdir -p "$(dirname {name})"; printf "[]" > {name}; ' for name in old)
            if script == "toy.py":
                makes = """printf '{"rows": []}' > rows.json; """
            room = 0 if script == "toy.py" else 4  # pages; its row would fit
            inside = (
                f"mount -t tmpfs -o size=256k tmpfs {disk} && cd {disk} && {makes} dd if=/dev/zero of=filler "
                f"bs=4k count=$((256 / 4 - {len(old)} - {room})) 2>/dev/null; "
                f"{shlex.join(map(str, command))}; code=$?; cp -a . {after}; exit $code"
            )
            done = subprocess.run([*NAMESPACE, inside], env=bench.env, capture_output=True, text=True)
            assert done.returncode == 2, (script, done.stderr)
            last = done.stderr.splitlines()[-1]
            assert last.startswith(f"{Path(script).name}: ") and str(disk) in last, (script, last)
            assert "full" in last or "No space left" in last, (script, last)
            assert "Traceback" not in done.stderr
            left = contents(after)
            assert not [name for name in left if name.endswith(".tmp")], (script, list(left))
            assert all(json.loads(left[name]) in ([], {"rows": []}) for name in old if script != "audit.py")
            assert json.loads(left[old[0]]) is not None  # audit.json fits, its figures do not


MEMORY = 6 << 30


@pytest.mark.tried(
    "a model that exhausts the memory while it is loaded or in its forward pass",
    2,
    "a row says so, and the next model is measured",
)
def test_out_of_memory_becomes_a_row_and_the_run_continues(bench):
    models = [bench.model(at, behave="greedy", at=at) for at in ("load", "predict")] + [bench.model("good")]
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # noqa: E731
    done = bench.run(*models, "--protocol", "scored-2022", preexec_fn=limit)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    reason = checkpoint.ADVICE["MemoryError"]
    assert failures(bench.rows()) == {at: (at, reason) for at in ("load", "predict")}
    assert [Path(row["model"]).name for row in bench.rows() if "metrics" in row] == ["good"]


# ── The Hub in trouble ────────────────────────────────────────────────────────────────────────────────────

used_up = fake_hub.status(429, RateLimit='"api";r=0;t=1')
DOWNLOADS = {  # requests like this -> what goes wrong with them, one after the other
    "api/models/ann/good": [used_up, fake_hub.status(503), fake_hub.reset],
    "HEAD .*README.md": [used_up, fake_hub.status(502)],
    "GET .*README.md": [fake_hub.cut, fake_hub.half(fake_hub.reset)],
    "HEAD .*safetensors": [fake_hub.reset, fake_hub.status(429)],
    "GET .*safetensors": [
        used_up,
        fake_hub.half(),
        fake_hub.half(fake_hub.reset),
        fake_hub.half(lambda handler: time.sleep(5)),
        fake_hub.status(500),
    ],
}
WRONG = sum(map(len, DOWNLOADS.values()))


@pytest.mark.tried(
    "a runner's downloads: quota used up, connection closed or reset half-way, no response, 5xx",
    WRONG,
    "waited for and resumed within the run; the file is whole, the model is measured",
)
def test_hub_faults_during_a_download_are_retried(bench):
    good = Path(bench.model("good", CARD.format("test")))
    weights = random.Random(0).randbytes(3_000_000)
    (good / "model.safetensors").write_bytes(weights)
    with fake_hub.FakeHub(models={"ann/good": good}) as hub:
        hub.faults_at = {like: list(faults) for like, faults in DOWNLOADS.items()}
        began = time.monotonic()
        done = bench.run("ann/good", "--protocol", "standard",
                         env={"HF_ENDPOINT": hub.url, "HF_HUB_DOWNLOAD_TIMEOUT": "2"})  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not any(hub.faults_at.values())  # each was met
        assert time.monotonic() - began > 3  # three times the quota was awaited
    (row,) = bench.rows()
    assert row["metrics"] == {"accuracy": 0.45} and "the Hub failed (HTTP 429): waiting 2 s" in done.stderr
    (download,) = (bench.folder / "hf").rglob("snapshots/*/model.safetensors")
    assert download.read_bytes() == weights
    assert not list((bench.folder / "hf").rglob("*.incomplete"))


# ── The clock ─────────────────────────────────────────────────────────────────────────────────────────────

DAY = 86400


@pytest.mark.tried(
    "the clock jumps a day back or ahead, in a runner with a model that hangs",
    2,
    "the hang ends after its timeout, no other model is stopped, rows are unchanged",
)
def test_clock_jumps_during_a_run(bench):
    good, hangs = bench.model("good"), bench.model("hangs", behave="hang")
    running, began = {}, time.monotonic()
    for jump in (-DAY, DAY):
        bench.results = bench.folder / f"rows{jump}.json"
        arguments = [good, hangs, "--protocol", "scored-2022", "--timeout", "20", "--predictions",
                 bench.folder / f"p{jump}"]  # fmt: skip
        env = bench.env | INJECT | {"CLOCK": f"8 {jump}"}  # while the second model hangs
        running[jump] = subprocess.Popen(
            bench.command(*arguments), env=env, stderr=subprocess.PIPE, text=True
        )
    for jump, process in running.items():
        bench.results = bench.folder / f"rows{jump}.json"
        stderr = process.communicate(timeout=150)[1]
        assert process.returncode == 1, stderr
        assert time.monotonic() - began > 20
        assert failures(bench.rows()) == {"hangs": ("load", "no progress for 20 s; stopped (--timeout)")}
        assert [row["metrics"] for row in bench.rows() if "metrics" in row] == [{"accuracy": 0.45}]


def test_clock_jumps_once(tmp_path):
    """The injected clock is what Python's own looks show; only the monotonic one goes on."""
    code = "import time; a = time.time(); time.sleep(0.4); print(a, time.time(), time.gmtime()[0])"
    first, second, year = map(float, run(["-c", code], CLOCK=f"0.3 -{10 * 365 * DAY}").stdout.split())
    assert second - first < -9 * 365 * DAY and year < time.gmtime()[0] - 8
