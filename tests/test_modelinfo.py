"""modelinfo.py against a real HTTP server on loopback, through the real huggingface_hub client."""

import gzip
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fake_hub
import modelinfo
import ptm

ROOT = Path(__file__).resolve().parents[1]


def model(number, **fields):
    stamp = f"2024-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
    return {"id": f"user/m{number:05}", "tags": ["pytorch"], "downloads": number, "sha": "0" * 40} | {
        "createdAt": stamp, "lastModified": stamp, "siblings": ["not asked for"], **fields}  # fmt: skip


def now():
    return modelinfo.stamp(datetime.now(UTC))


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No token of the machine's, no proxy, no long pauses."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(modelinfo, "BACKOFF", 0.01)
    monkeypatch.setattr(modelinfo, "TIMEOUT", 0.5)


@pytest.fixture
def go(tmp_path):
    """Runs modelinfo.py in this process; returns the records of the file, checked for its form."""

    def go(hub, *options, output=tmp_path / "modelinfo.json"):
        names = ["--output", str(output), "--ignore", str(tmp_path / "ignore.json")]
        modelinfo.main(["--endpoint", hub.url, *names, *map(str, options)])
        assert not list(tmp_path.glob("*.journal*")) and not list(tmp_path.glob(".*tmp"))
        return checked(output)

    return go


def checked(path):
    def constant(text):
        raise AssertionError(f"{text} in the file")

    found = json.loads(path.read_bytes(), parse_constant=constant)
    assert [r["id"] for r in found] == sorted({r["id"] for r in found})
    assert len(path.read_bytes().splitlines()) == len(found) + 2
    assert list(ptm.records(path)) == found
    return found


def expected(records):
    keys = ["id", *modelinfo.FIELDS]
    return sorted(({k: r[k] for k in keys if k in r} for r in records), key=lambda r: r["id"])


def ignored(tmp_path):
    return {k: v["reason"] for k, v in json.loads((tmp_path / "ignore.json").read_text()).items()}


@pytest.mark.shared
def test_real_records_with_every_fault_and_a_hub_that_changes(go, shared, tmp_path):
    """29,432 models under faults, quotas, and a model changed, added and deleted between pages: each once."""
    with gzip.open(shared / "hub/models-2022-02.jsonl.gz") as file:
        records = [json.loads(line) for line in file]
    storm = [fake_hub.status(429)] * 3 + [fake_hub.status(429, Retry_After="0")]
    errors = [fake_hub.status(code) for code in (500, 502, 503, 504)]
    faults = [*storm, fake_hub.fine, *errors, fake_hub.fine, fake_hub.reset, fake_hub.cut, fake_hub.invalid]
    faults += [fake_hub.fine, fake_hub.stall(0.7), fake_hub.reset]
    with fake_hub.FakeHub(records, quota=30, window=2) as hub:
        hub.faults = list(faults)
        names = sorted(hub.models)

        def change(number):
            if number == 25:
                hub.models[names[5]] = hub.models[names[5]] | {"downloads": 7777777, "lastModified": now()}
                hub.models["a-new/model"] = model(1, id="a-new/model", createdAt=now(), lastModified=now())
                del hub.models[names[-1]]

        hub.before = change
        found = go(hub)
        assert found == expected(hub.models.values())
        assert {r["id"]: r for r in found}[names[5]]["downloads"] == 7777777
        wrong = sum(fault is not fake_hub.fine for fault in faults)
        assert len(hub.requests) <= 30 + 2 + wrong and hub.broken_quota == 0
    assert ignored(tmp_path) == {}


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 2500])
def test_requests(go, count):
    """ceil(N / 1000) plus at most 2 in full; the same for k changes; and no more is taken."""
    with fake_hub.FakeHub(map(model, range(count))) as hub:
        assert go(hub) == expected(hub.models.values())
        assert len(hub.requests) <= -(-count // 1000) + 2
        for changes in (0, 3, 1200) if count else ():
            for number in range(min(changes, count)):
                name = f"user/m{number:05}"
                hub.models[name] = hub.models[name] | {"likes": changes, "lastModified": now()}
            hub.requests.clear()
            assert go(hub) == expected(hub.models.values())
            assert len(hub.requests) <= -(-changes // 1000) + 2


def test_kill_9_at_50_random_instants(go, tmp_path):
    """A sweep killed 50 times, each time resumed, ends in the file of an uninterrupted one, byte for byte."""
    with fake_hub.FakeHub([model(n) for n in range(4000)]) as hub:
        go(hub, "--page-size", 10, output=tmp_path / "whole.json")
        hub.requests.clear()
        output, rng, asked = tmp_path / "modelinfo.json", random.Random(0), threading.Semaphore(0)
        hub.before = lambda number: asked.release()
        command = [sys.executable, ROOT / "modelinfo.py", "--endpoint", hub.url, "--page-size", "10"]
        command += ["--output", output, "--ignore", tmp_path / "ignore.json"]
        kills = 0
        while kills < 50:
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                for _ in range(rng.randint(1, 4)):
                    assert asked.acquire(timeout=60)
                time.sleep(rng.random() * 0.02)
                process.send_signal(signal.SIGKILL)
            kills += process.returncode == -signal.SIGKILL
            while asked.acquire(blocking=False):
                pass
            assert process.returncode == -signal.SIGKILL and not output.exists()
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == (tmp_path / "whole.json").read_bytes()
        assert len(hub.requests) <= 401 + 50  # each kill costs at most the page it hit


def test_hostile_records(go, capsys):
    """What strangers write neither breaks the file nor leaves its line; what is no model is named aloud."""
    tags = [f"tag-{n}" for n in range(1_000_000)]
    models = [model(n) for n in range(1, 9)] + [model(9, tags=tags)]
    bad = ["../../etc/passwd", "a/..", "x\n]", "a/b/c", "\ud800/x", ""]
    models += [model(20 + n, id=name) for n, name in enumerate(bad)] + [model(40, private=True)]
    with fake_hub.FakeHub(models) as hub:
        hub.raw["user/m00001"] = b'{"id": "user/m00001", "tags": ["\\ud800 \\u0000 \\n ] \\u2028 \x7f"]}'
        hub.raw["user/m00002"] = (
            b'{"id": "user/m00002", "model-index": [NaN, Infinity, 1e999, ' + b"9" * 5000 + b"]}"
        )
        hub.raw["user/m00003"] = b'{"id": null}'
        hub.raw["user/m00004"] = b'"a string"'
        found = {record["id"]: record for record in go(hub)}
    assert sorted(found) == [f"user/m{n:05}" for n in (1, 2, 5, 6, 7, 8, 9)]
    assert found["user/m00001"]["tags"] == ["\ud800 \0 \n ] \u2028 \x7f"]
    assert found["user/m00002"]["model-index"] == ["NaN", "Infinity", "1e999", "9" * 5000]
    assert found["user/m00009"]["tags"] == tags
    said = capsys.readouterr().err
    assert said.count("left out: ") == len(bad) + 3 and "private: user/m00040" in said


def test_gone_refused_and_back(go, tmp_path):
    """By full sweep or by id, a model goes to ignore.json with its reason, and leaves it on coming back."""
    (tmp_path / "ignore.json").write_text('{"by/hand": {"reason": "wrong", "since": "2022-01-01"}}')
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        go(hub)
        del hub.models["user/m00001"]
        hub.refused["user/m00002"] = 403, {"X-Error-Code": "GatedRepo"}
        hub.refused["user/m00003"] = 401, {"X-Error-Code": "RepoNotFound"}
        hub.models["new/name"] = model(4, id="new/name")
        hub.redirects["user/m00004"] = "new/name"
        found = {r["id"] for r in go(hub, "--ids", *(f"user/m0000{n}" for n in range(1, 6)))}
        assert found == {f"user/m0000{n}" for n in (0, 2, 5, 6, 7, 8)} | {"new/name"}
        assert ignored(tmp_path) == {
            "by/hand": "wrong",
            "user/m00001": "Hub: 404 not found",
            "user/m00002": "Hub: 403 gated",
            "user/m00003": "Hub: 401 not found or private",
            "user/m00004": "Hub: 404 renamed to new/name",
        }
        del hub.models["user/m00004"], hub.models["user/m00008"]
        go(hub, "--full")
        assert set(ignored(tmp_path)) == {"by/hand", "user/m00001", "user/m00004", "user/m00008"}
        assert ignored(tmp_path)["user/m00008"] == "Hub: not seen by a full sweep"
        for part in (["--limit", 2], ["--author", "new"], ["--filter", "x"], ["--task", "y"]):
            before = go(hub)
            assert {r["id"] for r in go(hub, "--full", *part)} == {r["id"] for r in before}
        for fault in (fake_hub.status(503), fake_hub.reset, fake_hub.invalid):
            hub.faults = [fault] * modelinfo.ATTEMPTS
            with pytest.raises(ptm.Problem, match="go on"):
                go(hub, "--ids", "user/m00005")
            go(hub, "--ids", "user/m00005")
        for code in (401, 403, 404):  # not the Hub's own word
            hub.faults = [fake_hub.status(code)]
            with pytest.raises(ptm.Problem, match=f"answers {code}"):
                go(hub, "--ids", "user/m00005")
            go(hub, "--ids", "user/m00005")
        assert "user/m00005" not in ignored(tmp_path)


def test_a_partial_run_hides_no_change(go, tmp_path):
    """The newest date in the file is no mark once --ids or --filter has fetched a newer model alone."""
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        go(hub)
        hub.models["user/m00001"] |= {"likes": 5, "lastModified": "2025-01-01T00:00:00.000Z"}
        hub.models["user/m00002"] |= {"likes": 6, "lastModified": "2025-01-02T00:00:00.000Z"}
        go(hub, "--ids", "user/m00002")
        assert go(hub) == expected(hub.models.values())
    with fake_hub.FakeHub(map(model, range(9))) as hub:
        output = tmp_path / "taste.json"
        assert len(go(hub, "--limit", 3, output=output)) == 3
        assert len(go(hub, output=output)) == 9


def test_quota_is_honoured_ahead_of_the_429(go):
    """No request is made while the quota is used up, nor later than the server says."""
    with fake_hub.FakeHub(map(model, range(50)), quota=3, window=1) as hub:
        began = time.monotonic()
        assert len(go(hub, "--page-size", 10)) == 50
        assert hub.broken_quota == 0 and len(hub.requests) == 6
        assert time.monotonic() - began >= 1


def test_token_goes_to_the_endpoint_alone(go, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with fake_hub.FakeHub(map(model, range(30))) as hub, fake_hub.FakeHub() as other:
        go(hub, "--page-size", 10)
        assert hub.tokens == {"Bearer hf_secret"}
        hub.url, url = other.url, hub.url
        with pytest.raises(ptm.Problem, match="another host"):
            modelinfo.main(
                ["--endpoint", url, "--full", "--page-size", "10", "--output", str(tmp_path / "x")]
            )
        assert not other.requests
    assert "hf_secret" not in "".join(capsys.readouterr())


def test_two_runs_other_arguments_and_bad_input(go, tmp_path):
    """Each is one clear line, and the unfinished run can still be finished."""
    path = tmp_path / "modelinfo.json.journal"
    with fake_hub.FakeHub(map(model, range(30))) as hub:
        with modelinfo.journal(path), pytest.raises(ptm.Problem, match="another run"):
            go(hub)
        hub.faults = [fake_hub.fine] + [fake_hub.status(500)] * modelinfo.ATTEMPTS
        with pytest.raises(ptm.Problem, match="HTTP 500"):
            go(hub, "--page-size", 10)
        with pytest.raises(ptm.Problem, match="other arguments"):
            go(hub, "--author", "user")
        before = len(hub.requests)
        assert len(go(hub, "--page-size", 10)) == 30 and len(hub.requests) - before == 3
        old = (tmp_path / "modelinfo.json").read_bytes()
        path.write_bytes(b"no journal" * 200)
        with pytest.raises(ptm.Problem, match="not a database"):
            go(hub)
        path.unlink()
        for options in (
            ["--ids", "../x"],
            ["--limit", "0"],
            ["--endpoint", "ftp://x"],
            ["--ids", "a", "--full"],
        ):
            with pytest.raises(ptm.Problem):
                go(hub, *options)
        assert (tmp_path / "modelinfo.json").read_bytes() == old


def test_full_disk_leaves_a_journal_to_go_on_from(go, monkeypatch):
    """A page that does not fit on the disk is one clear line; with room again, the run goes on."""
    connect = sqlite3.connect

    def small(*args, **kwargs):
        db = connect(*args, **kwargs)
        db.execute("PRAGMA max_page_count = 40")
        return db

    with fake_hub.FakeHub(map(model, range(2000))) as hub:
        monkeypatch.setattr(sqlite3, "connect", small)
        with pytest.raises(ptm.Problem, match="full"):
            go(hub, "--page-size", 100)
        monkeypatch.setattr(sqlite3, "connect", connect)
        assert go(hub, "--page-size", 100) == expected(hub.models.values())
        assert len(hub.requests) == 20 + 1 + 1


def test_interrupt_and_help(tmp_path):
    """SIGTERM ends as Ctrl-C does: one line, exit code 130."""
    command = [sys.executable, ROOT / "modelinfo.py"]
    assert (
        "--ids-file"
        in subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path).stdout
    )
    with fake_hub.FakeHub(map(model, range(30))) as hub:
        asked = threading.Event()
        hub.before = lambda number: asked.set()
        hub.faults = [fake_hub.stall(3)]
        options = ["--endpoint", hub.url, "--output", tmp_path / "m.json", "--ignore", tmp_path / "i.json"]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            assert asked.wait(30)
            process.terminate()
            said = process.stderr.read()
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
